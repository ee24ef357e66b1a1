"""The emitted C on this machine: compiled to a shared library and called through ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebnn.toolchain.firmware import TOOLCHAIN_DIR
from ebnn.toolchain.host import SHARED_SUFFIX, build_shared


@dataclass(frozen=True)
class HostModel:
    """An emitted model in this process; not reentrant, as its arena is static."""

    library: ctypes.CDLL
    classes: int

    def infer(self, sample: NDArray[np.uint8]) -> tuple[int, NDArray[np.int32]]:
        """Class and scores int32 (classes,) of one encoded sample (`ebnn.inputs`)."""
        scores = np.empty(self.classes, dtype=np.int32)
        # The C reads words: a bytes object may lie at any address, an array of words may not.
        words = np.zeros(-(-sample.nbytes // 4), dtype=np.uint32)
        words.view(np.uint8)[: sample.nbytes] = sample
        predicted: int = self.library.ebnn_infer(
            ctypes.c_void_p(words.ctypes.data), ctypes.c_void_p(scores.ctypes.data)
        )
        return predicted, scores

    def predictions(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Classes int64 (N,) of encoded samples (N, input_bytes)."""
        return np.array([self.infer(sample)[0] for sample in samples], dtype=np.int64)

    def trace(self, trace_bytes: int) -> bytes:
        """What the last inference left in the trace buffer of a model built with `trace`."""
        return bytes((ctypes.c_uint8 * trace_bytes).in_dll(self.library, "ebnn_trace_buffer"))


def build_host_model(
    folder: Path, classes: int, output: Path | None = None, trace: bool = False
) -> HostModel:
    """Compile an emitted folder for this machine. `trace` keeps every block's activations."""
    library = output or folder / f"model{SHARED_SUFFIX}"
    sources = sorted(folder.glob("*.c"))
    defines = {}
    if trace:
        sources.append(TOOLCHAIN_DIR / "trace.c")
        defines["EBNN_TRACE"] = "1"
    build_shared(sources, library, include_dirs=[folder], defines=defines)
    return HostModel(ctypes.CDLL(str(library.resolve())), classes)
