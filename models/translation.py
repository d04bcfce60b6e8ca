"""A system with paged memory: TLBs, page tables that are walked through the caches, and what stands between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import Quantity
from tiersim.models.caches import Cache, Core, System, complaint_about, levels_of, picoseconds
from tiersim.policies.translation.hashed import Hashed
from tiersim.policies.translation.pom_tlb import PomTlb
from tiersim.policies.translation.radix import Radix
from tiersim.policies.translation.victima import Victima
from tiersim.policies.way.lru import Lru
from tiersim.sim.cache_loop import Level
from tiersim.sim.hashed_tables import hashed_tables_of, mix
from tiersim.sim.mechanisms.hashed import HashedLoop
from tiersim.sim.mechanisms.pom_tlb import NAME as POM_TLB
from tiersim.sim.mechanisms.pom_tlb import PomTlbLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.mechanisms.victima import VictimaLoop
from tiersim.sim.mechanisms.victima_artifact import VictimaArtifactLoop
from tiersim.sim.pages import Tables, coalesced, nested_tables_of, tables_of
from tiersim.sim.prefetchers import WAYS, Prefetcher
from tiersim.sim.queued.streams import stream
from tiersim.sim.translation import Timing
from tiersim.sim.translation_loop import Loop, Mechanism, Nested, Tlb

__all__ = [
    "NestedTlb",
    "PagedCache",
    "PagedCore",
    "PagedSystem",
    "Paging",
    "Prefetch",
    "TlbSpec",
    "WalkCache",
    "Walker",
    "Wired",
    "wire",
]

SIZES = {"4 KiB": 0, "2 MiB": 1}


@config
class Prefetch:
    """What brings lines in before they are asked for: it follows steps within a page."""

    steps: Annotated[Literal["any", "one"], Param("`any` step that comes again; `one`: from line to line only")] = "any"
    streams: Annotated[int, Param("pages that are followed at once, in sets of four", unit="count", ge=4)] = 64
    degree: Annotated[int, Param("lines that are brought in at once", ge=1, le=16)] = 2


@config
class PagedCache(Cache):
    """One set-associative cache, which may have a prefetcher."""

    prefetch: Annotated[Prefetch | None, Param("what brings lines in before they are asked for; none unless said")] = (
        None
    )


@config
class Entries:
    """A set-associative table of translations, or of entries of a page table."""

    entries: Annotated[int, Param("how many it holds", unit="count", ge=1)]
    ways: Annotated[int | Literal["full"], Param("entries in a set; `full` makes one set of all", ge=1)]
    latency: Annotated[Quantity, Param("of a lookup, after those of the TLBs before it", unit="time|cycles", ge=0)]
    policy: Annotated[Any, Param("which entry of a set makes room", family="way-replacement")] = field(
        default_factory=Lru
    )


@config
class TlbSpec(Entries):
    """One translation lookaside buffer."""

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
    reach: Annotated[
        Literal[1, 2, 4, 8], Param("neighbouring pages of 4 KiB that share an entry where their frames are contiguous")
    ] = 1


@config
class NestedTlb(Entries):
    """Translates what is physical to a guest, which its tables and their walks use."""

    lookup: Annotated[
        Literal["physical", "virtual"],
        Param(
            "`physical`: by the guest-physical page that is asked for; `virtual`: by the program's page, once for each "
            "table that its walk read, as the released artifact of Victima does"
        ),
    ] = "physical"


@config
class WalkCache(Entries):
    """A cache of the entries of one level of the page table."""

    latency: Annotated[Quantity, Param("of a lookup that finds its entry", unit="time|cycles", ge=0)]


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
        int,
        Param("share of the time beyond the first TLB that an additive core cannot hide", unit="ratio", ge=0),
    ] = 10**9
    walkers: Annotated[
        int,
        Param(
            "page walks under way at once, with `timing: queued`: its page walkers",
            ge=1,
            le=256,
            source="Skylake's: section 2.1.3 of Intel's optimization manual, 248966",
        ),
    ] = 2


@config
class PagedSystem(System):
    """Caches, a memory and a core, with TLBs in front and page tables in memory."""

    # nothing is put into a config, so that a dict of more special caches may stand for one of caches
    caches: Annotated[dict[str, PagedCache], Param("from the core to the memory")]  # type: ignore[assignment]
    core: Annotated[PagedCore, Param("what waits")]
    tlbs: Annotated[dict[str, TlbSpec], Param("from the core to the walker")]
    walker: Annotated[Walker, Param("what walks the page table")]
    nested: Annotated[NestedTlb | None, Param("with one, programs run in guests, whose tables are translated too")] = (
        None
    )


@dataclass(frozen=True)
class Paging:
    """How memory is paged, as shares in parts per billion of what is drawn by a seed."""

    large: int = 0  # regions of 2 MiB that are one page
    host_large: int = 0  # the same of what is physical to a guest
    contiguous: int = 10**9  # groups of pages in contiguous frames


@dataclass(frozen=True)
class Wired:
    """A system in the terms of the engine: what its loop is, how many sets each part has, and its latencies.

    `load` is how full hashed page tables are (else 0), `reach` that of a coalescing TLB (else 1).
    """

    loop: Loop
    sets: dict[str, int]
    timing: Timing
    levels: int
    load: int = 0
    reach: int = 1

    def tables(self, pages: NDArray[np.int64], paging: Paging, seed: int) -> Tables:
        """The page tables of these pages. Raises StudyError where they are too many."""
        large = _drawn(paging.large, seed, "large")
        if self.load:
            made = hashed_tables_of(pages, large, self.load)
        elif self.loop.nested:
            made = nested_tables_of(pages, large, _drawn(paging.host_large, seed, "host"), self.levels)
        else:
            made = tables_of(pages, large, self.levels)
        if self.reach > 1:
            made = coalesced(made, pages, self.reach, _drawn(paging.contiguous, seed, "contiguous"))
        return made


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
        raise _wrong(("line",), f"a line of page tables has 64 B, and these have {system.line} B")
    for name, level in zip(system.caches, levels, strict=True):
        if getattr(level.policy, "needs_future", False):
            kind = type(level.policy).registered.name
            raise _wrong(("caches", name, "policy"), f"{kind} cannot know what walks will read")
    _check_names(system)
    sets = dict(zip(system.caches, counts, strict=True))
    tlbs = []
    for name, tlb in system.tlbs.items():
        own = f"tlbs.{name}"  # a cache may have the same name
        sets[own], ways = _sets(tlb, ("tlbs", name))
        serves = frozenset({"data", "instructions"} if tlb.serves == "all" else {tlb.serves or ""} - {""})
        sizes = frozenset({0, 1} if tlb.pages == "all" else {SIZES[tlb.pages]})
        power, direct = _power(sets[own]), tlb.fill == "walks"
        tlbs.append(Tlb(own, ways, tlb.policy, sizes, serves, power, direct, tlb.reach > 1))
    _check_rows(system, tlbs)
    caches = []
    for name, cache in system.walker.caches.items():
        sets[name], ways = _sets(cache, ("walker", "caches", name))
        caches.append(Tlb(name, ways, cache.policy, power_of_two=_power(sets[name])))
    if len(caches) not in (3, 4):
        message = f"a table of 4 levels has 3 page-walk caches and one of 5 has 4, not {len(caches)}"
        raise _wrong(("walker", "caches"), message)
    prefetchers = []
    for k, (name, held) in enumerate(system.caches.items()):
        if held.prefetch is not None:
            if levels[k].exclusive:
                raise _wrong(("caches", name, "prefetch"), f"{name} is exclusive: it takes only what is evicted above")
            streams = held.prefetch.streams
            if streams % WAYS or not _power(streams // WAYS):
                raise _wrong(("caches", name, "prefetch", "streams"), f"{streams} streams are not 4, 8, 16 and so on")
            sets[f"{name}.prefetcher"] = streams // WAYS
            prefetchers.append(Prefetcher(k, held.prefetch.degree, held.prefetch.steps == "one"))
    mechanism, answer, limits = _mechanism(system, levels, policy)
    nested = None
    if system.nested is not None:
        if isinstance(policy, Hashed):
            raise _wrong(("nested",), "hashed page tables of guests are not modelled: leave out `nested`")
        sets[NESTED], ways = _sets(system.nested, ("nested",))
        tlb_ = Tlb(NESTED, ways, system.nested.policy, power_of_two=_power(sets[NESTED]))
        virtual = system.nested.lookup == "virtual"
        _check_nested_blocks(policy, virtual)
        nested = Nested(tlb_, isinstance(policy, Victima) and policy.nested_blocks, virtual)
    hashed = isinstance(policy, Hashed)
    held_in = mechanism.cache if mechanism.cache is not None else _second(levels)
    walked = () if hashed else tuple(caches)
    loop = Loop(tuple(levels), tuple(tlbs), walked, mechanism, held_in, nested, tuple(prefetchers))
    if isinstance(policy, PomTlb):
        sets[POM_TLB], _ = _sets(policy, ("policy",))
    timing = Timing(_latencies(system), picoseconds(system.walker.miss, system.core), answer, limits)
    return Wired(loop, sets, timing, len(caches) + 1, policy.load if hashed else 0, _reach(system))


NESTED = "nested"


def _power(number: int) -> bool:
    return not number & (number - 1)


def _check_names(system: PagedSystem) -> None:
    taken = {*system.caches, *(f"{name}.prefetcher" for name in system.caches), "memory", POM_TLB, NESTED}
    for name in system.walker.caches:
        if name in taken:
            raise _wrong(("walker", "caches", name), f"two parts are called {name!r}")


def _reach(system: PagedSystem) -> int:
    """That of the TLBs which coalesce, or 1."""
    found = 1
    for name, tlb in system.tlbs.items():
        if tlb.reach > 1:
            if found not in (1, tlb.reach):
                raise _wrong(("tlbs", name, "reach"), f"TLBs that coalesce have one reach, and another has {found}")
            found = tlb.reach
    return found


def _latencies(system: PagedSystem) -> dict[str, int]:
    times = {name: cache.latency for name, cache in system.caches.items()}
    times |= {f"tlbs.{name}": tlb.latency for name, tlb in system.tlbs.items()}
    times |= {name: cache.latency for name, cache in system.walker.caches.items()}
    times["memory"] = system.memory.latency
    if system.nested is not None:
        times[NESTED] = system.nested.latency
    return {name: picoseconds(latency, system.core) for name, latency in times.items()}


def _second(levels: list[Level]) -> int | None:
    """The cache behind the one that serves data: it is told how many of its lines were worth their room."""
    first: int | None = next(level.below for level in levels if "data" in level.serves)
    return first


def _check_rows(system: PagedSystem, tlbs: list[Tlb]) -> None:
    """Each kind of reference has one first TLB for each size of page."""
    for what in ("data", "instructions"):
        first = [(name, tlb) for name, tlb in zip(system.tlbs, tlbs, strict=True) if what in tlb.serves]
        if what == "data" and not first:
            raise _wrong(("tlbs",), "no TLB serves data")
        for size, text in enumerate(SIZES):
            own = [name for name, tlb in first if size in tlb.sizes]
            if len(own) > 1:
                raise _wrong(("tlbs", own[1], "serves"), f"{own[0]} serves {what} on pages of {text} already")
            if first and not own:
                raise _wrong(("tlbs", first[0][0], "pages"), f"no TLB serves {what} on pages of {text}")
    for name, tlb in system.tlbs.items():
        if tlb.serves is not None and tlb.fill == "walks":
            raise _wrong(("tlbs", name, "fill"), "a first TLB takes what is missing in any case")


def _sets(part: Entries | PomTlb, path: tuple[str, ...]) -> tuple[int, int]:
    ways = part.entries if part.ways == "full" else part.ways
    if part.entries % ways:
        raise _wrong((*path, "entries"), f"{part.entries} entries are no multiple of {ways} ways")
    if isinstance(part, PomTlb):
        return part.entries // ways, ways
    if getattr(part.policy, "needs_future", False):
        raise _wrong((*path, "policy"), f"{type(part.policy).registered.name} needs references to come")
    if complaint := complaint_about(part.policy, ways):
        raise _wrong((*path, "policy"), complaint)
    return part.entries // ways, ways


def _mechanism(system: PagedSystem, levels: list[Level], policy: Any) -> tuple[Mechanism, int, tuple[int, int]]:
    """What happens to missing translations, how long the lookup of a TLB block takes, and the pressures' limits."""
    if isinstance(policy, Radix):
        return RadixLoop(), 0, (5, 5)
    if isinstance(policy, Hashed):
        return HashedLoop(), 0, (5, 5)
    if isinstance(policy, PomTlb):
        sets, ways = _sets(policy, ("policy",))
        return PomTlbLoop(ways, Lru(), _power(sets), policy.read == "set", policy.store), 0, (5, 5)
    if isinstance(policy, Victima):
        names = list(system.caches)
        if policy.cache not in names:
            raise _wrong(("policy", "cache"), f"there is no cache {policy.cache!r}; there are: {', '.join(names)}")
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
        if policy.profile == "artifact":
            _check_artifact(policy)
            return VictimaArtifactLoop(_path_of_data(levels), at, policy.on_miss, policy.on_eviction), answer, limits
        return VictimaLoop(at, type(policy.predictor), policy.on_miss, policy.on_eviction), answer, limits
    raise _wrong(("policy",), f"{type(policy).registered.name} is no policy of this scenario")


def _path_of_data(levels: list[Level]) -> tuple[int, ...]:
    """The caches that a load looks up, from the first on."""
    path: list[int] = []
    at: int | None = next(k for k, level in enumerate(levels) if "data" in level.serves)
    while at is not None:
        path.append(at)
        at = levels[at].below
    return tuple(path)


def _check_artifact(policy: Victima) -> None:
    """What the artifact has not may not be said."""
    told = {
        "predictor": "nothing predicts which pages are costly to walk for",
        "data_pressure": "nothing predicts which pages are costly to walk for",
        "nested_blocks": "blocks serve the nested TLB too",
    }
    for key, why in told.items():
        if getattr(policy, key) != getattr(Victima(), key):
            raise _wrong(("policy", key), f"with `profile: artifact` {why}")


def _check_nested_blocks(policy: Any, virtual: bool) -> None:
    """Whose pages nested blocks hold depends on how the nested TLB is looked up."""
    if not isinstance(policy, Victima):
        return
    if policy.profile == "artifact" and not virtual:
        message = "`profile: artifact` of Victima has a nested TLB that is looked up by the program's page"
        raise _wrong(("nested", "lookup"), f"{message}: write `lookup: virtual`")
    if policy.profile == "paper" and policy.nested_blocks and virtual:
        raise _wrong(("nested", "lookup"), "nested blocks hold guest-physical pages: write `nested_blocks: false`")


def _wrong(path: tuple[str, ...], message: str) -> StudyError:
    error = StudyError(message)
    error.path = path
    return error


def _drawn(share: int, seed: int, what: str) -> Any:
    """Which of many are so: a share in parts per billion, drawn for each by its number."""
    first, second = stream(seed, f"translation.{what}").integers(1, 1 << 62, 2).tolist()

    def chosen(number: NDArray[np.int64]) -> NDArray[np.bool_]:
        x = mix(number ^ first) ^ np.uint64(second)
        held: NDArray[np.bool_] = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share / 10**9
        return held

    return chosen
