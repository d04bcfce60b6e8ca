"""The engine for servers of language models against the plain model, iteration by iteration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.sim.serving import Linear, System, Two, modelled, simulated, systems


@settings(max_examples=150)
@given(systems())
def test_stepping_equals_the_plain_model(system: System) -> None:
    expected, seen, _ = modelled(system)
    rows, view, _ = simulated(system, fast=False, compiled=False, audited=True)
    assert rows == expected
    assert view == seen


@settings(max_examples=100)
@given(systems(closed=True))
def test_requests_that_come_when_others_have_ended(system: System) -> None:
    expected, seen, _ = modelled(system)
    rows, view, _ = simulated(system, compiled=False, audited=True)
    assert rows == expected
    assert view == seen


@pytest.mark.parametrize("clock", [Linear, Two])
def test_runs_of_decodes_in_closed_form_equal_their_steps(clock: Any) -> None:
    @settings(max_examples=150)
    @given(systems())
    def check(system: System) -> None:
        expected, seen, _ = modelled(system, clock)
        rows, view, held = simulated(system, clock, compiled=False, audited=True)
        assert rows == expected
        assert view == seen
        _, _, stepped = simulated(system, clock, fast=False, compiled=False)
        assert held.occupancy() == stepped.occupancy()

    check()
