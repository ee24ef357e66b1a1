"""Where maps live while a network runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ebnn.memory_plan import plan_memory

SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=8)


@given(sizes=SIZES)
def test_a_map_never_overlaps_the_one_it_is_computed_from(sizes: list[int]) -> None:
    plan = plan_memory(sizes, [0] * len(sizes))
    for before, after in zip(range(len(sizes)), range(1, len(sizes)), strict=False):
        first, second = sorted((plan.map_offsets[i], plan.map_bytes[i]) for i in (before, after))
        assert first[0] + first[1] <= second[0]


@given(sizes=SIZES)
def test_the_arena_is_no_larger_than_its_two_largest_neighbours(sizes: list[int]) -> None:
    plan = plan_memory(sizes, [0] * len(sizes))
    rounded = [(size + 3) // 4 * 4 for size in sizes]
    pairs = [first + second for first, second in zip([0, *rounded], rounded, strict=False)]
    assert plan.arena_bytes == max(pairs)


@given(sizes=SIZES, data=st.data())
def test_scratch_lies_between_the_maps_of_its_step(sizes: list[int], data: st.DataObject) -> None:
    scratch = data.draw(st.lists(st.integers(0, 99), min_size=len(sizes), max_size=len(sizes)))
    plan = plan_memory(sizes, scratch)
    for step, (offset, size) in enumerate(zip(plan.scratch_offsets, scratch, strict=True)):
        used = [(offset, size)] + [
            (plan.map_offsets[index], sizes[index]) for index in (step - 1, step) if index >= 0
        ]
        used.sort()
        ends = [at + length for at, length in used]
        starts = [at for at, _ in used[1:]] + [plan.arena_bytes]
        assert all(end <= start for end, start in zip(ends, starts, strict=True))
    assert all(offset % 4 == 0 for offset in (*plan.map_offsets, *plan.scratch_offsets))


@given(sizes=SIZES, data=st.data())
def test_the_arena_is_as_large_as_the_step_that_needs_most(
    sizes: list[int], data: st.DataObject
) -> None:
    scratch = data.draw(st.lists(st.integers(0, 99), min_size=len(sizes), max_size=len(sizes)))
    words = [[(count + 3) // 4 for count in counts] for counts in ([0, *sizes], sizes, scratch)]
    steps = [4 * sum(step) for step in zip(*words, strict=False)]
    assert plan_memory(sizes, scratch).arena_bytes == max(steps)
