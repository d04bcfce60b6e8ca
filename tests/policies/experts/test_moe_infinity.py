"""MoE-Infinity by hand, and its running sums against counting anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.expert_offload import Verbs
from tiersim._base.registry import build

WHOLE = 10**12


class Model:
    """The system on its own: sequences of steps, each with what its layers need as (expert, tokens)."""

    def __init__(self, layers: int, experts: int, **parameters: Any) -> None:
        self.layers, self.experts = layers, experts
        self.known = {"layers": layers, "experts": experts, "objects": layers * experts}
        self.verbs = Verbs(build("experts", {"use": "moe-infinity", **parameters}), self.known)

    def begin(self) -> None:
        self.verbs.ask("begin", **self.known)

    def row(self, layer: int, needs: list[tuple[int, int]]) -> list[int]:
        """What is wished for then."""
        row = {"row": 0, "row_start": [0, len(needs)], "row_x": [e for e, _ in sorted(needs)], "layer": layer}
        for e, n in sorted(needs):
            self.verbs.ask("decide", **self.known, **row, x=layer * self.experts + e, n=n)
        wishes = np.full(self.layers * self.experts, -1)
        return wishes[: self.verbs.ask("wish", **self.known, **row, wishes=wishes)].tolist()

    def worth(self, x: int) -> Any:
        return self.verbs.ask("worth", **self.known, x=x)


def two_sequences(**parameters: Any) -> Model:
    """The first passes 0 twice and then 1 and 2 of layer 1; the second passes 1 and then 0. x is 3 l + e."""
    made = Model(2, 3, **parameters)
    made.begin()
    assert made.row(0, [(0, 1)]) == []
    assert made.row(1, [(1, 1)]) == []
    made.row(0, [(0, 1)])
    made.row(1, [(2, 1)])
    made.begin()
    made.row(0, [(1, 1)])
    made.row(1, [(0, 1)])
    made.begin()
    return made


def test_the_nearest_is_followed() -> None:
    made = two_sequences()
    assert made.row(0, [(0, 1)]) == [4, 5]  # of the first: cosine 1 against 0
    assert made.row(1, [(0, 1)]) == []  # the last layer
    # now both have a cosine of 1 in one layer and of 0 in the other: the first of them stays
    assert made.verbs.own["head"][2] == 0
    # 1 twice: row (1 2 0) has cosines 1 / 5 ** 0.5 and 2 / 5 ** 0.5 with them
    assert made.row(0, [(1, 2)]) == [3]


def test_the_oldest_makes_room() -> None:
    made = two_sequences(stored=1)  # only the second is kept
    assert made.row(0, [(0, 1)]) == [3]
    made = two_sequences(stored=2)
    made.row(0, [(0, 1)])
    made.row(1, [(0, 1)])
    made.begin()  # the third comes to where the first was
    assert made.row(0, [(0, 1)]) == [3]
    assert made.verbs.own["head"].tolist() == [2, 1, 0]


def test_what_the_sequence_used_and_early_layers_stay() -> None:
    made = two_sequences()
    assert made.worth(0) == made.worth(1) == 10**6  # those before do not count
    assert made.worth(3) == 10**6 // 2  # the second of two layers
    made.row(0, [(0, 3), (1, 1)])
    made.row(1, [(0, 1)])
    assert made.worth(0) == int(WHOLE * (0.75 + 1e-6))
    assert made.worth(1) == int(WHOLE * (0.25 + 1e-6))
    assert made.worth(3) == int(WHOLE * (1 + 1e-6) / 2)


def test_a_sequence_of_nothing_is_not_kept() -> None:
    made = two_sequences()
    made.begin()
    made.begin()
    assert made.verbs.own["head"][0] == 2


def test_near_layers_come_first_and_lists_end() -> None:
    def wished(**parameters: Any) -> list[int]:
        made = Model(4, 2, **parameters)
        made.begin()
        for layer, needs in enumerate([[(0, 1)], [(0, 1), (1, 3)], [(1, 4)], [(0, 2), (1, 2)]]):
            made.row(layer, needs)
        made.begin()
        return made.row(0, [(0, 1)])

    # nearness 4/5, 3/5 and 2/5: 1/4 and 3/4 of it, all of it, half and half of it: 0.2 0.6 0.6 0.2 0.2
    assert wished() == [3, 5, 2, 6, 7]
    assert wished(longest=2) == [3, 5]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_running_sums(data: Any) -> None:
    layers, experts, stored = 3, 4, data.draw(st.integers(1, 3))
    made = Model(layers, experts, stored=stored)
    needs = st.dictionaries(st.integers(0, experts - 1), st.integers(1, 5), min_size=1)
    kept: list[Any] = []
    for _ in range(data.draw(st.integers(1, 5))):
        made.begin()
        own = np.zeros((layers, experts))
        for _ in range(data.draw(st.integers(1, 3))):
            for layer in range(layers):
                row = data.draw(needs)
                wishes = made.row(layer, list(row.items()))
                for e, n in row.items():
                    own[layer, e] += n
                if not kept:
                    assert wishes == []
                    continue
                likeness = []
                for matrix in kept[-stored:]:
                    dots = (own * matrix).sum(1)
                    length = np.linalg.norm(own, axis=1) * np.linalg.norm(matrix, axis=1)
                    likeness.append(np.divide(dots, length, where=length > 0, out=np.zeros(layers)).sum())
                # kept in a ring, so that only what the likeness is can be compared
                head = made.verbs.own["head"]
                assert np.isclose(made.verbs.own["likeness"][head[2]], max(likeness))
                nearest = made.verbs.own["kept"].reshape(layers, experts, stored)[:, :, head[2]]
                assert any((nearest == matrix).all() for matrix in kept[-stored:])
                ratio = nearest / nearest.sum(1, keepdims=True)
                ratio *= 1 - (np.arange(layers) - layer)[:, None] / (layers + 1)
                order = sorted(
                    (x for x in range((layer + 1) * experts, layers * experts) if ratio.flat[x] > 0),
                    key=lambda x: (-ratio.flat[x], x),
                )
                assert wishes == order
        kept.append(own)
