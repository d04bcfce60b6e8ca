"""DualMap's port to Dynamo: its rule by hand, and what it gives beside DualMap without queues."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.prefill_servers import Servers
from tests.oracles.routing import BLOCK, Request, cluster, prompt, router

NAME = "dualmap-dynamo"
SECOND = 10**12
TRACE = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent") / "mooncake_conversation.jsonl.gz"


def test_the_warmer_one_unless_it_has_too_much() -> None:
    made = router(NAME, most=1000)
    made.of = lambda request: [2, 1]
    ask = Request(prompt=1000)
    assert made.route(ask, cluster(pending=[0, 500, 0, 0], cached=[0, 500, 0, 0])) == 1
    assert made.route(ask, cluster(pending=[0, 501, 0, 0], cached=[0, 500, 0, 0])) == 2
    assert made.route(ask, cluster(pending=[0, 501, 502, 0], cached=[0, 500, 0, 0])) == 1  # by backlog alone
    assert made.route(ask, cluster(pending=[0, 501, 502, 0], cached=[0, 500, 499, 0])) == 1
    assert made.route(ask, cluster(pending=[0, 5, 4, 0])) == 2
    assert made.route(ask, cluster()) == 2


def test_keys_double_while_they_are_hot() -> None:
    """Of four instances a share above a half is hot. Keys are 2, 4 and 8 blocks."""
    made = router(NAME, shallowest=2, levels=3, window=4)
    hashed: list[int] = []
    made._hashed = lambda key: hashed.append(len(key.split()) - 1) or [0, 1]
    for number in range(8):
        made.known.clear()
        made.of(prompt(*range(6), 100 + number, 200 + number, 300 + number))
    # at first nothing was seen; then its first two keys are in all that was seen
    assert hashed == [2, 8, 8, 8, 8, 8, 8, 8]
    made.known.clear()
    made.of(prompt(0, 9, 9, 9))
    assert hashed[-1] == 2
    made.known.clear()
    made.of(prompt(0, 1, 2))  # twice as many are not there: it is its own key
    assert hashed[-1] == 3


def test_candidates_are_two_and_few_move_with_an_instance_less() -> None:
    made, less = router(NAME, 8), router(NAME, 8)
    less.changed([0, 1, 2, 3, 4, 5, 6])
    same = lost = 0
    for key in range(2000):
        ask = prompt(key, number=key)
        two = made.of(ask)
        assert len(set(two)) == 2
        same += less.of(ask) == two
        lost += 7 in two
        if 7 not in two:
            assert less.of(ask) == two
    assert same == 2000 - lost
    assert 0.2 < lost / 2000 < 0.3


@pytest.mark.skipif(not TRACE.exists(), reason="TIERSIM_TRACE_MIRROR names no folder with Mooncake's conversations")
@pytest.mark.parametrize("rate", [5.0, 6.0])
def test_it_keeps_about_what_dualmap_keeps_without_queues(rate: float) -> None:
    """With the same threshold, and keys as long, other hashes and another fallback make a few points of attainment."""
    with gzip.open(TRACE, "rt") as lines:
        rows = [json.loads(line) for _, line in zip(range(2000), lines)]
    asked = [
        Request(k, int(k / rate * SECOND), min(row["input_length"], 20_480), -1, BLOCK, row["hash_ids"][:40])
        for k, row in enumerate(rows)
    ]
    kept: list[float] = []
    pair: list[dict[str, Any]] = [{"use": NAME, "shallowest": 2, "most": 31_250}, {"use": "dualmap-no-rebalance"}]
    for said in pair:
        made = router(said.pop("use"), 8, **said)
        courses = Servers(8, made, prefill=160 * 10**6, capacity=2048).serve(asked)
        late = [course.first - ask.time > 5 * SECOND for ask, course in zip(asked, courses, strict=True)]
        kept.append(1 - sum(late[500:]) / len(late[500:]))
    assert min(kept) < 1
    assert abs(kept[0] - kept[1]) < 0.05, kept
