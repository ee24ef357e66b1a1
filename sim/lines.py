"""Source lines from DWARF, for messages only: pyelftools is slow to load and is loaded then."""

from __future__ import annotations

from pathlib import Path

from .elf import Elf


def source_line(elf: Elf, address: int) -> tuple[str, int] | None:
    """File name and line of the instruction at `address`, or None without debug information."""
    try:
        return _search(elf, address)
    except Exception:  # an untrusted file: whatever its DWARF does to the parser, no line is known
        return None


def _search(elf: Elf, address: int) -> tuple[str, int] | None:
    import io

    from elftools.elf.elffile import ELFFile

    file = ELFFile(io.BytesIO(elf.data))
    if not file.has_dwarf_info():
        return None
    dwarf = file.get_dwarf_info()
    ranges = dwarf.get_aranges()
    offset = ranges.cu_offset_at_addr(address) if ranges else None
    units = dwarf.iter_CUs() if offset is None else [dwarf.get_CU_at(offset)]
    for unit in units:
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        previous = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if previous and previous.address <= address < state.address:
                header = program.header
                index = previous.file - (0 if header["version"] >= 5 else 1)
                name = header["file_entry"][index].name.decode("utf-8", "replace")
                return Path(name).name, previous.line
            previous = None if state.end_sequence else state
    return None
