"""The emitted folder: plain C99 that compiles by itself, the same bytes for the same network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from random_networks import random_checkpoint

from ebnn.architecture import INPUT_KINDS, InputSpec, parse
from ebnn.emitter import LOWERINGS, emit
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.core import CORES
from ebnn.toolchain.gcc import core_flags, find_gcc

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic"]
C99 = ["-std=c99", "-Wstrict-prototypes", "-Wvla"]
CXX17 = ["-x", "c++", "-std=c++17"]
ARCHITECTURE = "conv3x3-20 pad1 pool2, conv2x2-33, fc-40, fc-5"


def network(kind: str = "uint8", seed: int = 1) -> LoweredNetwork:
    spec = InputSpec(2, 10, 9, kind)
    return lower(random_checkpoint(parse(ARCHITECTURE, spec), seed))


def compiler(name: str) -> list[str]:
    """The command of `name`: a program of this machine, or one of our names of cores."""
    if name in CORES:
        return [str(find_gcc().path), *core_flags(name)]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return [name]


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("compiler_name", ["gcc", "clang", "cortex-m0plus", "cortex-m4f"])
def test_the_folder_compiles_clean_as_c99_and_as_cxx17(
    tmp_path: Path, kind: str, lowering: str, compiler_name: str
) -> None:
    emit(network(kind), tmp_path, lowering)
    sources = [str(source) for source in sorted(tmp_path.glob("*.c"))]
    for language in (C99, CXX17):
        command = [*compiler(compiler_name), *language, *WARNINGS, "-fsyntax-only", *sources]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (language, done.stderr)


def test_constants_are_in_the_order_of_the_kernels_structs(tmp_path: Path) -> None:
    """With the fields' names as C99 designators the same constants come out."""
    for lowering in LOWERINGS:
        emit(network(), tmp_path, lowering)
        source = (tmp_path / "model.c").read_text()
        designated, count = re.subn(r"/\* (\w+) \*/ ", r".\1 = ", source)
        assert count > 20
        objects = []
        for name, text in (("positional", source), ("designated", designated)):
            (tmp_path / f"{name}.txt").write_text(text)
            command = ["cc", "-std=c99", "-I", ".", "-x", "c", "-c", f"{name}.txt", "-o", "m.o"]
            subprocess.run(command, check=True, cwd=tmp_path)
            objects.append((tmp_path / "m.o").read_bytes().replace(name.encode(), b""))
        assert objects[0] == objects[1]


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
    assert f"#define EBNN_MODEL_PARAMETER_BYTES {program.parameter_bytes}\n" in header
    assert "    int32_t scores[EBNN_MODEL_CLASSES];\n" in header


def test_emitting_another_lowering_leaves_no_kernel_of_the_one_before(tmp_path: Path) -> None:
    emit(network(), tmp_path, "unfused")
    emit(network(), tmp_path, "fast")
    assert not (tmp_path / "unfused.c").exists()


def test_what_another_version_wrote_is_replaced(tmp_path: Path) -> None:
    emit(network(), tmp_path)
    written = (tmp_path / "model.c").read_text()
    (tmp_path / "model.c").write_text(re.sub(r"ebnn [\d.]+,", "ebnn 99.0,", written, count=1))
    emit(network(), tmp_path)
    assert (tmp_path / "model.c").read_text() == written


def test_fast_code_has_no_float(tmp_path: Path) -> None:
    emit(network("bits"), tmp_path, "fast")
    for source in tmp_path.glob("*.c"):
        assert "float" not in source.read_text(), source.name
