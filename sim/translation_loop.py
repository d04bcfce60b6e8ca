"""Writes the loop of references that are translated before they reach the caches.

What it does is specified in docs/explanation/translation.md, operation by operation. The caches are those of
`tiersim.sim.cache_loop`; here lines are numbered by page, 64 to each, so that a line tells its page: first the pages of
the program, then those of its page tables, then one more for each table, whose lines are TLB blocks
(`tiersim.sim.pages`).

What happens when no TLB has a translation is the mechanism's, which writes its own part (`tiersim.sim.mechanisms`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Protocol

from tiersim.sim.cache_loop import (
    BLOCK,
    FIRST_COUNTER,
    HEADER,
    ROOMY,
    Level,
    Writer,
    fill,
    identifier,
    join,
    prefixes,
    verbs_of,
    when,
)
from tiersim.sim.prefetchers import WAYS, Prefetcher, Streams
from tiersim.sim.source import borrow, load_module

__all__ = [
    "BACKGROUND_HOST",
    "BINS",
    "HOST",
    "LATENCY",
    "LOOK",
    "MEANS",
    "MISSES_BY",
    "READS_BY",
    "REMOVE",
    "SHOOTDOWN",
    "SOURCES",
    "STORES",
    "STORE_MISSES",
    "STRUCTURE",
    "Loop",
    "Mechanism",
    "Nested",
    "Tlb",
    "TranslationWriter",
    "make_translation_loop",
    "structure_of",
    "word_of",
]

KINDS = ("data", "instructions")  # of references
SHOOTDOWN = 3  # the kind of an event that takes the translation of its page away
LATENCY = 30  # word of a header: what a lookup takes, in picoseconds
SOURCES = ("program", "walk", "background", "pom")  # who reads; a header counts reads and misses by each
READS_BY, MISSES_BY = 32, 36
HOST, BACKGROUND_HOST = 8, 9  # who reads for host walks; their counts stand behind those of the others
STORES, STORE_MISSES = 28, 29  # of the mechanism, which are no writes of the program
STRUCTURE = ("lookups", "misses", "fills", "evictions", "puts", "found", "removed")  # counters of a TLB or PWC
BINS, BIN = 64, 16_000  # of walk latencies, and their width in picoseconds
REUSE = 256  # hits of a resident line are counted up to this

MEANS = (  # words of the last header
    "source",  # who reads now
    "delay",  # what the reads under way have paid
    "tables",  # the first line of a page table
    "blocks",  # the first TLB block
    "offset",  # from a leaf line to its block
    "pwc_miss",  # what a lookup that failed in a page-walk cache pays on top
    "pressure",  # whether translation pressure is high
    "data_pressure",
    "pressure_mean",
    "data_pressure_mean",
    "pressure_limit",
    "data_pressure_limit",
    "missing_before",
    "data_misses_before",
    "missing",  # translations that no TLB had
    "beyond",  # what translations took beyond the first TLB
    "walks",
    "walk_time",
    "walk_longest",
    "walks_touched",  # that read memory
    "background_walks",
    "background_time",
    "left",  # translations that left the TLBs
    "answer",  # what a lookup of a TLB block takes
    "block_lookups",
    "block_hits",
    "inserted",
    "resident",  # TLB blocks in the cache
    "converted",  # leaf lines that became blocks
    "refused",  # by the predictor, or taken as not costly
    "shootdowns",
    "histogram",  # BINS words
)


@dataclass(frozen=True)
class Tlb:
    """A TLB, or a page-walk cache, as the loop sees it: `sizes` (0: 4 KiB, 1: 2 MiB) are those that it holds.

    `serves` is what a first one translates; `direct` says that it is filled by walks rather than by evictions;
    `coalesces` that groups of pages share an entry. `lines` are those that a set takes, of one that lies in memory.
    """

    name: str
    ways: int
    policy: Any
    sizes: frozenset[int] = frozenset({0, 1})
    serves: frozenset[str] = field(default=frozenset(), repr=False)
    power_of_two: bool = True
    direct: bool = False
    coalesces: bool = False
    lines: int = 0

    @property
    def level(self) -> Level:
        """It as a cache, which policies and messages know."""
        return Level(self.name, self.ways, self.policy, None, power_of_two=self.power_of_two, classify=False)


class Mechanism(Protocol):
    """What happens to a translation that no TLB has."""

    @property
    def cache(self) -> int | None:
        """The cache that holds TLB blocks, if one does; of several, that whose blocks are counted."""

    @property
    def holders(self) -> tuple[int, ...]:
        """All caches that may hold TLB blocks. Where they are several, blocks enter by being read through them."""

    @property
    def watches(self) -> bool:
        """Whether it is told of what leaves the TLBs."""

    @property
    def parts(self) -> tuple[Tlb, ...]:
        """What it looks up in besides; each has a function ``remove_NAME(STATE, u)``."""

    @property
    def words(self) -> tuple[str, ...]:
        """Its words and counters besides; with one called `page` it is told which page is translated."""

    def verbs(self) -> tuple[type, tuple[str, ...]] | None:
        """A class, and those of its static functions that the text calls, as m_FUNCTION."""

    def functions(self, writer: TranslationWriter) -> str:
        """``missing(STATE, u, time)``, which gives the time until the translation is there (`time` has passed in the
        TLBs), and, where it watches, ``gone(STATE, u)``."""


@dataclass(frozen=True)
class Nested:
    """The nested TLB of guests; with `blocks` the mechanism's caches hold nested TLB blocks besides its own."""

    tlb: Tlb
    blocks: bool = False
    virtual: bool = False  # looked up by the page of the program, once for each table that its walk read

    words: ClassVar[tuple[str, ...]] = (
        "hosts",  # the row of the host unit of page 0 of the program
        "table_hosts",  # and of page 0 of the guests' tables
        "guests",  # the row of page 0 in the guests' tables alone
        "nested_blocks",  # the first nested TLB block
        "nested_offset",  # from a host leaf line to its block
        "host_walks",
        "host_time",
        "background_host_walks",
        "background_host_time",
        "nested_left",  # translations that left the nested TLB
        "nested_saved",  # those that were walked for then; counted among walks in the background
        "nested_saved_time",
        "nested_block_lookups",
        "nested_block_hits",
        "nested_inserted",
        "nested_resident",  # nested TLB blocks in the cache
        "nested_converted",
        "nested_refused",
    )


@dataclass(frozen=True)
class Loop:
    """All that decides the text of a loop."""

    levels: tuple[Level, ...]
    tlbs: tuple[Tlb, ...]
    walk_caches: tuple[Tlb, ...]  # from the root down
    mechanism: Mechanism
    reuse: int | None = None  # the cache whose lines' hits are counted
    nested: Nested | None = None  # of guests
    prefetchers: tuple[Prefetcher, ...] = ()

    @property
    def structures(self) -> list[Level]:
        """Caches, memory, TLBs, page-walk caches and parts of the mechanism: whoever has a header, in order."""
        memory = replace(self.levels[0], name="memory")
        return [*self.levels, memory, *(part.level for part in self.lookups)]

    @property
    def lookups(self) -> tuple[Tlb, ...]:
        """All that holds translations or entries of page tables, in the order of the headers."""
        nested = (self.nested.tlb,) if self.nested else ()
        streams = (Tlb(f"{self.levels[own.cache].name}.prefetcher", WAYS, Streams()) for own in self.prefetchers)
        return (*self.tlbs, *self.walk_caches, *self.mechanism.parts, *nested, *streams)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that stand behind the histograms."""
        return (*self.mechanism.words, *(self.nested.words if self.nested else ()))

    @property
    def kinds(self) -> int:
        """How many kinds of lines there are, each with a histogram of reuse."""
        return 4 if self.nested else 3


def structure_of(loop: Loop) -> dict[str, int]:
    """The place of each TLB's and page-walk cache's header, by name, and that of the mechanism's words."""
    names = [part.name for part in loop.lookups]
    first = len(loop.levels) + 1
    return {**{name: first + k for k, name in enumerate(names)}, "": first + len(names)}


def word_of(loop: Loop, name: str) -> int:
    """The place of a word of the mechanism among those: its own stand behind the histograms."""
    if name in MEANS:
        return MEANS.index(name)
    return len(MEANS) - 1 + BINS + loop.kinds * REUSE + loop.words.index(name)


_borrow = cache(borrow)


class TranslationWriter(Writer):
    """Writes the functions of TLBs and walks beside those of the caches, and the loop over references."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop.levels)
        self.loop = loop
        self.parts = loop.structures
        self.places = structure_of(loop)
        self.pointers = [*self.pointers, "D", "A", "C", "R"]
        self.arrays = [*self.arrays, "rows", "parents", "counters", "reused"]
        if any(part.coalesces for part in loop.tlbs):
            self.pointers.append("G")
            self.arrays.append("groups")
        self.state = ", ".join(self.pointers)
        self.top = self.places[""] * HEADER
        self.prefixes = prefixes([*self.parts])
        self.verbs = {cls: verbs_of(cls, prefix) for cls, prefix in self.prefixes.items()}
        data = next(k for k, level in enumerate(self.levels) if "data" in level.serves)
        self.data = self.names[data]
        self.holes = False  # whether shootdowns may leave empty ways behind full ones

    # words

    def own(self, name: str) -> str:
        """A word of the mechanism."""
        return f"S[{self.at(word_of(self.loop, name))}]"

    def at(self, place: int) -> str:
        """Where a word of the mechanism is."""
        return str(self.top + place)

    def tally(self, k: int, counter: str) -> str:
        """A counter of a TLB or PWC."""
        return self.word(k, FIRST_COUNTER + STRUCTURE.index(counter))

    def known(self, k: int) -> dict[str, str]:
        if k > len(self.levels):
            ways = self.parts[k].ways
            fixed = {"kind": "0", "pressure": "0", "allowed": "-1", "ways": str(ways), "next_use": "0"}
            return {"s": "S", "at": "at", "way": "way", **fixed}
        kind = f"1 * (x >= {self.own('tables')}) + (x >= {self.own('blocks')})"  # NumPy's truths sum to a truth
        return {**super().known(k), "kind": kind, "pressure": self.own("pressure")}

    def call(self, verb: str, k: int, **given: str) -> str:
        policy, known = self.parts[k].policy, self.known(k) | given
        for name in getattr(type(policy), "__dataclass_fields__", {}):
            known[name] = repr(getattr(policy, name))
        arguments = ", ".join(known[name] for name in self.verbs[type(policy)].arguments[verb])
        return f"{self.prefixes[type(policy)]}_{verb}({arguments})"

    # caches whose lines are numbered by page

    def place(self, k: int, line: str = "x", *, given: tuple[str, ...] = ()) -> str:
        sets, tags, words, stride = given or (self.word(k, place) for place in range(4))
        number = f"(L[{line} >> 6] << 6 | {line} & 63)"
        index = f"{number} & ({sets} - 1)" if self.levels[k].power_of_two else f"{number} % {sets}"
        return f"group = {index}\nbase = {tags} + group * {self.levels[k].ways}\nat = {words} + group * {stride}"

    def delay(self, k: int) -> str:
        return self.pays(self.word(k, LATENCY))

    # what a loop that keeps time knows more of

    def pays(self, latency: str) -> str:
        """What is under way takes so much longer."""
        return f"{self.own('delay')} += {latency}"

    def waited(self, time: str) -> str:
        """A translation has taken so long, before anything was read for it."""
        return ""

    def aside(self, done: str) -> str:
        """Something that nobody waits for."""
        return done

    def at_once(self) -> dict[str, str]:
        """Parts of functions that read several lines at once: of one set, and then of one of two, or of both."""
        return dict.fromkeys(("set_asked", "set_again", "set_met", "asked", "parted", "one_met", "both_met"), "")

    def beside(self) -> dict[str, str]:
        """Parts of a walk that has another one beside it, for which it does not wait."""
        return dict.fromkeys(("apart", "small_turns", "large_turns"), "")

    def prefetched(self, k: int) -> str:
        """Brings line x into cache k for its prefetcher."""
        return self.bring(k)

    def begun(self, source: str) -> str:
        """A walk begins."""
        return ""

    def ended(self, source: str) -> str:
        """It has ended."""
        return ""

    def count_fetch(self, k: int, counter: str) -> str:
        first = READS_BY if counter == "fetches" else MISSES_BY
        by = f"S[{self.header(k, first)} + {self.own('source')}] += 1"
        return join(super().count_fetch(k, counter), by)

    def dropped(self, k: int) -> bool:
        return super().dropped(k) or k in self.loop.mechanism.holders

    @property
    def through(self) -> bool:
        """Whether TLB blocks are read through several caches, as data is."""
        return len(self.loop.mechanism.holders) > 1

    def count(self, k: int, counter: str) -> str:
        if counter == "invalidations" and self.through and k == self.loop.mechanism.cache:
            return join(super().count(k, counter), self.resident("x"))
        place = {"writes": STORES, "write_misses": STORE_MISSES}.get(counter)
        if place is None or not self.loop.mechanism.parts:
            return super().count(k, counter)
        return join(super().count(k, counter), f"{self.word(k, place)} += {self.own('source')} > 0")

    def used(self, k: int) -> str:
        return f"R[base + way] = min(int(R[base + way]) + 1, {REUSE - 1})" if k == self.loop.reuse else ""

    def trained(self, k: int, *, first: bool = False) -> str:
        if all(own.cache != k for own in self.loop.prefetchers):
            return ""
        train = f"train_{self.names[k]}({self.state}, x)"
        return train if first else when(f"{self.own('source')} == 0", train)

    def entered(self, k: int) -> str:
        parts = []
        if k == self.loop.reuse:
            kind = self.known(k)["kind"].replace("x", "old")
            at = f"{self.at(len(MEANS) - 1 + BINS)} + ({kind}) * {REUSE} + int(R[base + way])"
            parts.append(when("old >= 0", f"S[{at}] += 1"))
            parts.append("R[base + way] = 0")
        if k == self.loop.mechanism.cache:
            parts.append(self.resident())
            parts.append(self.resident("x", "+") if self.through else "")
        return join(*parts)

    def handed_down(self, k: int, put: str) -> str:
        alone = k == self.loop.mechanism.cache and not self.through
        return when(f"old < {self.own('blocks')}", put) if alone else put

    def given_up(self, k: int, leaf: str, counter: str) -> str:
        """The leaf line is dropped from cache k, and from those above where that is inclusive; counted by `counter`."""
        now = self.counter(k, "invalidations")
        above = self.above(k) if self.levels[k].inclusion == "inclusive" else []
        drops = join(*(f"drop_{self.names[j]}({self.state}, {leaf})" for j in above))
        drop = f"drop_{self.names[k]}({self.state}, {leaf})"
        return join(f"before = {now}", drop, when(f"{now} > before", join(f"{counter} += 1", drops)))

    def resident(self, line: str = "old", sign: str = "-") -> str:
        """Counts a line that left the cache with TLB blocks, or entered it, if it is one."""
        return f"{self.own('resident')} {sign}= {line} >= {self.own('blocks')}"

    def functions(self) -> list[str]:
        shared, *rest = super().functions()
        # the verbs of all policies, which the base class writes behind what is shared
        first = len(self.parts) - len(self.loop.prefetchers)
        trained = [own.functions(self, header) for header, own in enumerate(self.loop.prefetchers, first)]
        made = [shared.replace(*self._memory()), *rest, *self.tlb_functions(), self.walk(), *self._mechanism()]
        return [*made, *trained]

    def _memory(self) -> tuple[str, str]:
        read = "    S[at] += 1\n    S[at + 2] += S[at + 3]\n"
        by = f"    S[at + {READS_BY - FIRST_COUNTER} + {self.own('source')}] += 1\n"
        paid = f"    {self.own('delay')} += S[at + {LATENCY - FIRST_COUNTER}]\n"
        return read, read + by + paid

    def _mechanism(self) -> list[str]:
        mechanism = self.loop.mechanism
        said = mechanism.verbs()
        verbs = [_borrow(*said, "m").text.replace("@jit\n", "@inline\n")] if said else []
        first = [k for k, tlb in enumerate(self.loop.tlbs) if tlb.serves]
        return [
            *verbs,
            mechanism.functions(self),
            *(self.fills(t) for t in first),
            *(self.missed(t) for t in first),
            self.tick(),
            self.shoot(),
        ]

    # TLBs

    def tlb(self, t: int) -> int:
        """The header of TLB t."""
        return len(self.levels) + 1 + t

    def behind(self, t: int) -> list[int]:
        """The TLBs that are asked after first TLB t."""
        return [k for k, tlb in enumerate(self.loop.tlbs) if not tlb.serves and tlb.sizes & self.loop.tlbs[t].sizes]

    def set_of(self, k: int, number: str) -> str:
        """The set of a number."""
        sets = self.word(k, 0)
        return f"{number} & ({sets} - 1)" if self.parts[k].power_of_two else f"{number} % {sets}"

    def seat(self, k: int, number: str) -> str:
        """Where the set of a number is, in a TLB or a page-walk cache."""
        part = self.parts[k]
        tags, words, stride = (self.word(k, place) for place in (1, 2, 3))
        index = self.set_of(k, number)
        return f"group = {index}\nbase = {tags} + group * {part.ways}\nat = {words} + group * {stride}"

    def enter(self, k: int, tag: str) -> str:
        """Puts a tag into its set; `old` is what it pushed out, or -1."""
        part = self.parts[k]
        empty = f"way = find_{part.ways}(I, base, -1)"
        if not self.holes:
            empty = join("way = -1", when(f"I[base + {part.ways - 1}] == -1", empty))
        return fill(
            """
            $empty
            old = -1
            if way < 0:
                way = $room
                if way < 0 or way >= $ways:
                    way = refuse(S, $header, way)
                old = I[base + way] >> 1
                $evictions += 1
            $told_if_empty
            I[base + way] = $tag << 1
            $fills += 1
            $told
            """,
            empty=empty,
            ways=str(part.ways),
            header=self.header(k),
            evictions=self.tally(k, "evictions"),
            tag=tag,
            fills=self.tally(k, "fills"),
            **self.renewed(k),
        )

    def lookup(self, k: int, number: str, tag: str) -> dict[str, str]:
        """The parts of functions that look a tag up in the set of a number, in a TLB or a page-walk cache."""
        counters = ("lookups", "misses", "puts", "found", "removed")
        return {
            "state": self.state,
            "seat": self.seat(k, number),
            "find": f"way = find_{self.parts[k].ways}(I, base, {tag})",
            "hit": self.call("hit", k),
            "enter": self.enter(k, tag),
            "latency": self.word(k, LATENCY),
        } | {counter: self.tally(k, counter) for counter in counters}

    @property
    def of_tlb(self) -> tuple[str, ...]:
        """The functions of each TLB."""
        return LOOK, ENTER, PUT, REMOVE

    def tlb_functions(self) -> list[str]:
        ways = {part.ways for part in self.parts[len(self.levels) + 1 :]} - {level.ways for level in self.levels}
        made = [self.find(count) for count in sorted(ways)]
        for t, tlb in enumerate(self.loop.tlbs):
            number, lead = ("G[2 * u + 1]", "u = G[2 * u]") if tlb.coalesces else ("D[4 * u + 1]", "")
            parts = self.lookup(self.tlb(t), number, "u")
            made += [fill(text, t=str(t), lead=lead, **parts) for text in self.of_tlb]
        return made

    def at_size(self, sizes: frozenset[int], then: str, unit: str = "u") -> str:
        """What is done for units of these sizes only."""
        return then if sizes == {0, 1} else when(f"D[4 * {unit} + 3] == {int(1 in sizes)}", then)

    def fills(self, t: int) -> str:
        """``fill_T``: what is missing in first TLB t enters it, and what it pushes out goes down the row."""
        lines = [f"v = enter_{t}({self.state}, u)", *self.down()]
        body = join(*lines)
        return fill("@inline\ndef fill_$t($state, u):\n    $body\n    return 0", t=str(t), state=self.state, body=body)

    def down(self, after: int = -1) -> list[str]:
        """Puts unit v, if there is one, into the first shared TLB after this one that holds its size, and so on."""
        lines = []
        for k, tlb in enumerate(self.loop.tlbs):
            if k > after and not tlb.serves:
                taken = "v = -1" if tlb.direct else f"v = put_{k}({self.state}, v)"
                lines.append(when("v >= 0", self.at_size(tlb.sizes, taken, "v")))
        return [*lines, self.gone()]

    def gone(self) -> str:
        """What follows when unit v, if there is one, has left the TLBs."""
        told = f"gone({self.state}, v)" if self.loop.mechanism.watches else ""
        return when("v >= 0", join(f"{self.own('left')} += 1", self.aside(told)))

    def missed(self, t: int) -> str:
        """``missed_T``: all that follows a miss in first TLB t."""
        missing = f"time = missing({self.state}, u, time)"
        search = join(f"{self.own('missing')} += 1", self.waited("time"), missing)
        for k in self.behind(t):
            if self.loop.tlbs[k].direct:
                taken = self.at_size(self.loop.tlbs[k].sizes, f"v = put_{k}({self.state}, u)")
                search = join(search, "v = -1", taken, *self.down(after=k))
        for k in reversed(self.behind(t)):
            latency = self.word(self.tlb(k), LATENCY)
            here = join(f"time += {latency}", f"way = look_{k}({self.state}, u)")
            sizes = self.loop.tlbs[k].sizes
            looked = here if sizes == {0, 1} else join("way = -1", self.at_size(sizes, here))
            search = join(looked, when("way < 0", search, self.waited("time")))
        return fill(
            """
            @inline
            def missed_$t($state, u):
                time = 0
                $fetching
                $search
                fill_$t($state, u)
                $beyond += time
                return 0
            """,
            t=str(t),
            state=self.state,
            fetching=f"S[{self.fetching}] = 0" if self.fetches else "",  # else as the reference before
            search=search,
            beyond=self.own("beyond"),
        )

    # walks

    def walk(self) -> str:
        """``walk``: through the levels from the root; what its reads and lookups paid is left in `delay`."""
        if not self.loop.walk_caches:  # the mechanism has its own
            return ""
        last = len(self.loop.walk_caches)  # the entries of levels last+1 (root) .. 2 are e0 .. e{last-1}
        up = [f"e{place} = A[e{place + 1} >> 9]" for place in reversed(range(last - 1))]
        down = [f"step_{place}({self.state}, e{place})" for place in range(last - 1)]
        large = f"e{last - 1} = table << 9 | D[4 * u + 1] & 511"
        small = f"e{last - 1} = A[table]"
        return join(
            self.read_walk() + "\n\n",
            self.steps() + "\n\n",
            fill(
                """
                @jit_apart
                def walk($state, u, source):
                    $source = source
                    $delay = 0
                    $begun
                    before = $reads
                    leaf = D[4 * u + 2]
                    table = (leaf - $tables) >> 6
                    if D[4 * u + 3]:
                        $large
                    else:
                        $small
                    $up
                    $down
                    step_$bottom($state, e$bottom)
                    if D[4 * u + 3] == 0:
                        read_walk($state, leaf)
                    $settled
                """,
                state=self.state,
                reads=f"S[{self.memory}]",
                large=large,
                small=small,
                up=join(*up),
                down=join(*down),
                bottom=str(last - 1),
                begun=self.begun("source"),
                settled=self.settled(),
                **{name: self.own(name) for name in ("source", "delay", "tables")},
            ),
        )

    def read_walk(self) -> str:
        """``read_walk``: a line of a table is read through the caches."""
        text = "@jit_apart\ndef read_walk($state, x):\n    return read_$data($state, x)"
        return fill(text, state=self.state, data=self.data)

    def steps(self) -> str:
        """``step_DEPTH``: an entry is looked up in its page-walk cache, or its line is read."""
        first = len(self.levels) + 1 + len(self.loop.tlbs)
        return "\n\n\n".join(
            fill(
                STEP,
                depth=str(k - first),
                tables=self.own("tables"),
                **self.paid(k),
                **self.lookup(k, "e", "e") | {"hit": when(f"{self.word(k, ROOMY)} == 0", self.call("hit", k))},
            )
            for k, _ in enumerate(self.loop.walk_caches, first)
        )

    def paid(self, k: int) -> dict[str, str]:
        """What lookups in a page-walk cache take."""
        return {"pay_latency": self.pays(self.word(k, LATENCY)), "pay_penalty": self.pays(self.own("pwc_miss"))}

    def settled(self, touched: str | None = None) -> str:
        """How a walk ends that has paid `delay` since memory was read `before` times: counted, and `touched` given."""
        counters = ("background_walks", "background_time", "walks", "walk_time", "walk_longest", "walks_touched")
        return fill(
            SETTLED,
            ended=self.ended("source"),
            touched=f"touched = S[{self.memory}] > before" if touched is None else touched,
            histogram=self.at(MEANS.index("histogram")),
            BIN=str(BIN),
            LAST=str(BINS - 1),
            **{name: self.own(name) for name in ("source", "delay", *counters)},
        )

    # windows and shootdowns

    def tick(self) -> str:
        """``tick``: a window of instructions ends."""
        cache = self.loop.mechanism.cache
        misses = "0"
        if cache is not None:  # of the program; writes are its own where no mechanism stores
            misses = f"(S[{self.header(cache, MISSES_BY)}] + {self.counter(cache, 'write_misses')})"
        lines = []
        for name, count, before in (
            ("pressure", self.own("missing"), "missing_before"),
            ("data_pressure", misses, "data_misses_before"),
        ):
            mean, limit = self.own(f"{name}_mean"), self.own(f"{name}_limit")
            lines += [
                f"{mean} = ({mean} + (({count} - {self.own(before)}) << 16)) >> 1",
                f"{self.own(before)} = {count}",
                f"{self.own(name)} = {mean} > {limit}",
            ]
        return fill("@inline\ndef tick($state):\n    $lines\n    return 0", state=self.state, lines=join(*lines))

    def shoot(self) -> str:
        """``shoot``: a unit leaves all TLBs, and its block the caches."""
        cache = self.loop.mechanism.cache
        lines = [self.at_size(tlb.sizes, f"remove_{t}({self.state}, u)") for t, tlb in enumerate(self.loop.tlbs)]
        block = f"D[4 * u + 2] + {self.own('offset')}"
        drops = [f"drop_{self.names[k]}({self.state}, {block})" for k in self.loop.mechanism.holders]
        if cache is not None and not self.through:
            gone = when("was < now", f"{self.own('resident')} -= 1")
            now = self.counter(cache, "invalidations")
            drops = [f"was = {now}", *drops, f"now = {now}", gone]
        lines += drops
        lines += [f"remove_{identifier(part.level)}({self.state}, u)" for part in self.loop.mechanism.parts]
        return fill(
            "@inline\ndef shoot($state, u):\n    $count += 1\n    $lines\n    return 0",
            state=self.state,
            count=self.own("shootdowns"),
            lines=join(*lines),
        )

    # the main loop

    def first_tlb(self, what: str) -> str:
        """A lookup in the TLB that serves this kind of reference, and all that a miss brings."""
        own, last = self.first(what), f"page_{what}"
        # only after a hit, as the first hit after a fill may mean something; another kind may use the same TLB between
        missed = [*self.unsure(what), f"{last} = -1"]
        shared = [f"page_{kind} = -1" for kind in KINDS if kind != what and set(self.first(kind)) & set(own)]
        lines = [
            self.at_size(
                self.loop.tlbs[t].sizes,
                when(f"look_{t}({self.state}, u) < 0", join(f"missed_{t}({self.state}, u)", *missed)),
            )
            for t in own
        ]
        page = f"{self.own('page')} = x >> 6" if "page" in self.loop.mechanism.words else ""
        asked = join("u = D[4 * (x >> 6)]", page, f"{last} = x >> 6", *shared, *lines)
        return when(f"x >> 6 != {last}", asked) if self.idempotent(own) else asked

    def first(self, what: str) -> list[int]:
        """The TLBs that serve this kind of reference."""
        return [t for t, tlb in enumerate(self.loop.tlbs) if what in tlb.serves]

    def apart(self, data: int | None, fetch: int) -> bool:
        return super().apart(data, fetch) or self.first("data") != self.first("instructions")

    def filtered(self, k: int) -> bool:
        # a line that was just fetched may be new to the TLB that serves data
        served = [self.first(what) for what in KINDS if what in self.levels[k].serves]
        alike = all(row == served[0] for row in served)
        return super().filtered(k) and alike and all(self.idempotent(row) for row in served)

    def idempotent(self, row: list[int]) -> bool:
        """Whether a second hit in these TLBs means nothing."""
        return all(getattr(self.loop.tlbs[t].policy, "hit_is_idempotent", False) for t in row)

    def remembered(self, *, data: bool) -> str:
        # the first hit after a fill may mean something to a TLB as well
        what = KINDS[not data]
        return f"x if page_{what} == x >> 6 else -1" if self.first(what) else "x"

    def unsure(self, what: str) -> list[str]:
        """Walks may take lines away from first caches other than the one that is asked next."""
        others = [k for k, level in enumerate(self.levels) if level.serves and what not in level.serves]
        inclusive = any(level.inclusion == "inclusive" for level in self.levels)
        reads = what == "instructions"  # walks read through the cache that serves data
        return [f"last_{self.names[k]} = -1" for k in others] if inclusive or reads else []

    def translated(self, *, data: bool) -> str:
        return self.first_tlb("data" if data else "instructions")

    def early(self) -> str:
        counted = "prefetch(C, x >> 6)" if self.loop.mechanism.cache is not None else ""
        return join("prefetch(L, x >> 6)", "prefetch(D, 4 * (x >> 6))", counted)

    def windows(self) -> tuple[str, str, str]:
        head = fill(
            """
            page_data = -1
            page_instructions = -1
            told = 0
            start = 0
            while start < count or told < windows:
                while told < windows and marks[told] == start:
                    tick($state)
                    told += 1
                stop = min(start + $BLOCK, count)
                if told < windows:
                    stop = min(stop, marks[told])
            """,
            state=self.state,
            BLOCK=str(BLOCK),
        )
        return "marks, windows, ", head, "start = stop"

    def special(self) -> str:
        if not self.holes:
            return ""
        forget = [f"last_{self.names[k]} = -1" for k, level in enumerate(self.levels) if level.serves]
        shot = join("u = D[4 * (x >> 6)]", f"shoot({self.state}, u)", "page_data = -1", "page_instructions = -1")
        return when(f"kind == {SHOOTDOWN}", join(shot, *forget, "continue"))


LOOK = """
@inline
def look_$t($state, u):
    $lead
    $seat
    $lookups += 1
    $find
    if way >= 0:
        $hit
        return way
    $misses += 1
    return -1
"""
ENTER = """
@inline
def enter_$t($state, u):
    $lead
    $seat
    $enter
    return old
"""
PUT = """
@inline
def put_$t($state, u):
    $lead
    $seat
    $puts += 1
    $find
    if way >= 0:
        $found += 1
        $hit
        return -1
    $enter
    return old
"""
REMOVE = """
@inline
def remove_$t($state, u):
    $lead
    $seat
    $find
    if way >= 0:
        I[base + way] = -1
        $removed += 1
    return 0
"""
SETTLED = """\
$ended
$source = 0
$touched
time = $delay
if source == 2:
    $background_walks += 1
    $background_time += time
else:
    $walks += 1
    $walk_time += time
    $walk_longest = max($walk_longest, time)
    $walks_touched += touched
    S[$histogram + min(time // $BIN, $LAST)] += 1
return touched
"""
STEP = """
@inline
def step_$depth($state, e):
    $seat
    $lookups += 1
    $find
    if way >= 0:
        $hit
        $pay_latency
        return 0
    $misses += 1
    $pay_penalty
    read_walk($state, $tables + (e >> 3))
    $enter
    return 0
"""


def make_translation_loop(
    loop: Loop, *, compiled: bool = True, shootdowns: bool = False, staged: bool = False
) -> ModuleType:
    """The module whose ``run(events, count, marks, windows, tags, words, lines, shadow, rows, parents, counters,
    reused, ...)`` replays events through TLBs and caches.

    Where a TLB coalesces, ``groups`` comes last.
    """
    writer = _writer(loop, staged=staged)
    writer.holes = shootdowns
    tlbs = ", ".join(tlb.name for tlb in loop.tlbs)
    caches = ", ".join(f"{level.name} ({level.ways} ways, {type(level.policy).__name__})" for level in loop.levels)
    about = f"Translates through {tlbs} ({type(loop.mechanism).__name__}), then {caches}"
    return load_module(writer.text(), compiled=compiled, about=about)


def _writer(loop: Loop, *, staged: bool) -> TranslationWriter:
    if staged:
        from tiersim.sim.staged_loop import StagedWriter, TlbStagesWriter, in_stages  # which build on this module

        return StagedWriter(loop) if in_stages(loop) else TlbStagesWriter(loop)
    if loop.nested is None:
        return TranslationWriter(loop)
    from tiersim.sim.mechanisms.nested import NestedWriter  # which builds on this module

    return NestedWriter(loop)
