"""A checkpoint comes back as it was saved, and anything else is refused in one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from ebnn import checkpoint
from ebnn.architecture import InputSpec, parse
from ebnn.checkpoint import Checkpoint, CheckpointBlock
from ebnn.normalization import BatchNorm
from ebnn.sim.errors import UserError


def example(seed: int = 0) -> Checkpoint:
    rng = np.random.default_rng(seed)
    architecture = parse("conv3x3-5 pool2, fc-7, fc-3", InputSpec(2, 8, 8, "float", 6))
    blocks = []
    for index in range(len(architecture.blocks)):
        shape = checkpoint.weight_shape(architecture, index)
        latent = rng.uniform(-1, 1, shape).astype(np.float32)
        latent.flat[0] = 0.0
        weight = np.where(latent >= 0, 1, -1).astype(np.int8)
        gamma, beta, mean = rng.normal(size=(3, shape[0])).astype(np.float32)
        variance = rng.uniform(0, 9, shape[0]).astype(np.float32)
        blocks.append(CheckpointBlock(weight, BatchNorm(gamma, beta, mean, variance), latent))
    return Checkpoint(architecture, tuple(blocks), {"seed": "3", "dataset": "none"})


@pytest.mark.parametrize("keep_latent", [False, True])
def test_a_saved_checkpoint_comes_back_equal(tmp_path: Path, keep_latent: bool) -> None:
    saved, path = example(), tmp_path / "new" / "m.safetensors"
    checkpoint.save(saved, path, keep_latent=keep_latent)
    loaded = checkpoint.load(path)
    assert loaded.architecture == saved.architecture
    assert loaded.metadata == saved.metadata
    for ours, theirs in zip(saved.blocks, loaded.blocks, strict=True):
        assert theirs.weight.dtype == np.int8
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        for name in ("gamma", "beta", "mean", "variance"):
            np.testing.assert_array_equal(getattr(ours.norm, name), getattr(theirs.norm, name))
        assert theirs.norm.epsilon == ours.norm.epsilon
        if keep_latent:
            assert theirs.latent is not None and ours.latent is not None
            np.testing.assert_array_equal(ours.latent, theirs.latent)
        else:
            assert theirs.latent is None
    assert [entry.name for entry in path.parent.iterdir()] == ["m.safetensors"]


def test_equal_checkpoints_are_equal_files_in_every_process(tmp_path: Path) -> None:
    # The library's metadata order differs from process to process, ours must not.
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_checkpoint as t;"
        "t.checkpoint.save(t.example(), sys.argv[2])"
    )
    contents = set()
    for run in range(3):
        path = tmp_path / f"{run}.safetensors"
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(path)], check=True
        )
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_loading_a_checkpoint_does_not_import_torch(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    checkpoint.save(example(), path)
    code = (
        "import sys; from ebnn import checkpoint; checkpoint.load(sys.argv[1]);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_missing_file_folder_text_and_cut_off_file_are_user_errors(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    checkpoint.save(example(), whole)
    for name, content in {
        "text": b"conv3x3-32",
        "empty": b"",
        "cut": whole.read_bytes()[:-5],
        "header": whole.read_bytes()[:40],
        "pickle": b"PK\x03\x04" + bytes(100),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} is not a readable safetensors file"):
            checkpoint.load(tmp_path / name)
    with pytest.raises(UserError, match=r"missing does not exist.*ebnn train"):
        checkpoint.load(tmp_path / "missing")
    with pytest.raises(UserError, match="is a folder"):
        checkpoint.load(tmp_path)


def test_a_safetensors_file_of_something_else_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"w": np.ones(3, np.float32)}, path)
    with pytest.raises(UserError, match="is not an ebnn-checkpoint-2 file"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"0.gamma": None}, "tensor '0.gamma' is missing"),
        ({"0.gamma": np.ones(4, np.float32)}, r"'0.gamma' is float32 \(4,\), not float32 \(5,\)"),
        ({"1.mean": np.full(7, np.nan, np.float32)}, "'1.mean' holds values that are not finite"),
        ({"1.variance": np.full(7, -1, np.float32)}, "'1.variance' holds negative values"),
        ({"2.weight": np.full(3, 255, np.uint8)}, "has bits behind the last weight"),
        ({"2.weight": np.zeros(2, np.uint8)}, r"'2.weight' is uint8 \(2,\), not uint8 \(3,\)"),
        ({"2.weight": None}, "tensor '2.weight' is missing"),
        ({"2.weight": np.ones((3, 7), np.float64)}, "is float64"),
        ({"9.beta": np.ones(4, np.float32)}, "unknown tensor '9.beta'"),
        ({"architecture": "conv3x3-5, fc"}, "'fc' is no block"),
        ({"architecture": None}, "no 'architecture'"),
        ({"input": "[1"}, "Expecting"),
        ({"input": '{"width": 3}'}, "missing"),
        ({"epsilon": "nan"}, "epsilon is nan"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_the_reason(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    path = tmp_path / "m.safetensors"
    checkpoint.save(example(), path)
    with safetensors.safe_open(path, framework="np") as file:
        content: dict[str, object] = {**file.metadata()}
        content.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    content.update(change)
    tensors = {key: value for key, value in content.items() if isinstance(value, np.ndarray)}
    metadata = {key: value for key, value in content.items() if isinstance(value, str)}
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(UserError, match=problem) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)


def test_a_device_is_not_overwritten() -> None:
    with pytest.raises(UserError, match="not a regular file"):
        checkpoint.save(example(), "/dev/null")
    assert not Path("/dev/null").is_file()
