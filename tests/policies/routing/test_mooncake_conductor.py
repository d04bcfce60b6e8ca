"""Mooncake's conductor by hand."""

from __future__ import annotations

from typing import Any

from tests.oracles.routing import Request, cluster, router

NAME = "mooncake-conductor"


def test_alone_it_is_the_least_time_to_the_first_token() -> None:
    made = router(NAME)
    assert made.route(Request(prompt=1000), cluster(pending=[500, 0, 300, 0], cached=[600, 0, 500, 0])) == 2
    assert made.route(Request(prompt=1000), cluster()) == 0


def test_what_another_has_may_be_transferred() -> None:
    """0 has 800 of 1000 and 900 to do first; 1 has 400 and 600 to do, 2 has nothing and 350 to do.

    By themselves they take 1100, 1200 and 1350 tokens. With transfers at a tenth of a token, from twice as much on: 1
    has 600 + 200 + 40, and 2 has 350 + 200 + 80; from three times as much on only 2 has that.
    """
    seen = cluster(3, pending=[900, 600, 350], cached=[800, 400, 0])
    ask = Request(prompt=1000)
    given: dict[str, Any] = {"prefill": "1 ms/token", "transfer": "100 us/token"}
    assert router(NAME, 3, **given).route(ask, seen) == 0
    assert router(NAME, 3, **given, threshold=2).route(ask, seen) == 2
    busy = cluster(3, pending=[900, 600, 600], cached=[800, 400, 0])  # now 2 takes 880, more than the 840 of 1
    assert router(NAME, 3, **given, threshold=2).route(ask, busy) == 1
    assert router(NAME, 3, **given, threshold=3).route(ask, busy) == 2
    dear = given | {"transfer": "2 ms/token"}
    assert router(NAME, 3, **dear, threshold=2).route(ask, seen) == 0


def test_who_would_wait_too_long_is_refused() -> None:
    made = router(NAME, slo="1 s", prefill="1 ms/token")
    ask = Request(prompt=600)
    assert made.route(ask, cluster(pending=[900, 400, 900, 900])) == 1
    assert made.route(ask, cluster(pending=[900, 401, 900, 900])) is None
