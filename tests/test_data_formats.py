"""Data sets in the files that others publish them as, on tiny files of the same format."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from test_data import idx

from ebnn import data_standard, mnist, reference
from ebnn.architecture import InputSpec, parse
from ebnn.data import load_dataset
from ebnn.dataset import Dataset
from ebnn.emitter import emit
from ebnn.host import build_host_model
from ebnn.inputs import encode_input
from ebnn.lowered import lower
from ebnn.sim.errors import UserError
from ebnn.training import predict, train
from ebnn.training_settings import TrainingSettings


def write_idx(folder: Path, compressed: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = ((7, 28, 28), (7,), (3, 28, 28), (3,))
    arrays = [rng.integers(0, 10, shape).astype(np.uint8) for shape in shapes]
    folder.mkdir(parents=True)
    for name, array in zip(mnist.SHA256, arrays, strict=True):
        content = idx(array)
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays


@pytest.mark.parametrize(
    ("name", "place"), [("fashion-mnist", "FashionMNIST/raw"), ("kmnist", "KMNIST/raw")]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_relatives_of_mnist_are_read_from_their_idx_files(
    tmp_path: Path, name: str, place: str, compressed: bool
) -> None:
    for part in ("", place):
        folder = tmp_path / f"in-{len(part)}"
        x_train, y_train, x_test, y_test = write_idx(folder / part, compressed)
        dataset = load_dataset(name, folder)
        assert (dataset.name, dataset.shape, dataset.classes) == (name, (1, 28, 28), 10)
        for found, expected in (
            (dataset.x_train[:, 0], x_train),
            (dataset.y_train, y_train),
            (dataset.x_test[:, 0], x_test),
            (dataset.y_test, y_test),
        ):
            np.testing.assert_array_equal(found, expected)


def test_mnists_own_files_are_not_taken_for_a_relatives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "f"
    write_idx(folder, compressed=False)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in mnist.SHA256}
    monkeypatch.setattr(mnist, "SHA256", sums)
    with pytest.raises(UserError, match=r"kmnist: train-images-idx3-ubyte in .* is MNIST's"):
        load_dataset("kmnist", folder)


def test_missing_and_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fashion-mnist: give the folder .* with --data-dir"):
        load_dataset("fashion-mnist")
    with pytest.raises(UserError, match="no such folder"):
        load_dataset("kmnist", tmp_path / "none")
    with pytest.raises(UserError, match="no train-images-idx3-ubyte"):
        load_dataset("kmnist", tmp_path)
    write_idx(tmp_path / "f", compressed=False)
    (tmp_path / "f" / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2, 10])))
    with pytest.raises(UserError, match=r"labels 0\.\.9"):
        load_dataset("kmnist", tmp_path / "f")
    (tmp_path / "f" / "t10k-labels-idx1-ubyte").write_bytes(b"abc")
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte: not an IDX file"):
        load_dataset("kmnist", tmp_path / "f")


def write_cifar10(folder: Path, archive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images (6, 2, 3, 32, 32) and labels (6, 2) of the six files."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6, 2, 3, 32, 32)).astype(np.uint8)
    y = rng.integers(0, 10, (6, 2)).astype(np.uint8)
    names = (*data_standard.CIFAR10_TRAIN, data_standard.CIFAR10_TEST)
    files = {
        name: np.concatenate((y[i][:, None], x[i].reshape(2, -1)), axis=1).tobytes()
        for i, name in enumerate(names)
    }
    folder.mkdir(parents=True, exist_ok=True)
    if archive:
        with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return x, y


@pytest.mark.parametrize("archive", [False, True])
def test_cifar10_is_read_from_its_binary_files_or_their_archive(
    tmp_path: Path, archive: bool
) -> None:
    x, y = write_cifar10(tmp_path, archive)
    dataset = load_dataset("cifar10", tmp_path)
    assert (dataset.shape, dataset.classes) == ((3, 32, 32), 10)
    np.testing.assert_array_equal(dataset.x_train, x[:5].reshape(10, 3, 32, 32))
    np.testing.assert_array_equal(dataset.y_train, y[:5].flatten())
    np.testing.assert_array_equal(dataset.x_test, x[5])
    np.testing.assert_array_equal(dataset.y_test, y[5])


def test_damaged_cifar10_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither data_batch_1\.bin .* binary version"):
        load_dataset("cifar10", tmp_path)
    write_cifar10(tmp_path, archive=True)
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"cifar-10-binary\.tar\.gz cannot be read"):
        load_dataset("cifar10", tmp_path)
    write_cifar10(tmp_path, archive=False)
    batch = tmp_path / "data_batch_3.bin"
    whole = batch.read_bytes()
    batch.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"data_batch_3\.bin has 6145 bytes"):
        load_dataset("cifar10", tmp_path)
    batch.write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(UserError, match=r"data_batch_3\.bin has a class 10"):
        load_dataset("cifar10", tmp_path)


def write_images(folder: Path, mode: str = "L", size: tuple[int, int] = (6, 4)) -> None:
    image = pytest.importorskip("PIL.Image")
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                made = image.new("L", size, 100 * label + number).convert(mode)
                made.save(folder / split / name / f"{number}.png")


def test_a_folder_of_images_is_a_data_set(tmp_path: Path) -> None:
    write_images(tmp_path / "pets")
    dataset = load_dataset(tmp_path / "pets")
    assert (dataset.name, dataset.shape, dataset.classes) == ("pets", (1, 4, 6), 2)
    assert dataset.x_train[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert dataset.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.x_test[:, 0, 3, 5].tolist() == [0, 100] and dataset.y_test.tolist() == [0, 1]
    assert dataset.x_train.dtype == np.uint8 and dataset.y_train.dtype == np.int64
    # One in colour makes all of them so; what is no image is passed over.
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (6, 4), (9, 8, 7)).save(tmp_path / "pets" / "train" / "cat" / "0.png")
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").write_text("mine")
    dataset = load_dataset(tmp_path / "pets")
    assert dataset.shape == (3, 4, 6) and len(dataset.x_train) == 6
    assert dataset.x_train[0, :, 0, 0].tolist() == [9, 8, 7]
    assert dataset.x_train[1, :, 0, 0].tolist() == [1, 1, 1]


def test_what_is_wrong_with_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(UserError, match="no folder train in it"):
        load_dataset(tmp_path)
    write_images(tmp_path / "a")
    image.new("L", (6, 5)).save(tmp_path / "a" / "test" / "dog" / "0.png")
    with pytest.raises(UserError, match=r"dog/0.png is 5x6, but .*cat/0.png is 4x6"):
        load_dataset(tmp_path / "a")
    (tmp_path / "a" / "test" / "dog" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"dog/0.png is no image that can be read"):
        load_dataset(tmp_path / "a")
    (tmp_path / "a" / "test" / "cow").mkdir()
    with pytest.raises(UserError, match="test has 'cow', which train has not"):
        load_dataset(tmp_path / "a")
    write_images(tmp_path / "b")
    for path in (tmp_path / "b" / "test").glob("*/*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"no image in .*test/CLASS/"):
        load_dataset(tmp_path / "b")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"pip install 'ebnn\[images\]'"):
        load_dataset(tmp_path / "b")


def signals(channels: int, height: int, width: int, seed: int = 0) -> Dataset:
    """Sines with periods of 24, 12, 6 and 3 columns, at any phase, in noise."""
    rng = np.random.default_rng(seed)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, 4, count)
        at = np.arange(width) / width
        phase = rng.random((count, 1, 1, 1)) + np.arange(channels)[:, None, None] / 8
        turns = (width / 24 * 2**labels)[:, None, None, None] * at + phase
        noise = rng.normal(0, 8, (count, channels, height, width))
        x = 128 + 80 * np.sin(2 * np.pi * turns) + noise
        return np.clip(np.rint(x), 0, 255).astype(np.uint8), labels.astype(np.int64)

    return Dataset("signals", *split(600), *split(200), classes=4)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 1, 96), "conv1x7-12 stride2, conv1x5-16 stride2, fc-4"),
        ((2, 1, 96), "conv1x7-12 stride2, conv1x5-16 stride2, fc-16, fc-4"),
        ((3, 8, 48), "conv3x5-12 pool2, conv3x3-16, fc-4"),
    ],
)
def test_signals_and_colour_images_go_from_npz_to_the_same_predictions_in_c(
    tmp_path: Path, shape: tuple[int, int, int], text: str
) -> None:
    made = signals(*shape)
    np.savez(
        tmp_path / "s.npz",
        x_train=made.x_train,
        y_train=made.y_train,
        x_test=made.x_test,
        y_test=made.y_test,
    )
    dataset = load_dataset(tmp_path / "s.npz")
    assert dataset.shape == shape
    architecture = parse(text, InputSpec(*dataset.shape))
    network = train(architecture, dataset, TrainingSettings(epochs=12, batch_samples=32))
    trained = predict(network, dataset.x_test)
    assert np.mean(trained == dataset.y_test) > 0.6  # chance is 0.25
    lowered = lower(network.to_checkpoint())
    golden = reference.run(lowered, dataset.x_test).predictions
    np.testing.assert_array_equal(trained, golden)
    folder = tmp_path / "c"
    compiled = build_host_model(lowered, emit(lowered, folder), folder, tmp_path / "model")
    samples = encode_input(dataset.x_test, architecture.input)
    np.testing.assert_array_equal(compiled.run(samples).predictions, golden)
