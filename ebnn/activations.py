"""The activations that a model built with EBNN_TRACE kept (toolchain/trace.c)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebnn.emitter.program import Program
from ebnn.lowered import LoweredNetwork


def trace_bytes(program: Program) -> int:
    """Bytes that one inference leaves in the trace buffer."""
    return sum(step.output_bytes for step in program.steps if step.block is not None)


def decode_trace(
    network: LoweredNetwork, program: Program, trace: bytes
) -> tuple[NDArray[np.int8], ...]:
    """Every hidden block's +-1 map, int8 (channels, height, width)."""
    maps = []
    position = 0
    traced = (step for step in program.steps if step.block is not None)
    for layer, step in zip(network.hidden, traced, strict=True):
        part = trace[position : position + step.output_bytes]
        position += step.output_bytes
        if step.layout is not None:
            whole = part.ljust(step.layout.map_bytes, b"\0")  # `reference` keeps whole bytes
            maps.append(step.layout.unpack(np.frombuffer(whole, dtype="<u4")))
        else:
            floats = np.frombuffer(part, dtype="<f4").reshape(layer.out_shape)
            maps.append(floats.astype(np.int8))
    return tuple(maps)
