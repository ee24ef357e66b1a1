"""`python -m ebnn.sim`: run any Cortex-M ELF image from the command line."""

import gc

# Imports make many objects and no garbage: looking for some took an eighth of the start.
gc.set_threshold(100_000)

from .cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
