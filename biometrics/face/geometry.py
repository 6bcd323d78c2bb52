"""Boxes and similarity transforms, in pixels with x to the right and y down."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``right`` and ``bottom`` are the last pixels inside it."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left + 1

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top + 1

    @property
    def area(self) -> float:
        """Area in pixels."""
        return max(self.width, 0) * max(self.height, 0)

    def rounded(self) -> "Box":
        """Return the box rounded to whole pixels, as dlib's detections are."""
        return Box(
            *(float(np.floor(v + 0.5)) for v in (self.left, self.top, self.right, self.bottom))
        )

    def times(self, factor: float) -> "Box":
        """Return the box in a picture enlarged by ``factor``."""
        return Box(
            self.left * factor,
            self.top * factor,
            (self.right + 1) * factor - 1,
            (self.bottom + 1) * factor - 1,
        )

    def shifted(self, across: float, down: float) -> "Box":
        """Return the box moved right and down."""
        return Box(self.left + across, self.top + down, self.right + across, self.bottom + down)

    def overlap(self, other: "Box") -> float:
        """Return the area shared with another box."""
        width = min(self.right, other.right) - max(self.left, other.left) + 1
        height = min(self.bottom, other.bottom) - max(self.top, other.top) + 1
        return max(width, 0) * max(height, 0)

    def scaled_up(self, points: Points) -> npt.NDArray[np.float64]:
        """Map points of the unit square, shape (n, 2), into the box."""
        size = np.array([self.right - self.left, self.bottom - self.top])
        return np.asarray(points.astype(np.float64) * size + np.array([self.left, self.top]))


@dataclass(frozen=True, slots=True)
class Similarity:
    """``z -> turn * z + shift`` on complex numbers x + iy: scale, rotation and translation."""

    turn: complex
    shift: complex

    @classmethod
    def between(cls, source: Points, target: Points) -> "Similarity":
        """Return the least-squares transform of source onto target, both (n, 2).

        In two dimensions, Umeyama's solution (1991) without reflection is this quotient.
        """
        x, y = source.astype(np.float64).T
        u, v = target.astype(np.float64).T
        middle = complex(x.sum(), y.sum()) / len(x)
        x = x - middle.real
        y = y - middle.imag
        spread = float(x @ x + y @ y)
        turn = complex(x @ u + y @ v, x @ v - y @ u) / spread if spread else 1 + 0j
        return cls(turn, complex(u.sum(), v.sum()) / len(u) - turn * middle)

    def linear(self) -> npt.NDArray[np.float64]:
        """Return the 2x2 matrix of scale and rotation."""
        real = self.turn.real
        imaginary = self.turn.imag
        return np.array([[real, -imaginary], [imaginary, real]])

    def apply(self, points: Points) -> npt.NDArray[np.float64]:
        """Transform points of shape (n, 2)."""
        moved = points.astype(np.float64) @ self.linear().T
        return np.asarray(moved + np.array([self.shift.real, self.shift.imag]))
