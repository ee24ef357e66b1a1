"""Holds a test's runs against its budgets, and says what was over, by how much and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ebnn.pytest_plugin.budgets import Budget
from ebnn.pytest_plugin.notes import flag_lines, stack_lines, symbol_lines
from ebnn.pytest_plugin.run import Run
from ebnn.sim.errors import UserError, printable
from ebnn.sim.machine import Machine
from ebnn.sim.markers import marker_symbols
from ebnn.sim.render import flash_text, model_text

_MOST_FUNCTIONS = 6
_MOST_LINES = 4
_OF_STACK, _OF_RAM = ("stack", "ram"), ("ram", "static")


@dataclass(frozen=True)
class Verdict:
    """One budget over all runs of a test: the run that took most of it, and how many were over."""

    budget: Budget
    run: Run
    number: int  # of the run in the test, from 1
    used: int | None
    failed: int

    @property
    def is_kept(self) -> bool:
        return not self.failed

    def facts(self) -> Mapping[str, Any]:
        """For the summary, as plain data that crosses processes."""
        model = self.run.record["model"]
        return {
            "title": self.budget.title,
            "kind": self.budget.kind,
            "limit": self.budget.limit,
            "used": self.used,
            "board": self.run.record["board"],
            "model": f"{flash_text(model)}, cycle model {model_text(model)}",
            "elf": self.run.setup.elf.name,
        }


def verdicts(runs: Sequence[Run], budgets: Sequence[Budget]) -> list[Verdict]:
    """Of each budget; a region counts in the runs that came to it, and is over where none did."""
    found = []
    for budget in budgets:
        numbered = [(run, number, budget.used(run.record)) for number, run in enumerate(runs, 1)]
        measured = [(used, -number, run) for run, number, used in numbered if used is not None]
        if not measured:
            if runs:
                found.append(Verdict(budget, runs[-1], len(runs), None, len(runs)))
            continue
        used, number, run = max(measured, key=lambda one: one[:2])
        failed = sum(one[0] > budget.limit for one in measured)
        found.append(Verdict(budget, run, -number, used, failed))
    return found


def failure_text(failed: Sequence[Verdict], run_count: int) -> str:
    """All budgets that do not hold, each with what took most of it."""
    plural = "1 budget does" if len(failed) == 1 else f"{len(failed)} budgets do"
    lines = [f"{plural} not hold: {'; '.join(map(_short, failed))}"]
    repeated: dict[int, Machine | None] = {}
    for verdict in failed:
        lines += ["", headline(verdict, run_count)]
        if verdict.used is None:
            continue
        if verdict.number not in repeated:
            repeated[verdict.number] = verdict.run.repeat(profile=True)
        machine = repeated[verdict.number]
        if machine is None:
            lines.append("    (no details: repeated, the run came out otherwise)")
        else:
            lines += [f"    {line}" for line in _culprits(verdict.budget, machine)]
    flags = dict.fromkeys(
        line for machine in repeated.values() if machine for line in flag_lines(machine)
    )
    if flags:
        lines += ["", *flags]
    for machine in repeated.values():
        if machine:
            machine.close()
    return "\n".join(lines)


def _short(verdict: Verdict) -> str:
    used = "did not run" if verdict.used is None else f"{verdict.used:,}"
    return f"{verdict.budget.title} {used} of {verdict.budget.limit_text}"


def headline(verdict: Verdict, run_count: int) -> str:
    """`RAM: 14,336 bytes, 2,048 (16.7 %) over the budget of 12k, on nrf52840-dk in fw.elf`."""
    budget, run = verdict.budget, verdict.run
    where = f"{run.setup.elf.name} on {run.record['board']}"
    if verdict.used is None:
        return f"{budget.title}: it did not run to its end, in {where}{_missing(verdict)}"
    over = verdict.used - budget.limit
    share = f" ({100 * over / budget.limit:.1f} %)" if budget.limit else ""
    unit = "cycles" if budget.kind == "cycles" else "bytes"
    title = budget.region or "whole run" if budget.kind == "cycles" else budget.title
    text = f"{title}: {verdict.used:,} {unit}, {over:,}{share} over the budget of "
    text += f"{budget.limit_text}, in {where}"
    if budget.source != "the budget marker":
        text += f"; set in {budget.source}"
    if run_count > 1:
        over_too = f", {verdict.failed} of {run_count} are over" if verdict.failed > 1 else ""
        text += f"; run {verdict.number} of {run_count} took most{over_too}"
    return text


def _missing(verdict: Verdict) -> str:
    """What the image lacks of a region that did not run."""
    elf, region = verdict.run.elf, str(verdict.budget.region)
    try:
        for symbol in marker_symbols(elf, region) or (region,):
            elf.symbol(symbol)
    except UserError as error:
        return f"; {error}"
    return ""


def _culprits(budget: Budget, machine: Machine) -> list[str]:
    if budget.kind == "cycles":
        return _cycle_lines(budget.region, machine)
    if budget.kind == "flash":
        return symbol_lines(machine, "flash")
    lines = []
    if budget.kind == "ram":
        lines.append(f"it is {machine.ram_use()}")
    if budget.kind in _OF_RAM:
        lines += symbol_lines(machine, "ram")
    if budget.kind in _OF_STACK:
        lines += stack_lines(machine)
    return lines


def _cycle_lines(region: str | None, machine: Machine) -> list[str]:
    """The functions that took most cycles, inside the region where it is a function."""
    profile = machine.profile()
    cycles: Counter[str] = Counter()
    for stack in profile.stacks():
        if region is None or region in stack.frames:
            cycles[stack.frames[-1]] += stack.cycles
    inside = region if cycles and region is not None else None
    if not cycles:  # a span between two labels
        cycles.update({one.name: one.self_cycles for one in profile.functions})
    total = sum(cycles.values())
    calls = {one.name: one.calls for one in profile.functions}
    lines = [f"where {f'{total:,} cycles of all its calls' if inside else 'the run'} went:"]
    for name, taken in cycles.most_common(_MOST_FUNCTIONS):
        times = calls.get(name, 0)
        often = f", {times:,} calls" if times != 1 else ""
        lines.append(f"  {taken:>13,}  {100 * taken / total:5.1f} %  {printable(name)}{often}")
    hot = [line for line in machine.hot_lines() if line.function in cycles][:_MOST_LINES]
    if hot:
        named = [f"{one.source.place} ({one.function}) {one.cycles:,}" for one in hot]
        lines.append(f"costliest lines of the run: {', '.join(map(printable, named))}")
    return lines
