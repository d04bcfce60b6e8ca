"""What generated loops say below Python, against what they say in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
