"""One or more models with one copy of the kernels: what is written to a folder or an archive."""

from __future__ import annotations

from dataclasses import dataclass

from ebnn.c_kernels import KERNEL_DIR
from ebnn.emitter.model import Model
from ebnn.emitter.model_header import header_text
from ebnn.emitter.model_source import source_text
from ebnn.sim.errors import UserError

_KERNEL_HEADERS = ("ebnn_kernels.h", "bits.h")  # that every kernel needs


@dataclass(frozen=True)
class Library:
    """Models to be linked into one firmware. Raises `UserError` where two would get the same names
    or files."""

    models: tuple[Model, ...]

    def __post_init__(self) -> None:
        headers = [model.header for model in self.models]
        for header in headers:
            if headers.count(header) > 1:
                raise UserError(f"two models would both be {header}: give each a --name of its own")

    @property
    def name(self) -> str:
        return "_".join([*(model.name for model in self.models), "model"])

    @property
    def about(self) -> str:
        """What it does, in a sentence."""
        parts = []
        for model in self.models:
            architecture = model.network.architecture
            spec = architecture.input
            size = f"{spec.height} x {spec.width} x {spec.channels}"
            parts.append(f"{size} {spec.kind} inputs into {architecture.classes} classes")
        return f"Classifies {', and '.join(parts)}, with binarized networks."

    def headers(self) -> dict[str, str]:
        """The models' headers: texts by file name."""
        return {model.header: header_text(model) for model in self.models}

    def sources(self) -> dict[str, str]:
        """The models' sources and the kernels: texts by file name."""
        kernels = frozenset(_KERNEL_HEADERS).union(*(model.kernels for model in self.models))
        return {
            **{model.source: source_text(model) for model in self.models},
            **{name: (KERNEL_DIR / name).read_text() for name in sorted(kernels)},
        }
