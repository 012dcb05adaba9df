"""Convolution, pooling and what else knows channels first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ironlearn.io.onnx.reading.builder import Builder, one_number
from ironlearn.io.onnx.reading.file import Node
from ironlearn.io.onnx.reading.operators import attention
from ironlearn.io.onnx.reading.values import Value, regroup
from ironlearn.nn import layers as L
from ironlearn.nn.layers.conv import explicit_padding

_NONE = ((0, 0), (0, 0))


def _images(b: Builder, node: Node) -> tuple[Value, list[int], int]:
    """Return the input as images, which file axes theirs are, and how many cell axes there are.

    Sequences become images of height 1.
    """
    value = b.value(node.given(0))
    cells = value.rank - 2
    if cells not in (1, 2):
        raise node.refuse(
            f"its input has the shape {value.shape}; images have four axes, sequences three."
        )
    value = b.channels_last(value)
    if None in value.inner:
        raise node.refuse(
            f"it needs to know every length of {value.inner}; give input_shape to from_onnx."
        )
    return value, [0, *range(2, value.rank), 1], cells


def _pairs(node: Node, name: str, cells: int, default: int) -> tuple[int, int]:
    """Return one number for each axis of an image from an attribute."""
    found = node.get(name, (default,) * cells)
    if len(found) != cells or min(found, default=1) < 1 or max(found, default=1) > 1 << 30:
        raise node.refuse(f"{name}={found} does not fit {cells} axes.")
    whole = (*([1] if cells == 1 else []), *found)
    return whole[0], whole[1]


def _padding(
    node: Node, cells: int, size: tuple[int, int], kernel: Any, stride: Any, apart: Any
) -> Any:
    """Return zeros before and after both axes of an image."""
    mode = node.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return _NONE
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = explicit_padding("same", size, kernel, stride, apart)
        lower = tuple((after, before) for before, after in pads)
        return pads if mode == "SAME_UPPER" else lower
    if mode != "NOTSET":
        raise node.refuse(f"auto_pad={mode!r} is not supported.")
    found = node.get("pads", (0,) * (2 * cells))
    if len(found) != 2 * cells or min(found) < 0 or max(found) > 1 << 30:
        raise node.refuse(f"pads={found} does not fit {cells} axes.")
    pairs = tuple(zip(found[:cells], found[cells:], strict=True))
    return (*([(0, 0)] if cells == 1 else []), *pairs)


def _as_images(b: Builder, value: Value) -> Value:
    """Return sequences (N, T, C) as images (N, 1, T, C)."""
    if len(value.inner) == 3:
        return value
    steps, channels = value.inner
    # The file's axes stay as they are: 0, 2 and 1.
    return b.add(L.Reshape((1, int(steps or 0), int(channels or 0))), [value], [0, None, 2, 1])


def conv(b: Builder, node: Node) -> Value:
    """Conv."""
    value, order, cells = _images(b, node)
    kernel = b.weights(node.given(1), "the kernel", cells + 2)
    size: Any = value.inner[:-1] if cells == 2 else (1, value.inner[0])
    groups, filters = node.get("group", 1), len(kernel)
    strides = _pairs(node, "strides", cells, 1)
    dilations = _pairs(node, "dilations", cells, 1)
    if cells == 1:
        kernel = kernel[:, :, None]
    shape = (kernel.shape[2], kernel.shape[3])
    padding = _padding(node, cells, size, shape, strides, dilations)
    if node.get("kernel_shape", shape[2 - cells :]) != shape[2 - cells :]:
        raise node.refuse("kernel_shape is not that of the kernel.")
    channels = value.inner[-1]
    if groups < 1 or kernel.shape[1] * groups != channels or filters % groups or not filters:
        raise node.refuse(
            f"a kernel of the shape {kernel.shape} in {groups} groups does not fit {channels} "
            "channels."
        )
    arrays = {"kernel": kernel.transpose(2, 3, 1, 0)}
    if node.given(2):
        arrays["bias"] = _vector(b, node, 2, "the bias", filters)
    bias = "bias" in arrays
    name = _name_of(padding, size, shape, strides, dilations)
    if cells == 1 and isinstance(name, str):
        layer: Any = L.Conv1D(
            filters,
            shape[1],
            strides[1],
            name,
            use_bias=bias,
            dilation_rate=dilations[1],
            groups=groups,
        )
        return b.add(layer, [value], order, {f"_conv.{k}": v for k, v in arrays.items()})
    if name == "causal":
        name = padding
    layer = L.Conv2D(
        filters,
        shape,
        strides,
        name,
        use_bias=bias,
        dilation_rate=dilations,
        groups=groups,
    )
    images = _as_images(b, value)
    return b.add(layer, [images], order if cells == 2 else [0, None, 2, 1], arrays)


def _name_of(padding: Any, size: Any, kernel: Any, strides: Any, dilations: Any) -> Any:
    """Return what a layer calls this padding."""
    if padding == _NONE:
        return "valid"
    if padding == explicit_padding("same", size, kernel, strides, dilations):
        return "same"
    if padding == ((0, 0), (dilations[1] * (kernel[1] - 1), 0)):
        return "causal"
    return padding


def _vector(b: Builder, node: Node, place: int, what: str, width: int | None) -> Any:
    vector = b.weights(node.given(place), what, 1)
    if len(vector) != width:
        raise node.refuse(f"{what} has {len(vector)} numbers instead of {width}.")
    return vector


def conv_transpose(b: Builder, node: Node) -> Value:
    """ConvTranspose, of images and with the geometry of `Conv2DTranspose`."""
    value, order, cells = _images(b, node)
    if cells != 2:
        raise node.refuse("of sequences it is not supported.")
    node.expect(group=1, dilations=(1, 1), auto_pad="NOTSET")
    kernel = b.weights(node.given(1), "the kernel", 4)
    if kernel.shape[0] != value.inner[-1]:
        raise node.refuse(f"a kernel of the shape {kernel.shape} does not fit {value.inner}.")
    strides = _pairs(node, "strides", 2, 1)
    pads = _padding(node, 2, (1, 1), (1, 1), (1, 1), (1, 1))
    rest = node.get("output_padding", (0, 0))
    if node.attributes.get("output_shape"):
        raise node.refuse("output_shape is not supported.")
    arrays = {"kernel": kernel.transpose(2, 3, 1, 0)}
    filters = kernel.shape[1]
    if node.given(2):
        arrays["bias"] = _vector(b, node, 2, "the bias", filters)
    shape = (kernel.shape[2], kernel.shape[3])
    height, width = (int(n or 0) for n in value.inner[:2])
    for name in ("valid", "same"):
        layer = L.Conv2DTranspose(filters, shape, strides, name, use_bias="bias" in arrays)
        out, padding = layer._geometry((height, width))
        ends = tuple(
            o - (n - 1) * s - k + before + after
            for o, n, s, k, (before, after) in zip(
                out, (height, width), strides, shape, padding, strict=True
            )
        )
        if padding == pads and ends == rest:
            return b.add(layer, [value], order, arrays)
    raise node.refuse(
        f"pads={pads} with output_padding={rest} is the geometry of no layer: 'valid' and 'same' "
        "are."
    )


def pool(b: Builder, node: Node) -> Value:
    """MaxPool and AveragePool."""
    value, order, cells = _images(b, node)
    if "kernel_shape" not in node.attributes:
        raise node.refuse("it has no kernel_shape.")
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.refuse("the places of maxima are not given.")
    node.expect(storage_order=0, dilations=(1,) * cells)
    shape = _pairs(node, "kernel_shape", cells, 1)
    strides = _pairs(node, "strides", cells, 1)
    size: Any = value.inner[:-1] if cells == 2 else (1, value.inner[0])
    padding = _padding(node, cells, size, shape, strides, (1, 1))
    if node.get("ceil_mode", 0) and any(
        (n + sum(pads) - k) % s for n, pads, k, s in zip(size, padding, shape, strides, strict=True)
    ):
        raise node.refuse("ceil_mode=1 makes a difference here, and is not supported.")
    average = node.kind == "AveragePool"
    name = _name_of(padding, size, shape, strides, (1, 1))
    if average and padding != _NONE and node.get("count_include_pad", 0):
        padded = b.add(L.ZeroPad2D(padding), [_as_images(b, value)], _seen(cells))
        return b.add(L.AvgPool2D(shape, strides), [padded], _seen(cells))
    if cells == 1 and name in ("valid", "same"):
        kind: Any = L.AvgPool1D if average else L.MaxPool1D
        return b.add(kind(shape[1], strides[1], name), [value], order)
    kind = L.AvgPool2D if average else L.MaxPool2D
    layer = kind(shape, strides, padding if name == "causal" else name)
    return b.add(layer, [_as_images(b, value)], _seen(cells))


def _seen(cells: int) -> list[int | None]:
    """Return which file axes those of images are."""
    return [0, 2, 3, 1] if cells == 2 else [0, None, 2, 1]


def global_pool(b: Builder, node: Node) -> Value:
    """GlobalAveragePool and GlobalMaxPool."""
    value = b.value(node.given(0))
    kinds: Any = {
        "GlobalAveragePool": (L.GlobalAvgPool1D, L.GlobalAvgPool2D),
        "GlobalMaxPool": (L.GlobalMaxPool1D, L.GlobalMaxPool2D),
    }[node.kind]
    if value.rank not in (3, 4):
        raise node.refuse(f"its input has the shape {value.shape}.")
    rank = value.rank
    value = b.channels_last(value)
    return b.add(kinds[rank - 3](), [value], [0, 1], rank=rank)


def reduce(b: Builder, node: Node) -> Value:
    """ReduceMean and ReduceMax, over all axes but the batch's and one."""
    value = b.value(node.given(0))
    rank = value.rank
    if node.given(1):
        axes = b.integers(node.given(1), "axes")
    else:
        axes = list(node.get("axes", ()))
    gone = {b.axis(axis, rank) for axis in axes}
    batch = value.batch()
    left = [axis for axis in range(rank) if axis not in gone]
    if rank not in (3, 4) or batch not in left or len(left) != 2:
        raise node.refuse(
            f"over the axes {sorted(gone)} of the shape {value.shape} it is not supported: a mean "
            "or maximum is over all axes but the batch's and one."
        )
    (kept,) = (axis for axis in left if axis != batch)
    mean = node.kind == "ReduceMean"
    kinds: Any = (L.GlobalAvgPool1D, L.GlobalAvgPool2D)
    if not mean:
        kinds = (L.GlobalMaxPool1D, L.GlobalMaxPool2D)
    order = b.first_and_last(value, kept)
    value = b.arrange(value, order)
    made = b.add(kinds[rank - 3](), [value], [batch, kept], rank=rank)
    if node.get("keepdims", 1):
        return made
    return made.seen([axis for place, axis in enumerate(made.view) if place in left])


def batch_norm(b: Builder, node: Node) -> Value:
    """BatchNormalization."""
    value = b.value(node.given(0))
    node.expect(training_mode=0, spatial=1)
    if value.rank < 2:
        raise node.refuse(f"its input has the shape {value.shape}.")
    order = [0, *range(2, value.rank), 1]
    value = b.arrange(value, order)
    names = ("gamma", "beta", "running_mean", "running_var")
    width = value.inner[-1]
    arrays = {name: _vector(b, node, place, name, width) for place, name in enumerate(names, 1)}
    if (arrays["running_var"] < 0).any():
        raise node.refuse("it has a negative variance.")
    eps, momentum = node.get("epsilon", 1e-5), node.get("momentum", 0.9)
    if not eps > 0 or not 0 <= momentum < 1:
        raise node.refuse(f"epsilon={eps} or momentum={momentum} is not supported.")
    return b.add(L.BatchNorm(momentum, eps), [value], order, arrays)


def group_norm(b: Builder, node: Node) -> Value:
    """InstanceNormalization and GroupNormalization."""
    value = b.channels_last(b.value(node.given(0)))
    channels = value.inner[-1] or 0
    groups = channels if node.kind == "InstanceNormalization" else node.get("num_groups", 0)
    if groups < 1 or channels % groups:
        raise node.refuse(f"{groups} groups do not divide {channels} channels.")
    arrays = {}
    for place, name in ((1, "gamma"), (2, "beta")):
        vector = b.weights(node.given(place), name, 1)
        # Before opset 21 there is one number for each group.
        if len(vector) == groups != channels:
            b.take(channels)
            vector = np.repeat(vector, channels // groups)
        if len(vector) != channels:
            raise node.refuse(f"{name} has {len(vector)} numbers for {channels} channels.")
        arrays[name] = vector
    order = [0, *range(2, value.rank), 1]
    return b.add(L.GroupNorm(groups, node.get("epsilon", 1e-5)), [value], order, arrays)


def pad(b: Builder, node: Node) -> Value:
    """Pad, with zeros around images; which axes get some tells where the channels are."""
    value = b.value(node.given(0))
    node.expect(mode="constant")
    if value.rank != 4 or node.given(3):
        raise node.refuse(f"of the shape {value.shape} it is not supported, only of images.")
    if node.given(1):
        pads = b.integers(node.given(1), "pads")
        filler = one_number(b.constants.get(node.given(2))) if node.given(2) else 0.0
    else:
        pads, filler = list(node.get("pads", ())), node.get("value", 0.0)
    order = [0, 2, 3, 1]
    if len(pads) == 8 and (pads[1] or pads[5]):
        order = [0, 1, 2, 3]
    still = (order[0], order[3])
    if (
        len(pads) != 8
        or filler != 0
        or any(pads[axis] or pads[axis + 4] for axis in still)
        or not 0 <= min(pads) <= max(pads) <= 1 << 30
    ):
        raise node.refuse(f"only zeros around images are put, got pads={pads} of {filler}.")
    high, wide = ((pads[axis], pads[axis + 4]) for axis in order[1:3])
    return b.add(L.ZeroPad2D((high, wide)), [b.arrange(value, order)], order)


def resize(b: Builder, node: Node) -> Value:
    """Resize and Upsample: each cell several times."""
    value, order, cells = _images(b, node)
    if cells != 2:
        raise node.refuse("of sequences it is not supported.")
    node.expect(mode="nearest")
    ways = {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("pytorch_half_pixel", "round_prefer_floor"),
    }
    if node.kind == "Resize":
        way = (
            node.get("coordinate_transformation_mode", "half_pixel"),
            node.get("nearest_mode", "round_prefer_floor"),
        )
        if b.opset > 10 and way not in ways:
            raise node.refuse(f"the nearest cell is looked for by {way}, which is not supported.")
    scales = _scales(b, node, value)
    times = [round(scale) for scale in scales]
    if len(times) != 4 or times[:2] != [1, 1] or min(times) < 1 or max(times) > 1 << 15:
        raise node.refuse(f"images become {scales} times larger, which is not supported.")
    if any(abs(scale - whole) > 1e-6 for scale, whole in zip(scales, times, strict=True)):
        raise node.refuse(f"images become {scales} times larger, which are no whole numbers.")
    return b.add(L.UpSample2D((times[2], times[3])), [value], order)


def _scales(b: Builder, node: Node, value: Value) -> list[float]:
    place = 1 if node.kind == "Upsample" or b.opset < 11 else 2
    if node.given(place) and b.constant(node.given(place), "scales").size:
        return [float(v) for v in b.constant(node.given(place), "scales").ravel()[:5]]
    if "scales" in node.attributes:
        return list(node.get("scales", ()))
    sizes = b.integers(node.given(3), "sizes")
    height, width, channels = (int(n or 0) for n in value.inner)
    now = (sizes[0] or 1, channels, height, width)
    return [float(size / max(1, one)) for size, one in zip(sizes, now, strict=False)]


def depth_to_space(b: Builder, node: Node) -> Value:
    """DepthToSpace: in the order DCR a layer, in the order CRD a matter of views."""
    value = b.value(node.given(0))
    r = node.get("blocksize", 0)
    if value.rank != 4 or r < 1 or (value.shape[1] or 1) % (r * r):
        raise node.refuse(f"blocksize={r} does not fit the shape {value.shape}.")
    mode = node.get("mode", "DCR")
    if mode == "DCR":
        return b.add(L.PixelShuffle(r), [b.channels_last(value)], [0, 2, 3, 1])
    if mode != "CRD":
        raise node.refuse(f"mode={mode!r} is not supported.")
    value = b.channels_last(value)
    channels = int(value.shape[1] or 0) // (r * r)
    height, width = (int(n or 0) for n in value.shape[2:])
    try:
        apart = regroup(value, [0, channels, r, r, height, width])
    except ValueError as error:
        raise node.refuse(f"it {error}.") from error
    n, c, i, j, rows, columns = apart.view
    return apart.seen([n, c, rows + i, columns + j])


def softmax(b: Builder, node: Node) -> Any:
    """Softmax, over one axis."""
    found = b.symbols.get(node.given(0))
    if isinstance(found, attention.Scores):
        return attention.weighted(b, node, found, node.get("axis", -1 if b.opset >= 13 else 1))
    value = b.value(node.given(0))
    axis = b.axis(node.get("axis", -1 if b.opset >= 13 else 1), value.rank)
    if b.opset < 13 and math.prod(n or 2 for n in value.shape[axis + 1 :]) != 1:
        raise node.refuse("over several axes it is not supported.")
    order = b.first_and_last(value, axis)
    return b.add(L.Activation("softmax"), [b.arrange(value, order)], order)


OPERATORS = {
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "GroupNormalization": group_norm,
    "InstanceNormalization": group_norm,
    "MaxPool": pool,
    "Pad": pad,
    "ReduceMax": reduce,
    "ReduceMean": reduce,
    "Resize": resize,
    "Softmax": softmax,
    "Upsample": resize,
}
