"""The `fast` lowering: integers and bits only; a BatchNorm with its sign is one comparison."""

from __future__ import annotations

from ebnn.architecture import Linear, fan_in
from ebnn.emitter.layout import input_layout
from ebnn.emitter.program import Program, Step
from ebnn.emitter.variants import HEADS, HIDDEN
from ebnn.emitter.variants.common import conv_of
from ebnn.emitter.variants.planes import lanes_of
from ebnn.emitter.variants.site import Site, Variant
from ebnn.lowered import HiddenLayer, LoweredNetwork

_SLICED_FILTERS_MIN = 16  # below, counting 32 filters at a time wastes most lanes


def fast_program(network: LoweredNetwork) -> Program:
    """The calls of the fast kernels that run `network`."""
    spec = network.architecture.input
    layout, magnitude = input_layout(spec), spec.max_magnitude
    steps = []
    for index, layer in enumerate(network.hidden):
        following = network.architecture.blocks[index + 1]
        site = Site(index, layer, layout, magnitude, isinstance(following, Linear))
        step = _choose(site).call(site)
        assert step.layout is not None
        layout, magnitude = step.layout, 1
        steps.append(step)
    head = HEADS[0].call(Site(len(network.hidden), network.head, layout, magnitude))
    return Program("fast", "uint32_t", 4, tuple(steps), head)


def _choose(site: Site[HiddenLayer]) -> Variant[HiddenLayer, Step]:
    variants = {variant.name: variant for variant in HIDDEN if variant.serves(site)}
    order = ["fc", "conv_sliced", "conv_bits", "conv_rows", "conv_int"]
    if "conv_planes" in variants and _by_planes(site.layer):
        order.insert(0, "conv_planes")
    if site.layer.out_shape[0] < _SLICED_FILTERS_MIN:
        order.remove("conv_sliced")
    return next(variants[name] for name in order if name in variants)


def _by_planes(layer: HiddenLayer) -> bool:
    """Whether counting 32 positions at a time takes fewer cycles than 32 filters at a time. The
    costs are what an M4 was seen to take; an M0+ takes 1.6 times that of either."""
    block = conv_of(layer)
    lanes = lanes_of(layer)
    filters, height, width = layer.out_shape
    if lanes is None or filters < _SLICED_FILTERS_MIN:
        return False
    products = fan_in(block, layer.in_shape)
    row_words = -(-layer.in_shape[0] // 32)
    groups = -(-height // lanes.rows) * block.pool
    gathered = 850 * block.kernel_height * lanes.columns * row_words  # and turned into planes
    planes = groups * (gathered + block.pool * filters * (3.5 * products + 550))
    positions = height * width * block.pool**2
    sliced = positions * -(-filters // 32) * (12.3 * products + 150)
    return planes < sliced
