"""The simulator held against silicon: two run records of one ELF, region by region.

Published figures are compared the same way; for them the simulator's records come along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ebnn.emulation import REGION
from ebnn.record_file import Record, Region
from ebnn.record_pairs import paired, refuse_different_runs
from ebnn.sim.errors import UserError

DEFAULT_TOLERANCE_PERCENT = 5.0
VALIDATED_CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m4f")
"""Cores whose cycles are judged by default; of others (M7, M33) no table is published."""

_NOT_JUDGED = {
    "stated": "counts that the author wrote beside the routines, not measured on a board",
    "flash data": "reads of flash are timed, which the published simulation leaves out",
}


@dataclass(frozen=True)
class RegionComparison:
    """Cycles of one activation (see `Region.cycles`), simulated and measured.

    `within` is None where the core has no tolerance.
    """

    name: str
    count: int
    simulated_cycles: float
    measured_cycles: float
    within: bool | None
    source: str | None = None

    @property
    def error_percent(self) -> float:
        """How much the simulator counts above (+) or below (-) the board."""
        return 100 * (self.simulated_cycles / self.measured_cycles - 1)


@dataclass(frozen=True)
class Difference:
    """A sample that the board classed otherwise."""

    sample: int
    simulated: int
    measured: int


@dataclass(frozen=True)
class Comparison:
    """A board's record beside the simulator's.

    `predictions` is how many both records hold, None where one has none: then `by_reference` has
    those of the board that equal the numpy reference's, and how many there are, where it counted
    them. `notes` is what a reader must know to judge the figures.
    """

    simulated: Record
    measured: Record
    tolerance_percent: float | None
    regions: tuple[RegionComparison, ...]
    predictions: int | None
    differences: tuple[Difference, ...]
    by_reference: tuple[int, int] | None
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        clock = self.measured.clock_hz
        at = f", {clock / 1e6:g} MHz" if clock else ""
        group = f" ({self.measured.group})" if self.measured.group else ""
        return f"{self.measured.core}: {self.measured.board}{at}{group}"

    @property
    def mean_percent(self) -> float | None:
        """Mean of the regions' errors without their signs; None where no cycles were measured."""
        sizes = [abs(one.error_percent) for one in self.regions]
        return sum(sizes) / len(sizes) if sizes else None

    @property
    def worst_percent(self) -> float | None:
        return max((abs(one.error_percent) for one in self.regions), default=None)

    @property
    def passed(self) -> bool:
        """Every judged region within the tolerance, every prediction the same."""
        same, total = self.by_reference or (0, 0)
        judged = all(one.within is not False for one in self.regions)
        return judged and not self.differences and same == total

    def to_dict(self) -> dict[str, Any]:
        return {
            "simulated": self.simulated.path,
            "measured": self.measured.path,
            "elf_sha256": self.measured.elf_sha256,
            "core": self.measured.core,
            "board": self.measured.board,
            "clock_hz": self.measured.clock_hz,
            "model": self.simulated.data.get("model"),
            **({"group": self.measured.group} if self.measured.group else {}),
            "tolerance_percent": self.tolerance_percent,
            "regions": [
                {
                    "name": one.name,
                    "count": one.count,
                    "measured_cycles": one.measured_cycles,
                    "simulated_cycles": one.simulated_cycles,
                    "error_percent": one.error_percent,
                    "within": one.within,
                    **({"source": one.source} if one.source else {}),
                }
                for one in self.regions
            ],
            "mean_percent": self.mean_percent,
            "worst_percent": self.worst_percent,
            "predictions": {
                "compared": self.predictions,
                "different": [
                    {"sample": one.sample, "simulated": one.simulated, "measured": one.measured}
                    for one in self.differences
                ],
                "by_reference": (
                    dict(zip(("same", "total"), self.by_reference, strict=True))
                    if self.by_reference
                    else None
                ),
            },
            "stack": {
                "measured": self.measured.stack_bytes,
                "simulated": self.simulated.stack_bytes,
            },
            "notes": list(self.notes),
            "passed": self.passed,
        }


def compare_all(
    records: Sequence[Record], tolerance_percent: float | None = None
) -> list[Comparison]:
    """Each board's record against the simulator's record of the same ELF, in the order given.

    Raises what `paired` and `compare` raise.
    """
    return [compare(*both, tolerance_percent) for both in paired(records)]


def compare(
    simulated: Record, measured: Record, tolerance_percent: float | None = None
) -> Comparison:
    """The two records of one ELF, region by region and sample by sample.

    Raises:
        UserError: they are of different ELFs, cores or inputs, or have nothing to compare.
    """
    refuse_different_runs(simulated, measured)
    why_not_judged = _NOT_JUDGED.get(measured.group or "")
    if why_not_judged is not None:
        tolerance_percent = None
    elif tolerance_percent is None and measured.core in VALIDATED_CORES:
        tolerance_percent = DEFAULT_TOLERANCE_PERCENT
    notes: list[str] = []
    sim_regions, sim_board, sim_clock = _at_the_boards_clock(simulated, measured, notes)
    if sim_board != measured.board:
        notes.append(f"board: simulated {sim_board}, measured {measured.board}")
    if sim_clock != measured.clock_hz and not measured.is_published:
        notes.append(f"clock: simulated {sim_clock} Hz, measured {measured.clock_hz} Hz")
    waits = simulated.wait_states, measured.wait_states
    if sim_board == simulated.board and None not in waits and waits[0] != waits[1]:
        notes.append(f"flash wait states: simulated {waits[0]}, measured {waits[1]}")
    regions = []
    for name, found in measured.regions.items():
        if name not in sim_regions:
            notes.append(f"region {name}: not in {simulated.path}")
            continue
        simulated_cycles = sim_regions[name].cycles
        error = 100 * (simulated_cycles / found.cycles - 1)
        within = None if tolerance_percent is None else abs(error) <= tolerance_percent
        source = measured.data["regions"][name].get("source") if measured.is_published else None
        regions.append(
            RegionComparison(name, found.count, simulated_cycles, found.cycles, within, source)
        )
    for name in sorted(sim_regions.keys() - measured.regions.keys()):
        notes.append(f"region {name}: not in {measured.path}")
    compared, differences, by_reference = _predictions(simulated, measured, notes)
    if not regions:
        if not measured.regions and (compared or by_reference):
            notes.append(f"no cycles: {measured.path} has no regions")
        else:
            raise UserError(
                f"{measured.path}: no region in common: it has {_names(measured)}, "
                f"{simulated.path} has {_names(simulated)}"
            )
    elif tolerance_percent is None:
        why_not_judged = why_not_judged or (
            f"no table of {measured.core}'s cycles is published; --tolerance sets a bound"
        )
        notes.append(f"cycles are not judged: {why_not_judged}")
    return Comparison(
        simulated,
        measured,
        tolerance_percent,
        tuple(regions),
        compared,
        differences,
        by_reference,
        tuple(notes),
    )


def _at_the_boards_clock(
    simulated: Record, measured: Record, notes: list[str]
) -> tuple[dict[str, Region], str, int | None]:
    """The simulator's regions with the wait states that the board had, its board and clock."""
    regions, clocked = dict(simulated.regions), simulated.at_clock
    if clocked is None or clocked.board != measured.board or REGION not in regions:
        return regions, simulated.board, simulated.clock_hz
    notes.append(
        f"{REGION}: simulated with the wait states of {clocked.board} on the first "
        f"{clocked.samples} samples"
    )
    regions[REGION] = Region(clocked.samples, clocked.cycles)
    return regions, clocked.board, clocked.clock_hz


def _predictions(
    simulated: Record, measured: Record, notes: list[str]
) -> tuple[int | None, tuple[Difference, ...], tuple[int, int] | None]:
    if simulated.predictions is not None and measured.predictions is not None:
        both = zip(simulated.predictions, measured.predictions, strict=True)
        different = [Difference(index, a, b) for index, (a, b) in enumerate(both) if a != b]
        return len(simulated.predictions), tuple(different), None
    if simulated.predictions is None and measured.agreement is not None:
        return None, (), measured.agreement  # `ebnn.sim run` knows no predictions
    for record in (simulated, measured):
        if record.predictions is None and not record.is_published:
            notes.append(f"predictions were not compared: none in {record.path}")
    return None, (), None


def _names(record: Record) -> str:
    return ", ".join(record.regions) or "none"
