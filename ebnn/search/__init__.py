"""The search for networks that fit a device: accuracy against memory against cycles.

A candidate is drawn from the space (`space`), lowered, compiled and run in the emulator with random
weights (`footprint`), trained on a growing budget where it fits (`rungs`), and kept in Optuna's
storage (`history`). `session` is the loop; `finals` trains the front's networks in full and
verifies them; `results`, `plot` and `page` write what was found.
"""
