"""Mutated images and random code end in one of the four exit codes, never in a crash."""

from __future__ import annotations

from pathlib import Path

from sim_images import build

from ebnn.sim.fuzz import campaign

_PROGRAM = """
#include <stdint.h>
static uint32_t table[64];
__attribute__((noinline)) uint32_t divide(uint32_t a, uint32_t b) { return a / b; }
int main(void) {
    for (uint32_t i = 1; i < 64; i++) { table[i] = divide(table[i - 1] + 2654435761u, i); }
    return (int)(table[63] & 127);
}
"""


def test_every_mutant_of_an_image_ends_in_an_exit_code(tmp_path: Path) -> None:
    ends, failures = campaign(build(tmp_path, "m3", _PROGRAM), 400, seed=1)
    assert not failures
    assert sum(ends.values()) == 400
    assert set(ends) == {0, 1, 2, 3}
