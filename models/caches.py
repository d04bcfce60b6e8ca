"""Caches on a memory: what a system is made of, its contents by replay, its time by addition."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from inspect import getattr_static, signature
from typing import Annotated, Any, Literal

import numpy as np

from tiersim._base.errors import PolicyError, StudyError
from tiersim._base.params import Param, config
from tiersim._base.registry import build
from tiersim._base.units import Quantity
from tiersim.models.dram import Dram
from tiersim.sim.cache_loop import Level
from tiersim.sim.events import Events, events_from
from tiersim.sim.replay import Result, replay

__all__ = [
    "Cache",
    "Core",
    "Memory",
    "System",
    "Times",
    "additive",
    "additive_parts",
    "complaint_about",
    "levels_of",
    "picoseconds",
    "sets_of",
    "shared_of",
    "simulate",
    "simulate_lines",
]

LATENCY = "added by each lookup here: an access that hits in the L2 pays the L1 and the L2"


@config
class Cache:
    """One set-associative cache."""

    capacity: Annotated[int, Param("bytes of data that it holds", unit="bytes", ge=1)]
    ways: Annotated[int | Literal["full"], Param("lines in a set; `full` makes one set of all lines", ge=1)]
    latency: Annotated[Quantity, Param(LATENCY, unit="time|cycles", ge=0)]
    policy: Annotated[Any, Param("which line of a set makes room", family="way-replacement")] = field(
        # by name: what uses another policy does not depend on this one's code
        default_factory=functools.partial(build, "way-replacement", "lru")
    )
    below: Annotated[
        str | None, Param("the next cache, or `memory`; unless said, the next one in the list that serves no one")
    ] = None
    serves: Annotated[
        Literal["data", "instructions", "all"] | None,
        Param("what the program sends here; unless said, the first cache of a list serves all"),
    ] = None
    write: Annotated[
        Literal["back", "through"], Param("`back` keeps written lines until they leave; `through` passes writes on")
    ] = "back"
    write_allocate: Annotated[
        bool | None, Param("whether a write that misses brings the line in; unless said, yes (not for exclusive)")
    ] = None
    inclusion: Annotated[
        Literal["non-inclusive", "inclusive", "exclusive"],
        Param("`inclusive` drops above what it evicts; `exclusive` holds only what the caches above evicted"),
    ] = "non-inclusive"
    shared: Annotated[bool, Param("whether all cores have it together; else each has one of its own")] = False


@config
class Memory:
    """Main memory: a fixed latency, and in queued time DRAM by its commands."""

    latency: Annotated[
        Quantity,
        Param("added by each read that no cache could serve; `dram` takes its place", unit="time|cycles", ge=0),
    ]
    dram: Annotated[Dram | None, Param("what serves reads and write-backs with `timing: queued`")] = None
    page: Annotated[
        int, Param("addresses are placed in the DRAM at random, so much at a time; 0: as they are", unit="bytes", ge=0)
    ] = 4096


@config
class Core:
    """A core that waits: enough to turn misses into cycles per instruction."""

    frequency: Annotated[int, Param("clock", unit="frequency", ge=1)]
    base_cpi: Annotated[float, Param("cycles per instruction when every access hits the first cache", ge=0)] = 1.0
    exposed: Annotated[
        int,
        Param(
            "share of the time beyond the first cache that an additive core cannot hide", unit="ratio", ge=0, le=10**9
        ),
    ] = 10**9
    outstanding: Annotated[
        int, Param("misses under way at once, with `timing: queued`: its L1's miss registers", ge=1, le=256)
    ] = 10
    window: Annotated[
        int, Param("instructions that run ahead of a load that waits, with `timing: queued`: its reorder buffer", ge=0)
    ] = 224


@config
class System:
    """Caches as a graph, the memory under them, and a core."""

    caches: Annotated[dict[str, Cache], Param("from the core to the memory")]
    memory: Annotated[Memory, Param("what the last cache stands on")]
    core: Annotated[Core, Param("what waits")]
    line: Annotated[int, Param("bytes of a cache line, the same in all caches", unit="bytes", ge=1)] = 64


def shared_of(system: System) -> set[str]:
    """The caches that all cores have together. Raises StudyError where one of a core's own stands below."""
    shared = {name for name, cache in system.caches.items() if cache.shared}
    names = list(system.caches)
    below = {name: _below(system, name, names) for name in names}
    for name in sorted(shared):
        under = below[name]
        if under is not None and under not in shared:
            raise _wrong(name, "shared", f"{under} stands below it and is not shared: `shared: true` there as well")
        if _serves(system, name, names, below):
            raise _wrong(name, "shared", "it serves a program, and each core runs its own")
    return shared


def sets_of(cache: Cache, line: int, where: str) -> tuple[int, int]:
    """Sets and ways of a cache. Raises StudyError naming the key when the sizes do not fit."""
    if cache.capacity % line:
        raise _wrong(where, "capacity", f"{cache.capacity} B is no multiple of the line of {line} B")
    lines = cache.capacity // line
    ways = lines if cache.ways == "full" else cache.ways
    assert isinstance(ways, int)
    if lines % ways:
        raise _wrong(where, "capacity", f"{lines} lines are no multiple of {ways} ways")
    return lines // ways, ways


def _wrong(where: str, key: str, message: str) -> StudyError:
    """A value that fits its type and not its neighbours; its ``path`` leads to it inside the system."""
    error = StudyError(message)
    error.path = ("caches", where, key) if where else (key,)
    return error


def levels_of(system: System, *, classify: bool = True) -> tuple[list[Level], list[int]]:
    """The caches as the engine sees them, and their numbers of sets.

    Raises StudyError with a ``path`` inside the system when the graph or the sizes cannot be.
    """
    if system.line & (system.line - 1):
        raise _wrong("", "line", f"a line of {system.line} B is no power of two")
    names = list(system.caches)
    if not names:
        raise _wrong("", "caches", "a system needs at least one cache")
    below = {name: _below(system, name, names) for name in names}
    for name in names:
        seen, at = {name: None}, below[name]
        while at is not None:
            if at in seen:
                round_ = " -> ".join([*list(seen)[list(seen).index(at) :], at])
                raise _wrong(at, "below", f"the caches go round in a circle: {round_}")
            seen[at] = None
            at = below[at]
    serves = {name: _serves(system, name, names, below) for name in names}
    for what in ("data", "instructions"):
        doubled = [name for name in names if what in serves[name]]
        if len(doubled) > 1:
            raise _wrong(doubled[1], "serves", f"{doubled[0]} serves {what} already")
    if not any("data" in said for said in serves.values()):
        raise _wrong(names[0], "serves", "no cache serves data")
    levels, counts = [], []
    for name, cache in system.caches.items():
        sets, ways = sets_of(cache, system.line, name)
        exclusive = cache.inclusion == "exclusive"
        if exclusive and serves[name]:
            raise _wrong(name, "inclusion", "a cache that serves the program cannot be exclusive: nothing stands on it")
        if exclusive and (cache.write == "through" or cache.write_allocate is not None):
            key = "write" if cache.write == "through" else "write_allocate"
            raise _wrong(
                name, key, f"`{key}` means nothing in an exclusive cache, which only takes lines evicted above"
            )
        if cache.inclusion == "inclusive" and serves[name]:
            raise _wrong(name, "inclusion", "nothing stands on this cache that it could include")
        if complaint := complaint_about(cache.policy, ways):
            raise _wrong(name, "policy", complaint)
        levels.append(
            Level(
                name=name,
                ways=ways,
                policy=cache.policy,
                below=None if below[name] is None else names.index(str(below[name])),
                serves=serves[name],
                write_back=cache.write == "back",
                write_allocate=not exclusive and cache.write_allocate is not False,
                inclusion=cache.inclusion,
                power_of_two=not sets & (sets - 1),
                classify=classify,
            )
        )
        counts.append(sets)
    return levels, counts


@functools.cache
def complaint_about(policy: Any, ways: int) -> str:
    """What is wrong with a policy, found by filling a small set as plain Python: compiled, it could do any harm."""
    who = type(policy).__name__
    few = min(ways, 8)
    verb = "state"
    try:
        policy.state(1, ways, 0)
        words = policy.state(1, few, 0)
        if np.ndim(words) != 2 or len(words) != 1:
            return f"{who}.state(sets, ways, seed) must give an array of shape (sets, words)"
        given = {"s": words[0].tolist(), "at": 0, "kind": 0, "pressure": 0, "allowed": -1, "ways": few, "next_use": 0}
        given |= {item.name: getattr(policy, item.name) for item in fields(policy)}
        for step in range(3 * few):
            way = step
            if step >= few:
                verb = "victim"
                way = _call(policy, verb, given)
                if isinstance(way, bool) or not isinstance(way, int | np.integer) or not 0 <= way < few:
                    return f"{who}.victim must give a way from 0 to ways - 1, and gave {way!r} of {few} ways"
            for verb in ("fill", "hit"):
                _call(policy, verb, given | {"way": int(way)})
    except PolicyError as error:
        return error.message
    except Exception as error:
        return f"{who}.{verb} fails: {type(error).__name__}: {error}"
    return ""


def _call(policy: Any, verb: str, given: dict[str, Any]) -> Any:
    """Call a verb with just the arguments that it names. Raises PolicyError when it is missing or names others."""
    held = getattr_static(policy, verb, None)
    if not isinstance(held, staticmethod):
        raise PolicyError(f"{type(policy).__name__} has no verb {verb!r}: write @staticmethod def {verb}(s, at, ...)")
    names = list(signature(held.__func__).parameters)
    unknown = next((name for name in names if name not in given), None)
    if unknown is not None:
        raise PolicyError(f"{type(policy).__name__}.{verb} asks for {unknown!r}; a verb may ask for {', '.join(given)}")
    return held.__func__(*(given[name] for name in names))


def _below(system: System, name: str, names: list[str]) -> str | None:
    said = system.caches[name].below
    if said == "memory":
        return None
    if said is not None:
        if said not in names:
            raise _wrong(name, "below", f"there is no cache {said!r}; there are: {', '.join(names)}, memory")
        return said
    later = names[names.index(name) + 1 :]
    return next((other for other in later if system.caches[other].serves is None), None)


def _serves(system: System, name: str, names: list[str], below: dict[str, str | None]) -> frozenset[str]:
    said = system.caches[name].serves
    stands = [other for other in names if below[other] == name]
    if said is None:
        if stands:
            return frozenset()
        if name == names[0]:
            return frozenset({"data", "instructions"})
        raise _wrong(name, "serves", "no cache stands on this one, so it must say what it serves: data or instructions")
    if stands:
        raise _wrong(
            name, "serves", f"{', '.join(stands)} stands on this cache, so the program does not reach it directly"
        )
    return frozenset({"data", "instructions"}) if said == "all" else frozenset({said})


def simulate(
    system: System,
    events: Events,
    *,
    seed: int = 0,
    cuts: Sequence[int] = (),
    classify: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Replay events through the caches of a system; see `tiersim.sim.replay.replay`."""
    levels, sets = levels_of(system, classify=classify)
    return replay(levels, sets, events, seed=seed, cuts=cuts, progress=progress)


@dataclass(frozen=True)
class Times:
    """The additive times of a run, in picoseconds: sums over all references, and what the core waits."""

    data: int
    fetch: int
    beyond: int


def picoseconds(latency: Quantity, core: Core) -> int:
    """A latency in picoseconds; cycles are converted once, rounded down."""
    if latency.dimension == "cycles":
        return int(latency.amount) * 10**12 // core.frequency
    return int(latency.amount)


def additive(system: System, counters: dict[str, dict[str, int]], memory: dict[str, int]) -> Times:
    """Exact sums of the fixed latencies over all demand lookups; `beyond` leaves out the entry caches."""
    parts = additive_parts(system, counters, memory).values()
    return Times(*(sum(getattr(part, name) for part in parts) for name in ("data", "fetch", "beyond")))


def additive_parts(
    system: System, counters: dict[str, dict[str, int]], memory: dict[str, int]
) -> dict[str | None, Times]:
    """The same of each cache alone, by its name, and of memory, by None."""
    parts: dict[str | None, Times] = {}
    levels, _ = levels_of(system)
    for level in levels:
        own, latency = counters[level.name], picoseconds(system.caches[level.name].latency, system.core)
        data, beyond = own["reads"] - own["fetches"], own["reads"]
        if level.serves:
            data, beyond = data + own["writes"], 0
        parts[level.name] = Times(data * latency, own["fetches"] * latency, beyond * latency)
    latency, reads, fetches = picoseconds(system.memory.latency, system.core), memory["reads"], memory["fetches"]
    return {**parts, None: Times((reads - fetches) * latency, fetches * latency, reads * latency)}


@dataclass
class LineResult:
    """What `simulate_lines` gives back: counters and final contents by cache name."""

    counters: dict[str, dict[str, int]]
    memory: dict[str, int]
    contents: dict[str, set[tuple[int, bool]]]


def simulate_lines(
    graph: dict[str, dict[str, Any]],
    references: Sequence[tuple[str, int]],
    *,
    engine: Literal["compiled", "plain"] = "compiled",
    seed: int = 0,
) -> LineResult:
    """Replay (kind, line number) pairs through caches given by sets and ways: the engine's own words, for tests.

    `graph` maps a name to sets, ways, policy, below, serves, write, write_allocate, inclusion as in a study; lines are
    one byte long, so that line numbers are addresses.
    """
    caches = {}
    for name, said in graph.items():
        given = dict(said)
        sets = given.pop("sets")
        given["policy"] = build("way-replacement", given.get("policy", "lru"))
        caches[name] = Cache(capacity=sets * given["ways"], latency=Quantity(1, "cycles"), **given)
    system = System(caches=caches, memory=Memory(latency=Quantity(0, "time")), core=Core(frequency=10**9), line=1)
    levels, counts = levels_of(system)
    code = {"load": 0, "store": 1, "fetch": 3}
    addresses = np.array([line for _, line in references], np.uint64)
    fetches = any("instructions" in level.serves for level in levels)
    kinds = np.array([code[kind] for kind, _ in references], np.uint8)
    events = events_from(addresses, kinds, 1, fetches=fetches)
    result = replay(levels, counts, events, seed=seed, compiled=engine == "compiled", contents=True)
    assert result.contents is not None
    return LineResult(
        dict(zip(graph, result.counters(), strict=True)),
        result.memory(),
        dict(zip(graph, result.contents, strict=True)),
    )
