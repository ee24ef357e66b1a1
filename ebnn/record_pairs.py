"""Which records belong together: the simulator's and the board's of one ELF on the same samples."""

from __future__ import annotations

from collections.abc import Sequence

from ebnn.record_file import Record
from ebnn.sim.errors import UserError


def paired(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """For each board's record, in the order given: the simulator's of the same ELF, and it.

    Raises:
        UserError: a kind is missing, or a board's ELF was not simulated, or more than once.
    """
    boards = [record for record in records if record.kind == "board"]
    simulated = [record for record in records if record.kind == "sim"]
    if not boards or not simulated:
        there, missing = ("simulator", "board") if simulated else ("board", "simulator")
        raise UserError(
            f"{', '.join(record.path for record in records)}: only records of a {there}: "
            f"give one of a {missing} of the same ELF too"
        )
    for record in records:
        if record.is_published:
            raise UserError(f"{record.path}: published figures have no ELF: see --published")
    return [(_partner(board, simulated), board) for board in boards]


def _partner(board: Record, simulated: Sequence[Record]) -> Record:
    same = [one for one in simulated if one.elf_sha256 == board.elf_sha256]
    if not same:
        others = ", ".join(f"{one.path} {_elf(one)}" for one in simulated)
        raise UserError(f"{board.path}: different ELFs: it is of {_elf(board)}, but {others}")
    if len(same) > 1:
        here = [one for one in same if board.board in (one.board, _clocked_board(one))]
        if len(here) != 1:
            raise UserError(
                f"{board.path}: {', '.join(one.path for one in same)} are all of its ELF "
                f"{_elf(board)}: give the one for {board.board}"
            )
        return here[0]
    return same[0]


def _clocked_board(record: Record) -> str | None:
    return record.at_clock.board if record.at_clock else None


def _elf(record: Record) -> str:
    return f"{record.elf_path} (sha256 {str(record.elf_sha256)[:12]})"


def refuse_different_runs(simulated: Record, measured: Record) -> None:
    """Raise `UserError` where the records cannot be of the same code on the same samples."""
    pair = f"{simulated.path} and {measured.path}"
    if simulated.elf_sha256 != measured.elf_sha256:
        raise UserError(f"{pair}: different ELFs: {_elf(simulated)} and {_elf(measured)}")
    if simulated.core != measured.core:
        raise UserError(f"{pair}: different cores: {simulated.core} and {measured.core}")
    for record in (simulated, measured):
        if record.fault:
            raise UserError(f"{record.path}: its run ended in a fault: {record.fault}")
    hashes = simulated.inputs_sha256, measured.inputs_sha256
    if None not in hashes and hashes[0] != hashes[1]:
        raise UserError(
            f"{pair}: different inputs: sha256 {str(hashes[0])[:12]} and {str(hashes[1])[:12]}"
        )
    lengths = [None if r.predictions is None else len(r.predictions) for r in (simulated, measured)]
    if None not in lengths and lengths[0] != lengths[1]:
        raise UserError(f"{pair}: different inputs: {lengths[0]} and {lengths[1]} predictions")
    for name in simulated.regions.keys() & measured.regions.keys():
        counts = simulated.regions[name].count, measured.regions[name].count
        # A board may run each sample several times.
        if max(counts) % min(counts):
            raise UserError(
                f"{pair}: different inputs: region {name} ran {counts[0]} and {counts[1]} times"
            )
