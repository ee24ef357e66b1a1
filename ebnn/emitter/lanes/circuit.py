"""Logic on words, 32 lanes at a time, as C: every operation is one instruction on any core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce


@dataclass(frozen=True)
class Signal:
    """A word of lanes: the C expression `text`, or, where `inverted`, its complement."""

    text: str
    inverted: bool = False

    def __invert__(self) -> Signal:
        return Signal(self.text, not self.inverted)


@dataclass
class Circuit:
    """Operations in the order in which they were asked for, each of them once."""

    _operations: list[tuple[str, str, tuple[str, str]]] = field(default_factory=list)
    _known: dict[str, Signal] = field(default_factory=dict)

    def _new(self, form: str, a: Signal, b: Signal) -> Signal:
        expression = form.format(a.text, b.text)
        if expression not in self._known:
            name = f"x{len(self._operations)}"
            self._operations.append((name, expression, (a.text, b.text)))
            self._known[expression] = Signal(name)
        return self._known[expression]

    def lines(self, *results: Signal) -> list[str]:
        """The C of the operations that `results` depend on."""
        needed = {result.text for result in results}
        lines = []
        for name, expression, operands in reversed(self._operations):
            if name in needed:
                needed.update(operands)
                lines.append(f"const uint32_t {name} = {expression};")
        return lines[::-1]

    def xor(self, a: Signal, b: Signal) -> Signal:
        made = self._new("{} ^ {}", a, b)
        return Signal(made.text, a.inverted != b.inverted)

    def both(self, a: Signal, b: Signal) -> Signal:
        """a and b."""
        if a.inverted and b.inverted:
            return ~self._new("{} | {}", a, b)
        if a.inverted:
            a, b = b, a
        return self._new("{} & ~{}" if b.inverted else "{} & {}", a, b)

    def either(self, a: Signal, b: Signal) -> Signal:
        """a or b."""
        return ~self.both(~a, ~b)

    def full_add(self, a: Signal, b: Signal, c: Signal) -> tuple[Signal, Signal]:
        """(carry, sum): a + b + c = 2 carry + sum."""
        differ = self.xor(a, b)
        carry = self.xor(a, self.both(differ, self.xor(a, c)))
        return carry, self.xor(differ, c)

    def majority_of_five(self, a: Signal, b: Signal, c: Signal, d: Signal, e: Signal) -> Signal:
        """That of a, b and c, unless these are not alike, and d and e agree on something else."""
        ab, ac = self.xor(a, b), self.xor(a, c)
        of_three = self.xor(a, self.both(ab, ac))
        doubted = self.both(self.either(ab, ac), self.xor(of_three, d))
        return self.xor(of_three, self.both(doubted, ~self.xor(d, e)))


def reaches(
    circuit: Circuit, terms: Sequence[Sequence[Signal]], least: int, waiting: int = 4
) -> Signal | bool:
    """Lanes where the sum of all signals, those of terms[w] worth 2^w, is at least `least`; a bool
    where it is the same for all lanes, whatever the signals. `waiting` carries of one weight, at
    least 2, wait until all of less weight are added up: more take more registers, and may take
    fewer operations."""
    levels = [list(level) for level in terms]
    most = sum(len(level) << weight for weight, level in enumerate(levels))
    if not 0 < least <= most:
        return least <= 0
    if least in (1, most):
        operation = circuit.either if least == 1 else circuit.both
        return reduce(operation, [signal for level in levels for signal in level])
    if not any(levels[1:]) and len(levels[0]) == 5 and least == 3:
        return circuit.majority_of_five(*levels[0])
    while len(levels[0]) > 2:
        _add_three(circuit, levels, 0, waiting)
    # What is left counts for the next level as far as it reaches an even sum.
    low, *upper = levels
    upper = upper or [[]]
    if least % 2 == 0 and len(low) == 2:
        upper[0].append(circuit.both(*low))
    elif least % 2 == 1 and low:
        upper[0].append(reduce(circuit.either, low))
    return reaches(circuit, upper, (least + 1) // 2, waiting)


def _add_three(circuit: Circuit, levels: list[list[Signal]], weight: int, waiting: int) -> None:
    """Replace three signals by their sum and a carry, and likewise where too many carries wait."""
    carry, low = circuit.full_add(*levels[weight][:3])
    levels[weight][:3] = [low]
    if len(levels) == weight + 1:
        levels.append([])
    levels[weight + 1].append(carry)
    if len(levels[weight + 1]) > waiting:
        _add_three(circuit, levels, weight + 1, waiting)
