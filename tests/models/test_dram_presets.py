"""The presets of DRAM: they are memories, as large and as fast as they say, and a stream reaches nine tenths of it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pydantic import TypeAdapter

from tiersim.experiments import presets
from tiersim.experiments.yaml_tree import plain
from tiersim.models.dram import LINE, Dram, serve

NAMES = presets.names("dram")


def built(name: str) -> Dram:
    return TypeAdapter(Dram).validate_python(plain(presets.find(name).tree))


def test_the_kinds_that_are_there() -> None:
    assert {re.split(r"[-\d]", name)[0] for name in NAMES} == {"ddr", "lpddr", "hbm"}
    assert {name.split("-")[0] for name in NAMES} == {"ddr4", "ddr5", "lpddr5", "hbm2e", "hbm3"}


@pytest.mark.parametrize("name", NAMES)
def test_size_and_speed_are_those_that_it_says(name: str) -> None:
    memory, about = built(name), presets.find(name).about
    assert f"{memory.capacity >> 30} GiB" in about
    assert f"{memory.bandwidth / 1e9:.1f} GB/s" in about
    assert all(value.source for value in presets.find(name).values)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_reaches_nine_tenths_of_the_pins_less_refresh(name: str) -> None:
    memory = built(name)
    found = serve(memory, np.arange(300_000))
    free = 1 - memory.cycles("rfc") / memory.cycles("refi")
    assert 0.9 * free < found.bandwidth(memory) / memory.bandwidth <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_chase_takes_what_its_commands_take(name: str) -> None:
    """All but always the row of the bank is another: closed, opened, read. Refreshes make some wait."""
    memory = built(name)
    lines = np.random.default_rng(0).integers(0, memory.capacity // LINE, 4000)
    found = serve(memory, lines, window=1)
    took = np.sort(found.done - found.sent)
    bursts = LINE // memory.access
    data = memory.cycles("cl") + memory.cycles("burst") + (bursts - 1) * memory.cycles("ccd_l")
    opened = data + memory.cycles("rcd_read")
    assert took[0] in (opened, data)
    assert took[len(took) // 2] in (opened, opened + memory.cycles("rp"))
