"""The adaptive key: sequences worked out by hand, and against a slow account of the artifact's procedure."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.policies.routing.prefix_table import PrefixTable

ARTIFACT = {"hot": 0.0612, "cold": 0.02, "whole": False}


def paper(n: int) -> PrefixTable:
    return PrefixTable(2 / n, 1 / n, whole=True)


def test_sixty_identical_requests() -> None:
    """21 are needed until there are more than 20 samples. Then each request counts for its key and for what is shorter:

    after the 22nd 1 of 23 samples is of the longer key, and after the 23rd 2 of 25, which is more than 6.12 %.
    """
    table = PrefixTable(**ARTIFACT)
    assert [table.key([1, 2, 3]) for _ in range(60)] == [1] * 21 + [2] * 2 + [3] * 37


def test_two_hot_prefixes_grow_by_themselves() -> None:
    table = PrefixTable(**ARTIFACT)
    depths = [table.key([10 * (k % 2) + d for d in range(1, 4)]) for k in range(120)]
    for one in (depths[::2], depths[1::2]):
        assert one == sorted(one)
        assert one[0] == 1
        assert one[-1] == 3
    assert table.key([99, 98]) == 1


def test_the_paper_grows_alike() -> None:
    """Of a window of 21 all carry the prefix. The longer key has a share above a quarter when 8 of 29 carry it."""
    table = paper(8)
    assert [table.key([1, 2, 3]) for _ in range(60)] == [1] * 21 + [2] * 8 + [3] * 31


def test_the_paper_shrinks_and_the_artifact_does_not() -> None:
    """After 200 others only the request itself carries the prefix: less than an eighth, so the next one has less."""
    for table, after in ((paper(8), [3, 2, 1, 1]), (PrefixTable(**ARTIFACT), [3, 3, 3, 3])):
        assert [table.key([1, 2, 3]) for _ in range(60)][-1] == 3
        for k in range(200):
            table.key([1000 + k])
        assert [table.key([1, 2, 3]) for _ in range(4)] == after


def test_a_prompt_that_ends_with_an_extended_prefix_is_the_only_one_that_the_artifact_shrinks() -> None:
    table = PrefixTable(**ARTIFACT)
    for _ in range(60):
        table.key([1, 2, 3])
    for k in range(200):
        table.key([1000 + k])
    assert table.key([1, 2]) == 2  # 1 and 2 are one of 200 each: 2 is extended no more
    assert table.key([1, 2, 3]) == 2


def test_where_every_instance_gets_half_nothing_is_hot() -> None:
    table = paper(2)
    assert {table.key([1, 2]) for _ in range(100)} == {1}
    assert {paper(1).key([1, 2]) for _ in range(100)} == {1}


def slow(requests: list[list[int]], hot: float = 0.0612, cold: float = 0.02) -> list[int]:
    """The artifact's procedure as the card has it, with a rolling hash of the beginning and a list of the window."""

    def rolled(ids: list[int]) -> int:
        made = 0
        for held in ids:
            made = (made * 1315423911 + held) % 2**64
        return made

    stored: dict[tuple[int, int], int] = {}
    window: deque[tuple[int, int]] = deque(maxlen=200)

    def ratio(key: tuple[int, int]) -> float:
        window.append(key)
        return window.count(key) / len(window) if len(window) > 20 else 0.0

    out = []
    for ids in requests:
        depth = 1
        while depth <= len(ids) and (depth, rolled(ids[:depth])) in stored:
            depth = stored[depth, rolled(ids[:depth])]
        depth = min(depth, len(ids))
        key = (depth, rolled(ids[:depth]))
        if ratio(key) >= hot and depth < len(ids):
            stored[key] = depth + 1
        if depth > 1 and ratio((depth - 1, rolled(ids[: depth - 1]))) < cold:
            stored.pop(key, None)
        out.append(depth)
    return out


@pytest.mark.parametrize("times", [1, 12])
@given(data=st.data())
def test_against_the_slow_account(times: int, data: st.DataObject) -> None:
    """Prompts are ways down a small tree, whose nodes are numbered by what leads to them."""
    ways = data.draw(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=60)) * times
    requests = [[int("1" + "".join(map(str, way[: k + 1])), 4) for k in range(len(way))] for way in ways]
    table = PrefixTable(**ARTIFACT)
    assert [table.key(ids) for ids in requests] == slow(requests)
