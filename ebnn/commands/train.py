"""Train a binarized network and write its checkpoint, with a log (.jsonl) beside it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebnn.recipe import Recipe
    from ebnn.training_session import TrainingResult

HELP = "train a binarized network"

# Option, field of TrainingSettings, type, what it says.
_SETTINGS = (
    ("--epochs", "epochs", int, "default 10"),
    ("--seed", "seed", int, "default 0"),
    ("--lr", "learning_rate", float, "learning rate at the start, default 0.005"),
    ("--batch", "batch_samples", int, "samples a step, default 64"),
    ("--threads", "threads", int, "default 1; weights depend on it"),
    (
        "--validation",
        "validation",
        float,
        "part of the training split to hold out and to decide by, default 0.1; 0 trains on all",
    ),
    ("--rotate", "rotation_degrees", float, "turn training images by up to so many degrees"),
    ("--scale", "scale_percent", float, "make them up to so many percent larger or smaller"),
    ("--shift", "shift_pixels", float, "move them by up to so many pixels"),
    (
        "--clean",
        "clean",
        float,
        "part of the epochs, the last ones, without these changes, default 0.4",
    ),
    (
        "--distill",
        "distillation",
        float,
        "weight from 0 to 1 of a float teacher's scores in the loss, default 0: no teacher",
    ),
    ("--temperature", "temperature", float, "of the distillation, default 4"),
    ("--teacher-epochs", "teacher_epochs", int, "default 12"),
    ("--device", "device", str, "cpu (default) or cuda"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        metavar="NAME|FILE.toml",
        help="data set, architecture and all settings; the options below override it",
    )
    parser.add_argument("--dataset", help="a name (`ebnn data list`), an .npz or a folder")
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds the data set's files")
    parser.add_argument(
        "--arch",
        metavar="TEXT",
        help='such as "conv3x3-32 pool2, conv3x3-64, fc-10"; see the README for all words',
    )
    parser.add_argument(
        "--input", metavar="KIND", help="uint8 (default), float, bits or bits:64,192"
    )
    for option, field, kind, text in _SETTINGS:
        parser.add_argument(option, dest=field, type=kind, help=text)
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="train N networks, from --seed on"
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="FILE",
        help="the teacher, trained first where it is missing; default teacher.safetensors"
        " beside the checkpoint",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last epoch of an interrupted run"
    )
    parser.add_argument("--keep-latent", action="store_true", help="keep the float weights too")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the curves")
    parser.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write curves for TensorBoard; needs pip install 'ebnn[tensorboard]'",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    import json
    import shlex
    import sys

    from ebnn.architecture import parse, parse_input
    from ebnn.data import load_dataset
    from ebnn.files import check_writable, write_whole
    from ebnn.sim.errors import UserError
    from ebnn.training_log import read_log
    from ebnn.training_plot import to_svg

    recipe = _recipe(args)
    if not 1 <= args.seeds <= 1000:
        raise UserError(f"--seeds {args.seeds}: must be from 1 to 1000")
    for path in (args.out, args.plot):
        if path is not None:
            check_writable(path)
    dataset = load_dataset(recipe.dataset, args.data_dir)
    architecture = parse(recipe.architecture, parse_input(recipe.input, dataset.shape))
    try:
        from ebnn.training_session import SessionOptions, log_path, summary, train_seeds
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UserError("training needs PyTorch: pip install 'ebnn[train]'") from None
    options = SessionOptions(
        keep_latent=args.keep_latent,
        resume=args.resume,
        teacher=args.teacher,
        tensorboard=args.tensorboard,
        command=shlex.join(["ebnn", *sys.argv[1:]]),
    )
    results = train_seeds(architecture, dataset, recipe.settings, args.out, args.seeds, options)
    if args.plot is not None:
        logs = [read_log(log_path(result.output)) for result in results]
        write_whole(args.plot, to_svg(logs).encode())
    if args.json:
        print(json.dumps(summary(results), indent=2))
    else:
        _print(results)
    return 0


def _recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that is asked for, with what the options say put over it."""
    from dataclasses import replace

    from ebnn.recipe import Recipe, load_recipe
    from ebnn.sim.errors import UserError
    from ebnn.training_settings import TrainingSettings, checked

    if args.recipe is not None:
        recipe = load_recipe(args.recipe)
    elif args.dataset is None or args.arch is None:
        raise UserError("give --dataset and --arch, or a --recipe, which has both")
    else:
        recipe = Recipe("", args.dataset, args.arch, "uint8", TrainingSettings())
    given = {field: getattr(args, field) for _, field, _, _ in _SETTINGS}
    settings = replace(
        recipe.settings, **{field: value for field, value in given.items() if value is not None}
    )
    checked(settings, {field: option for option, field, _, _ in _SETTINGS}, "")
    return replace(
        recipe,
        dataset=args.dataset or recipe.dataset,
        architecture=args.arch or recipe.architecture,
        input=args.input or recipe.input,
        settings=settings,
    )


def _print(results: list[TrainingResult]) -> None:
    from ebnn.training_log import mean_and_error

    for result in results:
        held = result.validation
        validation = "" if held is None else f"validation {held.accuracy:.2%}, "
        print(
            f"{result.output}: {validation}test {result.test.accuracy:.2%}"
            f" ({result.test.correct:,} of {result.test.total:,}) after"
            f" {result.settings.epochs} epochs, seed {result.settings.seed}"
        )
    if len(results) > 1:
        mean, error = mean_and_error([result.test.accuracy for result in results])
        print(
            f"test {mean:.2%} +- {error:.2%} (mean of {len(results)} seeds, standard error;"
            " last epoch of each)"
        )
