"""Steps and rows of routed tokens: by hand, and as a plain version of the specification makes them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.expert_steps import Token, rows
from tiersim._base.errors import TraceError
from tiersim.models.expert_trace import routed_of
from tiersim.sim.expert_rows import Rows
from tiersim.sim.expert_steps import Routed, predicted_of, rows_of, schedule_of
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk

EXPERTS = 7


def chunk_of(sequences: list[list[Token]], names: list[int], numbers: list[int]) -> Chunk:
    """The records, all layers of a token together."""
    listed = [
        (name, place, layer, token)
        for name, tokens in zip(names, sequences, strict=True)
        for place, token in enumerate(tokens)
        for layer in range(len(numbers))
    ]
    made: Chunk = {
        "layer": np.array([numbers[layer] for _, _, layer, _ in listed], np.uint16),
        "token": np.array([place for _, place, _, _ in listed], np.uint32),
        "sequence": np.array([name for name, _, _, _ in listed], np.uint64),
        "experts": Ragged.of([token.experts[layer] for _, _, layer, token in listed], "uint16"),
    }
    if listed[0][3].weights is not None:
        weights = [token.weights[layer] for _, _, layer, token in listed if token.weights is not None]
        values = np.array([part for held in weights for part in held], np.float32)
        made["weights"] = Ragged.counted(values, np.array([len(held) for held in weights]))
    if listed[0][3].predicted is not None:
        named = [token.predicted[layer] for _, _, layer, token in listed if token.predicted is not None]
        made["predicted"] = Ragged.of(named, "uint16")
    return made


def ordered(chunk: Chunk, order: Any) -> Chunk:
    out: Chunk = {}
    for name, held in chunk.items():
        if isinstance(held, Ragged):
            counts = held.counts[order]
            out[name] = Ragged.counted(np.concatenate([held[int(row)] for row in order]), counts)
        else:
            out[name] = held[order]
    return out


def told(made: Rows) -> dict[str, list[Any]]:
    """As the plain version tells it."""
    parts = list(zip(made.expert.tolist(), made.tokens.tolist(), made.rank.tolist(), made.weight.tolist(), strict=True))
    out: dict[str, list[Any]] = {
        "needed": [parts[begin:end] for begin, end in pairwise(made.start.tolist())],
        "predicted": [made.predicted[begin:end].tolist() for begin, end in pairwise(made.predicted_start.tolist())],
    }
    for name in ("size", "context", "pairs", "sampled", "begins", "prefill", "sequence"):
        out[name] = getattr(made, name).tolist()
    return out


def whole(routed: Routed, batch: int, prompt: int) -> dict[str, list[Any]]:
    schedule = schedule_of(routed, batch, prompt)
    made = told(rows_of(routed, schedule, EXPERTS))
    if routed.predicted is not None:
        start, named = predicted_of(schedule, routed.predicted, EXPERTS)
        made["predicted"] = [named[begin:end].tolist() for begin, end in pairwise(start.tolist())]
    return made


@st.composite
def sequences(draw: st.DrawFn) -> list[list[Token]]:
    layers, weighted, named = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    experts = st.lists(st.integers(0, EXPERTS - 1), min_size=1, max_size=4, unique=True)
    # parts that float32 holds exactly, some of them equal
    part = st.integers(0, 8).map(lambda eighth: eighth / 8)

    def token() -> Token:
        chosen = [draw(experts) for _ in range(layers)]
        weights = [[draw(part) for _ in held] for held in chosen] if weighted else None
        guess = st.lists(st.integers(0, EXPERTS - 1), max_size=4, unique=True)
        return Token(chosen, weights, [draw(guess) for _ in range(layers)] if named else None)

    return [[token() for _ in range(draw(st.integers(1, 5)))] for _ in range(draw(st.integers(1, 5)))]


@given(sequences(), st.integers(1, 4), st.integers(0, 6), st.randoms(use_true_random=False))
def test_rows_are_those_of_the_plain_version(held: list[list[Token]], batch: int, prompt: int, random: Any) -> None:
    names, numbers = [7 * (len(held) - place) for place in range(len(held))], [2, 3, 9][: len(held[0][0].experts)]
    chunk = chunk_of(held, names, numbers)
    routed = routed_of([chunk], "drawn")
    assert routed.numbers.tolist() == numbers
    expected = rows(held, batch, prompt)
    assert whole(routed, batch, prompt) == expected
    # the order of records is of no matter while sequences begin in the same order
    later = list(range(1, len(chunk["token"])))
    random.shuffle(later)
    order = np.array([0, *later])
    shuffled = ordered(chunk, order)
    seen = list(dict.fromkeys(shuffled["sequence"].tolist()))
    again = rows([held[names.index(name)] for name in seen], batch, prompt)
    cut = len(order) // 2
    pieces = [ordered(shuffled, np.arange(cut)), ordered(shuffled, np.arange(cut, len(order)))] if cut else [shuffled]
    assert whole(routed_of(pieces, "drawn"), batch, prompt) == again


@given(sequences(), st.integers(1, 30))
def test_a_cut_trace_is_that_of_fewer_tokens(held: list[list[Token]], tokens: int) -> None:
    names, numbers = list(range(len(held))), list(range(len(held[0][0].experts)))
    left, few = tokens, []
    for sequence in held:
        if left > 0:
            few.append(sequence[:left])
            left -= len(sequence)
    made = routed_of([chunk_of(held, names, numbers)], "drawn").cut(tokens)
    assert whole(made, 2, 1) == rows(few, 2, 1)


def simple(lengths: list[int]) -> Routed:
    """One layer, of which token t passes expert t of its sequence."""
    held = [[Token([[token]]) for token in range(length)] for length in lengths]
    return routed_of([chunk_of(held, list(range(len(lengths))), [0])], "simple")


def test_two_places_by_hand() -> None:
    """Sequences of 3, 1 and 2 tokens in two places with a prompt of 1.

    Prompts of 0 and 1 fill both places. Decode: sequence 0 has token 1; sequence 1 has nothing more and leaves. Its
    place is sequence 2's, whose prompt is next; then token 2 of sequence 0 with token 1 of sequence 2.
    """
    made = schedule_of(simple([3, 1, 2]), 2, 1)
    assert made.order.tolist() == [0, 3, 1, 4, 2, 5]
    assert made.start.tolist() == [0, 1, 2, 3, 4, 6]
    assert made.prefill.tolist() == [1, 1, 0, 1, 0]
    assert made.begins.tolist() == [1, 1, 0, 1, 0]
    assert made.sequence.tolist() == [0, 1, 0, 2, 0]


def test_one_place_without_prompts_makes_each_token_a_step() -> None:
    made = schedule_of(simple([2, 1]), 1, 0)
    assert made.order.tolist() == [0, 1, 2]
    assert made.start.tolist() == [0, 1, 2, 3]
    assert made.begins.tolist() == [1, 0, 1]
    assert not made.prefill.any()


def test_prompts_alone_make_no_steps_of_decode() -> None:
    made = schedule_of(simple([2, 3]), 1, 9)
    assert made.start.tolist() == [0, 2, 5]
    assert made.prefill.tolist() == [1, 1]


def test_a_row_by_hand() -> None:
    """Two tokens: the first passes 4 (0.5) and 1 (0.25), the second 1 (0.625) and 2 (0.125)."""
    held = [[Token([[1, 4]], [[0.25, 0.5]], [[2, 3]]), Token([[1, 2]], [[0.625, 0.125]], [[3, 1]])]]
    routed = routed_of([chunk_of(held, [0], [5])], "hand")
    made = whole(routed, 1, 2)
    assert made["needed"] == [[(1, 2, 0, 625_000), (2, 1, 1, 125_000), (4, 1, 0, 500_000)]]
    assert made["predicted"] == [[3, 1, 2]]  # 3 twice
    assert (made["context"], made["pairs"], made["sampled"]) == ([2], [3], [1])


def two_tokens() -> Chunk:
    held = [[Token([[0], [1]]), Token([[2], [3]])]]
    return chunk_of(held, [6], [1, 2])


@pytest.mark.parametrize(
    ("rows_kept", "what"),
    [
        ([0, 1, 2], "token 1 of sequence 6 has no record of layer 2"),
        ([0, 1, 3], "token 1 of sequence 6 has no record of layer 1"),
        ([0, 1, 1, 2, 3], "token 0 of sequence 6 has 2 records of layer 2"),
        ([3, 1, 2], "token 0 of sequence 6 has no record of layer 1"),
    ],
)
def test_layers_that_are_missing_or_twice_are_refused(rows_kept: list[int], what: str) -> None:
    with pytest.raises(TraceError, match=f"a trace: {what}\n  steps need all layers"):
        routed_of([ordered(two_tokens(), np.array(rows_kept))], "a trace")


def test_what_makes_no_steps_is_refused() -> None:
    chunk = two_tokens()
    with pytest.raises(TraceError, match="which tokens are of one sequence"):
        routed_of([{name: held for name, held in chunk.items() if name != "sequence"}], "a trace")
    with pytest.raises(TraceError, match="it has no records"):
        routed_of([], "a trace")
    with pytest.raises(TraceError, match="no token is left of it that is no warm-up"):
        routed_of([{**chunk, "phase": np.ones(4, np.uint8)}], "a trace")
    weights = Ragged.counted(np.ones(5, np.float32), np.array([2, 1, 1, 1]))
    with pytest.raises(TraceError, match="not one weight an expert"):
        routed_of([{**chunk, "weights": weights}], "a trace")
    routed = routed_of([chunk], "a trace")
    with pytest.raises(TraceError, match="a token passes expert 3, and the model has 3"):
        rows_of(routed, schedule_of(routed, 1, 0), 3)
    with pytest.raises(TraceError, match="predicted to pass expert 3"):
        predicted_of(schedule_of(routed, 1, 0), routed.experts, 3)


def test_warm_up_is_left_out() -> None:
    chunk = two_tokens()
    made = routed_of([{**chunk, "phase": np.array([1, 1, 0, 0], np.uint8)}], "a trace")
    assert made.experts.tolist() == [[[2], [3]]]


def test_parts_of_sequences() -> None:
    held = simple([3, 1, 2])
    first, rest = held.split(1)
    assert (first.lengths.tolist(), rest.lengths.tolist()) == ([3], [1, 2])
    assert np.concatenate([first.experts, rest.experts]).tolist() == held.experts.tolist()
    assert rest.experts.ravel().tolist() == [0, 0, 1]
    assert held.popular(EXPERTS).tolist() == [3, 2, 1, 0, 0, 0, 0]
    assert held.split(0)[0].popular(EXPERTS).tolist() == [0] * EXPERTS
