"""Training that was killed goes on to the same weights, bit for bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import run_ebnn

from ebnn.sim.errors import UserError
from ebnn.training_log import read_log

EPOCHS = 8
ARGUMENTS = ["train", "--dataset", "digits"]
ARGUMENTS += ["--arch", "conv3x3-16 pool2, fc-32, fc-10", "--epochs", str(EPOCHS)]
# All of it: images that change until epoch 5, a teacher, samples held out.
ARGUMENTS += ["--shift", "1", "--distill", "0.5", "--teacher-epochs", "2"]


def run(output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_ebnn(*ARGUMENTS, "-o", output, *more)


def run_and_kill(output: Path, after: str, *more: str) -> None:
    """Kill training, which it cannot notice, once it says that an epoch is over."""
    command = [sys.executable, "-m", "ebnn.cli", *ARGUMENTS, "-o", str(output), *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(after):
                process.send_signal(signal.SIGKILL)
                break
        else:
            raise AssertionError(f"no {after}")
    assert not output.exists()


def without_times(log: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": 0} for line in read_log(log).epochs]


def test_killed_training_resumes_to_the_checkpoint_of_uninterrupted_training(
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    done = run(whole)
    assert done.returncode == 0, done.stderr
    # Once while images change, once when they no longer do.
    run_and_kill(killed, f"epoch 2/{EPOCHS}")
    run_and_kill(killed, f"epoch 6/{EPOCHS}", "--resume")
    refused = run(killed, "--resume", "--lr", "0.001")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "killed.state was made with learning_rate 0.005, not 0.001" in refused.stderr
    done = run(killed, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"epoch 7/{EPOCHS}") or done.stderr.startswith(
        f"epoch 8/{EPOCHS}"
    )
    assert killed.read_bytes() == whole.read_bytes()
    assert without_times(tmp_path / "killed.jsonl") == without_times(tmp_path / "whole.jsonl")
    names = {path.name for path in tmp_path.iterdir()}
    kept = {"whole.safetensors", "killed.safetensors", "whole.jsonl", "killed.jsonl"}
    assert names == {*kept, "teacher.safetensors"}

    # What is finished is not trained again, and tells the same.
    again = run(killed, "--resume", "--json")
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert again.stderr == ""


def test_a_teacher_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    teacher = str(tmp_path / "t.safetensors")
    few = ("--epochs", "1", "--teacher", teacher)
    assert run(tmp_path / "a", *few).returncode == 0
    made = Path(teacher).read_bytes()
    # The same for another network, seed and number of epochs.
    other = ("--epochs", "2", "--seed", "5", "--arch", "fc-16, fc-10", "--teacher", teacher)
    assert run(tmp_path / "b", *other).returncode == 0
    assert Path(teacher).read_bytes() == made
    refused = run(tmp_path / "c", *few, "--validation", "0.2")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert teacher in refused.stderr and "give the same, or remove the file" in refused.stderr


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    run_and_kill(output, "epoch 1/")
    state = tmp_path / "m.state"
    state.write_bytes(state.read_bytes()[:-9])
    refused = run(output, "--resume")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "m.state is not a readable safetensors file" in refused.stderr


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for content in ("", "{", "[]\n", '{"event": "epoch"}\n'):
        path.write_text(content)
        with pytest.raises(UserError, match=r"m\.jsonl: not one that"):
            read_log(path)
