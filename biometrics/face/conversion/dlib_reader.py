"""Read the primitives of dlib's weight files, bounded by the file size, not by its content.

An integer is one control byte (low 4 bits: how many bytes follow, 0x80: negative) and a
little-endian magnitude. A float is a mantissa and an exponent of two, both integers. A tensor is
the integer 2, four sizes, and raw little-endian float32. A name is its length and its letters.
Source: dlib 19/20, ``serialize.h`` and ``cuda/tensor_tools.cpp``.
"""

from array import array
from typing import Final, NoReturn

import numpy as np

from biometrics.face.arrays import Floats, Integers
from biometrics.face.errors import BadWeights

_SIZE_BITS: Final = 0x0F
_SIGN_BIT: Final = 0x80
_INTEGER_BYTES: Final = 8
_TENSOR_VERSION: Final = 2
_TENSOR_AXES: Final = 4
# The widest layer in use has 589,824 parameters; over a hundred times that is a broken file.
_MOST_ELEMENTS: Final = 1 << 26

_LARGEST_EXPONENT: Final = 200


class ByteReader:
    """A cursor over the bytes of one file.

    Every method raises BadWeights if the bytes do not match, and never reads past the end.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def remaining(self) -> int:
        """The number of unread bytes."""
        return len(self._data) - self._at

    def raw(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        if not 0 <= size <= self.remaining:
            self._fail("the file ends too early")
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def integer(self) -> int:
        """Return the next integer, of at most 8 bytes."""
        control = self.raw(1)[0]
        size = control & _SIZE_BITS
        if not 0 < size <= _INTEGER_BYTES or control & ~(_SIZE_BITS | _SIGN_BIT):
            self._fail("this is no integer")
        magnitude = int.from_bytes(self.raw(size), "little")
        return -magnitude if control & _SIGN_BIT else magnitude

    def tensor(self) -> Floats:
        """Return the next tensor, float32, with axes (samples, channels, rows, columns)."""
        if self.integer() != _TENSOR_VERSION:
            self._fail("this is no tensor")
        axes = [self.integer() for _ in range(_TENSOR_AXES)]
        count = 1
        for axis in axes:
            count *= axis if 0 <= axis <= _MOST_ELEMENTS else _MOST_ELEMENTS + 1
        if count > _MOST_ELEMENTS:
            self._fail("the tensor is too large")
        return np.frombuffer(self.raw(4 * count), dtype="<f4").reshape(axes)

    def skip_past(self, name: bytes) -> None:
        """Move past the next layer of this name, which dlib writes with its length before it.

        Raw numbers cannot be mistaken for a name: the hash of the whole file is checked first.
        """
        tag = bytes((1, len(name))) + name
        at = self._data.find(tag, self._at)
        if at < 0:
            self._fail(f"no {name.decode()} follows")
        self._at = at + len(tag)

    def _fail(self, what: str) -> NoReturn:
        raise BadWeights(f"{what}, at byte {self._at}")


def integers(data: bytes) -> Integers:
    """Decode a file that consists of integers only, as dlib's shape predictors do.

    Returns:
        All integers in order. Decoding is vectorized: two and a half million take a third of a
        second.

    Raises:
        BadWeights: Some bytes are not an integer, or the last one is incomplete.
    """
    starts = _starts(data)
    raw = np.frombuffer(data, dtype=np.uint8)
    control = raw[starts]
    sizes = control & _SIZE_BITS
    wrong = (sizes == 0) | (sizes > _INTEGER_BYTES) | ((control & 0x70) != 0)
    if wrong.any():
        raise BadWeights(f"this is no integer, at byte {starts[int(wrong.argmax())]}")
    values = np.zeros(len(starts), dtype=np.int64)
    for place in range(int(sizes.max(initial=0))):
        has = sizes > place
        values[has] |= raw[starts[has] + 1 + place].astype(np.int64) << (8 * place)
    if (values < 0).any():
        raise BadWeights("an integer is out of range")
    return np.where(control & _SIGN_BIT, -values, values)


def _starts(data: bytes) -> Integers:
    """Return the offset of each integer."""
    starts = array("q")
    at = 0
    end = len(data)
    while at < end:
        starts.append(at)
        at += 1 + (data[at] & _SIZE_BITS)
    if at != end:
        raise BadWeights(f"the file ends too early, at byte {end}")
    return np.array(starts, dtype=np.int64)


def floats(pairs: Integers) -> Floats:
    """Combine alternating mantissas and exponents to floats, shape (n,).

    Raises:
        BadWeights: An exponent is outside the range of float32.
    """
    mantissas = pairs[0::2]
    exponents = pairs[1::2]
    if len(mantissas) != len(exponents) or (np.abs(exponents) > _LARGEST_EXPONENT).any():
        raise BadWeights("this is no float")
    return np.ldexp(mantissas.astype(np.float64), exponents.astype(np.int32)).astype(np.float32)
