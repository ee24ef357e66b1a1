"""`python -m ebnn.sim`: run any Cortex-M ELF image from the command line."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
