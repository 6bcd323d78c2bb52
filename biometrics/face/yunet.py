"""Detect faces with YuNet, which an operator may use instead of dlib's network.

Source: Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence
Research 2023; run by OpenCV's FaceDetectorYN.
"""

import hashlib
import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from biometrics.face.detect import RIVAL_WIDTH, Detection
from biometrics.face.errors import EngineUnavailable
from biometrics.face.geometry import Box
from biometrics.face.images import Picture, shrink

_SEEN: Final = 28.0
"""Width in pixels to which the smallest face is shrunk; YuNet finds smaller ones less reliably."""
_SURE: Final = 0.7
_OVERLAP: Final = 0.3
_MOST: Final = 50
_SQUARE: Final = 0.86
"""Side of dlib's square box over the geometric mean of YuNet's sides: the median of 245 faces."""
_AROUND: Final = 0.8
_KNOWN: Final = {
    "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12": (
        "Apache-2.0",
        "ShiqiYu/libfacedetection.train",
    )
}


class YuNet:
    """The YuNet face detector; thread-safe, with one network per thread.

    Args:
        file: The network as ONNX, with free input sizes.

    Raises:
        EngineUnavailable: The file cannot be read, or OpenCV does not accept it.
    """

    def __init__(self, file: Path) -> None:
        self._model = np.frombuffer(_read(file), dtype=np.uint8)
        self._own = threading.local()
        self._network()

    def find(self, picture: Picture, smallest: float) -> list[Detection]:
        """Return the faces; see `detect.Finder`."""
        factor = min(_SEEN / smallest, 1.0)
        seen = shrink(picture, factor) if factor < 1 else picture
        network = self._network()
        network.setInputSize((seen.shape[1], seen.shape[0]))
        rows = network.detect(seen)[1]
        found = [_detection(row, factor) for row in (rows if np.ndim(rows) else ())]
        largest = max((item.box.width for item in found), default=0.0)
        least = max(smallest, RIVAL_WIDTH * largest)
        return sorted(
            (item for item in found if item.box.width >= least), key=lambda item: -item.score
        )

    def near(self, picture: Picture, place: Box) -> list[Detection]:
        """Return the face around a place; see `detect.Finder`."""
        rows, columns = picture.shape[:2]
        margin = place.width * _AROUND
        left = max(int(place.left - margin), 0)
        top = max(int(place.top - margin), 0)
        right = int(place.right + margin)
        bottom = int(place.bottom + margin)
        cut = np.ascontiguousarray(picture[top : min(bottom, rows), left : min(right, columns)])
        found = self.find(cut, place.width / 2) if min(cut.shape[:2]) else []
        return [Detection(item.box.shifted(left, top), item.score) for item in found[:1]]

    def _network(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._own, "network"):
            try:
                self._own.network = cv2.FaceDetectorYN.create(
                    "onnx", self._model, np.empty(0, np.uint8), (320, 320), _SURE, _OVERLAP, _MOST
                )
            except cv2.error:
                raise EngineUnavailable("OpenCV does not accept the file as YuNet") from None
        found: cv2.FaceDetectorYN = self._own.network
        return found


def info(file: Path) -> dict[str, str]:
    """Return name, SHA-256, license and origin of the file; raises EngineUnavailable."""
    digest = hashlib.sha256(_read(file)).hexdigest()
    license_, origin = _KNOWN.get(digest, ("unknown", "a file of your own"))
    return {"name": "detector", "sha256": digest, "license": license_, "origin": origin}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise EngineUnavailable(f"{file.name} cannot be read: {error.strerror}") from error


def _detection(row: "np.ndarray", factor: float) -> Detection:
    """Return the square box that dlib would give for the same face."""
    left, top, width, height = (float(value) / factor for value in row[:4])
    half = _SQUARE * (width * height) ** 0.5 / 2
    across = left + width / 2
    down = top + height / 2
    return Detection(
        Box(across - half, down - half, across + half - 1, down + half - 1), float(row[14])
    )
