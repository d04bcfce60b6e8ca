"""A system with paged memory: TLBs, page tables that are walked through the caches, and what stands between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import Quantity
from tiersim.models.caches import Core, System, complaint_about, levels_of, picoseconds
from tiersim.policies.translation.radix import Radix
from tiersim.policies.translation.victima import Victima
from tiersim.policies.way.lru import Lru
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.mechanisms.victima import VictimaLoop
from tiersim.sim.queued.streams import stream
from tiersim.sim.translation import Timing
from tiersim.sim.translation_loop import Loop, Mechanism, Tlb

__all__ = ["PagedCore", "PagedSystem", "TlbSpec", "WalkCache", "Walker", "Wired", "large_of", "wire"]

SIZES = {"4 KiB": 0, "2 MiB": 1}


@config
class TlbSpec:
    """One translation lookaside buffer."""

    entries: Annotated[int, Param("translations that it holds", unit="count", ge=1)]
    ways: Annotated[int | Literal["full"], Param("entries in a set; `full` makes one set of all", ge=1)]
    latency: Annotated[Quantity, Param("of a lookup, after those of the TLBs before it", unit="time|cycles", ge=0)]
    policy: Annotated[Any, Param("which translation of a set makes room", family="way-replacement")] = field(
        default_factory=Lru
    )
    serves: Annotated[
        Literal["data", "instructions", "all"] | None,
        Param("what the program translates here; the others stand behind those, in the order of the list"),
    ] = None
    pages: Annotated[Literal["all", "4 KiB", "2 MiB"], Param("the sizes of pages whose translations it may hold")] = (
        "all"
    )
    fill: Annotated[
        Literal["evictions", "walks"],
        Param("`evictions`: it takes what leaves the TLBs before it; `walks`: what was missing everywhere"),
    ] = "evictions"


@config
class WalkCache:
    """A cache of the entries of one level of the page table."""

    entries: Annotated[int, Param("entries that it holds", unit="count", ge=1)]
    ways: Annotated[int | Literal["full"], Param("entries in a set; `full` makes one set of all", ge=1)]
    latency: Annotated[Quantity, Param("of a lookup that finds its entry", unit="time|cycles", ge=0)]
    policy: Annotated[Any, Param("which entry of a set makes room", family="way-replacement")] = field(
        default_factory=Lru
    )


@config
class Walker:
    """What walks the page table: one cache for each level but the last, from the root down."""

    caches: Annotated[dict[str, WalkCache], Param("three for a table of four levels, four for five")]
    miss: Annotated[
        Quantity, Param("paid on top where a page-walk cache has not the entry", unit="time|cycles", ge=0)
    ] = field(default_factory=lambda: Quantity(0, "cycles"))


@config
class PagedCore(Core):
    """A core that waits for translations too."""

    stall_factor: Annotated[
        int, Param("share of the time beyond the first TLB that the core cannot hide", unit="ratio", ge=0)
    ] = 10**9


@config
class PagedSystem(System):
    """Caches, a memory and a core, with TLBs in front and page tables in memory."""

    core: Annotated[PagedCore, Param("what waits")]
    tlbs: Annotated[dict[str, TlbSpec], Param("from the core to the walker")]
    walker: Annotated[Walker, Param("what walks the page table")]


@dataclass(frozen=True)
class Wired:
    """A system in the terms of the engine: what its loop is, how many sets each part has, and its latencies."""

    loop: Loop
    sets: dict[str, int]
    timing: Timing


def wire(system: PagedSystem, policy: Any) -> Wired:
    """The system with this policy of translation in the terms of the engine.

    Raises StudyError with a ``path`` inside the scenario (``system`` or ``policy``) where parts do not fit together.
    """
    try:
        return _wired(system, policy)
    except StudyError as error:
        if error.path and error.path[0] != "policy":
            error.path = ("system", *error.path)
        raise


def _wired(system: PagedSystem, policy: Any) -> Wired:
    levels, counts = levels_of(system, classify=False)
    if system.line != 64:
        raise _wrong(("line",), f"lines of page tables have 64 B, and these {system.line} B")
    for name, level in zip(system.caches, levels, strict=True):
        if getattr(level.policy, "needs_future", False):
            kind = type(level.policy).registered.name
            raise _wrong(("caches", name, "policy"), f"{kind} cannot know what walks will read")
    names = [*system.caches, "memory", *system.tlbs, *system.walker.caches]
    if doubled := next((name for name in names if names.count(name) > 1), ""):
        where = ("tlbs", doubled) if doubled in system.tlbs else ("walker", "caches", doubled)
        raise _wrong(where, f"two parts are called {doubled!r}")
    sets = dict(zip(system.caches, counts, strict=True))
    tlbs = []
    for name, tlb in system.tlbs.items():
        sets[name], ways = _sets(tlb, ("tlbs", name))
        serves = frozenset({"data", "instructions"} if tlb.serves == "all" else {tlb.serves or ""} - {""})
        sizes = frozenset({0, 1} if tlb.pages == "all" else {SIZES[tlb.pages]})
        power = not sets[name] & (sets[name] - 1)
        tlbs.append(Tlb(name, ways, tlb.policy, sizes, serves, power, tlb.fill == "walks"))
    _check_rows(system, tlbs)
    caches = []
    for name, cache in system.walker.caches.items():
        sets[name], ways = _sets(cache, ("walker", "caches", name))
        caches.append(Tlb(name, ways, cache.policy, power_of_two=not sets[name] & (sets[name] - 1)))
    if len(caches) not in (3, 4):
        message = f"a table of 4 levels has 3 page-walk caches and one of 5 has 4, not {len(caches)}"
        raise _wrong(("walker", "caches"), message)
    mechanism, answer, limits = _mechanism(system, policy)
    held = mechanism.cache if mechanism.cache is not None else _second(system, levels)
    loop = Loop(tuple(levels), tuple(tlbs), tuple(caches), mechanism, held)
    times = {name: cache.latency for name, cache in system.caches.items()}
    times |= {name: tlb.latency for name, tlb in system.tlbs.items()}
    times |= {name: cache.latency for name, cache in system.walker.caches.items()}
    latencies = {name: picoseconds(latency, system.core) for name, latency in times.items()}
    latencies["memory"] = picoseconds(system.memory.latency, system.core)
    return Wired(loop, sets, Timing(latencies, picoseconds(system.walker.miss, system.core), answer, limits))


def _second(system: PagedSystem, levels: Any) -> int | None:
    """The cache behind the one that serves data: whose lines are worth nothing is told of it."""
    first: int | None = next(level.below for level in levels if "data" in level.serves)
    return first


def _check_rows(system: PagedSystem, tlbs: list[Tlb]) -> None:
    """Each kind of reference has one first TLB for each size of page."""
    for what in ("data", "instructions"):
        first = [tlb for tlb in tlbs if what in tlb.serves]
        if what == "data" and not first:
            raise _wrong(("tlbs",), "no TLB serves data")
        for size, text in enumerate(SIZES):
            own = [tlb.name for tlb in first if size in tlb.sizes]
            if len(own) > 1:
                raise _wrong(("tlbs", own[1], "serves"), f"{own[0]} serves {what} on pages of {text} already")
            if first and not own:
                raise _wrong(("tlbs", first[0].name, "pages"), f"no TLB serves {what} on pages of {text}")
    for name, tlb in system.tlbs.items():
        if tlb.serves is not None and tlb.fill == "walks":
            raise _wrong(("tlbs", name, "fill"), "a first TLB takes what is missing in any case")


def _sets(part: TlbSpec | WalkCache, path: tuple[str, ...]) -> tuple[int, int]:
    ways = part.entries if part.ways == "full" else part.ways
    if part.entries % ways:
        raise _wrong((*path, "entries"), f"{part.entries} entries are no multiple of {ways} ways")
    if getattr(part.policy, "needs_future", False):
        raise _wrong((*path, "policy"), f"{type(part.policy).registered.name} needs references to come")
    if complaint := complaint_about(part.policy, ways):
        raise _wrong((*path, "policy"), complaint)
    return part.entries // ways, ways


def _mechanism(system: PagedSystem, policy: Any) -> tuple[Mechanism, int, tuple[int, int]]:
    """What happens to missing translations, how long the lookup of a TLB block takes, and the pressures' limits."""
    if isinstance(policy, Radix):
        return RadixLoop(), 0, (5, 5)
    if isinstance(policy, Victima):
        names = list(system.caches)
        if policy.cache not in names:
            raise _wrong(("policy", "cache"), f"there is no cache {policy.cache!r}; there are: {', '.join(names)}")
        levels, _ = levels_of(system, classify=False)
        at: int | None = next(k for k, level in enumerate(levels) if "data" in level.serves)
        answer = 0
        while at is not None:
            answer += picoseconds(system.caches[names[at]].latency, system.core)
            if names[at] == policy.cache:
                break
            at = levels[at].below
        if at is None:
            raise _wrong(("policy", "cache"), f"{policy.cache} does not stand below the cache that serves data")
        if levels[at].exclusive or levels[at].serves:
            raise _wrong(("policy", "cache"), f"{policy.cache} takes no TLB blocks: it is exclusive, or a first cache")
        limits = (policy.translation_pressure, policy.data_pressure)
        return VictimaLoop(at, type(policy.predictor), policy.on_miss, policy.on_eviction), answer, limits
    raise _wrong(("policy",), f"{type(policy).registered.name} is no policy of this scenario")


def _wrong(path: tuple[str, ...], message: str) -> StudyError:
    error = StudyError(message)
    error.path = path
    return error


def large_of(share: int, seed: int) -> Any:
    """Which regions of 2 MiB are one page: a share in parts per billion, drawn for each region by its address."""
    first, second = stream(seed, "translation.pages").integers(1, 1 << 62, 2).tolist()

    def large(region: NDArray[np.int64]) -> NDArray[np.bool_]:
        x = region.astype(np.uint64) ^ np.uint64(first)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = (x ^ (x >> np.uint64(31))) ^ np.uint64(second)
        held: NDArray[np.bool_] = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share / 10**9
        return held

    return large
