"""Convert dlib's networks to ONNX with 8-bit weights and activations.

Weight scales are per channel, computed from the weights. Activation scales are fixed below, so
that no calibration is needed at installation. With a zero point of 0, the rounding of an unsigned
value is also its rectifier.
Source: Jacob et al., "Quantization and training of neural networks", CVPR 2018.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from biometrics.face.conversion.dlib_reader import ByteReader
from biometrics.face.conversion.networks import (
    BLOCKS,
    Convolution,
    convolve,
    detector_layers,
    embedder_layers,
    halving,
    pixels,
)
from biometrics.face.conversion.onnx_writer import UINT8, Graph

# Part of the cache key: any change below needs a new number.
CONVERTER_VERSION: Final = 3
_RANGES: Final[tuple[tuple[float, float], ...]] = (
    # The embedder's activations in order: the 99.99th percentile of 250 aligned faces.
    (0, 5.673),
    (0, 4.855),
    (-5.606, 4.007),
    (0, 7.369),
    (0, 4.919),
    (-6.871, 5.39),
    (0, 8.747),
    (0, 4.205),
    (-5.459, 6.611),
    (0, 11.38),
    (0, 4.314),
    (-4.116, 5.429),
    (0, 7.827),
    (0, 7.636),
    (0, 3.872),
    (-3.977, 5.199),
    (0, 8.612),
    (0, 3.578),
    (-4.462, 5.049),
    (0, 11.57),
    (0, 4.018),
    (-4.413, 5.182),
    (0, 12.59),
    (0, 4.098),
    (-3.245, 4.385),
    (0, 7.137),
    (0, 6.637),
    (0, 3.496),
    (-4.094, 4.194),
    (0, 6.001),
    (0, 4.537),
    (-5.212, 5.249),
    (0, 6.141),
    (0, 4.067),
    (-3.077, 3.844),
    (0, 3.454),
    (0, 5.576),
    (0, 3.036),
    (-4.035, 3.286),
    (0, 6.039),
    (0, 3.055),
    (-2.94, 2.546),
    (0, 6.165),
    (0, 5.003),
    (-2.898, 1.966),
    (0, 4.202),
    (0, 4.29),
)
_PEAKS: Final = (5.67, 5.87, 3.94, 3.54, 6.39, 13.2)
"""The largest activation of each layer of the detector in 51 pictures of faces."""
_LARGEST: Final = 127
_LARGEST_ANYWHERE: Final = 63
"""Of 7 bits: two products of 8 by 8 bits overflow the 16-bit accumulators of processors without
VNNI."""
_STEPS: Final = 255
_BLOCK: Final = 16
"""Channels are padded to a multiple of this, for which onnxruntime has its fastest kernels."""

Settle = Callable[[Graph, str, bool], tuple[str, float]]
"""Quantize a value (rectified or not); return it and its scale."""


def embedder(data: bytes, *, anywhere: bool) -> bytes:
    """Convert the residual network to 8 bits; otherwise as `networks.embedder`.

    Args:
        data: The file with the hash of weights.EMBEDDER.
        anywhere: Limit weights to 7 bits, for processors without VNNI.

    Raises:
        BadWeights: The file does not contain this network.
    """
    ranges = iter(_RANGES)

    def settle(graph: Graph, value: str, rectified: bool) -> tuple[str, float]:  # noqa: FBT001 - of the value
        low, high = next(ranges)
        scale = (high - (0.0 if rectified else low)) / _STEPS
        zero = 0 if rectified else round(-low / scale)
        return _rounded(graph, value, scale, zero), scale

    graph, value = _build(data, settle, _LARGEST_ANYWHERE if anywhere else _LARGEST)
    return graph.model(("chips", UINT8, ["n", 150, 150, 3]), value)


def detector(data: bytes) -> bytes:
    """Convert the max-margin face detector to ONNX.

    The first and last layers stay in 32 bits: with 3 and 1 channels, 8 bits are no faster.

    Args:
        data: The file with the hash of weights.DETECTOR.

    Returns:
        An ONNX model: uint8 (n, rows, columns, 3) BGR to float32 (n, 1, r, c); cell (r, c) scores
        the window of 80x80 pixels around (8c + 14, 8r + 14); above 0 it is a face.

    Raises:
        BadWeights: The file does not contain this network.
    """
    first, *middle, last = detector_layers(ByteReader(data))
    graph = Graph("detector")
    value = convolve(graph, pixels(graph, "picture"), first.normalized())
    scale = _PEAKS[0] / _STEPS
    value = _rounded(graph, value, scale, 0)
    for layer, peak in zip(middle, _PEAKS[1:], strict=True):
        value = _convolve(
            graph, value=value, scale=scale, layer=_filled(layer), largest=_LARGEST_ANYWHERE
        )
        scale = peak / _STEPS
        value = _rounded(graph, value, scale, 0)
    value = _in_two(graph, value, _filled(last))
    return graph.model(("picture", UINT8, ["n", "rows", "columns", 3]), value)


def _filled(layer: Convolution) -> Convolution:
    """Return a layer padded with empty channels; a single output stays single."""
    outputs, inputs = layer.weight.shape[:2]
    more_out = -outputs % _BLOCK if outputs > 1 else 0
    more_in = -inputs % _BLOCK
    weight = np.pad(layer.weight, ((0, more_out), (0, more_in), (0, 0), (0, 0)))
    return Convolution(weight, np.pad(layer.bias, (0, more_out)), layer.stride, layer.padding)


def _in_two(graph: Graph, value: str, layer: Convolution) -> str:
    """Add a convolution with one output as one along rows and one that sums the rows.

    A single output leaves kernels idle: split, it costs a quarter. Equal except for rounding.
    """
    side = layer.weight.shape[2]
    padding = layer.padding
    rows = np.zeros((_BLOCK, layer.weight.shape[1], 1, side), dtype=np.float32)
    rows[:side, :, 0] = layer.weight[0].transpose(1, 0, 2)
    adding = np.zeros((1, _BLOCK, side, 1), dtype=np.float32)
    adding[0, np.arange(side), np.arange(side), 0] = 1
    for weight, pads in ((rows, [0, padding, 0, padding]), (adding, [padding, 0, padding, 0])):
        bias = layer.bias if weight is adding else np.zeros(_BLOCK, dtype=np.float32)
        inputs = [value, graph.constant(weight), graph.constant(bias)]
        value = graph.node(
            "Conv", inputs, {"kernel_shape": weight.shape[2:], "strides": [1, 1], "pads": pads}
        )
    return value


def _build(data: bytes, settle: Settle, largest: int) -> tuple[Graph, str]:
    """Return the graph and its output, with each activation passed to `settle` in order."""
    layers, projection = embedder_layers(ByteReader(data))
    graph = Graph("embedder")
    turned = graph.node("Transpose", ["chips"], {"perm": [0, 3, 1, 2]})
    value = graph.node("DequantizeLinear", [turned, *_point(graph, 1.0, 0)], {})
    value, scale = settle(
        graph,
        _convolve(graph, value=value, scale=1.0, layer=layers[0].normalized(), largest=largest),
        True,
    )
    value = graph.node("MaxPool", [value], {"kernel_shape": [3, 3], "strides": [2, 2]})
    value = _rounded(graph, value, scale, 0)
    for (channels, halves), at in zip(BLOCKS, range(1, len(layers), 2), strict=True):
        pair = (layers[at], layers[at + 1])
        value, scale = _block(
            graph,
            source=(value, scale),
            pair=pair,
            widen=channels if halves else 0,
            how=(settle, largest),
        )
    value = graph.node("GlobalAveragePool", [value], {})
    value = graph.node("Flatten", [value], {})
    return graph, graph.node("MatMul", [value, graph.constant(projection)], {})


def _block(
    graph: Graph,
    *,
    source: tuple[str, float],
    pair: tuple[Convolution, Convolution],
    widen: int,
    how: tuple[Settle, int],
) -> tuple[str, float]:
    (value, scale) = source
    (settle, largest) = how
    inner, inner_scale = settle(
        graph, _convolve(graph, value=value, scale=scale, layer=pair[0], largest=largest), True
    )
    inner, _ = settle(
        graph,
        _convolve(graph, value=inner, scale=inner_scale, layer=pair[1], largest=largest),
        False,
    )
    if widen:
        skip = _convolve(
            graph,
            value=value,
            scale=scale,
            layer=halving(pair[0].weight.shape[1], widen),
            largest=largest,
        )
        value, _ = settle(graph, skip, True)
    if widen == BLOCKS[-1][0]:
        edges = graph.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], dtype=np.int64))
        inner = graph.node("Pad", [inner, edges], {})
    return settle(graph, graph.node("Add", [inner, value], {}), True)


def _convolve(graph: Graph, *, value: str, scale: float, layer: Convolution, largest: int) -> str:
    peaks = np.abs(layer.weight).max(axis=(1, 2, 3)).astype(np.float64)
    # An empty channel of a skip has no peak; any scale preserves its zeros.
    steps = np.where(peaks > 0, peaks, 1.0) / largest
    weight = np.rint(layer.weight / steps[:, None, None, None]).astype(np.int8)
    bias = np.rint(layer.bias / (steps * scale)).astype(np.int32)
    parts = [
        _opened(graph, graph.constant(weight), steps, np.int8),
        _opened(graph, graph.constant(bias), steps * scale, np.int32),
    ]
    side = layer.weight.shape[2]
    attributes = {
        "kernel_shape": [side, side],
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
    }
    return graph.node("Conv", [value, *parts], attributes)


def _opened(graph: Graph, name: str, steps: np.ndarray, kind: type[np.int8 | np.int32]) -> str:
    scales = graph.constant(steps.astype(np.float32))
    none = np.zeros(len(steps))
    zeros = graph.constant(none.astype(np.int8) if kind is np.int8 else none.astype(np.int32))
    return graph.node("DequantizeLinear", [name, scales, zeros], {"axis": 0})


def _rounded(graph: Graph, value: str, scale: float, zero: int) -> str:
    rounded = graph.node("QuantizeLinear", [value, *_point(graph, scale, zero)], {})
    return graph.node("DequantizeLinear", [rounded, *_point(graph, scale, zero)], {})


def _point(graph: Graph, scale: float, zero: int) -> list[str]:
    return [
        graph.constant(np.array(scale, dtype=np.float32)),
        graph.constant(np.array(zero, dtype=np.uint8)),
    ]
