"""DRAM: each rule at its edge, all of it against a model that goes cycle by cycle, its ceilings in closed form."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.dram_by_cycles import Channel, Rules
from tiersim._base.errors import StudyError
from tiersim._base.units import Quantity
from tiersim.models.dram import FIELDS, LINE, Controller, Dram, Timing, constraints, places, serve, shape_of
from tiersim.sim.queued import dram

SMALL = {  # no two sums of these are alike, so that a rule taken for another shows
    "cl": 11, "cwl": 7, "burst": 4, "rcd_read": 12, "rcd_write": 10, "rp": 13, "ras": 31, "rrd_s": 5, "rrd_l": 8,
    "faw": 29, "ccd_s": 4, "ccd_l": 6, "ccd_l_write": 9, "rtp": 7, "wr": 15, "wtr_s": 3, "wtr_l": 8,
    "read_to_write": 2, "switch": 1, "refi": 400, "rfc": 60,
}  # fmt: skip


def memory(timing: dict[str, Any] | None = None, controller: dict[str, Any] | None = None, **given: Any) -> Dram:
    commands = {key: given.pop(key) for key in ("act_commands", "column_commands") if key in given}
    said = {
        "channels": 1, "ranks": 2, "groups": 2, "banks": 2, "rows": 64, "row": 1024, "access": 64,
        "frequency": 1_000_000_000,
    } | given  # fmt: skip
    times: Any = {
        key: value if isinstance(value, Quantity) else Quantity(value, "cycles")
        for key, value in (SMALL | (timing or {})).items()
    }
    return Dram(timing=Timing(**times, **commands), controller=Controller(**(controller or {})), **said)


def banks_of(scope: str, made: Dram) -> tuple[int, int]:
    """Two banks that are related by a scope and by none that is closer."""
    second = {"bank": 0, "group": 1, "rank": made.banks, "others": made.groups * made.banks}[scope]
    return 0, second


@pytest.mark.parametrize("place", range(26))
def test_blocked_before_and_free_at_the_time(place: int) -> None:
    made = memory()
    name, scope, first, then, wait = constraints(made)[place]
    one, other = banks_of(scope, made)
    if "REF" in (first, then) or first == "PREA":
        one = other = 0
    held = dram.new_channels(shape_of(made), 1)
    p, rules, _, ready, row, _, acts, *_ = held.arrays
    command, follows = dram.COMMANDS.index(first), dram.COMMANDS.index(then)
    dram.issue(p, rules, ready, acts, row, 0, command, one, 1000)
    closer = {"bank": ("bank", "group", "rank"), "group": ("group", "rank"), "rank": ("rank",), "others": ("others",)}
    binding = max(
        cycles
        for _, where, before, after, cycles in constraints(made)
        if (before, after) == (first, then) and where in closer[scope]
    )
    assert dram.earliest(p, ready, acts, 0, follows, other) == 1000 + binding
    if binding == wait:
        held_back = replace(shape_of(made), constraints=())
        free = dram.new_channels(held_back, 1)
        assert dram.earliest(free.shape, free.ready, free.acts, 0, follows, other) < 1000, name


def test_the_window_of_four() -> None:
    made = memory({"rrd_s": 2, "rrd_l": 2, "faw": 50})
    held = dram.new_channels(shape_of(made), 1)
    p, rules, _, ready, row, _, acts, *_ = held.arrays
    for k, bank in enumerate((0, 1, 2, 3)):
        dram.issue(p, rules, ready, acts, row, 0, dram.ACT, bank, 1000 + 3 * k)
    assert dram.earliest(p, ready, acts, 0, dram.ACT, 4) <= 1000  # the other rank has a window of its own
    assert dram.earliest(p, ready, acts, 0, dram.ACT, 0) == 1050


REQUESTS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 7), st.integers(0, 2), st.booleans()), min_size=1, max_size=30
)


@given(
    REQUESTS,
    st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 2, 1)]),
    st.booleans(),
    st.sampled_from([1, 2, 16]),
    st.sampled_from([(2, 1), (4, 0), (6, 3)]),
)
@settings(max_examples=50, deadline=None)
def test_against_a_model_by_cycles(
    requests: list[tuple[int, int, int, bool]],
    bus: tuple[int, int, int],
    closed: bool,
    cap: int,
    marks: tuple[int, int],
) -> None:
    buses, act, column = bus
    high, low = marks
    own = {"queue": 8, "high": high, "low": low, "cap": cap, "rows": "closed" if closed else "open"}
    made = memory(controller=own, buses=buses, act_commands=act, column_commands=column)
    plain = Channel(
        Rules(**SMALL), made.ranks, made.groups, made.banks, buses, act, column, high, low, cap, closed,
        due=[SMALL["refi"], SMALL["refi"] + SMALL["refi"] // 2],
    )  # fmt: skip
    came = np.cumsum([gap for gap, *_ in requests])
    waiting = [(k, int(came[k]), bank, row, write) for k, (_, bank, row, write) in enumerate(requests)]
    begun: dict[int, int] = {}
    now, front = 0, 0
    while waiting or plain.reads or plain.writes:
        while waiting and max(waiting[0][1], front) <= now:
            k, _, bank, row, write = waiting[0]
            queue = plain.writes if write else plain.reads
            if len(queue) >= 8:
                break
            queue.append((k, bank, row))
            begun[k] = front = now
            waiting.pop(0)
        plain.step(now)
        now += 1
    lines = np.array([line_of(made, bank, row) for _, bank, row, _ in requests])
    found = serve(made, lines, arrival=came, write=np.array([write for *_, write in requests]), log=10_000)
    assert [tuple(entry) for entry in found.log[:, :3].tolist()] == [
        (cycle, dram.COMMANDS.index(command), bank) for cycle, command, bank, _ in plain.history
    ]
    assert found.begun.tolist() == [begun[k] for k in range(len(requests))]
    assert found.done.tolist() == [plain.done[k] for k in range(len(requests))]


def line_of(made: Dram, bank: int, row: int) -> int:
    """A line of a bank and row, column 0, under the mapping channel, group, column, bank, rank, row."""
    group, inside = bank // made.banks % made.groups, bank % made.banks
    rank = bank // (made.banks * made.groups)
    columns = made.row // LINE
    return group + made.groups * (columns * (inside + made.banks * (rank + made.ranks * row)))


@given(st.permutations(FIELDS), st.booleans(), st.sampled_from([1, 3, 4]))
def test_every_line_has_a_place_of_its_own(mapping: list[Any], hashed: bool, channels: int) -> None:
    made = memory(channels=channels, mapping=tuple(mapping), hashed=hashed, rows=8, row=256)
    lines = np.arange(made.capacity // LINE)
    at = places(made, lines)
    seen = set(zip(at.channel.tolist(), at.bank.tolist(), at.row.tolist(), strict=True))
    assert len(seen) * (made.row // LINE) == len(lines)  # a row holds so many lines, and no two rows are one
    assert (at.channel.max(), at.bank.max(), at.row.max()) == (channels - 1, 7, 7)
    again = places(made, lines + len(lines))
    assert (again.row == at.row).all()


def test_a_line_of_several_bursts() -> None:
    whole, halves = memory(), memory(access=32)
    lines = np.array([0, 0])
    one, two = serve(whole, lines, log=99), serve(halves, lines, log=99)
    assert (one.counts["reads"], two.counts["reads"]) == (2, 4)
    first = SMALL["rcd_read"] + SMALL["cl"] + SMALL["burst"]
    assert (int(one.done[0]), int(two.done[0])) == (first, first + SMALL["ccd_l"])


NO_REFRESH = {"refi": 0}


def test_a_stream_is_as_fast_as_the_pins() -> None:
    """All but the refreshes: reads of open rows in turn over the bank groups keep the data bus busy."""
    made = memory({"refi": 4000, "rfc": 160}, rows=1024, row=4096, groups=4)
    found = serve(made, np.arange(200_000))
    share = found.bandwidth(made) / made.bandwidth
    assert 0.9 * (1 - 160 / 4000) < share <= 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_random_reads_reach_the_closed_form(ranks: int) -> None:
    """Each opens a row: four in a window and rank, or as many as there are banks in a row cycle, or the data bus."""
    made = memory(NO_REFRESH, {"queue": 64}, ranks=ranks, groups=4, banks=4, rows=4096)
    lines = np.random.default_rng(1).integers(0, made.capacity // LINE, 50_000)
    found = serve(made, lines)
    cycle = SMALL["ras"] + SMALL["rp"]
    most = min(ranks * 4 / SMALL["faw"], ranks / SMALL["rrd_s"], ranks * 16 / cycle, 1 / SMALL["burst"])
    reached = len(lines) / int(found.done.max())
    assert 0.9 * most < reached <= most * 1.001


def test_a_chase_of_pointers_is_what_its_commands_take() -> None:
    """One at a time in random rows: the row of the bank is another (closed, opened, read), or none yet, or the same."""
    made = memory(NO_REFRESH, ranks=1, groups=4, banks=4, rows=4096)
    lines = np.random.default_rng(2).integers(0, made.capacity // LINE, 20_000)
    found = serve(made, lines, window=1)
    took = found.done - found.sent
    data = SMALL["cl"] + SMALL["burst"]
    forms = {data, data + SMALL["rcd_read"], data + SMALL["rcd_read"] + SMALL["rp"]}
    at = places(made, lines)
    last: dict[int, int] = {}
    right = []
    for bank, row in zip(at.bank.tolist(), at.row.tolist(), strict=True):
        held = last.get(bank)
        right.append(data + (0 if held == row else SMALL["rcd_read"] + (SMALL["rp"] if held is not None else 0)))
        last[bank] = row
    # tRAS: a row that was opened for the request before is not closed at once
    soon = [k for k in range(1, len(lines)) if at.bank[k] == at.bank[k - 1]]
    apart = np.setdiff1d(np.arange(len(lines)), soon)
    assert took[apart].tolist() == np.array(right)[apart].tolist()
    assert set(took[apart].tolist()) <= forms


@given(st.integers(1, 300))
def test_refreshes_are_spread_evenly_and_neighbours_apart(channels: int) -> None:
    made = memory(ranks=1, channels=channels)
    due = np.sort(dram.new_channels(shape_of(made), channels).due[:, 0])
    assert due.tolist() == [SMALL["refi"] + SMALL["refi"] * k // channels for k in range(channels)]


def test_a_stream_does_not_fall_in_step_with_refreshes() -> None:
    """One line at a time, channel after channel: it waits for refreshes now and then, not for one after the other."""
    made = memory({"refi": 2000, "rfc": 200}, channels=16, ranks=1, rows=1024)
    still = memory({"refi": 0}, channels=16, ranks=1, rows=1024)
    lines = np.arange(20_000)
    took, free = (serve(one, lines, window=1).done.max() for one in (made, still))
    assert free < took < 2 * free  # 7.5 times where neighbours are refreshed one after the other


def test_more_than_the_memory_gives_makes_requests_wait() -> None:
    made = memory(rows=1024)
    count = 20_000
    lines = np.random.default_rng(3).integers(0, made.capacity // LINE, count)
    gaps = np.random.default_rng(4).exponential(1, count)
    means = []
    for load in (0.2, 0.5, 0.8):
        arrival = np.cumsum(gaps * SMALL["burst"] / load / 0.5).astype(np.int64)
        found = serve(made, lines, arrival=arrival)
        assert (found.begun >= arrival).all()
        means.append(float((found.done - arrival).mean()))
    assert means == sorted(means)
    assert means[0] < 2 * (SMALL["rp"] + SMALL["rcd_read"] + SMALL["cl"] + SMALL["burst"])


def test_times_become_cycles_upwards() -> None:
    made = memory(frequency=1_600_000_000)
    timing = replace(made.timing, faw=Quantity(21_000, "time"), refi=Quantity(7_800_000, "time"))
    made = replace(made, timing=timing)
    assert (made.cycles("faw"), made.cycles("refi"), made.cycles("cl")) == (34, 12_480, 11)
    assert made.picoseconds(34) == 21_250


@pytest.mark.parametrize(
    ("given", "timing", "controller", "said"),
    [
        ({"mapping": ("row",) * 6}, {}, {}, "a mapping names each of channel, group"),
        ({"row": 3000}, {}, {}, "3000 bytes are no power of two"),
        ({"access": 128}, {}, {}, "a request is a line of 64 bytes, and an access would be of 128"),
        ({}, {}, {"high": 40}, "writes are served from 40 down to 8, of a queue of 32"),
        ({}, {"refi": 70}, {}, "a refresh every 70 cycles that takes 60 leaves no time"),
        ({}, {"burst": 0}, {}, "a burst takes a cycle or more"),
    ],
)
def test_memories_that_cannot_be(given: Any, timing: Any, controller: Any, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        serve(memory(timing, controller, **given), np.arange(3))


DRAM_KNOBS: dict[str, dict[str, Any]] = {
    "channels": {"channels": 2},
    "ranks": {"ranks": 1},
    "groups": {"groups": 4},
    "banks": {"banks": 4},
    "rows": {"rows": 16},
    "row": {"row": 2048},
    "access": {"access": 32},
    "frequency": {"timing": {"rcd_read": Quantity(9_000, "time")}, "frequency": 2_000_000_000},
    "buses": {"buses": 2},
    "mapping": {"mapping": ("channel", "column", "group", "bank", "rank", "row")},
    "hashed": {"hashed": True},
    "controller.queue": {"controller": {"queue": 24}},
    "controller.high": {"controller": {"high": 12}},
    "controller.low": {"controller": {"low": 2}},
    "controller.cap": {"controller": {"cap": 1}},
    "controller.rows": {"controller": {"rows": "closed"}},
    "timing.act_commands": {"act_commands": 2},
    "timing.column_commands": {"column_commands": 4},
} | {
    f"timing.{item.name}": {"timing": {item.name: 2 * SMALL[item.name] + 3}}
    for item in fields(Timing)
    if item.name in SMALL
}


@pytest.mark.parametrize("name", DRAM_KNOBS)
def test_every_knob_counts(name: str) -> None:
    """A knob that is accepted changes something."""
    generator = np.random.default_rng(5)
    lines = generator.integers(0, 3000, 4000)
    write = generator.random(4000) < 0.4
    base = serve(memory(), lines, write=write)
    other = serve(memory(**DRAM_KNOBS[name]), lines, write=write)
    assert (base.done != other.done).any()
