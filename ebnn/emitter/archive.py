"""Archives of a library: what an IDE unpacks and compiles, the same bytes for the same models."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from ebnn.emitter.library import Library
from ebnn.sim.errors import UserError

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that the format can tell
_PLAIN_FILE = 0o100644 << 16


def source_tree(library: Library) -> dict[str, str]:
    """Texts by path: the models' headers in src, which users include, and all else below it.

    Raises `UserError` for lowerings that compute in floats: an IDE offers no -ffp-contract=off,
    without which the results may be others.
    """
    for model in library.models:
        if model.program.lowering != "fast":
            raise UserError(
                f"lowering {model.program.lowering!r} needs -ffp-contract=off, which no IDE sets:"
                " take fast, or --format folder"
            )
    headers = {f"src/{name}": text for name, text in library.headers().items()}
    return {**headers, **{f"src/ebnn/{name}": text for name, text in library.sources().items()}}


def zipped(texts: Mapping[str, str]) -> bytes:
    """A zip archive of texts by path. Stored: compressors differ from one version to the next."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path, text in sorted(texts.items()):
            entry = zipfile.ZipInfo(path, _EARLIEST)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = _PLAIN_FILE
            archive.writestr(entry, text.encode())
    return content.getvalue()
