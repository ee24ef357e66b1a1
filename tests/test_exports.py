"""`ebnn emit`: a folder for CMake, an Arduino library, a CMSIS-Pack."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_checkpoint, random_samples

from ebnn import checkpoint, reference
from ebnn.architecture import InputSpec, parse
from ebnn.emitter import (
    Library,
    Model,
    arduino_library,
    cmsis_pack,
    emit,
    pack_name,
    program_of,
    write_folder,
)
from ebnn.inputs import encode_input
from ebnn.lowered import LoweredNetwork, lower
from ebnn.sim.errors import UserError
from ebnn.toolchain.firmware import TOOLCHAIN_DIR
from ebnn.toolchain.gcc import core_flags, find_gcc

SPEC = InputSpec(2, 10, 9)
ARCHITECTURES = {"keyword": "conv3x3-20 pool2, fc-5", "wake": "conv2x2-12, conv2x2-33, fc-3"}

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


def network(name: str) -> LoweredNetwork:
    return lower(random_checkpoint(parse(ARCHITECTURES[name], SPEC), seed=len(name)))


def library(lowering: str = "fast") -> Library:
    """Of two models."""
    networks = {name: network(name) for name in ARCHITECTURES}
    return Library(
        tuple(Model(one, program_of(one, lowering), name) for name, one in networks.items())
    )


def cmake(project: Path, *options: str) -> None:
    for command in (["-S", ".", "-B", "build", *options], ["--build", "build"]):
        done = subprocess.run(
            ["cmake", *command], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@needs_cmake
def test_a_cmake_project_adds_the_folder_and_gets_the_references_predictions(
    tmp_path: Path,
) -> None:
    emit(network("wake"), tmp_path / "model")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.15)\nproject(application LANGUAGES C CXX)\n"
        "add_subdirectory(model)\nadd_executable(application main.c used.cpp)\n"
        "target_link_libraries(application PRIVATE ebnn_model)\n"
    )
    shutil.copy(TOOLCHAIN_DIR / "host_harness.c", tmp_path / "main.c")
    (tmp_path / "used.cpp").write_text(
        '#include "model.h"\nextern int used();\nstatic ebnn_input_t input;\n'
        "int used() { return ebnn_infer(&input, nullptr); }\n"
    )
    cmake(tmp_path, "-DCMAKE_C_FLAGS=-Wall -Wextra -Wconversion -Werror")
    samples = random_samples(SPEC, 5, seed=1)
    done = subprocess.run(
        [tmp_path / "build" / "application"],
        input=encode_input(samples, SPEC).tobytes(),
        capture_output=True,
        check=True,
    )
    results = np.frombuffer(done.stdout, "<i4").reshape(5, -1)
    expected = reference.run(network("wake"), samples)
    assert results[:, 0].tolist() == expected.predictions.tolist()
    assert results[:, 1:].tolist() == expected.scores.tolist()


@needs_cmake
def test_with_a_toolchain_file_the_folder_is_a_library_for_a_cortex_m(tmp_path: Path) -> None:
    write_folder(library(), tmp_path)
    gcc = find_gcc().path
    flags = " ".join([*core_flags("cortex-m4f"), "-O3"])
    (tmp_path / "arm.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\nset(CMAKE_SYSTEM_PROCESSOR arm)\n"
        f'set(CMAKE_C_COMPILER "{gcc}")\nset(CMAKE_C_FLAGS_INIT "{flags}")\n'
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
    )
    cmake(tmp_path, "-DCMAKE_TOOLCHAIN_FILE=arm.cmake")
    done = subprocess.run(
        [gcc.with_name("arm-none-eabi-nm"), "build/libkeyword_wake_model.a"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    defined = re.findall(r" T (\w+)$", done.stdout, re.MULTILINE)
    for name in ARCHITECTURES:
        assert {f"{name}_infer", f"{name}_infer_in"} <= set(defined)
    assert len(defined) == len(set(defined))  # the kernels, too, once


def unpacked(content: bytes, folder: Path) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
        return archive.namelist()


def test_archives_are_the_same_bytes_each_time_and_carry_no_time_of_day(tmp_path: Path) -> None:
    for export in (arduino_library, cmsis_pack):
        content = export(library())
        assert content == export(library())
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
        assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


CATEGORIES = ["Display", "Communication", "Signal Input/Output", "Sensors", "Device Control",
              "Timing", "Data Storage", "Data Processing", "Other", "Uncategorized"]  # fmt: skip


def test_the_arduino_library_follows_the_library_specification(tmp_path: Path) -> None:
    paths = unpacked(arduino_library(library()), tmp_path)
    (root,) = {path.partition("/")[0] for path in paths}
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", root)
    lines = (tmp_path / root / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category"}
    required |= {"url", "architectures"}
    optional = {"depends", "dot_a_linkage", "includes", "precompiled", "ldflags"}
    assert required <= fields.keys() <= required | optional
    assert all(fields.values())
    assert re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _.-]*", fields["name"])
    assert not fields["name"].lower().startswith("arduino")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", fields["version"])
    assert fields["category"] in CATEGORIES
    # What the IDE offers to include are the headers that lie in src, none of its subfolders.
    headers = sorted(path.name for path in (tmp_path / root / "src").glob("*.h"))
    assert fields["includes"].split(",") == headers == ["keyword.h", "wake.h"]
    sketches = [path for path in paths if "/examples/" in path]
    assert sketches == [f"{root}/examples/Classify/Classify.ino"]


ARDUINO_H = """
#pragma once
#include <stdint.h>
struct Port {
    void begin(unsigned long);
    void print(const char *);
    void print(int);
    void print(long);
    void println(unsigned long);
};
extern Port Serial;
unsigned long micros();
void delay(unsigned long);
"""
_IDE_FLAGS = ["-g", "-Os", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections",
              "-nostdlib", "--param", "max-inline-insns-single=500"]  # fmt: skip


def test_the_arduino_library_and_its_sketch_compile_as_the_ide_does(tmp_path: Path) -> None:
    """Every source below src, with src alone on the include path, and the sketch as C++."""
    (root,) = {path.partition("/")[0] for path in unpacked(arduino_library(library()), tmp_path)}
    folder = tmp_path / root
    core = tmp_path / "core"
    core.mkdir()
    (core / "Arduino.h").write_text(ARDUINO_H)
    sketch = tmp_path / "Classify.ino.cpp"
    sketch.write_text(
        "#include <Arduino.h>\n" + (folder / "examples/Classify/Classify.ino").read_text()
    )
    gcc = find_gcc().path
    common = [*core_flags("cortex-m0plus"), *_IDE_FLAGS, f"-I{core}", f"-I{folder / 'src'}", "-c"]
    objects = []
    for number, source in enumerate([sketch, *sorted((folder / "src").rglob("*.c"))]):
        compiler, language = gcc, ["-std=gnu11"]
        if source.suffix == ".cpp":
            compiler = gcc.with_name("arm-none-eabi-g++")
            language = ["-std=gnu++11", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
        objects.append(f"{number}.o")
        command = [str(compiler), *common, *language, str(source), "-o", objects[-1]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    # All that is left to the board's core are what the sketch calls of it, and the compiler's own.
    command = [str(gcc), *core_flags("cortex-m0plus"), "-r", "-nostdlib", *objects, "-o", "all.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        [gcc.with_name("arm-none-eabi-nm"), "-uC", "all.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    missing = {line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    own = {name for name in missing if re.match(r"__aeabi_|__gnu_thumb1_case|mem(cpy|set)$", name)}
    prints = {"Port::print(char const*)", "Port::print(int)", "Port::print(long)"}
    others = {"Port::begin(unsigned long)", "Port::println(unsigned long)", "Serial"}
    assert missing - own == prints | others | {"micros()", "delay(unsigned long)"}


def test_the_pack_lists_its_files_and_is_called_after_its_description(tmp_path: Path) -> None:
    """Names and the order of elements as PACK.xsd of Open-CMSIS-Pack has them."""
    paths = unpacked(cmsis_pack(library()), tmp_path)
    (description,) = [path for path in paths if path.endswith(".pdsc")]
    package = ElementTree.parse(tmp_path / description).getroot()
    vendor, name = package.findtext("vendor"), package.findtext("name")
    (release,) = package.findall("releases/release")
    assert description == f"{vendor}.{name}.pdsc"
    assert pack_name(library()) == f"{vendor}.{name}.{release.get('version')}.pack"
    assert all(re.fullmatch(r"[-_A-Za-z0-9]+", text or "") for text in (vendor, name))
    files = package.findall("components/component/files/file")
    assert sorted(file.attrib["name"] for file in files) == sorted(set(paths) - {description})
    public = {file.attrib["name"] for file in files if file.get("scope") != "private"}
    assert {path for path in public if path.endswith(".h")} == {"src/keyword.h", "src/wake.h"}


@pytest.mark.parametrize("export", [arduino_library, cmsis_pack])
def test_lowerings_with_floats_are_not_for_an_ide(export: object) -> None:
    assert callable(export)
    with pytest.raises(UserError, match="needs -ffp-contract=off"):
        export(library("reference"))


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ebnn.cli", "emit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_each_format_and_refuses_what_would_not_fit(tmp_path: Path) -> None:
    model = tmp_path / "a.safetensors"
    checkpoint.save(random_checkpoint(parse(ARCHITECTURES["wake"], SPEC), 4), model)
    folder, zipped = tmp_path / "c", tmp_path / "wake.zip"
    done = command(model, model, "--name", "keyword", "--name", "wake", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert "c: keyword.h, fast, " in done.stdout
    assert {"keyword.c", "wake.c", "CMakeLists.txt"} <= {path.name for path in folder.iterdir()}
    done = command(model, "--name", "wake", "--format", "arduino", "-o", zipped)
    assert done.returncode == 0, done.stderr
    assert zipfile.is_zipfile(zipped)
    for arguments, complaint in (
        ([model, "-o", folder], "keyword.c is another model: remove it, or emit both at once"),
        ([model, model, "-o", tmp_path / "d"], "2 models and 0 names"),
        (
            [model, "--format", "cmsis-pack", "-o", tmp_path / "a.pack"],
            "has to be called ebnn.ebnn",
        ),
        ([model, "--format", "arduino", "-o", tmp_path / "a"], "a file that ends in .zip"),
    ):
        done = command(*arguments)
        assert done.returncode == 2
        assert complaint in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_file_that_was_not_generated_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("project(mine)\n")
    with pytest.raises(UserError, match=r"CMakeLists\.txt was not generated"):
        write_folder(library(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["CMakeLists.txt"]
