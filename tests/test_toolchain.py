"""Building firmware and host libraries with the real compilers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from ebnn.sim import Machine
from ebnn.sim.board import Board, Memory, board_names, load_board
from ebnn.sim.errors import UserError
from ebnn.toolchain import gcc
from ebnn.toolchain.compiler import CompileError
from ebnn.toolchain.firmware import BoardTooSmall, build_firmware
from ebnn.toolchain.gcc import core_flags, find_gcc
from ebnn.toolchain.host import build_program
from ebnn.toolchain.linker import linker_script

# Uses everything that start-up code has to provide: .data, .bss, constructors, floats, malloc,
# printf, 64-bit division, output and an exit status.
EVERYTHING = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "semihosting.h"
int initialised = 42;
int zeroed[3];
static volatile int constructed;
static volatile float half = 0.5f;
static volatile long long dividend = 700;
__attribute__((constructor)) static void construct(void) { constructed = initialised + 1; }
int main(void) {
    semihosting_write("digits ");
    semihosting_write_u32(0u);
    semihosting_write(" ");
    semihosting_write_u32(4294967295u);
    semihosting_write("\n");
    int *heap = malloc(sizeof *heap);
    if (heap == NULL) return 1;
    *heap = zeroed[0] + zeroed[1] + zeroed[2];
    printf("%d %d %d %d %d\n", initialised, *heap, constructed, (int)(half * 84.0f),
           (int)(dividend / 3));
    return 7;
}
"""
EXPECTED_OUTPUT = "digits 0 4294967295\n42 0 43 42 233\n"

# Tag_CPU_arch of the ABI's addenda: the linker keeps the architecture, not always the core's name.
V7_M, V6S_M, V7E_M, V8_M_MAIN = 10, 12, 13, 17
ARCHITECTURES = {
    "cortex-m0": V6S_M,
    "cortex-m0plus": V6S_M,
    "cortex-m3": V7_M,
    "cortex-m4": V7E_M,
    "cortex-m4f": V7E_M,
    "cortex-m7": V7E_M,
    "cortex-m33": V8_M_MAIN,
}
CORES_WITH_FPU = {"cortex-m4f", "cortex-m7", "cortex-m33"}


def write_source(folder: Path, text: str, name: str = "main.c") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / name
    source.write_text(text, encoding="utf-8")
    return source


def small_board(core: str = "cortex-m4f", flash_bytes: int = 4096, ram_bytes: int = 1024) -> Board:
    flash = Memory("flash", "flash", 0x0800_0000, flash_bytes)
    ram = Memory("ram", "ram", 0x2000_0000, ram_bytes)
    return Board("small", "A small board", core, 1_000_000, (flash, ram), "made up for the test")


def section(elf: ELFFile, name: str) -> Any:
    found = elf.get_section_by_name(name)
    assert found is not None, f"no section {name}"
    return found


def attributes(elf: ELFFile) -> dict[str, object]:
    (subsection,) = section(elf, ".ARM.attributes").iter_subsections()
    (subsubsection,) = subsection.iter_subsubsections()
    return {attribute.tag: attribute.value for attribute in subsubsection.iter_attributes()}


def symbol(elf: ELFFile, name: str) -> int:
    (found,) = section(elf, ".symtab").get_symbol_by_name(name)
    address: int = found["st_value"]
    return address


@pytest.mark.parametrize("name", board_names())
def test_firmware_for_every_board_starts_as_its_core_expects(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    source = write_source(tmp_path, EVERYTHING)
    # A linker that warns (say of a segment that is writable and executable) fails here.
    path = build_firmware([source], board, tmp_path / "a.elf", extra_flags=["-Wl,--fatal-warnings"])
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = section(elf, ".vectors")
        assert table["sh_addr"] == board.vector_table
        words = [int.from_bytes(table.data()[at : at + 4], "little") for at in range(0, 64, 4)]
        assert words[0] == board.ram.end
        # Bit 0 says Thumb, in the table as in the symbol.
        assert words[1] == symbol(elf, "Reset_Handler") == elf["e_entry"]
        assert words[1] % 2 == 1
        assert words[3] == symbol(elf, "HardFault_Handler")
        found = attributes(elf)
        assert found["TAG_CPU_ARCH"] == ARCHITECTURES[board.core]
        assert ("TAG_FP_ARCH" in found) == (board.core in CORES_WITH_FPU)
        assert not any(name.startswith(".ARM.ex") for name in section_names(elf))


def section_names(elf: ELFFile) -> list[str]:
    return [section.name for section in elf.iter_sections()]


@pytest.mark.parametrize("core", ARCHITECTURES)
def test_start_up_code_prepares_memory_and_passes_the_exit_status(
    core: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board = load_board("generic-" + core.removeprefix("cortex-"))
    path = build_firmware([write_source(tmp_path, EVERYTHING)], board, tmp_path / "a.elf")
    machine = Machine(path, board=board)
    machine.run_until("main")
    for name, values in {"initialised": [42], "zeroed": [0, 0, 0], "constructed": [43]}.items():
        found = machine.symbol(name)
        data = machine.read(found.address, found.size_bytes)
        assert data == b"".join(value.to_bytes(4, "little") for value in values)
    assert Machine(path, board=board).run() == 7
    assert capfd.readouterr().out == EXPECTED_OUTPUT


def test_unused_start_up_helpers_cost_no_flash(tmp_path: Path) -> None:
    source = write_source(tmp_path, "int main(void) { return 0; }\n")
    elf_path = build_firmware([source], small_board("cortex-m0"), tmp_path / "a.elf")
    with elf_path.open("rb") as file:
        elf = ELFFile(file)
        code = sum(section(elf, name)["sh_size"] for name in (".vectors", ".text"))
        assert code < 300
        for name in (".data", ".bss"):
            static = elf.get_section_by_name(name)
            assert static is None or static["sh_size"] == 0


def test_an_interrupt_of_the_board_goes_behind_the_system_exceptions(tmp_path: Path) -> None:
    text = """
    static void uart_handler(void) {}
    __attribute__((section(".vectors.external"), used))
    static void (*const interrupts[])(void) = {uart_handler};
    int main(void) { return 0; }
    """
    path = build_firmware([write_source(tmp_path, text)], small_board(), tmp_path / "a.elf")
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = section(elf, ".vectors").data()
        assert int.from_bytes(table[64:68], "little") == symbol(elf, "uart_handler")


def test_the_same_input_gives_the_same_bytes_in_any_folder(tmp_path: Path) -> None:
    images = []
    for folder in (tmp_path / "one", tmp_path / "another" / "deeper"):
        include = folder / "include"
        write_source(include, "int twice(int value);\n", "twice.h")
        # __FILE__ and debug information are where a folder's name would get in.
        twice = '#include "twice.h"\nint twice(int value) { return __FILE__[0] + value; }\n'
        sources = [
            write_source(folder, EVERYTHING),
            write_source(folder / "model", twice, "twice.c"),
        ]
        path = build_firmware(
            sources, load_board("generic-m4f"), folder / "a.elf", include_dirs=[include]
        )
        images.append(path.read_bytes())
    assert images[0] == images[1]
    assert str(tmp_path).encode() not in images[0]


def test_flash_layout_does_not_depend_on_the_order_of_the_sources(tmp_path: Path) -> None:
    sources = [
        write_source(
            tmp_path, "int f(int); int g(int); int main(void) { return f(1) + g(2); }", "a.c"
        ),
        write_source(tmp_path, "int f(int); int f(int value) { return value * 3; }", "b.c"),
        write_source(tmp_path, "int g(int); int g(int value) { return value * 5; }", "c.c"),
    ]
    code = []
    for order in (sources, sources[::-1]):
        path = build_firmware(order, small_board(), tmp_path / "a.elf")
        with path.open("rb") as file:
            code.append(section(ELFFile(file), ".text").data())
    assert code[0] == code[1]


def test_ram_limit_moves_the_stack_to_its_end(tmp_path: Path) -> None:
    source = write_source(tmp_path, "int main(void) { return 0; }\n")
    board = load_board("generic-m4f")
    # The stack pointer is a multiple of 8, so an odd limit loses its last bytes to that.
    path = build_firmware([source], board, tmp_path / "a.elf", ram_bytes=15 * 1024 + 5)
    with path.open("rb") as file:
        initial_sp = section(ELFFile(file), ".vectors").data()[:4]
    assert int.from_bytes(initial_sp, "little") == board.ram.address + 15 * 1024


@pytest.mark.parametrize("ram_bytes", [0, -1, 1 << 30])
def test_impossible_ram_limits_are_refused(ram_bytes: int) -> None:
    with pytest.raises(UserError, match="RAM of"):
        linker_script(load_board("generic-m0"), ram_bytes)


def test_static_data_past_the_ram_says_by_how_much(tmp_path: Path) -> None:
    text = "static char buffer[1200]; int main(void) { return (int)(long)buffer; }\n"
    source = write_source(tmp_path, text)
    output = tmp_path / "a.elf"
    with pytest.raises(BoardTooSmall, match="176 bytes more than the 1,024 bytes of small") as bad:
        build_firmware([source], small_board(), output)
    assert (bad.value.memory, bad.value.over_by_bytes, bad.value.exit_code) == ("ram", 176, 1)
    assert not output.exists()
    with pytest.raises(BoardTooSmall, match="4 bytes more than the 1,196 bytes of the RAM limit"):
        build_firmware([source], small_board(ram_bytes=4096), output, ram_bytes=1196)
    build_firmware([source], small_board(ram_bytes=4096), output, ram_bytes=1200)


def test_code_past_the_flash_says_by_how_much(tmp_path: Path) -> None:
    text = "const char table[5000] = {1}; int main(void) { return (int)(long)table; }\n"
    source = write_source(tmp_path, text)
    with pytest.raises(BoardTooSmall, match="4,096 bytes of flash of small") as bad:
        build_firmware([source], small_board(), tmp_path / "a.elf")
    assert bad.value.memory == "flash"
    assert 904 <= bad.value.over_by_bytes < 1400  # and the start-up code


def test_a_compile_error_names_file_line_and_message_and_keeps_the_old_elf(tmp_path: Path) -> None:
    output = tmp_path / "a.elf"
    output.write_bytes(b"old")
    source = write_source(tmp_path, "int main(void) {\n    return missing;\n}\n", "broken.c")
    with pytest.raises(CompileError) as bad:
        build_firmware([source], small_board(), output)
    assert f"{source}:2: 'missing' undeclared" in str(bad.value)
    assert "\n" not in str(bad.value)
    assert output.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_conversion_that_loses_bits_does_not_compile(tmp_path: Path) -> None:
    text = "signed char low(int); signed char low(int x) { return x; } int main(void) {return 0;}"
    with pytest.raises(CompileError, match="Werror=conversion"):
        build_firmware([write_source(tmp_path, text)], small_board(), tmp_path / "a.elf")


def test_an_undefined_function_is_named(tmp_path: Path) -> None:
    source = write_source(tmp_path, "int gone(void); int main(void) { return gone(); }\n")
    with pytest.raises(CompileError, match="undefined reference to `gone'"):
        build_firmware([source], small_board(), tmp_path / "a.elf")


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.c: no such C source file"):
        build_firmware([tmp_path / "gone.c"], small_board(), tmp_path / "a.elf")
    with pytest.raises(UserError, match="no C source"):
        build_firmware([], small_board(), tmp_path / "a.elf")


def test_build_dir_keeps_stack_usage_and_map(tmp_path: Path) -> None:
    source = write_source(tmp_path, EVERYTHING)
    kept = tmp_path / "kept"
    build_firmware([source], load_board("generic-m3"), tmp_path / "a.elf", build_dir=kept)
    assert "main" in (kept / "00-main.su").read_text()
    assert "Reset_Handler" in (kept / "firmware.map").read_text()
    assert "ORIGIN" in (kept / "board.ld").read_text()


def test_without_a_compiler_the_error_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EBNN_ARM_GCC", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(gcc, "USUAL_PLACES", ())
    with pytest.raises(UserError, match="apt-get install gcc-arm-none-eabi"):
        find_gcc()
    with pytest.raises(UserError, match="apt-get install gcc libc6-dev"):
        build_program([write_source(tmp_path, "int x;\n")], tmp_path / "a")


def test_a_compiler_off_path_is_found_in_a_usual_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = find_gcc()
    (tmp_path / "arm-2024" / "bin").mkdir(parents=True)
    (tmp_path / "arm-2024" / "bin" / "arm-none-eabi-gcc").symlink_to(real.path.resolve())
    monkeypatch.setattr(gcc, "USUAL_PLACES", (f"{tmp_path}/arm-*/bin",))
    monkeypatch.delenv("EBNN_ARM_GCC", raising=False)
    # GCC still needs its assembler and linker, so PATH loses only the folder of gcc itself.
    monkeypatch.setattr(shutil, "which", hide_from_path("arm-none-eabi-gcc"))
    assert find_gcc().version == real.version
    assert find_gcc().path.is_relative_to(tmp_path)


def hide_from_path(hidden: str) -> Callable[..., str | None]:
    which = shutil.which

    def which_but(name: str, path: str | None = None) -> str | None:
        return None if name == hidden and path is None else which(name, path=path)

    return which_but


@pytest.mark.parametrize("chosen", ["/nowhere/gcc", "/bin/true"])
def test_a_wrong_chosen_compiler_is_named(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setenv("EBNN_ARM_GCC", chosen)
    with pytest.raises(UserError, match=chosen):
        find_gcc()


def test_a_compiler_without_newlib_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "arm-none-eabi-gcc"
    fake.write_text('#!/bin/sh\n[ "$1" = -dumpfullversion ] && echo 13.2.1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("EBNN_ARM_GCC", str(fake))
    with pytest.raises(UserError, match=r"has no newlib.*libnewlib-arm-none-eabi"):
        find_gcc()


def test_unknown_cores_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'cortex-m55'.*cortex-m0plus"):
        core_flags("cortex-m55")


@pytest.mark.parametrize(
    ("statement", "report"),
    [
        ("return fixed[argc + 3];", "index 4 out of bounds"),
        ("memset(v, 0, 16 + (size_t)argc); return v[0];", "heap-buffer-overflow"),
        ("return *(int *)(void *)((char *)v + argc);", "misaligned address"),
        ("return v[0] << (argc + 31);", "shift exponent 32 is too large"),
        ("return (int)(3e9f * (float)argc);", "is outside the range of representable values"),
        ("return *((char *)v + ((size_t)argc << 63));", "overflowed"),
    ],
)
def test_a_sanitized_program_stops_at_undefined_behaviour(
    statement: str, report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
int fixed[4];
int main(int argc, char **argv) {{
    int *v = calloc(4, sizeof *v);
    (void)argv;
    {statement}
}}
"""
    monkeypatch.setenv("EBNN_SANITIZE", "1")
    program = build_program([write_source(tmp_path, text)], tmp_path / "program")
    stopped = subprocess.run([program], capture_output=True, text=True, check=False)
    assert stopped.returncode != 0
    assert report in stopped.stderr


needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed"
)


def run_in_qemu(machine: str, core: str, text: str, folder: Path) -> tuple[int, str]:
    """Exit status and output. These machines have memory for code at 0, RAM at 0x20000000."""
    flash = Memory("flash", "flash", 0, 256 * 1024)
    ram = Memory("ram", "ram", 0x2000_0000, 16 * 1024)
    board = Board("qemu", machine, core, 1_000_000, (flash, ram), "QEMU's documentation")
    path = build_firmware([write_source(folder, text)], board, folder / "a.elf")
    command = ["qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(
        [*command, "-kernel", path], capture_output=True, text=True, timeout=60, check=False
    )
    # The console that semihosting writes to is standard error in some versions.
    return done.returncode, done.stdout + done.stderr


@needs_qemu
@pytest.mark.parametrize(
    ("machine", "core"),
    [
        ("microbit", "cortex-m0"),
        ("mps2-an385", "cortex-m3"),
        ("mps2-an386", "cortex-m4f"),
        ("mps2-an500", "cortex-m7"),
    ],
)
def test_start_up_code_runs_in_qemu_too(machine: str, core: str, tmp_path: Path) -> None:
    assert run_in_qemu(machine, core, EVERYTHING, tmp_path) == (7, EXPECTED_OUTPUT)


@needs_qemu
def test_an_exception_that_nobody_handles_ends_the_run(tmp_path: Path) -> None:
    text = 'int main(void) { __asm__ volatile("svc 0"); for (;;) {} }'
    assert run_in_qemu("microbit", "cortex-m0", text, tmp_path) == (1, "")
