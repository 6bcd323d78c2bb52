"""Write the few kinds of ONNX nodes that the two networks need, as protobuf bytes.

The field numbers are those of ``onnx.proto3`` (ONNX 1.x, IR version 8, operator set 13); only the
needed messages are implemented. The package ``onnx`` is 16 MB and would be used once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

IR_VERSION: Final = 8
OPERATOR_SET: Final = 13
FLOAT: Final = 1
UINT8: Final = 2
INT8: Final = 3
INT32: Final = 6
INT64: Final = 7
_ATTRIBUTE_INT: Final = 2
_SEVEN_BITS: Final = 0x7F
_ATTRIBUTE_INTS: Final = 7
_TYPES: Final = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int32": INT32, "int64": INT64}

Attributes = Mapping[str, int | Sequence[int]]
Array = (
    npt.NDArray[np.float32]
    | npt.NDArray[np.uint8]
    | npt.NDArray[np.int8]
    | npt.NDArray[np.int32]
    | npt.NDArray[np.int64]
)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > _SEVEN_BITS:
        out.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)
    return _text(1, name) + b"".join(_number(8, v) for v in value) + _number(20, _ATTRIBUTE_INTS)


def _tensor(name: str, array: Array) -> bytes:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    axes = b"".join(_number(1, size) for size in array.shape)
    kind = _number(2, _TYPES[array.dtype.name])
    return axes + kind + _text(8, name) + _bytes(9, little.tobytes())


def _value(name: str, element: int, axes: Iterable[int | str]) -> bytes:
    dims = (_number(1, a) if isinstance(a, int) else _text(2, a) for a in axes)
    shape = b"".join(_bytes(1, dim) for dim in dims)
    kind = _bytes(1, _number(1, element) + _bytes(2, shape))
    return _text(1, name) + _bytes(2, kind)


@dataclass(slots=True)
class Graph:
    """An ONNX network under construction: its nodes in order and their constants."""

    name: str
    _nodes: list[bytes] = field(default_factory=list)
    _constants: list[bytes] = field(default_factory=list)
    _count: int = 0

    def constant(self, array: Array) -> str:
        """Add a constant and return its name."""
        name = self._fresh("c")
        self._constants.append(_bytes(5, _tensor(name, array)))
        return name

    def node(self, operator: str, inputs: Sequence[str], attributes: Attributes) -> str:
        """Add an operation with one output and return the output name."""
        output = self._fresh("v")
        parts = [_text(1, name) for name in inputs]
        parts += [_text(2, output), _text(3, output), _text(4, operator)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(_bytes(1, b"".join(parts)))
        return output

    def model(self, source: tuple[str, int, Sequence[int | str]], output: str) -> bytes:
        """Return the encoded model.

        Args:
            source: Name, element type and axes of the only input; an axis given as text is dynamic.
            output: Name of the only output, float32; the reader infers its shape.
        """
        out = _text(1, output) + _bytes(2, _bytes(1, _number(1, FLOAT)))
        graph = b"".join(self._nodes) + _text(2, self.name) + b"".join(self._constants)
        graph += _bytes(11, _value(*source)) + _bytes(12, out)
        header = _number(1, IR_VERSION) + _text(2, "lamina")
        return header + _bytes(7, graph) + _bytes(8, _number(2, OPERATOR_SET))

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"
