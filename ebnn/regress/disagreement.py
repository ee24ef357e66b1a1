"""Where firmware and numpy reference part: the first layer and bit, from a build that keeps them.

The other explanations compare with the baseline. This one needs none: the reference is right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ebnn.activations import decode_trace, trace_bytes
from ebnn.emulation import EmulatedModel, Firmware
from ebnn.firmware import build_model
from ebnn.regress.explain import map_difference
from ebnn.regress.measure import Measurement, Subject
from ebnn.regress.outcome import Explanation

ABOUT = "agreement with the reference"


def explain_disagreement(subject: Subject, found: Measurement, folder: Path) -> Explanation:
    """Of the first sample that the firmware classifies otherwise; no lines where all agree.

    The build with the trace takes more RAM: the limit does not apply to it. Raises what the
    toolchain and the emulator raise.
    """
    network, evaluation = subject.network, subject.evaluation
    if network is None or evaluation is None or found.predictions is None:
        return Explanation(ABOUT, ())
    wrong = np.flatnonzero(found.predictions != evaluation.predictions)
    if not len(wrong):
        return Explanation(ABOUT, ())
    assert subject.samples is not None
    sample = int(wrong[0])
    entry, elf = subject.entry, folder / "trace.elf"
    program = build_model(
        network, found.board, elf, folder / "trace", entry.lowering, entry.optimize, trace=True,
        flags=entry.flags,
    )  # fmt: skip
    model = EmulatedModel(Firmware(elf, found.board.without_wait_states(), None))
    predicted = model.infer(subject.samples[sample])
    line = (
        f"sample {sample}: firmware {found.predictions[sample]}, "
        f"reference {evaluation.predictions[sample]}"
    )
    if predicted == evaluation.predictions[sample]:
        return Explanation(ABOUT, (line, "the build that keeps activations agrees there"))
    size = trace_bytes(program)
    trace = b""
    if size:
        trace = model.machine.read(model.machine.symbol("ebnn_trace_buffer").address, size)
    for index, got in enumerate(decode_trace(network, program, trace)):
        difference = map_difference(evaluation.activations[index][sample], got)
        if difference:
            block = network.hidden[index].block
            text = f"first bit that differs: block {index} ({block}), {difference}"
            return Explanation(ABOUT, (line, text))
    return Explanation(ABOUT, (line, "every hidden activation agrees: it is the classifier"))
