"""What `pip install .` puts on a machine, used from other folders than the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ebnn.sim.board import board_names

ROOT = Path(__file__).parents[1]
ROOMS = ("sim", "toolchain", "c_kernels")


def run(
    *command: str | Path, cwd: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the checkout, as `git clone` would lay them out, links as links."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        source, copy = ROOT / name, folder / name
        if not source.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            copy.symlink_to(source.readlink())
        else:
            copy.write_bytes(source.read_bytes())
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    built = run(*command, "--no-build-isolation", "-w", folder, checkout, cwd=folder)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package; the dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def expected_files() -> set[str]:
    """Every file of the package that is not Python's or a compiler's leftover."""
    files = {
        f"ebnn/{room}/{path.relative_to(ROOT / room)}"
        for room in ROOMS
        for pattern in ("**/*.py", "**/*.[ch]", "**/*.toml", "**/*.json", "**/*.sh")
        for path in (ROOT / room).glob(pattern)
    }
    own = [*(ROOT / "ebnn").glob("*.py"), *(ROOT / "ebnn" / "commands").glob("*.py")]
    return files | {str(path.relative_to(ROOT)) for path in own}


def test_the_wheel_holds_every_file_of_the_rooms_as_a_real_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    assert sorted(expected_files() - entries.keys()) == []
    assert "ebnn/toolchain/startup.c" in entries
    assert "ebnn/sim/boards/generic-m4f.toml" in entries
    # A link would be stored as a file that holds the link's target.
    assert all(entries[f"ebnn/{room}/__init__.py"].file_size > 20 for room in ROOMS)
    outside = [name for name in entries if not name.startswith(("ebnn/", "ebnn-"))]
    assert outside == []


def test_the_source_archive_builds_the_same_package(
    checkout: Path, tmp_path: Path, wheel: Path
) -> None:
    build = "from setuptools import build_meta; print(build_meta.build_sdist({!r}))"
    made = run(sys.executable, "-c", build.format(str(tmp_path)), cwd=checkout)
    assert made.returncode == 0, made.stderr
    (archive_path,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive_path, tmp_path)
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    built = run(*command, "--no-build-isolation", "-w", tmp_path, source, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (from_archive,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(from_archive) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_the_installed_simulator_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "ebnn.sim", "--help", cwd=tmp_path, path=installed)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
    show = "import ebnn.sim; print(ebnn.sim.__file__); print(*ebnn.sim.board_names())"
    shown = run(sys.executable, "-P", "-c", show, cwd=tmp_path, path=installed)
    place, names = shown.stdout.splitlines()
    assert Path(place).is_relative_to(installed)
    assert names.split() == board_names()


def test_the_simulator_runs_from_the_checkout_root_after_an_install(
    installed: Path, checkout: Path
) -> None:
    # Python puts the current folder first: the checkout's package, without its native engine.
    done = run(sys.executable, "-m", "ebnn.sim", "--help", cwd=checkout, path=installed)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_the_installed_toolchain_builds_and_runs_firmware(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 5; }\n")
    program = """
from pathlib import Path
from ebnn.sim import Machine, load_board
from ebnn.toolchain.firmware import build_firmware
board = load_board("generic-m0plus")
elf = build_firmware([Path("main.c")], board, Path("main.elf"))
raise SystemExit(Machine(elf, board=board).run())
"""
    done = run(sys.executable, "-P", "-c", program, cwd=tmp_path, path=installed)
    assert done.returncode == 5, done.stderr


@pytest.mark.parametrize("module", ["ebnn.cli", "ebnn.sim"])
def test_help_imports_neither_torch_nor_unicorn(module: str) -> None:
    done = run(sys.executable, "-X", "importtime", "-m", module, "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert {"torch", "unicorn", "sklearn"} & imported == set()


def install_script(
    folder: Path, user_id: int, tools: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """toolchain/install.sh on a machine that lacks arm-none-eabi-gcc, with stand-ins for `tools`.

    PATH holds them and nothing else but what the script needs, so there is no sudo of the machine.
    """
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in ("sh", "env", "cc", "as", "ld"):
        real = shutil.which(name)
        assert real is not None
        (bin_folder / name).symlink_to(real)
    for name, body in {"id": f"echo {user_id}", **tools}.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_folder / name).chmod(0o755)
    environment = {"PATH": str(bin_folder), "PYTHON": sys.executable}
    script = ROOT / "toolchain" / "install.sh"
    return subprocess.run(
        [shutil.which("sh") or "sh", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


APT_LOG = 'echo "$@"'
PACKAGES = "gcc-arm-none-eabi libnewlib-arm-none-eabi"


def test_set_up_without_root_and_sudo_prints_one_command_and_stops(tmp_path: Path) -> None:
    done = install_script(tmp_path, 1000, {"apt-get": "exit 9", "apt-cache": "exit 9"})
    assert done.returncode == 2
    commands = [line for line in done.stderr.splitlines() if "apt-get install" in line]
    assert len(commands) == 1
    assert PACKAGES in commands[0]


@pytest.mark.parametrize(
    ("user_id", "sudo"), [(0, {}), (1000, {"sudo": '[ "$1" = -n ] && shift; exec "$@"'})]
)
def test_set_up_installs_only_what_is_missing(
    user_id: int, sudo: dict[str, str], tmp_path: Path
) -> None:
    tools = {"apt-get": APT_LOG, "apt-cache": "exit 0", "true": "exit 0", **sudo}
    done = install_script(tmp_path, user_id, tools)
    assert done.returncode == 0, done.stderr
    (command,) = (line for line in done.stdout.splitlines() if " install " in line)
    assert command.endswith(f"--no-install-recommends {PACKAGES}")
    assert " update" not in done.stdout


def test_set_up_updates_package_lists_that_lack_the_packages(tmp_path: Path) -> None:
    done = install_script(tmp_path, 0, {"apt-get": APT_LOG, "apt-cache": "exit 100"})
    assert done.returncode == 0, done.stderr
    updated, installed = done.stdout.splitlines()[-2:]
    assert updated.endswith(" update")
    assert installed.endswith(PACKAGES)


def test_every_package_folder_is_in_the_list_to_install() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for path in ROOT.glob("ebnn/**/__init__.py")
    }
    rooms = {
        f"ebnn.{path.parent.relative_to(ROOT)}".replace("/", ".")
        for room in ROOMS
        for path in (ROOT / room).glob("**/__init__.py")
    }
    assert sorted(folders | rooms) == sorted(listed)
