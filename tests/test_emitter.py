"""The emitted folder: plain C99 that compiles by itself, the same bytes for the same network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from random_networks import random_checkpoint

from ebnn.architecture import INPUT_KINDS, InputSpec, parse
from ebnn.emitter import LOWERINGS, emit
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.core import CORES
from ebnn.toolchain.gcc import core_flags, find_gcc

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic", "-fsyntax-only"]
ARCHITECTURE = "conv3x3-20 pad1 pool2, conv2x2-33, fc-40, fc-5"


def network(kind: str = "uint8", seed: int = 1) -> LoweredNetwork:
    spec = InputSpec(2, 10, 9, kind)
    return lower(random_checkpoint(parse(ARCHITECTURE, spec), seed))


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_the_folder_compiles_clean_on_the_host_and_on_every_core(
    tmp_path: Path, kind: str, lowering: str
) -> None:
    emit(network(kind), tmp_path, lowering)
    sources = sorted(tmp_path.glob("*.c"))
    arm = str(find_gcc().path)
    cores = ("cortex-m0plus", "cortex-m4f") if lowering == "fast" else ("cortex-m0plus",)
    assert set(cores) <= CORES.keys()
    for command in (["cc"], *([arm, *core_flags(core)] for core in cores)):
        done = subprocess.run(
            [*command, *WARNINGS, *map(str, sources)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_same_network_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        emit(network(seed=seed), tmp_path / name)
        texts.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    assert texts[0]["model.c"] != texts[2]["model.c"]


def test_the_header_names_network_hash_and_sizes(tmp_path: Path) -> None:
    program = emit(network(), tmp_path)
    header = (tmp_path / "model.h").read_text()
    assert network().digest() in header
    assert ARCHITECTURE in header
    assert f"#define EBNN_PARAMETER_BYTES {program.parameter_bytes}\n" in header
    assert "#define EBNN_INPUT_ELEMENTS 180\n" in header


def test_emitting_another_lowering_leaves_no_kernel_of_the_one_before(tmp_path: Path) -> None:
    emit(network(), tmp_path, "unfused")
    emit(network(), tmp_path, "fast")
    assert not (tmp_path / "unfused.c").exists()


def test_fast_code_has_no_float(tmp_path: Path) -> None:
    emit(network("bits"), tmp_path, "fast")
    for source in tmp_path.glob("*.c"):
        assert "float" not in source.read_text(), source.name
