"""What generated loops say below Python, against what they say in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.bits import highest, lowest
from tiersim.policies.way.lru import Lru
from tiersim.sim.cache_loop import WIDEST, Level, Writer
from tiersim.sim.source import load_module

WAYS = (1, 2, 3, 7, 8, 12, 16, WIDEST - 1, WIDEST, WIDEST + 1, 2 * WIDEST, 100)


def finders(ways: int, *, compiled: bool) -> Any:
    """A module whose ``run(tags, base, x)`` looks for a line."""
    text = Writer([Level("l1", ways, Lru(), None)]).find(ways)
    text += f"\n\n@jit_cached\ndef run(tags, base, x):\n    return find_{ways}(pointer(tags), base, x)\n"
    return load_module(text, compiled=compiled)


@pytest.mark.parametrize("ways", WAYS)
def test_find_gives_the_first_way_that_holds_the_line(ways: int) -> None:
    compiled, plain = finders(ways, compiled=True), finders(ways, compiled=False)

    @settings(deadline=None, max_examples=60)
    @given(
        tags=st.lists(st.integers(-1, 8) | st.integers(2**30 - 4, 2**30 - 1), min_size=ways + 3, max_size=ways + 3),
        x=st.integers(-1, 4) | st.integers(2**29 - 2, 2**29 - 1),
    )
    def check(tags: list[int], x: int) -> None:
        held = np.array(tags, np.int32)
        expected = next((way for way in range(ways) if tags[2 + way] >> 1 == x), -1)
        assert compiled.run(held, 2, x) == expected
        assert plain.run(held, 2, x) == expected

    check()


def test_prefetch_takes_any_index() -> None:
    text = "@jit_cached\ndef run(tags, index):\n    prefetch(pointer(tags), index)\n    return 0\n"
    for index in (0, -1, 1 << 40, -(1 << 40)):
        for compiled in (True, False):
            assert load_module(text, compiled=compiled).run(np.zeros(4, np.int32), index) == 0


@given(st.integers(1, 2**62) | st.integers(0, 62).map(lambda place: 1 << place) | st.integers(-(2**63), -1))
def test_the_lowest_and_the_highest_bit(mask: int) -> None:
    digits = f"{mask & (1 << 64) - 1:b}"
    for bit, name, expected in ((lowest, "lowest", digits[::-1].index("1")), (highest, "highest", len(digits) - 1)):
        text = f"@jit_cached\ndef run(mask):\n    return {name}(mask)\n"
        assert bit(mask) == expected
        assert bit(np.int64(mask)) == expected
        for compiled in (True, False):
            assert load_module(text, compiled=compiled).run(mask) == expected


@pytest.mark.parametrize("dirt", [0, 1])
@pytest.mark.parametrize("ways", [1, 3, 4, 8, 11, 12, 16])
def test_a_set_in_the_order_of_use(ways: int, dirt: int) -> None:
    """Compiled, in plain Python, and by a list."""
    text = "".join(
        f"@jit_cached\ndef {verb}_set(tags, tag, zero):\n"
        f"    return {verb}(pointer(tags), 2, {ways}, tag{more}, zero)\n\n\n"
        for verb, more in (("renew", f", {dirt}"), ("use", ""))
    )
    modules = [load_module(text, compiled=compiled) for compiled in (True, False)]

    @settings(deadline=None, max_examples=20)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, ways + 2) | st.just(2**29), st.booleans()), max_size=60))
    def check(steps: list[tuple[bool, int, bool]]) -> None:
        held = [np.array([5, 5] + [-1] * ways + [5], np.int32) for _ in modules]
        order: list[int] = [-1] * ways
        for enters, line, dirty in steps:
            tag = line << 1 | (dirty & dirt)
            last, mask = order[-1], -1
            if enters:
                found = next((old for old in order if old >> 1 == line), None)
                mask = -(found is None)
                order.remove(last if found is None else found)
                order.insert(0, tag | (found or 0) & 1)
            elif tag in order:
                mask = 0
                order.remove(tag)
                order.insert(0, tag)
            for module, tags in zip(modules, held, strict=True):
                if enters:
                    assert module.renew_set(tags, tag, 0) == (last, mask)
                else:
                    assert module.use_set(tags, tag, 0) == mask
                assert tags.tolist() == [5, 5, *order, 5]

    check()
