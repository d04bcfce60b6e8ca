"""The fingerprint and the traps of questions, by hand and against sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tiersim.experiments.doctor.query import QueryInfo
from tiersim.experiments.trace_doctor import check_trace, trace_info


def info(path: Path) -> QueryInfo:
    found = trace_info(path)
    assert isinstance(found, QueryInfo)
    return found


def test_by_hand(stored: Any) -> None:
    # a is asked twice; a and \u20ac mean the same, so that of five questions three were asked before
    path = stored(
        "query",
        text=["a", "why not", "\N{EURO SIGN}", "a", "not why"],
        group=[1, 2, 1, 1, 2],
        time=[0, 10, 20, 30, 40],
        user=[1, 1, 2, 2, 3],
        session=[1, 1, 2, 2, 2],
        turn=[0, 1, 0, 1, 2],
        category=["maths", "law", "maths", "maths", ""],
        answer=["", "no", "", "", "no, never"],
    )
    found = info(path)
    assert (found.texts, found.groups, found.users, found.sessions) == (4, 2, 3, 2)
    assert (round(found.same_text, 12), found.reuse["share"]) == (1 / 5, 3 / 5)
    assert (found.objects, found.unit, found.requests) == (2, "groups", 5)
    assert (found.length.least, found.length.most, found.length.mean) == (1, 7, 17 / 5)
    assert found.answer is not None
    assert (found.answer.least, found.answer.most) == (0, 9)
    assert found.turns is not None
    assert (found.turns.least, found.turns.most) == (2, 3)
    assert found.categories == {"": 1, "law": 1, "maths": 3}
    assert found.span_ns == 40
    assert found.burstiness is not None
    assert check_trace(path).warnings == []
    assert any("none 1" in value for _, value in found.rows())


def test_texts_alone(stored: Any, one: Any) -> None:
    found = info(stored("query", text=["a", "b", "a"]))
    assert (found.groups, found.unit, found.objects, found.reuse["share"]) == (None, "texts", 2, 1 / 3)
    assert (found.categories, found.answer, found.turns, found.span_ns) == (None, None, None, None)
    path = stored("query", "u.parquet", text=["a", "b"])
    assert one(check_trace(path).warnings, "not one text is asked for twice")


def test_traps(stored: Any, one: Any) -> None:
    path = stored("query", text=["a", "", "a"], group=[1, 2, 3], session=[1, 2, 1], turn=[0, 1, 3])
    said = check_trace(path).warnings
    assert one(said, "no text").startswith("1 of 3 questions have no text, first record 2:")
    assert one(said, "several groups").startswith("1 of 2 texts are in several groups")
    assert one(said, "a group of its own")
    assert "2 times, first at record 2" in one(said, "turns do not count up")
    assert len(said) == 4


# public traces

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def needs(name: str) -> Path:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return MIRROR / name


def test_public_questions() -> None:
    found = info(needs("gptcache_qqp_similar.jsonl.gz"))
    assert (found.records, found.texts) == (2 * 30_141, 44_769)
    found = info(needs("mt_bench_questions.jsonl.gz"))
    assert (found.records, found.sessions) == (160, 80)
    assert found.categories is not None
    assert (len(found.categories), set(found.categories.values())) == (8, {20})
