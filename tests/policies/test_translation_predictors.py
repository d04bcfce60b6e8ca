"""Which pages a predictor calls costly, at the corners where the published bounds differ."""

from typing import Any

import pytest

from tiersim._base.registry import build, index
from tiersim.policies.translation.predictors import AtLeastOnce
from tiersim.sim.source import borrow

PREDICTORS = sorted(index("walk-cost-predictor"))
UNBOUNDED = {"always", "artifact-tree", "at-least-once"}


def costly(name: str, freq: int, cost: int) -> bool:
    held: bool = type(build("walk-cost-predictor", name)).costly(freq, cost)
    return held


@pytest.mark.parametrize("name", PREDICTORS)
def test_corners(name: str) -> None:
    assert costly(name, 0, 0) == (name == "always")
    assert costly(name, 1, 0) == (name == "always")
    assert costly(name, 1, 1)
    assert costly(name, 7, 15) == (name in UNBOUNDED)


@pytest.mark.parametrize(
    ("name", "freq", "cost", "expected"),
    [
        ("box-notes", 7, 7, True),
        ("box-notes", 7, 8, False),
        ("box-notes", 12, 1, True),
        ("box-swapped", 7, 12, True),
        ("box-swapped", 7, 13, False),
        ("box-swapped", 8, 1, False),
        ("artifact-tree", 1, 2, False),  # cannot be: a walk that read memory is a walk
        ("artifact-tree", 2, 1, True),
    ],
)
def test_rims(name: str, freq: int, cost: int, expected: bool) -> None:
    assert costly(name, freq, cost) == expected


@pytest.mark.parametrize("name", PREDICTORS)
def test_the_engine_can_borrow_it(name: str) -> None:
    cls = type(build("walk-cost-predictor", name))
    space: dict[str, Any] = {}
    exec(borrow(cls, ("costly",), "m").text.replace("@jit\n", ""), space)
    pairs = [(freq, cost) for freq in range(8) for cost in range(16)]
    assert [space["m_costly"](*pair) for pair in pairs] == [cls.costly(*pair) for pair in pairs]


def test_victima_is_as_the_paper_has_it_unless_said() -> None:
    made = build("translation", "victima")
    assert made.predictor == AtLeastOnce()
    assert (made.cache, made.on_miss, made.on_eviction, made.translation_pressure, made.data_pressure) == (
        "l2", True, True, 5, 5,
    )  # fmt: skip
    assert build("translation", "radix").registered.name == "radix"
