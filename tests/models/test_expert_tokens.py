"""Traces of routing as tokens: order, sequences, what is cut and left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim.models.expert_tokens import expert_tokens
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import ROUTING, Chunk

Row = tuple[int, int, int, list[int]]  # sequence, token, layer, experts


def chunk_of(rows: list[Row], **more: Any) -> Chunk:
    sequence, token, layer, experts = zip(*rows, strict=True)
    return ROUTING.check(
        {
            "layer": np.array(layer, np.uint16),
            "token": np.array(token, np.uint32),
            "experts": Ragged.of(experts, "uint16"),
            "sequence": np.array(sequence, np.uint64),
            **more,
        },
        "a test",
    )


def told(tokens: ExpertTokens) -> list[list[list[int]]]:
    """Sequences of tokens of experts."""
    parts = [tokens.ids[a:b].tolist() for a, b in zip(tokens.starts, tokens.starts[1:], strict=False)]
    return [parts[a:b] for a, b in zip(tokens.ends, tokens.ends[1:], strict=False)]


ROWS: list[Row] = [
    (9, 0, 1, [2, 0]),
    (9, 0, 4, [1]),
    (9, 1, 1, [3, 1]),
    (9, 1, 4, [0, 2]),
    (5, 0, 1, [0]),
    (5, 0, 4, [3, 2]),
    (9, 2, 1, [1]),
    (9, 2, 4, [1, 0]),
]
WHOLE = [[[2, 0, 5], [3, 1, 4, 6], [1, 5, 4]], [[0, 7, 6]]]  # layer 4 has the place 1, and so its expert 1 the number 5


def test_tokens_of_sequences_in_the_order_of_their_first_records() -> None:
    tokens = expert_tokens([chunk_of(ROWS)])
    assert told(tokens) == WHOLE
    assert (tokens.layers.tolist(), tokens.experts, tokens.objects) == ([1, 4], 4, 8)
    assert (tokens.tokens, tokens.sequences, tokens.active) == (4, 2, 13 / 4)
    assert tokens.first.tolist() == [0, 4]
    assert tokens.popular(slice(None)).tolist() == [2, 2, 1, 1, 2, 2, 2, 1]
    assert tokens.popular(slice(1, 2)).tolist() == [1, 0, 0, 0, 0, 0, 1, 1]


@given(order=st.permutations(range(len(ROWS))), cut=st.integers(1, len(ROWS) - 1))
def test_records_may_come_in_any_order_and_in_any_chunks(order: list[int], cut: int) -> None:
    rows = [ROWS[at] for at in order]
    tokens = expert_tokens([chunk_of(rows[:cut]), chunk_of(rows[cut:])])
    first = next(row[0] for row in rows)
    assert told(tokens) == (WHOLE if first == 9 else WHOLE[::-1])
    assert [rows[at][0] for at in tokens.first] == ([9, 5] if first == 9 else [5, 9])


def test_short_sequences_are_left_out_and_long_ones_cut() -> None:
    assert told(expert_tokens([chunk_of(ROWS)], least=2)) == WHOLE[:1]
    assert told(expert_tokens([chunk_of(ROWS)], cut=2)) == [WHOLE[0][:2], WHOLE[1]]
    assert told(expert_tokens([chunk_of(ROWS)], least=3, cut=1)) == [WHOLE[0][:1]]  # as long as it was
    assert expert_tokens([chunk_of(ROWS)], least=2).first.tolist() == [0]
    with pytest.raises(TraceError, match="no sequence has 4 tokens or more"):
        expert_tokens([chunk_of(ROWS)], least=4)


def test_only_the_layers_that_are_named() -> None:
    tokens = expert_tokens([chunk_of(ROWS)], layers=[4])
    assert told(tokens) == [[[1], [0, 2], [1, 0]], [[3, 2]]]
    assert tokens.layers.tolist() == [4]
    with pytest.raises(TraceError, match="the trace has no layer 2: its layers are 1, 4"):
        expert_tokens([chunk_of(ROWS)], layers=[1, 2])


def test_warm_up_of_the_source_is_left_out() -> None:
    phase = np.array([1, 1, 0, 0, 0, 0, 0, 0], np.uint8)
    tokens = expert_tokens([chunk_of(ROWS, phase=phase)])
    assert told(tokens) == [WHOLE[0][1:], WHOLE[1]]
    assert tokens.first.tolist() == [2, 4]
    with pytest.raises(TraceError, match="not one token that is no warm-up"):
        expert_tokens([chunk_of(ROWS, phase=np.ones(8, np.uint8))])


def test_without_sequences_all_is_one_by_forward_passes() -> None:
    chunk = chunk_of(ROWS, step=np.array([7, 7, 8, 8, 7, 7, 8, 8], np.uint32))
    del chunk["sequence"]
    chunk["token"] = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.uint32)
    tokens = expert_tokens([chunk])
    assert told(tokens) == [[[2, 0, 5], [0, 7, 6], [3, 1, 4, 6], [1, 5, 4]]]


def test_a_layer_that_a_token_lacks_is_not_made_up() -> None:
    assert told(expert_tokens([chunk_of(ROWS[:3])])) == [[[2, 0, 5], [3, 1]]]


def test_a_token_that_is_routed_twice_is_told() -> None:
    twice = [*ROWS, (5, 0, 4, [1])]
    with pytest.raises(TraceError, match="routes token 0 of the sequence that begins with record 5 twice at layer 4"):
        expert_tokens([chunk_of(twice)])


def test_progress_is_in_records() -> None:
    done: list[int] = []
    expert_tokens([chunk_of(ROWS[:4]), chunk_of(ROWS[4:])], progress=done.append)
    assert done == [4, 4]
