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
def test_scratch_lies_behind_every_map_and_holds_the_largest(
    sizes: list[int], data: st.DataObject
) -> None:
    scratch = data.draw(st.lists(st.integers(0, 99), min_size=len(sizes), max_size=len(sizes)))
    plan = plan_memory(sizes, scratch)
    ends = [at + size for at, size in zip(plan.map_offsets, plan.map_bytes, strict=True)]
    assert plan.scratch_offset >= max(ends)
    assert plan.arena_bytes - plan.scratch_offset >= max(scratch)
    assert all(offset % 4 == 0 for offset in (*plan.map_offsets, plan.scratch_offset))
