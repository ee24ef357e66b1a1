"""PyTorch, set up to repeat itself and to keep the memory it has."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ebnn.sim.errors import UserError
from ebnn.training_settings import TrainingSettings


def check_device(device: str) -> None:
    """Raise `UserError` where this machine, or this PyTorch, has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"--device cuda: PyTorch {torch.__version__} finds no CUDA device here; use"
            " --device cpu, or install a PyTorch with CUDA"
        )


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks, process-wide.

    By default it gives them back to the system at each free, and every layer's output is then
    paid for again in page faults: an epoch took 15 s instead of 6.4 s on two cores.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(mmap_threshold, 32 << 20)  # the largest that glibc takes
    mallopt(trim_threshold, 1 << 30)


@contextmanager
def deterministic(settings: TrainingSettings) -> Iterator[None]:
    """Repeatable algorithms and random numbers within; torch's global state as before after it."""
    if settings.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself so
    threads_before = torch.get_num_threads()
    options: Any = torch.utils.deterministic  # its attributes are unknown to type checkers
    before = torch.are_deterministic_algorithms_enabled()
    filled = options.fill_uninitialized_memory
    with torch.random.fork_rng():
        try:
            torch.manual_seed(settings.seed)
            torch.set_num_threads(settings.threads)
            torch.use_deterministic_algorithms(True)
            # Filling each new tensor with NaN shows bugs in kernels, and took a third of the time.
            options.fill_uninitialized_memory = False
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.use_deterministic_algorithms(before)
            options.fill_uninitialized_memory = filled
