"""What `ebnn demo` runs, from the data set to the table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ebnn import checkpoint, lowered, zoo
from ebnn.architecture import InputSpec, parse
from ebnn.data import load_dataset
from ebnn.emulation import REGION
from ebnn.files import check_writable, write_whole
from ebnn.network import from_checkpoint
from ebnn.report import Progress, print_verification
from ebnn.sim.board import load_board
from ebnn.sim.sizes import parse_size
from ebnn.training import check_suits, predict
from ebnn.training_session import train_and_save
from ebnn.training_settings import TrainingSettings
from ebnn.verification import stage, verify


def run_demo(
    architecture_text: str,
    board_names: Sequence[str],
    ram: str,
    epochs: int,
    seed: int,
    data_dir: str | None,
    folder: Path,
    zoo_name: str | None = None,
) -> int:
    """Train on MNIST, lower, build for each board, verify every test image under `ram`.

    `zoo_name` is of a network that is taken instead. Keeps every stage's file in `folder`.
    Returns the exit code: 0 where all stages agree.
    """
    say = Console(stderr=True).print
    model = folder / "model.safetensors"
    check_writable(model)
    say("[bold]1. data[/] MNIST, 60,000 + 10,000 images")
    dataset = load_dataset("mnist", data_dir)
    if zoo_name is not None:
        say(f"[bold]2. take[/] {zoo_name}, trained already -> {model}")
        zoo.copy(zoo.get(zoo_name), model)
        network = from_checkpoint(checkpoint.load(model))
        check_suits(network.architecture, dataset)
        predicted = predict(network, dataset.x_test)
    else:
        architecture = parse(architecture_text, InputSpec(*dataset.shape))
        say(f"[bold]2. train[/] {architecture}, {epochs} epochs -> {model}")
        # Nothing is left to decide, so no sample is held out of training.
        settings = TrainingSettings(epochs, seed, validation=0)
        predicted = train_and_save(architecture, dataset, settings, model).predictions
    say(f"[bold]3. lower[/] to integers -> {folder / 'model.lowered'}")
    integers = lowered.lower(checkpoint.load(model))
    lowered.save(integers, folder / "model.lowered")
    boards = [load_board(name) for name in board_names]
    names = " and ".join(board.title for board in boards)
    say(f"[bold]4. build and verify[/] for {names}, --ram {ram}")
    with Progress(len(dataset.x_test)) as progress:
        result = verify(
            integers,
            dataset.x_test,
            dataset.y_test,
            boards,
            folder,
            ram_bytes=parse_size(ram, "--ram"),
            on_progress=progress.advance,
        )
    golden = result.stages[0].predictions
    print_verification(result, stage("trained", predicted, dataset.y_test, golden))
    for found in result.emulated:
        record = folder / f"{found.board.name}.json"
        write_whole(record, json.dumps(found.record, indent=2).encode())
        say(f"run record: {record}; again: python -m ebnn.sim run {folder}/{found.board.name}.elf")
    exact = result.exact and bool((predicted == golden).all())
    say(
        f"every stage agrees on every image: {'yes' if exact else 'NO'}; region {REGION},"
        " cycles as the simulator's model counts them"
    )
    return 0 if exact else 1
