"""The portable C99 kernels, as files: `KERNEL_DIR` is the folder to copy or to compile from."""

from pathlib import Path

KERNEL_DIR = Path(__file__).resolve().parent
