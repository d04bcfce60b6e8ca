"""Systems of caches: which graphs are refused and where, sizes, times by hand, policies tried before they run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import StudyError
from tiersim._base.registry import build, index, validate
from tiersim._base.units import Quantity
from tiersim.models.caches import Core, System, additive, levels_of, picoseconds, sets_of, simulate
from tiersim.sim.events import events_from

SMALL = {"capacity": "1 KiB", "ways": 2, "latency": "2 cycles"}


def system(line: str = "64 B", **caches: dict[str, Any]) -> System:
    problems, made = validate(
        System,
        {
            "caches": {name: SMALL | said for name, said in caches.items()},
            "memory": {"latency": "100 ns"},
            "core": {"frequency": "1 GHz"},
            "line": line,
        },
    )
    assert made is not None, problems
    return made


@pytest.mark.parametrize(
    ("made", "path", "message"),
    [
        (system(), ("caches",), "a system needs at least one cache"),
        (system("48 B", l1={}), ("line",), "a line of 48 B is no power of two"),
        (system(l1={"capacity": "1000 B"}), ("caches", "l1", "capacity"), "1000 B is no multiple of the line of 64 B"),
        (system(l1={"ways": 3}), ("caches", "l1", "capacity"), "16 lines are no multiple of 3 ways"),
        (system(l1={"below": "l3"}, l2={}), ("caches", "l1", "below"), "there is no cache 'l3'"),
        (system(l1={}, l2={"below": "l2"}), ("caches", "l2", "below"), "round in a circle: l2 -> l2"),
        (
            system(l1={}, l2={"below": "l3"}, l3={"below": "l2"}),
            ("caches", "l2", "below"),
            "round in a circle: l2 -> l3 -> l2",
        ),
        (
            system(l1={"serves": "data"}, l1b={"serves": "all"}),
            ("caches", "l1b", "serves"),
            "l1 serves data already",
        ),
        (system(l1={"serves": "instructions"}), ("caches", "l1", "serves"), "no cache serves data"),
        (system(l1={"below": "memory"}, l2={}), ("caches", "l2", "serves"), "no cache stands on this one"),
        (system(l1={}, l2={"serves": "data"}), ("caches", "l2", "serves"), "l1 serves data already"),
        (system(l1={"inclusion": "exclusive"}), ("caches", "l1", "inclusion"), "cannot be exclusive"),
        (system(l1={"inclusion": "inclusive"}), ("caches", "l1", "inclusion"), "nothing stands on this cache"),
        (
            system(l1={}, l2={"inclusion": "exclusive", "write": "through"}),
            ("caches", "l2", "write"),
            "means nothing in an exclusive cache",
        ),
        (
            system(l1={}, l2={"inclusion": "exclusive", "write_allocate": True}),
            ("caches", "l2", "write_allocate"),
            "means nothing in an exclusive cache",
        ),
        (
            system(l1={"policy": "tree-plru", "ways": 3, "capacity": "768 B"}),
            ("caches", "l1", "policy"),
            "needs a power of two of ways, not 3",
        ),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_built_is_told_with_its_path(made: System, path: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        levels_of(made)
    assert getattr(caught.value, "path", None) == path
    assert message in caught.value.message


def test_the_order_of_the_list_makes_the_graph() -> None:
    levels, sets = levels_of(
        system(l1={}, l2={"capacity": "4 KiB", "ways": 4}, l3={"capacity": "8 KiB", "ways": "full"})
    )
    assert [level.below for level in levels] == [1, 2, None]
    assert [sorted(level.serves) for level in levels] == [["data", "instructions"], [], []]
    assert sets == [8, 16, 1]
    assert [level.ways for level in levels] == [2, 4, 128]


def test_split_first_caches() -> None:
    levels, _ = levels_of(
        system(l1i={"serves": "instructions", "below": "l2"}, l1d={"serves": "data"}, l2={}, l3={"below": "memory"})
    )
    assert [level.below for level in levels] == [2, 2, 3, None]
    assert [sorted(level.serves) for level in levels] == [["instructions"], ["data"], [], []]


def test_an_exclusive_cache_takes_nothing_in_by_itself() -> None:
    levels, _ = levels_of(system(l1={}, l2={"inclusion": "exclusive"}))
    assert [level.write_allocate for level in levels] == [True, False]


def test_sizes() -> None:
    cache = system(l1={"capacity": "3 KiB", "ways": 3}).caches["l1"]
    assert sets_of(cache, 64, "l1") == (16, 3)
    with pytest.raises(StudyError, match="3072 B is no multiple"):
        sets_of(cache, 2048, "l1")


@pytest.mark.parametrize(
    ("latency", "hertz", "expected"),
    [
        (Quantity(7, "cycles"), 10**9, 7000),
        (Quantity(1, "cycles"), 3 * 10**9, 333),  # rounded down, once
        (Quantity(3, "cycles"), 3 * 10**9, 1000),
        (Quantity(1500, "time"), 3 * 10**9, 1500),
    ],
)
def test_cycles_are_converted_once(latency: Quantity, hertz: int, expected: int) -> None:
    assert picoseconds(latency, Core(frequency=hertz)) == expected


def test_times_by_hand() -> None:
    """Two lines of 64 B in an L1 of one line, an L2 of two: the latencies that each access pays are added up."""
    made = system(
        l1={"capacity": "64 B", "ways": 1, "latency": "1 cycle"},
        l2={"capacity": "128 B", "ways": 2, "latency": "10 cycles"},
    )
    # load 0: 1 + 10 + 100; load 0: 1; load 64: 1 + 10 + 100; store 0: 1 + 10; fetch 64: 1 + 10
    events = events_from(np.array([0, 0, 64, 0, 64], np.uint64), np.array([0, 0, 0, 1, 3], np.uint8), 64)
    result = simulate(made, events)
    times = additive(made, dict(zip(made.caches, result.counters(), strict=True)), result.memory())
    assert (times.data, times.fetch) == (1000 * (111 + 1 + 111 + 11), 1000 * 11)
    assert times.beyond == 1000 * (4 * 10 + 2 * 100)


VERBS = """
import numpy as np

class Good:
    @staticmethod
    def state(sets, ways, seed):
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s, at):
        return

    @staticmethod
    def fill(s, at):
        return

    @staticmethod
    def victim(s, at):
        return 0

"""
BODIES = {
    "no verb 'victim'": "    victim = None",
    "no verb 'hit'": "    def hit(self, s, at): return",
    "asks for 'colour'; a verb may ask for s, at": "    @staticmethod\n    def fill(s, at, colour): return",
    "victim fails: KeyError: 3": "    @staticmethod\n    def victim(s): return {}[3]",
    "hit fails: IndexError: list assignment index out of range": "    @staticmethod\n    def hit(s, at): s[at + 1] = 0",
    "gave 2 of 2 ways": "    @staticmethod\n    def victim(ways): return ways",
    "gave -1 of 2 ways": "    @staticmethod\n    def victim(ways): return -1",
    "gave None of 2 ways": "    @staticmethod\n    def victim(ways): return",
    "gave 0.0 of 2 ways": "    @staticmethod\n    def victim(ways): return 0.0",
    "must give an array of shape (sets, words)": "    @staticmethod\n    def state(sets, ways, seed): return [1]",
    "state fails: ValueError: no": "    @staticmethod\n    def state(sets, ways, seed): raise ValueError('no')",
}


@pytest.mark.parametrize("message", BODIES)
def test_a_policy_is_tried_before_it_is_compiled(tmp_path: Path, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"{VERBS}class Mine(Good):\n{BODIES[message]}\n", encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        levels_of(system(l1={"policy": f"{file}:Mine"}))
    assert message in caught.value.message
    assert caught.value.message.startswith("Mine")
    assert getattr(caught.value, "path", None) == ("caches", "l1", "policy")
    levels_of(system(l1={"policy": f"{file}:Good"}))


@pytest.mark.parametrize("policy", sorted({entry.name for entry in index("way-replacement").values()}))
@pytest.mark.parametrize("ways", [1, 2, 16, "full"])
def test_the_policies_of_tiersim_pass_the_trial(policy: str, ways: int | str) -> None:
    made = system(l1={"policy": policy, "ways": ways, "capacity": "128 KiB"})
    if (policy, ways) == ("tlb-aware-srrip", "full"):
        with pytest.raises(StudyError, match="room for 16 ways, not 2048"):
            levels_of(made)
        return
    assert levels_of(made)[0][0].policy == build("way-replacement", policy)


TESTS = "".join(
    path.read_text(encoding="utf-8")
    for folder in ("policies", "sim")
    for path in sorted((Path(__file__).parents[1] / folder).glob("test_*.py"))
)


@pytest.mark.parametrize("policy", sorted({entry.name for entry in index("way-replacement").values()}))
def test_each_policy_is_tested_by_name(policy: str) -> None:
    assert f'"{policy}"' in TESTS
