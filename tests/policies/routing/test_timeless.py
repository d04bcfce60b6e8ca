"""Routers on a public trace without time: figures that were calculated apart from this simulator.

Each request of Mooncake's conversations is routed in the order of the file and cached at once, on eight instances. Keys
are the first two blocks; hashes are here those of the calculation.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.routing import BLOCK, Request, replay, router
from tiersim.policies.routing.prefix_table import PrefixTable

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
TRACE = MIRROR / "mooncake_conversation.jsonl.gz"
pytestmark = pytest.mark.skipif(
    not TRACE.exists(), reason="TIERSIM_TRACE_MIRROR names no folder with Mooncake's conversations"
)
DUAL = "dualmap-no-rebalance"
LONGEST = 20_480  # tokens to which the first requests are cut
WARM_UP = 500


@cache
def conversations() -> list[Request]:
    with gzip.open(TRACE, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Request(number, row["timestamp"] * 10**9, row["input_length"], -1, BLOCK, row["hash_ids"])
        for number, row in enumerate(rows)
    ]


@cache
def first() -> list[Request]:
    return [
        Request(ask.number, ask.time, min(ask.prompt, LONGEST), -1, BLOCK, ask.blocks[: LONGEST // BLOCK])
        for ask in conversations()[:4000]
    ]


def instance(key: str, draw: int) -> int:
    return int.from_bytes(sha256(f"{draw + 1}:{key}".encode()).digest()[:8], "big") % 8


class Modulo:
    """In place of a ring."""

    def place(self, key: str, draw: int = 0) -> int:
        return instance("_".join(key.split()[1:]), draw)


def candidates(request: Any) -> list[int]:
    key = "_".join(map(str, request.blocks[:2]))
    one, other = instance(key, 0), instance(key, 1)
    return [one, other if other != one else (one + 1) % 8]


def made(name: str) -> Any:
    if name == "affinity":
        affinity = router("cache-affinity", 8)
        affinity.ring = Modulo()
        return affinity.route
    if name == "alternate":
        return lambda request, view: candidates(request)[request.number % 2]
    if name.startswith("dual "):
        dual = router(DUAL, 8, profile="artifact", choice=name.removeprefix("dual "))
        dual.of = candidates
        return dual.route
    return router(name, 8, **({"load": "pending-tokens"} if name == "least-loaded" else {})).route


@pytest.mark.parametrize(
    ("name", "hit", "variation", "small", "early", "early_small"),
    [
        ("round-robin", 0.1390, 0.028, 0.0798, 0.1351, 0.1036),
        ("least-loaded", 0.1388, 0.002, 0.0748, 0.1317, 0.1052),
        ("affinity", 0.3736, 0.048, 0.2629, 0.3754, 0.3229),
        ("dual cache-affinity", 0.3736, 0.385, 0.2481, 0.3754, 0.3084),
        ("dual least-loaded", 0.2741, 0.003, 0.1690, 0.2713, 0.2154),
        ("alternate", 0.2760, 0.055, 0.1672, 0.2687, 0.2084),
    ],
)
def test_hits_and_loads(
    name: str, hit: float, variation: float, small: float, early: float, early_small: float
) -> None:
    endless = replay(conversations(), made(name), 8)
    assert (round(endless.ratio(), 4), round(endless.variation, 3)) == (hit, variation)
    assert round(replay(conversations(), made(name), 8, capacity=1953).ratio(), 4) == small
    assert round(replay(first(), made(name), 8).ratio(WARM_UP), 4) == early
    assert round(replay(first(), made(name), 8, capacity=1953).ratio(WARM_UP), 4) == early_small


def test_affinity_hits_what_one_cache_hits() -> None:
    """Whatever the hash: prompts that share more than a block share the key."""
    one = replay(conversations(), lambda request, view: 0, 1)
    assert round(one.ratio(), 4) == 0.3736
    assert round(replay(conversations(), router("cache-affinity", 8).route, 8).ratio(), 4) == 0.3736


@pytest.mark.parametrize("parameters", [{"hot": 0.0612, "cold": 0.02}, {"hot": 0.25, "cold": 0.02}])
def test_keys_have_two_blocks(parameters: dict[str, float]) -> None:
    """All prompts begin with the same block, so that all keys have two, but for the first 21: 0.17 % of all."""
    table = PrefixTable(**parameters, whole=False)
    depths = [table.key(ask.blocks) for ask in conversations()]
    assert set(depths[21:]) == {2}
    assert depths[:21] == [1] * 21


def test_keys_of_the_paper_have_two_blocks_too() -> None:
    table = PrefixTable(2 / 8, 1 / 8, whole=True)
    assert [table.key(ask.blocks) for ask in conversations()] == [1] * 21 + [2] * (len(conversations()) - 21)


def test_at_most_two_instances_hold_a_key() -> None:
    """Once the key does not grow any more, as it does after the first 21."""
    found = replay(conversations(), router(DUAL, 8, choice="least-loaded").route, 8)
    where: dict[int, set[int]] = {}
    for ask, chosen in zip(conversations()[21:], found.chosen[21:], strict=True):
        where.setdefault(ask.blocks[1], set()).add(chosen)
    assert max(map(len, where.values())) == 2
