"""Traces of requests to language models, prepared for an engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim.models.prompts import poisson, prompts_of, rated, tied
from tiersim.sim.prompts import Prompts
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk

SECOND = 10**12


def chunk(lists: list[list[int]], block: int = 4, **columns: list[int]) -> Chunk:
    made: Chunk = {
        "input": np.array([len(ids) * block for ids in lists], np.uint32),
        "output": np.ones(len(lists), np.uint32),
        "arrival": np.arange(len(lists), dtype=np.int64),
        "blocks": Ragged.of(lists),
    }
    return made | {
        name: np.array(values, made[name].dtype if name in made else np.uint64) for name, values in columns.items()
    }


def lists_of(prompts: Prompts) -> list[list[int]]:
    return [ids.tolist() for ids in prompts.blocks]


prefixes = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=12)


@given(prefixes)
def test_equal_numbers_are_equal_beginnings(paths: list[list[int]]) -> None:
    prompts = prompts_of([chunk(paths)])
    told: dict[tuple[int, ...], int] = {}
    for path, nodes in zip(paths, lists_of(prompts), strict=True):
        for depth, node in enumerate(nodes):
            assert told.setdefault(tuple(path[: depth + 1]), node) == node
            assert prompts.parent[node] == (nodes[depth - 1] if depth else -1)
    assert sorted(told.values()) == list(range(len(prompts.parent)))
    flat = [node for nodes in lists_of(prompts) for node in nodes]
    assert list(dict.fromkeys(flat)) == list(range(len(told)))  # by first appearance


@given(prefixes, st.integers(1, 20))
def test_truncated_prompts_keep_the_blocks_that_they_fill(paths: list[list[int]], most: int) -> None:
    whole, cut = prompts_of([chunk(paths)]), prompts_of([chunk(paths)], truncate=most)
    assert whole.block == cut.block
    for size, ids in zip(cut.input.tolist(), lists_of(cut), strict=True):
        assert size <= most
        assert len(ids) == -(-size // cut.block)


def test_requests_come_in_order_and_failed_ones_do_not() -> None:
    one = chunk([[1], [2], [3, 4]], arrival=[20, 10, 10], session=[7, 7, 9])
    two = chunk([[1]], arrival=[15], session=[9])
    for part, failed in ((one, [0, 0, 0]), (two, [1])):
        part["status"] = np.array(failed, np.uint8)
    prompts = prompts_of([one, two])
    assert prompts.arrival.tolist() == [0, 0, 10_000]
    assert prompts.input.tolist() == [4, 8, 4]
    assert lists_of(prompts) == [[0], [1, 2], [3]]
    assert prompts.session.tolist() == [0, 1, 0]
    assert prompts.category.tolist() == [-1, -1, -1]


def test_a_trace_without_blocks_or_without_arrivals() -> None:
    made = chunk([[1], [2]], input=[5, 0])
    del made["blocks"]
    prompts = prompts_of([made])
    assert (prompts.block, prompts.input.tolist(), len(prompts.blocks)) == (0, [5, 1], 2)
    del made["arrival"]
    prompts = prompts_of([made])
    assert (prompts.arrival.tolist(), prompts.input.tolist()) == ([0, 0], [5, 1])


def test_poisson_arrivals_follow_their_law() -> None:
    made = poisson(100_000, 4 * 10**9, 1)
    gaps = np.diff(made) / SECOND
    assert made[0] == 0
    assert (gaps.mean(), gaps.std()) == (pytest.approx(0.25, rel=0.02), pytest.approx(0.25, rel=0.02))
    assert (gaps > 0.25).mean() == pytest.approx(np.exp(-1), rel=0.02)
    assert not np.array_equal(made, poisson(100_000, 4 * 10**9, 2))
    assert np.array_equal(made[:10], poisson(10, 4 * 10**9, 1))


def test_months_do_not_fit() -> None:
    day = 86_400 * 10**9
    assert prompts_of([chunk([[1], [2]], arrival=[5, 5 + 26 * day])]).arrival[1] == 26 * day * 1000
    with pytest.raises(StudyError, match="more than 26 days"):
        prompts_of([chunk([[1], [2]], arrival=[5, 120 * day])])


def test_arrivals_are_stretched_to_a_rate() -> None:
    prompts = prompts_of([chunk([[1]] * 5, arrival=[0, 1, 2, 2, 10])])
    assert rated(prompts, 4 * 10**9).tolist() == [0, SECOND // 10, SECOND // 5, SECOND // 5, SECOND]
    with pytest.raises(StudyError, match="all requests come at once"):
        rated(prompts_of([chunk([[1], [2]], arrival=[3, 3])]), 10**9)


def test_one_number_after_two_prompts_is_two_blocks() -> None:
    prompts = prompts_of([chunk([[1, 3], [2, 3], [1, 3]])])
    assert lists_of(prompts) == [[0, 1], [2, 3], [0, 1]]
    assert prompts.parent.tolist() == [-1, 0, -1, 2]


def test_requests_of_one_time_in_an_order_that_is_drawn() -> None:
    """Three come at 0, two at 10 and one at 30; whoever comes keeps its prompt, its answer and its blocks."""
    lists = [[1, 2], [1, 3, 4], [5], [1, 2, 6], [5, 7, 8, 9], [1, 3]]
    made = prompts_of(
        [chunk(lists, arrival=[0, 0, 0, 10, 10, 30], output=[1, 2, 3, 4, 5, 6], session=[0, 1, 2, 3, 4, 5])]
    )
    sizes = made.input.tolist()
    orders, places = set(), [{0, 1, 2}, {3, 4}, {5}]
    for seed in range(40):
        found = tied(made, seed, spread=seed % 2 == 1)
        order = (found.output - 1).tolist()
        assert [set(order[:3]), set(order[3:5]), set(order[5:])] == places
        assert found.input.tolist() == [sizes[k] for k in order]
        assert found.session.tolist() == order
        names = [paths(found)[k] for k in range(6)]
        assert len({name for path in names for name in path}) == len(found.parent)
        assert [len(path) for path in names] == [len(lists[k]) for k in order]
        for one, k in zip(names, order, strict=True):
            for other, m in zip(names, order, strict=True):
                shared = next(
                    (d for d, (a, b) in enumerate(zip(lists[k], lists[m])) if a != b), min(len(lists[k]), len(lists[m]))
                )
                assert one[:shared] == other[:shared]
        flat = [node for path in lists_of(found) for node in path]
        assert list(dict.fromkeys(flat)) == list(range(len(found.parent)))
        times = [0, 3_333, 6_666, 10_000, 20_000, 30_000] if seed % 2 else [0, 0, 0, 10_000, 10_000, 30_000]
        assert found.arrival.tolist() == times
        orders.add(tuple(order))
    assert len(orders) == 12


def paths(prompts: Prompts) -> list[list[int]]:
    """The blocks of each prompt, which the parents of its last one are."""
    out = []
    for nodes in lists_of(prompts):
        path, node = [], nodes[-1]
        while node >= 0:
            path.append(node)
            node = int(prompts.parent[node])
        assert path[::-1] == nodes
        out.append(path[::-1])
    return out
