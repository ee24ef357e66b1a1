"""One module a subcommand of `ebnn`.

Each has `HELP` (one line), `add_arguments(parser)` and `run(args) -> int` (the exit code), and
imports what is heavy (torch, unicorn, numpy) inside `run`, so that `ebnn --help` stays quick.
"""
