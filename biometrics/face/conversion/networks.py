"""Read dlib's two networks, with every normalization folded into the convolutions.

The embedder becomes 32-bit ONNX here; `quantized` makes 8-bit networks, always for the detector.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.face.arrays import Floats
from biometrics.face.conversion.dlib_reader import ByteReader
from biometrics.face.conversion.onnx_writer import FLOAT, UINT8, Graph
from biometrics.face.errors import BadWeights

# Part of the cache key: any change below needs a new number.
CONVERTER_VERSION: Final = 1
_MEAN: Final = np.array([122.782, 117.001, 104.298])
_SCALE: Final = 256.0
_EPSILON: Final = 1e-4
# The shapes of gamma and beta: a version and four sizes each.
_ALIAS_INTEGERS: Final = 5
_RESNET_CONVOLUTIONS: Final = 29
_MMOD_CONVOLUTIONS: Final = 7
# Groups of equal blocks, first to last; True if the block halves the picture.
BLOCKS: Final = (
    [(32, False)] * 3
    + [(64, True)]
    + [(64, False)] * 3
    + [(128, True)]
    + [(128, False)] * 2
    + [(256, True)]
    + [(256, False)] * 2
    + [(256, True)]
)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with all following normalization folded in.

    Args:
        weight: float32, (out, in, rows, columns).
        bias: float32, (out,).
        stride: Equal in both directions.
        padding: Equal on all sides.
    """

    weight: Floats
    bias: Floats
    stride: int
    padding: int

    def scaled(self, gamma: Floats, beta: Floats) -> "Convolution":
        """Return this convolution followed by ``gamma * x + beta`` for each channel."""
        weight = self.weight * gamma[:, None, None, None]
        return Convolution(weight, self.bias * gamma + beta, self.stride, self.padding)

    def normalized(self) -> "Convolution":
        """Return this convolution for BGR bytes 0..255 instead of dlib's normalized RGB."""
        weight = self.weight.astype(np.float64) / _SCALE
        bias = self.bias - np.einsum("oirc,i->o", weight, _MEAN)
        bgr = np.ascontiguousarray(weight[:, ::-1], dtype=np.float32)
        return Convolution(bgr, bias.astype(np.float32), self.stride, self.padding)


def embedder(data: bytes) -> bytes:
    """Convert the residual network of 29 convolutions to ONNX.

    Args:
        data: The file with the hash of weights.EMBEDDER.

    Returns:
        An ONNX model: uint8 (n, 150, 150, 3) BGR to float32 (n, 128), not normalized.

    Raises:
        BadWeights: The file does not contain this network.
    """
    layers, projection = embedder_layers(ByteReader(data))
    graph = Graph("embedder")
    value = convolve(graph, pixels(graph, "chips"), layers[0].normalized())
    value = graph.node("Relu", [value], {})
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    value = graph.node("MaxPool", [value], window)
    for (channels, halves), at in zip(BLOCKS, range(1, _RESNET_CONVOLUTIONS, 2), strict=True):
        value = _block(graph, value, (layers[at], layers[at + 1]), channels if halves else 0)
    value = graph.node("GlobalAveragePool", [value], {})
    value = graph.node("Flatten", [value], {})
    value = graph.node("MatMul", [value, graph.constant(projection)], {})
    return graph.model(("chips", UINT8, ["n", 150, 150, 3]), value)


def pixels(graph: Graph, source: str) -> str:
    """Add nodes that convert bytes (n, rows, columns, 3) to float32 (n, 3, rows, columns)."""
    numbers = graph.node("Cast", [source], {"to": FLOAT})
    return graph.node("Transpose", [numbers], {"perm": [0, 3, 1, 2]})


def convolve(graph: Graph, value: str, layer: Convolution) -> str:
    """Add a 32-bit convolution."""
    side = layer.weight.shape[2]
    attributes = {
        "kernel_shape": [side, side],
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
    }
    inputs = [value, graph.constant(layer.weight), graph.constant(layer.bias)]
    return graph.node("Conv", inputs, attributes)


def _block(graph: Graph, value: str, pair: tuple[Convolution, Convolution], widen: int) -> str:
    """Add one residual block; ``widen`` is the number of channels if it halves the picture."""
    inner = graph.node("Relu", [convolve(graph, value, pair[0])], {})
    inner = convolve(graph, inner, pair[1])
    if widen:
        value = convolve(graph, value, halving(pair[0].weight.shape[1], widen))
    if widen == BLOCKS[-1][0]:
        # With an even side the block is one smaller than its skip; dlib pads with zeros.
        edges = graph.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], dtype=np.int64))
        inner = graph.node("Pad", [inner, edges], {})
    return graph.node("Relu", [graph.node("Add", [inner, value], {})], {})


def halving(channels: int, widen: int) -> Convolution:
    """Return a 2x2 average pool that also appends empty channels, as one convolution."""
    weight = np.zeros((widen, channels, 2, 2), dtype=np.float32)
    weight[np.arange(channels), np.arange(channels)] = 0.25
    return Convolution(weight, np.zeros(widen, dtype=np.float32), stride=2, padding=0)


def embedder_layers(reader: ByteReader) -> tuple[list[Convolution], Floats]:
    """Return the 29 convolutions with normalization folded in, and the projection."""
    layers = []
    channels = 3
    for _ in range(_RESNET_CONVOLUTIONS):
        layer = _read_convolution(reader, channels)
        reader.skip_past(b"affine_")
        layers.append(layer.scaled(*_halves(reader.tensor())))
        channels = len(layer.bias)
    reader.skip_past(b"fc_2")
    outputs = reader.integer()
    inputs = reader.integer()
    return layers, _shaped(reader.tensor(), (inputs, outputs))


def detector_layers(reader: ByteReader) -> list[Convolution]:
    """Return the 7 convolutions of the face detector with normalization folded in."""
    layers = []
    channels = 3
    for _ in range(_MMOD_CONVOLUTIONS - 1):
        layer = _read_convolution(reader, channels)
        layers.append(layer.scaled(*_read_batch_norm(reader)))
        channels = len(layer.bias)
    return [*layers, _read_convolution(reader, channels)]


def _read_convolution(reader: ByteReader, channels: int) -> Convolution:
    reader.skip_past(b"con_4")
    numbers = reader.tensor().ravel()
    filters, rows, columns, down, across, top, left = (reader.integer() for _ in range(7))
    if (rows, down, top) != (columns, across, left) or not 0 < filters <= len(numbers):
        raise BadWeights("a convolution is not square")
    weight = _shaped(numbers[:-filters], (filters, channels, rows, columns))
    return Convolution(weight, numbers[-filters:], down, top)


def _read_batch_norm(reader: ByteReader) -> tuple[Floats, Floats]:
    """Return the scale and shift of a batch norm with fixed statistics."""
    reader.skip_past(b"bn_con2")
    gamma, beta = _halves(reader.tensor())
    for _ in range(2 * _ALIAS_INTEGERS):
        reader.integer()
    # The means and deviations of the last training batch come first and are unused.
    _, _, mean, variance = (reader.tensor().ravel() for _ in range(4))
    if not len(gamma) == len(mean) == len(variance):
        raise BadWeights("a batch norm has parts of different length")
    scale = gamma / np.sqrt(variance.astype(np.float64) + _EPSILON)
    return scale.astype(np.float32), (beta - scale * mean).astype(np.float32)


def _halves(parameters: Floats) -> tuple[Floats, Floats]:
    flat = parameters.ravel()
    return flat[: len(flat) // 2], flat[len(flat) // 2 :]


def _shaped(numbers: Floats, shape: tuple[int, ...]) -> Floats:
    try:
        return numbers.reshape(shape)
    except ValueError:
        raise BadWeights(f"a layer does not have the shape {shape}") from None
