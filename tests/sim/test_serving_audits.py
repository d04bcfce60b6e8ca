"""The audit of servers finds each kind of mistake in their books, and hits keep tokens in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings

from tests.sim.serving import System, engines, simulated, systems
from tiersim._base.errors import AuditError
from tiersim.sim import serving
from tiersim.sim.serving import Engines, Server
from tiersim.sim.serving_loop import CACHE, INSTANCE, OWN, REQUEST, SETTINGS

Tamper = Callable[[Engines], None]


def busy() -> Engines:
    """Two requests decode and share pinned blocks, one waits; of nine names for blocks seven are given."""
    server = Server(pages=100, page=4, max_requests=2, budget=64, prefix="memory")
    requests = [(10 * k, 20, 30, [0, 1, 2, 10 * k + 3, 10 * k + 4], 0) for k in range(3)]
    system = System(server, 1, "lru", requests, 4, [100, 1, 2, 0, 0, 0, 3, 1, 0])
    held = engines(system, fast=False, compiled=False, audited=True)
    for number, (time, *_) in enumerate(requests):
        held.advance(time)
        held.submit(number, 0, time)
    held.advance(1000)
    seen = held.view()
    assert (seen["waiting"], seen["running"]) == ([1], [2])
    return held


def header(name: str, more: int) -> Tamper:
    def change(held: Engines) -> None:
        held._own[OWN.index("I")][INSTANCE.index(name)] += more

    return change


def cache(name: str, change: Callable[[int], int]) -> Tamper:
    def at(held: Engines) -> None:
        rows = held._own[OWN.index("C")]
        first = next(at for at in range(0, len(rows), len(CACHE)) if rows[at + CACHE.index("users")])
        rows[first + CACHE.index(name)] = change(rows[first + CACHE.index(name)])

    return at


def mask(block: int) -> Tamper:
    def at(held: Engines) -> None:
        held._masks[block] ^= 1

    return at


def less_memory(held: Engines) -> None:
    held._settings[SETTINGS.index("pages")] -= 90
    header("free", -90)(held)


def fewer_seats(held: Engines) -> None:
    held._settings[SETTINGS.index("most")] = 1


def longer_prompt(held: Engines) -> None:
    """Of the request that waits."""
    held._requests[2 * len(REQUEST) + REQUEST.index("prompt")] += 1


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (header("free", -1), "pages do not add up"),
        (less_memory, "more pages or blocks are taken than there are"),
        (header("cached", 1), "cached blocks do not add up"),
        (header("used", 1), "users of blocks do not add up"),
        (cache("users", lambda users: users + 1), "users of blocks do not add up"),
        (cache("withheld", lambda withheld: 1 - withheld), "the policy and the cache do not hold the same blocks"),
        (cache("parent", lambda _: 8), "a block is cached without the one before it"),
        (header("waiting", 1), "requests that wait do not add up"),
        (header("waiting_tokens", 1), "tokens that wait do not add up"),
        (longer_prompt, "tokens that wait do not add up"),
        (header("context", 1), "decodes do not add up"),
        (fewer_seats, "more requests run than may"),
        (mask(0), "the masks of blocks and the cache do not hold the same blocks"),
        (mask(7), r"instances hold \[7\] blocks, and masks of blocks say \[8\]"),  # a block that nobody ever had
    ],
)
def test_an_audit_finds(tamper: Tamper, message: str) -> None:
    busy().advance(1300)
    held = busy()
    tamper(held)
    with pytest.raises(AuditError, match=message):
        held.advance(1300)


@settings(max_examples=80)
@given(systems())
def test_hits_are_found_by_masks_as_instance_by_instance(system: System) -> None:
    _, masked, held = simulated(system, compiled=False, audited=True)
    with patch.object(serving, "MASKED", 0):
        _, plain, other = simulated(system, compiled=False)
    assert masked == plain
    masks = SETTINGS.index("masked")
    assert (held._settings[masks], other._settings[masks]) == (system.server.prefix != "none", 0)


@pytest.mark.parametrize("count", [serving.MASKED, serving.MASKED + 1])
def test_masks_up_to_the_last_instance(count: int) -> None:
    server = Server(pages=100, page=4, max_requests=2, budget=64, prefix="memory")
    requests = [(1000 * k, 20, 1, [0, 1, 2, 3, 4 + k], where) for k, where in enumerate((count - 1, 0, 0))]
    held = engines(System(server, count, "lru", requests, 4, [100, 1, 2, 0, 0, 0, 3, 1, 0]))
    found = []
    for number, (time, *_, where) in enumerate(requests):
        held.advance(time)
        found.append(held.hits(number))
        held.submit(number, where, time)
    none = [0] * (count - 2)
    assert found == [[0, *none, 0], [0, *none, 16], [16, *none, 16]]
    assert held.fail(count - 1, 2500) == []
    assert held.hits(2) == [16, *none, 0]
    held.advance()


@settings(max_examples=80)
@given(systems())
def test_a_hit_never_changes_the_order_of_tokens(system: System) -> None:
    """First tokens come in the same order with a prefix cache as without, and each answer has all its tokens once."""
    assume(system.server.prefix != "none")
    roomy = replace(system, server=replace(system.server, pages=4000, blocks=4000 * (system.server.prefix == "apart")))
    with_hits, _, _ = simulated(roomy, compiled=False, audited=True)
    without, _, _ = simulated(replace(roomy, server=replace(roomy.server, prefix="none", blocks=0)), compiled=False)
    assert _order(with_hits) == _order(without)
    for one, other, (_, _, answer, *_) in zip(with_hits, without, system.requests, strict=True):
        assert len(one[8]) == len(other[8]) == answer
        assert one[8] == sorted(set(one[8]))


def _order(rows: list[Any]) -> dict[int, list[int]]:
    """By instance the requests in the order of first tokens, those of one iteration as they were routed."""
    made: dict[int, list[int]] = {}
    for number in sorted(range(len(rows)), key=lambda number: (rows[number][3], number)):
        made.setdefault(rows[number][0], []).append(number)
    return made
