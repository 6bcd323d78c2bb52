"""How often passive cues speak against faces as taken, and against simulated prints and screens.

    python -m benchmarks.face_cues [--data DIR] [--out FILE]

`--data` is a directory with pictures in color; the two portraits and synthetic heads are always
among those as taken. A print is blurred, of less contrast and color; a screen is blurred, brighter
and under a grid. Both are simulations: they show what the cues look at, not what a print does.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from biometrics.face import SMALL_FACES, FaceEngine, FrameRefused, passive
from biometrics.face.active import ORDERS
from biometrics.face.images import Picture, decode, load
from lab.face import portraits, synthetic
from service.factors.face.engine_pool import default_cache

SEED = 5
EVERY = 4


def printed(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a picture as a print of it may look."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), picture.shape[1] / 640 * 1.2)
    soft = 60 + soft * (150 / 255)
    grey = soft.mean(axis=2, keepdims=True)
    inked = grey + (soft - grey) * 0.6 + rng.normal(0, 2, soft.shape)
    return np.asarray(np.clip(inked, 0, 255).astype(np.uint8))


def screened(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a picture as a screen that shows it may look."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), picture.shape[1] / 640 * 0.8)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    angle, period = rng.random() * 0.3, 2.3 + rng.random() * 2
    along = columns * np.cos(angle) + rows * np.sin(angle)
    grid = 1 + 0.08 * np.sin(2 * np.pi * along / period)[..., None] * np.array([1, 0.8, 1.1])
    return np.asarray(np.clip(soft * grid * 1.1 + 8, 0, 255).astype(np.uint8))


def photographs(data: Path | None) -> Iterator[Picture]:
    """Yield the pictures as taken; one without colors says nothing about colors and is left out."""
    for portrait in (portraits.collins(), portraits.hopper()):
        yield from map(decode, (portrait, *portraits.variants(portrait)))
    for file in sorted(data.rglob("*.jpg")) if data else ():
        picture = load(file)
        if picture is not None and float(np.ptp(picture, axis=2).mean()) > 1:
            yield picture


def synthetics(rng: np.random.Generator, *, flat: bool) -> Iterator[Picture]:
    """Yield frames of heads that follow a command, or of flat photographs of them."""
    for head in (synthetic.collins(), synthetic.hopper()):
        shown = head.flat() if flat else head
        for order in ORDERS[:8:7]:
            taken = synthetic.record(shown, synthetic.honest(order, rng), rng)
            yield from (decode(frame.image) for frame in taken[::EVERY])


def counted(engine: FaceEngine, pictures: Iterator[Picture]) -> dict[str, int]:
    """Return how many faces there are and how many each cue speaks against."""
    found = {"faces": 0, "faded": 0, "shine": 0}
    for picture in pictures:
        try:
            against = passive.judge(engine.measure(picture, SMALL_FACES).cues)
        except FrameRefused:
            continue
        found["faces"] += 1
        for name in against:
            found[name] += 1
    return found


def again(
    data: Path | None,
    show: Callable[[Picture, np.random.Generator], Picture],
    rng: np.random.Generator,
) -> Iterator[Picture]:
    """Yield the pictures as something shows them, encoded anew."""
    for picture in photographs(data):
        yield decode(synthetic.jpeg(show(picture, rng)))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    engine = FaceEngine.open(default_cache())
    kinds = {
        "as taken": photographs(options.data),
        "synthetic heads": synthetics(rng, flat=False),
        "flat photographs of the same pixels": synthetics(rng, flat=True),
        "simulated prints": again(options.data, printed, rng),
        "simulated screens": again(options.data, screened, rng),
    }
    rows = {kind: counted(engine, pictures) for kind, pictures in kinds.items()}
    for kind, found in rows.items():
        print(
            f"{kind:38}{found['faces']:5} faces  faded {found['faded']:4}  shine {found['shine']:4}"
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
