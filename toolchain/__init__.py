"""From C sources to an ELF for a board: compiler, flags, linker script, start-up code."""
