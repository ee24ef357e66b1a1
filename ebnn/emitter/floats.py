"""The lowerings that compute BatchNorm in float: `reference` and `unfused`.

Both use the same constants: weights as dense bits, BatchNorm as mean, scale and beta.
"""

from __future__ import annotations

import numpy as np

from ebnn.architecture import ConvPool, fan_in
from ebnn.emitter.c_text import array, struct, window
from ebnn.emitter.layout import dense_layout, input_layout
from ebnn.emitter.program import Head, Program, Step
from ebnn.lowered import HeadLayer, HiddenLayer, LoweredNetwork
from ebnn.packing import pack_dense

_REFERENCE = ("reference.c",)
_UNFUSED = ("unfused.c",)


def reference_program(network: LoweredNetwork) -> Program:
    """The paper's computation: a block at a time, one float temporary, all else in bits."""
    layout = input_layout(network.architecture.input)
    steps = []
    for index, layer in enumerate(network.hidden):
        declarations, parameter_bytes = _constants(index, layer, layout.c_name)
        written = dense_layout(layer.out_shape)
        kernel = "conv" if isinstance(layer.block, ConvPool) else "fc"
        steps.append(
            Step(
                title=str(layer.block),
                declarations=declarations,
                call=f"ebnn_reference_{kernel}(&block{index}, {{input}}, {{output}});",
                output_bytes=-(-int(np.prod(layer.out_shape)) // 8),
                kernels=_REFERENCE,
                region=f"ebnn_reference_{kernel}",
                parameter_bytes=parameter_bytes,
                block=index,
                layout=written,
            )
        )
        layout = written
    index = len(network.hidden)
    declarations, parameter_bytes = _constants(index, network.head, layout.c_name)
    head = Head(
        title=f"{network.head.block}, argmax",
        declarations=declarations,
        call=f"ebnn_reference_head(&block{index}, {{input}}, scores)",
        kernels=_REFERENCE,
        region="ebnn_reference_head",
        parameter_bytes=parameter_bytes,
    )
    return Program("reference", "uint8_t", 1, tuple(steps), head)


def unfused_program(network: LoweredNetwork) -> Program:
    """Layer by layer, as a framework runs it: every layer's result is a map of floats."""
    spec = network.architecture.input
    layout = input_layout(spec).c_name
    count = int(np.prod(spec.shape))
    steps = [
        Step(
            title="input as floats",
            declarations="",
            call=f"ebnn_unfused_input({{input}}, {layout}, {count}u, {{output}});",
            output_bytes=4 * count,
            kernels=_UNFUSED,
            region="ebnn_unfused_input",
        )
    ]
    for index, layer in enumerate(network.hidden):
        steps += _unfused_block(index, layer)
    index = len(network.hidden)
    classes = network.architecture.classes
    declarations, parameter_bytes = _constants(index, network.head, "EBNN_DENSE")
    steps += [
        Step(
            title=str(network.head.block),
            declarations=declarations,
            call=f"ebnn_unfused_linear(&block{index}, {{input}}, {{output}});",
            output_bytes=4 * classes,
            kernels=_UNFUSED,
            region="ebnn_unfused_linear",
            parameter_bytes=parameter_bytes,
        ),
        _norm(index, classes, 1),
    ]
    head = Head(
        title="argmax",
        declarations="",
        call=f"ebnn_unfused_argmax({classes}u, {{input}}, scores)",
        kernels=_UNFUSED,
        region="ebnn_unfused_argmax",
        parameter_bytes=0,
    )
    return Program("unfused", "float", 4, tuple(steps), head)


def _unfused_block(index: int, layer: HiddenLayer) -> list[Step]:
    declarations, parameter_bytes = _constants(index, layer, "EBNN_DENSE")
    channels, height, width = layer.out_shape
    count = channels * height * width
    first = Step(
        title=str(layer.block),
        declarations=declarations,
        call=f"ebnn_unfused_linear(&block{index}, {{input}}, {{output}});",
        output_bytes=4 * count,
        kernels=_UNFUSED,
        region="ebnn_unfused_linear",
        parameter_bytes=parameter_bytes,
    )
    steps = [first]
    if isinstance(layer.block, ConvPool):
        before_pooling = int(np.prod(layer.block.conv_shape(layer.in_shape)))
        steps = [
            Step(
                title=str(layer.block),
                declarations=declarations,
                call=f"ebnn_unfused_conv(&block{index}, {{input}}, {{output}});",
                output_bytes=4 * before_pooling,
                kernels=_UNFUSED,
                region="ebnn_unfused_conv",
                parameter_bytes=parameter_bytes,
            ),
            Step(
                title="pool",
                declarations="",
                call=f"ebnn_unfused_pool(&block{index}, {{input}}, {{output}});",
                output_bytes=4 * count,
                kernels=_UNFUSED,
                region="ebnn_unfused_pool",
            ),
        ]
    sign = Step(
        title="sign",
        declarations="",
        call=f"ebnn_unfused_sign({count}u, {{input}}, {{output}});",
        output_bytes=4 * count,
        kernels=_UNFUSED,
        region="ebnn_unfused_sign",
        block=index,
    )
    return [*steps, _norm(index, channels, height * width), sign]


def _norm(index: int, channels: int, positions: int) -> Step:
    return Step(
        title="BatchNorm",
        declarations="",
        call=f"ebnn_unfused_norm(&block{index}.norm, {channels}u, {positions}u, "
        "{input}, {output});",
        output_bytes=4 * channels * positions,
        kernels=_UNFUSED,
        region="ebnn_unfused_norm",
    )


def _constants(index: int, layer: HiddenLayer | HeadLayer, layout: str) -> tuple[str, int]:
    """C text of a block's arrays and struct, and the bytes of the arrays."""
    name = f"block{index}"
    weights = pack_dense(layer.weight)
    declarations = array(
        f"{name}_weights", weights, f"weights, 8 a byte, of {list(layer.weight.shape)}"
    )
    if isinstance(layer, HiddenLayer):
        norm = {"mean": layer.mean, "scale": layer.scale, "beta": layer.beta}
    else:
        # Integers in units of 2^-shift, exact as floats: the mean is in the offset.
        norm = {
            "scale": layer.multiplier.astype(np.float32),
            "beta": layer.offset.astype(np.float32),
        }
    for field, values in norm.items():
        declarations += array(f"{name}_{field}", values, f"BatchNorm's {field}")
    mean = f"{name}_mean" if "mean" in norm else "0"
    fields: dict[str, object] = {
        "layout": layout,
        "weights": f"{name}_weights",
        "norm": f"{{{mean}, {name}_scale, {name}_beta}}",
    }
    if isinstance(layer.block, ConvPool):
        assert isinstance(layer, HiddenLayer)
        fields = {"window": window(layer.block, layer.in_shape, layer.out_shape), **fields}
        declarations += struct("ebnn_reference_conv_t", name, fields)
    else:
        inputs = fan_in(layer.block, layer.in_shape)
        fields = {"inputs": inputs, "outputs": layer.block.features, **fields}
        declarations += struct("ebnn_reference_fc_t", name, fields)
    return declarations, weights.nbytes + sum(values.nbytes for values in norm.values())
