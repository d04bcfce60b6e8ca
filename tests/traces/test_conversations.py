"""Generated conversations with a language model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import StudyError
from tiersim.traces import load_trace
from tiersim.traces.prefix import block_size, prefix_hits
from tiersim.traces.ragged import joined

NAME = "generated/conversations"


def columns(**options: Any) -> dict[str, Any]:
    pieces = list(load_trace(NAME, **options).chunks(997))
    return {name: joined([piece[name] for piece in pieces]) for name in pieces[0]}


@pytest.mark.parametrize(("skip", "limit"), [(0, None), (100, 50), (490, 100)])
def test_cuts_change_nothing(skip: int, limit: int | None) -> None:
    trace = load_trace(NAME, requests=500)
    whole = next(iter(trace.chunks(1000)))
    end = 500 if limit is None else min(500, skip + limit)
    pieces = list(trace.chunks(37, skip, limit))
    for name, held in whole.items():
        again = joined([piece[name] for piece in pieces])
        if name == "blocks":
            assert [ids.tolist() for ids in again] == [ids.tolist() for ids in held][skip:end]
        else:
            assert again.tolist() == held[skip:end].tolist()


def test_a_turn_has_all_before_it() -> None:
    made = columns(requests=2000, rate="5 /s", longest="9k tokens")
    sizes, answers = made["input"].astype(int), made["output"].astype(int)
    blocks = list(made["blocks"])
    for session in np.unique(made["session"])[:200]:
        turns = np.flatnonzero(made["session"] == session)
        assert (sizes[turns] <= 9000).all()
        assert (np.diff(made["arrival"][turns]) >= 0).all()
        for before, after in pairwise(turns):
            assert sizes[after] > sizes[before] + answers[before]
            full = sizes[before] // 64
            assert blocks[after][:full].tolist() == blocks[before][:full].tolist()
            if sizes[before] % 64:
                assert blocks[after][full] != blocks[before][full]
    assert sizes.max() > 4000


def test_the_system_prompt_is_shared_and_nothing_else() -> None:
    made = columns(requests=3000, turns=1, systems=3, system=256)
    first = {tuple(ids[:4].tolist()) for ids in made["blocks"]}
    assert len(first) == 3
    rest = [number for ids in made["blocks"] for number in ids[4:].tolist()]
    assert len(set(rest)) == len(rest)
    assert len(set(made["session"].tolist())) == 3000


def test_what_is_drawn_follows_its_laws() -> None:
    made = columns(requests=100_000, rate="8 /s", turns=4, think="20 s")
    assert made["arrival"][-1] / 1e9 == pytest.approx(100_000 / 8, rel=0.05)
    answers = np.log(made["output"])
    assert np.exp(np.median(answers)) == pytest.approx(150, rel=0.02)
    assert answers.std() == pytest.approx(0.8, rel=0.02)
    _, turns = np.unique(made["session"], return_counts=True)
    assert turns.mean() == pytest.approx(4, rel=0.05)
    order = np.lexsort((made["arrival"], made["session"]))
    same = np.diff(made["session"][order].astype(int)) == 0
    assert np.diff(made["arrival"][order])[same].mean() / 1e9 == pytest.approx(20, rel=0.05)
    begun = np.sort(np.unique(made["session"], return_index=True)[1])
    gaps = np.diff(made["arrival"][begun])
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # exponential


def test_by_hand() -> None:
    made = columns(requests=40, turns=3, spread=0, think="0 s", system=100, question=20, answer=10, block_size=16)
    for session in np.unique(made["session"]):
        sizes = made["input"][made["session"] == session].tolist()
        assert sizes == [120 + 30 * turn for turn in range(len(sizes))]
    assert set(made["output"].tolist()) == {10}


def test_the_doctor_finds_the_blocks() -> None:
    made = columns(requests=2000, block_size=32)
    found = block_size(made["input"], np.diff(made["blocks"].offsets))
    assert found is not None
    assert (found.tokens, len(found.misfits)) == (32, 0)
    assert prefix_hits(load_trace(NAME, requests=2000, turns=8).chunks(), 64).by_tokens > 0.7


def test_knobs_and_wrong_options() -> None:
    base = columns(requests=300)
    for key, value in {
        "rate": "2 /s",
        "turns": 2,
        "think": "5 s",
        "systems": 1,
        "system": 64,
        "question": 60,
        "answer": 20,
        "spread": 0.3,
        "law": "geometric",
        "longest": 700,
        "block_size": 16,
        "seed": 1,
    }.items():
        other = columns(requests=300, **{key: value})
        assert any(
            not np.array_equal(other[name], base[name]) for name in ("arrival", "input", "output", "session")
        ) or [ids.tolist() for ids in other["blocks"]] != [ids.tolist() for ids in base["blocks"]], key
    with pytest.raises(StudyError, match="turns"):
        load_trace(NAME, turns=0.5)


def test_geometric_lengths_have_their_mean_and_forget() -> None:
    made = columns(requests=40_000, turns=1, law="geometric", system=0, question=100, answer=1, seed=3)
    lengths = made["input"].astype(float)
    assert made["output"].max() == 1
    assert lengths.min() == 1
    assert abs(lengths.mean() - 100) < 4 * 99.5 / 200  # standard errors of the mean of so many
    longer = lengths[lengths > 100] - 100
    assert abs(longer.mean() - 100) < 4 * 99.5 / len(longer) ** 0.5
