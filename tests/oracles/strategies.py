"""Hypothesis strategies: any graph of caches that docs/explanation/hierarchy.md allows, and references to run on it.

And any machine that docs/explanation/translation.md allows on such a graph, and references with pages for it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from tests.oracles import translation
from tests.oracles.hierarchy import CacheSpec, Reference, read_graph
from tests.oracles.translation import (
    PAGE,
    REGION,
    ArtifactSpec,
    Config,
    HashedSpec,
    NestedSpec,
    PomTlbSpec,
    PrefetcherSpec,
    PwcSpec,
    TlbSpec,
    VictimaSpec,
    always,
    at_least_once,
)

__all__ = ["Graph", "graphs", "machines", "pages", "reuse", "streams", "translated", "variants"]

Graph = dict[str, dict[str, Any]]

KINDS = ("load", "load", "store", "fetch")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """1 to 4 caches: a chain, or two branches that meet at some level, each cache with its own size and manners."""
    depth = draw(st.sampled_from([1, 2, 2, 3, 3, 4]))
    chain = [f"l{level}" for level in range(1, depth + 1)]
    names = dict(zip(chain, [*chain[1:], "memory"], strict=True))
    serves = {"l1": draw(st.sampled_from(["all", "data"]))}
    if depth < 4 and draw(st.booleans()):
        serves = {"l1": "data", "l1i": "instructions"}
        names["l1i"] = draw(st.sampled_from([name for name in [*chain, "memory"] if name != "l1"]))
        if depth == 2 and names["l1i"] == "l2" and draw(st.booleans()):
            names |= {"l1i": "middle", "middle": "l2"}
    order = draw(st.permutations(list(names)))
    future_known = draw(
        st.sampled_from([False, False, True])
    )  # Belady cannot stand where an inclusive cache could change the future
    graph: Graph = {}
    for name in order:
        cache: dict[str, Any] = {"below": names[name]}
        kinds = ["non-inclusive"]
        if name in serves:
            cache["serves"] = serves[name]
        else:
            kinds += ["exclusive"] if future_known else ["exclusive", "exclusive", "inclusive"]
        cache["inclusion"] = draw(st.sampled_from(kinds))
        exclusive = cache["inclusion"] == "exclusive"
        if not exclusive:
            cache["write"] = draw(st.sampled_from(["back", "through"]))
            cache["write_allocate"] = draw(st.sampled_from([True, True, False]))
        policies: list[Any] = ["lru", "lru", "fifo", "clock", "tree-plru", "srrip", {"use": "srrip", "bits": 1}]
        if future_known and not exclusive:
            policies += ["belady", "belady"]
        cache["policy"] = draw(st.sampled_from(policies))
        cache["sets"] = draw(st.sampled_from([1, 1, 2, 2, 3, 4, 5, 8]))
        cache["ways"] = draw(st.sampled_from([1, 2, 4] if cache["policy"] == "tree-plru" else [1, 2, 2, 3, 4]))
        graph[name] = cache
    return graph


def reuse(rng: random.Random, length: int, lines: int) -> list[Reference]:
    """References that come back soon, with runs of neighbours and now and then something far away."""
    recent = [rng.randrange(lines)]
    out: list[Reference] = []
    for _ in range(length):
        dice = rng.random()
        if dice < 0.5:
            line = recent[-min(len(recent), 1 + int(rng.expovariate(0.4)))]
        elif dice < 0.8:
            line = (recent[-1] + 1) % lines
        else:
            line = rng.randrange(lines)
        recent.append(line)
        out.append((rng.choice(KINDS), line))
    return out


def streams(longest: int = 500) -> st.SearchStrategy[list[Reference]]:
    """Mostly long ones with locality, over few or many lines, and short ones that shrink well."""
    short = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 15)), max_size=40)
    seeds = st.integers(0, 2**32).map(random.Random)
    long = st.builds(reuse, seeds, st.integers(0, longest), st.sampled_from([6, 10, 16, 24, 48]))
    return st.one_of(short, long, long, long)


def no_large(space: int, region: int) -> bool:
    return False


def all_large(space: int, region: int) -> bool:
    return True


def some_large(space: int, region: int) -> bool:
    return (region + space) % 2 == 1


@st.composite
def tlb_specs(draw: st.DrawFn, /, **rest: Any) -> TlbSpec:
    policy = draw(st.sampled_from(["lru", "lru", "fifo", "clock", "srrip", "tree-plru", "tlb-aware-srrip"]))
    ways = draw(st.sampled_from([1, 2, 4] if policy == "tree-plru" else [1, 2, 3, 4]))
    return TlbSpec(draw(st.sampled_from([1, 1, 2, 3, 4])), ways, draw(st.integers(0, 40)), policy, **rest)


@st.composite
def tlb_rows(draw: st.DrawFn) -> dict[str, TlbSpec]:
    """A first row that holds both sizes of whatever it serves, and up to two shared TLBs behind it."""
    row: list[dict[str, Any]] = draw(
        st.sampled_from(
            [
                [{"serves": "all"}],
                [{"serves": "data"}],
                [{"serves": "data"}, {"serves": "instructions"}],
                [
                    {"serves": "data", "sizes": (PAGE,)},
                    {"serves": "instructions"},
                    {"serves": "data", "sizes": (REGION,)},
                ],
            ]
        )
    )
    tlbs = {f"t{place}": draw(tlb_specs(**rest)) for place, rest in enumerate(row)}
    for place in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        sizes = draw(st.sampled_from([(PAGE, REGION), (PAGE, REGION), (PAGE,), (REGION,)]))
        fill = draw(st.sampled_from(["evictions", "evictions", "walk"]))
        tlbs[f"s{place}"] = draw(tlb_specs(sizes=sizes, fill=fill))
    return tlbs


def path_of_data(caches: dict[str, CacheSpec]) -> list[str]:
    """The caches that a load may look into, the first one first."""
    path = [name for name, spec in caches.items() if spec.serves in ("data", "all")]
    while caches[path[-1]].below != "memory":
        path.append(caches[path[-1]].below)
    return path


@st.composite
def machines(draw: st.DrawFn) -> Config:
    """A machine with Victima in some cache that loads look into; `replace(mechanism=None)` makes it radix."""
    known = graphs().filter(lambda graph: all(cache["policy"] != "belady" for cache in graph.values()))
    caches = read_graph(draw(known))
    for name in caches:
        if draw(st.booleans()):
            caches[name] = replace(caches[name], policy="tlb-aware-srrip")
    levels = draw(st.sampled_from([3, 4, 4, 5]))
    pwc = st.builds(PwcSpec, st.integers(1, 3), st.integers(1, 3), st.integers(0, 5), st.integers(0, 2))
    pwcs = {level: draw(pwc) for level in range(2, levels + 1)}
    return Config(
        tlbs=draw(tlb_rows()),
        caches=caches,
        latencies={name: draw(st.integers(0, 60)) for name in caches} | {"memory": draw(st.integers(0, 300))},
        pwcs=pwcs,
        levels=levels,
        large=draw(st.sampled_from([no_large, all_large, some_large])),
        mechanism=VictimaSpec(
            draw(st.sampled_from(path_of_data(caches))), draw(st.sampled_from([at_least_once, at_least_once, always]))
        ),
        aware=draw(st.sampled_from([True, True, False])),
        spared=draw(st.sampled_from([0, 1, 1, 1, 2])),
    )


@st.composite
def mechanisms(
    draw: st.DrawFn, caches: dict[str, CacheSpec]
) -> VictimaSpec | ArtifactSpec | PomTlbSpec | HashedSpec | None:
    """What stands behind the TLBs: TLB blocks are in no first cache, and in none that is exclusive."""
    may = [name for name in path_of_data(caches)[1:] if caches[name].inclusion != "exclusive"]
    name = draw(st.sampled_from(["radix", "hashed", "pom", *["victima", "victima", "victima", "artifact"] * bool(may)]))
    if name == "victima":
        predictor = draw(st.sampled_from([at_least_once, at_least_once, always]))
        return VictimaSpec(
            draw(st.sampled_from(may)), predictor, nested_blocks=draw(st.sampled_from([True, True, False]))
        )
    if name == "artifact":
        return ArtifactSpec(draw(st.sampled_from(may)), draw(st.booleans()), draw(st.booleans()))
    if name == "pom":
        sets, ways = st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 4, 6, 16])
        return PomTlbSpec(draw(sets), draw(ways), draw(st.booleans()), draw(st.booleans()))
    loads = st.sampled_from([Fraction(1, 10), Fraction(1, 2), Fraction(9, 10), Fraction(1)])
    return HashedSpec(draw(loads)) if name == "hashed" else None


@st.composite
def variants(draw: st.DrawFn) -> Config:
    """A machine with any mechanism, a host or none, TLBs that coalesce or do not, and some prefetchers."""
    machine = draw(machines())
    mechanism = draw(mechanisms(dict(machine.caches)))
    first, miss = draw(st.sampled_from([4, 4, 5])), draw(st.integers(0, 2))
    pwcs = {level: replace(machine.pwcs[min(level, 3)], miss=miss) for level in range(2, first + 1)}
    nested = None
    if not isinstance(mechanism, HashedSpec) and draw(st.sampled_from([False, False, True])):
        virtual = draw(st.booleans()) or isinstance(mechanism, ArtifactSpec)
        virtual &= not (isinstance(mechanism, VictimaSpec) and mechanism.nested_blocks)
        shape = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(0, 5))
        nested = NestedSpec(*shape, virtual=virtual)
    tlbs, reach = dict(machine.tlbs), draw(st.sampled_from([1, 1, 2, 4, 8]))
    for name in tlbs:
        if draw(st.booleans()):
            tlbs[name] = replace(tlbs[name], reach=reach)
    prefetchers = {}
    for name, cache in machine.caches.items():
        if cache.inclusion != "exclusive" and draw(st.sampled_from([False, False, False, True])):
            spec = st.builds(PrefetcherSpec, st.sampled_from([1, 2, 4]), st.integers(1, 3), st.booleans())
            prefetchers[name] = draw(spec)
    which = st.sampled_from([no_large, all_large, some_large])
    return replace(
        machine,
        tlbs=tlbs,
        pwcs=pwcs,
        levels=first,
        mechanism=mechanism,
        nested=nested,
        host_large=draw(which),
        contiguous=draw(st.sampled_from([no_large, all_large, some_large])),
        prefetchers=prefetchers,
    )


GAPS = (0, 1, 1, 3, 10, 30, 100)
KINDS_OF_PAGES = (*KINDS * 10, "shootdown")


def address_of(place: int, line: int) -> int:
    """Of the pages that are drawn, 20 lie side by side at the end of a region or the begin of the next, and so on.

    From the 100th on they lie where programs have their stacks.
    """
    high = 0x7F00_0000_0000 if place >= 100 else 0
    return high + ((place // 20 * 3 + 1) * 512 - 10 + place % 20) * PAGE + line * 64


def pages(rng: random.Random, length: int, most: int, spaces: int) -> list[translation.Reference]:
    """References to pages that come back soon, with runs of neighbours, and now and then a long time without any."""
    recent = [rng.randrange(most)]
    out: list[translation.Reference] = []
    for _ in range(length):
        dice = rng.random()
        if dice < 0.4:
            place = recent[-min(len(recent), 1 + int(rng.expovariate(0.3)))]
        elif dice < 0.7:
            place = (recent[-1] + 1) % most
        else:
            place = rng.randrange(most)
        recent.append(place)
        gap = rng.choice((999, 1000, 1001, 5000)) if rng.random() < 0.02 else rng.choice(GAPS)
        out.append((rng.randrange(spaces), address_of(place, rng.randrange(3)), rng.choice(KINDS_OF_PAGES), gap))
    return out


def translated(longest: int = 300) -> st.SearchStrategy[list[translation.Reference]]:
    """Mostly long ones with locality, over few or many pages, and short ones that shrink well."""
    one = st.tuples(
        st.integers(0, 1),
        st.builds(address_of, st.integers(0, 59), st.integers(0, 2)),
        st.sampled_from(KINDS_OF_PAGES),
        st.sampled_from([*GAPS, 1000]),
    )
    seeds = st.integers(0, 2**32).map(random.Random)
    most, spaces = st.sampled_from([12, 30, 60, 200]), st.sampled_from([1, 1, 2])
    long = st.builds(pages, seeds, st.integers(0, longest), most, spaces)
    return st.one_of(st.lists(one, max_size=40), long, long, long)
