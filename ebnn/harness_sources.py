"""What is generated for the board harness: the samples it carries, its UART's set-up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn import reference
from ebnn.files import write_whole
from ebnn.inputs import encode_input, samples_of
from ebnn.lowered import LoweredNetwork
from ebnn.sim.board_uart import RegisterStep, Uart
from ebnn.sim.errors import UserError

_BYTES_A_LINE = 16
_LONGEST_BUILT_FOR = 72  # what the harness's line has room for
_NAMES = {"write": "STEP_WRITE", "modify": "STEP_MODIFY", "wait": "STEP_WAIT"}


@dataclass(frozen=True, eq=False)
class HarnessSamples:
    """`inputs` uint8 (N, input_bytes) as `ebnn_infer` reads them; `expected`, the numpy reference's
    classes, and `labels`, the data set's: (N,), 0..65535."""

    inputs: NDArray[np.uint8]
    expected: NDArray[np.int64]
    labels: NDArray[np.int64]


def harness_samples(
    network: LoweredNetwork, x: NDArray[np.uint8], labels: NDArray[np.integer[Any]], count: int
) -> HarnessSamples:
    """The first `count` samples of `x` (N, channels, height, width), with what they should give.

    Raises:
        UserError: there are not as many, or they are not of the network's shape.
    """
    spec = network.architecture.input
    if x.shape[1:] != spec.sample_shape:
        raise UserError(
            f"the data set's images are {x.shape[1:]}, the network takes {spec.sample_shape}"
        )
    if not 0 < count <= len(x):
        raise UserError(f"--samples {count}: the data set has 1 to {len(x):,} to test with")
    values = samples_of(x[:count], spec)
    return HarnessSamples(
        encode_input(values, spec),
        reference.run(network, values).predictions,
        np.asarray(labels[:count], dtype=np.int64),
    )


def write_samples(samples: HarnessSamples, built_for: str, folder: Path) -> Path:
    """Write samples.h and samples.c to `folder`; returns the latter. `built_for` is what the
    harness says of its output and board."""
    count, sample_bytes = samples.inputs.shape
    header = f"""/* Generated: what the board harness runs. */
#ifndef EBNN_SAMPLES_H
#define EBNN_SAMPLES_H

#include <stdint.h>

#define EBNN_SAMPLES {count}u
#define EBNN_SAMPLE_BYTES {sample_bytes}u

extern const uint8_t ebnn_samples[{count}][{sample_bytes}]; /* as ebnn_input holds them */
extern const uint16_t ebnn_expected[{count}]; /* the numpy reference's classes */
extern const uint16_t ebnn_labels[{count}];   /* the data set's */
extern const char ebnn_built_for[];

#endif
"""
    rows = []
    for sample in samples.inputs:
        lines = [sample[at : at + _BYTES_A_LINE] for at in range(0, sample_bytes, _BYTES_A_LINE)]
        text = ",\n".join("     " + ", ".join(str(byte) for byte in line) for line in lines)
        rows.append(f"    {{\n{text},\n    }},\n")
    words = re.sub(r"[^A-Za-z0-9_@. -]", "_", built_for)[:_LONGEST_BUILT_FOR]
    source = f"""/* Generated: what the board harness runs. */
#include "samples.h"

const char ebnn_built_for[] = "{words}";

const uint16_t ebnn_expected[{count}] = {{{_numbers(samples.expected)}}};
const uint16_t ebnn_labels[{count}] = {{{_numbers(samples.labels)}}};

const uint8_t ebnn_samples[{count}][{sample_bytes}] = {{
{"".join(rows)}}};
"""
    write_whole(folder / "samples.h", header.encode())
    write_whole(folder / "samples.c", source.encode())
    return folder / "samples.c"


def _numbers(values: NDArray[np.int64]) -> str:
    return ", ".join(str(int(value)) for value in values)


def write_uart_setup(uart: Uart, folder: Path) -> Path:
    """Write board_setup.c (see toolchain/board_setup.h) to `folder`; returns its path."""
    lists = {
        "uart_open": uart.open,
        "uart_before_byte": uart.before_byte,
        "uart_after_byte": uart.after_byte,
    }
    text = f"/* Generated from the board's description: {_comment(uart.title)} */\n"
    text += '#include "board_setup.h"\n\n'
    for name, steps in lists.items():
        text += _steps(name, steps)
    text += (
        f"volatile uint32_t *const uart_data = (volatile uint32_t *){uart.data_address:#010x}u;\n"
    )
    write_whole(folder / "board_setup.c", text.encode())
    return folder / "board_setup.c"


def _steps(name: str, steps: Sequence[RegisterStep]) -> str:
    if not steps:
        return f"const register_steps_t {name} = {{0, 0}};\n\n"
    rows = "".join(
        f"    {{{_NAMES[step.kind]}, {step.address:#010x}u, {step.mask:#010x}u,"
        f" {step.value:#010x}u}},\n"
        for step in steps
    )
    return (
        f"static const register_step_t {name}_steps[{len(steps)}] = {{\n{rows}}};\n"
        f"const register_steps_t {name} = {{{name}_steps, {len(steps)}}};\n\n"
    )


def _comment(text: str) -> str:
    return text.replace("*/", "").replace("\n", " ")
