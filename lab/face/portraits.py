"""Two public-domain portraits, for the demo and the tests.

Eileen Collins (NASA): the part of ``astronaut.png`` of scikit-image that shows her face,
enlarged twice, because it is small. Grace Hopper (U.S. Navy): ``grace_hopper.jpg`` of matplotlib.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from biometrics.face.images import Picture

_PICTURES: Final = Path(__file__).parent / "pictures"
_QUALITY: Final = [cv2.IMWRITE_JPEG_QUALITY, 95]


def _jpeg(picture: Picture) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, _QUALITY)[1])


def _load(name: str) -> Picture:
    data = np.fromfile(_PICTURES / name, dtype=np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def collins() -> bytes:
    """Return Eileen Collins as a JPEG."""
    picture = _load("collins.png")
    return _jpeg(np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)))


def hopper() -> bytes:
    """Return Grace Hopper as a JPEG."""
    return _jpeg(_load("hopper.jpg"))


def variants(portrait: bytes) -> list[bytes]:
    """Return the portrait in other light, noisy, turned, mirrored, moved and blurred."""
    picture = np.asarray(
        cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR), np.uint8
    )
    rows, columns = picture.shape[:2]
    noise = np.random.default_rng(7).normal(0, 6, picture.shape)
    turned = cv2.getRotationMatrix2D((columns / 2, rows / 2), 6, 1.0)
    moved = np.array([[1, 0, 8], [0, 1, -6]], dtype=np.float64)
    made = (
        np.clip(picture.astype(np.float64) * 0.8 + 12, 0, 255),
        np.clip(picture + noise, 0, 255),
        cv2.warpAffine(picture, turned, (columns, rows), borderMode=cv2.BORDER_REPLICATE),
        picture[:, ::-1],
        cv2.warpAffine(picture, moved, (columns, rows), borderMode=cv2.BORDER_REPLICATE),
        cv2.GaussianBlur(picture, (5, 5), 0),
    )
    return [_jpeg(np.ascontiguousarray(item, dtype=np.uint8)) for item in made]
