"""Train a binarized network and write its checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a binarized network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="mnist, digits or the path of an .npz")
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds MNIST's IDX files")
    parser.add_argument(
        "--arch",
        required=True,
        metavar="TEXT",
        help='such as "conv3x3-32 pool2, conv3x3-64, fc-10"; see the README for all words',
    )
    parser.add_argument(
        "--input", choices=("uint8", "float", "bits"), default="uint8", help="default uint8"
    )
    parser.add_argument("--epochs", type=int, default=10, help="default 10")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--lr", type=float, default=5e-3, help="learning rate, default 0.005")
    parser.add_argument("--batch", type=int, default=64, help="samples a step, default 64")
    parser.add_argument("--threads", type=int, default=1, help="default 1; weights depend on it")
    parser.add_argument("-o", "--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--keep-latent", action="store_true", help="keep the float weights too")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    import json

    from ebnn.architecture import InputSpec, parse
    from ebnn.data import load_dataset
    from ebnn.files import check_writable
    from ebnn.sim.errors import UserError

    for name in ("epochs", "lr", "batch", "threads"):
        if not getattr(args, name) > 0:
            raise UserError(f"--{name} {getattr(args, name)}: must be more than 0")
    if not -(2**63) <= args.seed < 2**63:
        raise UserError(f"--seed {args.seed}: must fit 64 bits")
    check_writable(args.out)
    dataset = load_dataset(args.dataset, args.data_dir)
    architecture = parse(args.arch, InputSpec(*dataset.shape, kind=args.input))
    try:
        from ebnn.training_session import train_and_save
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UserError("training needs PyTorch: pip install 'ebnn[train]'") from None
    from ebnn.training import TrainingSettings

    settings = TrainingSettings(args.epochs, args.seed, args.lr, args.batch, args.threads)
    result = train_and_save(architecture, dataset, settings, args.out, args.keep_latent)
    if args.json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        print(
            f"{args.out}: {result.correct:,} of {result.total:,} test samples right"
            f" ({result.correct / result.total:.2%}) after {args.epochs} epochs"
        )
    return 0
