"""numpy integer reference = the same C in the emulated Cortex-M, every score and activation bit."""

from __future__ import annotations

import pytest
from agreement import assert_same_in_simulator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_networks import architectures, examples, random_checkpoint

from ebnn.architecture import Architecture
from ebnn.lowered import lower


@settings(
    max_examples=examples(15),
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # each case is two builds: shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(architecture=architectures(max_side=9), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("board_name", ["generic-m4f", "generic-m0plus"])
def test_emulated_c_agrees_with_numpy_on_every_bit(
    architecture: Architecture, seed: int, board_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    network = lower(random_checkpoint(architecture, seed))
    for lowering in ("fast", "reference"):
        folder = tmp_path_factory.mktemp(lowering)
        assert_same_in_simulator(network, lowering, folder, board_name)
