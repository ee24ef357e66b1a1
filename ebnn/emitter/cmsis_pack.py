"""A library as a CMSIS-Pack with one software component (Open-CMSIS-Pack, PACK.xsd 1.7)."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from ebnn import __version__
from ebnn.emitter.archive import source_tree, zipped
from ebnn.emitter.library import Library

VENDOR = "ebnn"


def pack_name(library: Library) -> str:
    """What the file has to be called: VENDOR.NAME.VERSION.pack."""
    return f"{VENDOR}.{library.name}.{__version__}.pack"


def cmsis_pack(library: Library) -> bytes:
    """The pack; the same models, the same bytes. Raises `UserError` where the lowering is not for
    an IDE."""
    tree = source_tree(library)
    description = _description(library, sorted(tree))
    return zipped({f"{VENDOR}.{library.name}.pdsc": description, **tree})


def _description(library: Library, paths: list[str]) -> str:
    files = "".join(f"        {_file(path)}\n" for path in paths)
    about = escape(library.about)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<package schemaVersion="1.7.27" xmlns:xs="http://www.w3.org/2001/XMLSchema-instance"
         xs:noNamespaceSchemaLocation="PACK.xsd">
  <vendor>{VENDOR}</vendor>
  <name>{library.name}</name>
  <description>{about}</description>
  <url></url>
  <releases>
    <release version="{__version__}">Generated.</release>
  </releases>
  <keywords>
    <keyword>neural network</keyword>
  </keywords>
  <components>
    <component Cclass="Machine Learning" Cgroup="{library.name}" Cversion="{__version__}">
      <description>{about}</description>
      <files>
{files}      </files>
    </component>
  </components>
</package>
"""


def _file(path: str) -> str:
    if path.endswith(".c"):
        kind = 'category="source"'
    elif path.startswith("src/ebnn/"):
        kind = 'category="header" scope="private"'
    else:
        kind = 'category="header"'
    return f"<file {kind} name={quoteattr(path)}/>"
