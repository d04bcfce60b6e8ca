"""The fast form of DRAM: its arithmetic by hand, and its means and bandwidth beside those of the detailed form."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from tests.models.test_dram_presets import NAMES, built
from tiersim.models import dram_curve
from tiersim.models.dram import LINE, serve
from tiersim.models.dram_curve import KINDS, Curve, FastDram, Traffic, arrivals, curve_of, fit, picoseconds, requests
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import WHOLE

PLAIN = Curve(  # 64 bytes a nanosecond: a line takes 1000 ps
    64_000, (0, WHOLE // 2, WHOLE), (10_000, 20_000, 60_000), (30_000, 20_000, 90_000)
)
NANO = 1000


def test_straight_lines_between_the_points() -> None:
    assert [PLAIN.latency(load) for load in (0, 0.25, 0.5, 0.75, 1, 3)] == [
        10_000,
        15_000,
        20_000,
        40_000,
        60_000,
        60_000,
    ]
    assert [PLAIN.latency(load, write=True) for load in (0, 0.25, 0.75)] == [30_000, 25_000, 55_000]


def test_an_idle_memory_takes_the_first_point_and_the_way_to_it() -> None:
    assert FastDram(PLAIN, latency=7).request(5 * NANO) == 5 * NANO + 10_000 + 7
    assert FastDram(PLAIN).request(0, 40) == 10_000


def test_a_request_of_many_lines_takes_what_they_take() -> None:
    """All its lines but the last pass, then that one is read."""
    memory = FastDram(PLAIN)
    assert memory.request(0, 1000 * LINE) == 999 * NANO + 10_000
    # its turn comes behind: 1000 lines have passed, and it takes the least latency, of writes that at half the load
    assert memory.request(NANO, LINE) == 1000 * NANO + 10_000
    assert memory.request(NANO, LINE, write=True) == 1001 * NANO + 20_000


def test_load_is_what_came_in_this_window_and_in_part_of_the_last() -> None:
    memory = FastDram(PLAIN, window=100 * NANO)  # which carries 6,400 bytes
    memory.request(10 * NANO, 1600)
    assert memory.load(50 * NANO) == 0.25
    memory.request(60 * NANO, 1600)
    assert memory.load(99 * NANO) == 0.5
    assert memory.load(100 * NANO) == 0.5
    assert memory.load(150 * NANO) == 0.25
    memory.request(150 * NANO, 3200)
    assert memory.load(175 * NANO) == 0.5 + 0.125
    assert memory.request(205 * NANO) == 205 * NANO + PLAIN.latency(0.475)
    assert memory.load(400 * NANO) == 0  # a whole window in which nothing came


def test_beyond_the_ceiling_it_gives_the_ceiling() -> None:
    """Exactly, however many: nothing is lost to rounding where a line takes no whole number of picoseconds."""
    curve = Curve(819_200, PLAIN.load, PLAIN.reads, PLAIN.writes)
    count = 100_000
    memory = FastDram(curve)
    done = memory.serve(np.arange(count) * 50, np.full(count, LINE), np.zeros(count, bool))
    assert int(done[-1]) == count * LINE * 10**6 // 819_200 - 78 + 10_000  # a line takes 78.125 ps
    late = done[count // 2 :]
    assert len(late) * LINE * 10**6 / (late[-1] - late[0]) == pytest.approx(819_200, rel=1e-4)


def test_the_two_ways_to_ask_agree() -> None:
    generator = np.random.default_rng(0)
    times = np.cumsum(generator.integers(0, 3 * NANO, 2000))
    sizes = generator.integers(1, 500, 2000)
    write = generator.random(2000) < 0.5
    one, many = FastDram(PLAIN, 5), FastDram(PLAIN, 5)
    each = [one.request(*item) for item in zip(times.tolist(), sizes.tolist(), write.tolist(), strict=True)]
    assert many.serve(times, sizes, write).tolist() == each
    assert len(many.serve(times[:0], sizes[:0], write[:0])) == 0


def test_in_a_model_with_a_clock() -> None:
    clock, memory = Clock(), FastDram(PLAIN)
    ends: list[int] = []

    def reader(count: int) -> Generator[Any, Any, None]:
        for _ in range(count):
            yield clock.timeout(memory.request(clock.now) - clock.now)
            ends.append(clock.now)

    clock.process(reader(3))
    clock.run()
    assert ends == [10_000, 20_002, 30_006]  # load rises by a line in 8,192


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda memory: memory.request(9), ValueError, "a request at 9 picoseconds comes after one at 10"),
        (lambda memory: memory.load(9), ValueError, "a request at 9 picoseconds comes after one at 10"),
        (lambda memory: memory.request(10, 0), ValueError, "bytes of a memory must be at least 1, and is 0"),
        (lambda memory: memory.request(10.5), TypeError, "float"),
        (lambda memory: memory.serve(*arrays([11, 10])), ValueError, "no earlier than that before it"),
        (lambda memory: memory.serve(*arrays([9, 10])), ValueError, "a request at 9 picoseconds comes after one at 10"),
        (lambda memory: FastDram(PLAIN, window=10**9 + 1), ValueError, "1000000000 picoseconds at most"),
        (lambda memory: FastDram(PLAIN, window=999), ValueError, "the window of a memory must be at least 1000"),
    ],
)
def test_what_cannot_be_asked(ask: Any, error: type[Exception], said: str) -> None:
    memory = FastDram(PLAIN)
    memory.request(10)
    with pytest.raises(error, match=said):
        ask(memory)


def arrays(times: list[int]) -> tuple[Any, Any, Any]:
    return np.array(times), np.full(len(times), LINE), np.zeros(len(times), bool)


def test_traffic_is_of_its_kind() -> None:
    memory = built("ddr4-3200")
    lines, write = requests(memory, Traffic(writes=WHOLE // 4, random=WHOLE // 5), 20_000, seed=3)
    assert write.mean() == pytest.approx(0.25, abs=0.01)
    for way in (False, True):
        mine = lines[write == way]
        follows = np.isin(mine + 1, mine).mean()  # but for what is at random, and the ends of streams
        assert follows == pytest.approx(0.8, abs=0.02)
    came = arrivals(memory, memory.bandwidth / 2, 20_000, seed=3)
    assert (np.diff(came) >= 0).all()
    assert 20_000 * LINE * memory.frequency / came[-1] == pytest.approx(memory.bandwidth / 2, rel=0.001)


def test_cycles_of_minutes_become_picoseconds() -> None:
    memory = built("ddr5-4800")  # 416 2/3 ps
    second = memory.frequency
    assert picoseconds(memory, np.array([1, 2, 3, 600 * second])).tolist() == [416, 833, 1250, 600 * 10**12]


def test_a_curve_is_fitted_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(dram_curve, "COUNT", 2000)
    monkeypatch.setattr(dram_curve, "EACH", 1)
    memory = built("ddr4-3200")
    first = curve_of(memory, KINDS["mix"])
    assert (first.reads != first.writes, len(first.load)) == (True, len(dram_curve.LOADS))
    with monkeypatch.context() as patch:
        patch.setattr(dram_curve, "fit", lambda *_: pytest.fail("fitted again"))
        assert curve_of(memory, KINDS["mix"]) == first
    other = curve_of(memory, KINDS["random"])
    assert other.reads == other.writes  # there are no writes
    assert curve_of(built("ddr5-4800"), KINDS["random"]) != other
    assert len(list(tmp_path.glob("dram/*.json"))) == 3
    assert FastDram.of(memory, KINDS["random"]).request(0) == 20 * NANO + other.reads[0]


def apart(name: str, kind: str, count: int, loads: tuple[float, ...], fitted: int | None) -> dict[float, float]:
    """The mean latency of the fast form over that of the detailed one, at loads that are no points of the fit."""
    memory, traffic = built(name), KINDS[kind]
    curve = fit(memory, traffic, fitted)
    found = {}
    for load in loads:
        assert int(load * WHOLE) not in curve.load
        lines, write = requests(memory, traffic, count, seed=1000)
        came = arrivals(memory, load * curve.bandwidth * 10**6, count, seed=1000)
        detailed = serve(memory, lines, arrival=came, write=write).done - came
        at = picoseconds(memory, came)
        took = FastDram(curve).serve(at, np.full(count, LINE), write) - at
        late = slice(count // 10, None)
        found[load] = float(took[late].mean() / picoseconds(memory, detailed)[late].mean())
    return found


@pytest.mark.parametrize(("name", "kind"), [("ddr4-3200", "random"), ("hbm3-6400", "streams"), ("lpddr5-6400", "mix")])
def test_as_the_detailed_form_over_load(name: str, kind: str) -> None:
    found = apart(name, kind, 60_000, (0.1, 0.3, 0.5, 0.7), 60_000)
    assert found == pytest.approx(dict.fromkeys(found, 1), abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_as_the_detailed_form_over_all_loads(name: str, kind: str) -> None:
    count = max(dram_curve.COUNT, dram_curve.EACH * built(name).channels)
    found = apart(name, kind, count, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), None)
    assert found == pytest.approx(dict.fromkeys(found, 1), abs=0.05)


@pytest.mark.parametrize("name", ["ddr5-4800", "hbm2e-3200"])
def test_what_is_asked_beyond_the_ceiling_comes_at_it_in_both_forms(name: str) -> None:
    memory, count = built(name), 60_000
    curve = fit(memory, KINDS["random"], count)
    lines, write = requests(memory, KINDS["random"], count, seed=1000)
    came = arrivals(memory, 1.3 * curve.bandwidth * 10**6, count, seed=1000)
    detailed = serve(memory, lines, arrival=came, write=write)
    at = picoseconds(memory, came)
    fast = FastDram(curve).serve(at, np.full(count, LINE), write)
    reached = count * LINE * 10**6 / int(fast.max() - at[0])
    assert reached == pytest.approx(detailed.bandwidth(memory) / 10**6, rel=0.05)
    assert reached == pytest.approx(curve.bandwidth, rel=0.01)
