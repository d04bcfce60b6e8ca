"""Writes the loop that replays references through a graph of set-associative caches.

What it does is specified in docs/explanation/hierarchy.md, operation by operation; the functions here are named after
them. One module is written for each combination of policies, ways and modes; numbers of sets and everything else that
only changes arithmetic stay data, so that a sweep over capacities compiles once.

The text is put together from templates: in `fill` a line that is just ``$part`` stands for all lines of that part.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

from tiersim.sim.source import Borrowed, borrow, load_module

__all__ = [
    "COUNTERS",
    "FIRST_COUNTER",
    "HEADER",
    "MEMORY_COUNTERS",
    "ROOMY",
    "WRONG",
    "WRONG_WAY",
    "Level",
    "Writer",
    "fill",
    "identifier",
    "join",
    "make_loop",
    "prefixes",
    "verbs_of",
    "when",
]

HEADER = 48  # 64-bit words a cache has at the front of the state, memory after the last one
SETS, TAGS, WORDS, STRIDE, SHADOW, LINES, ROOMY, SHADOW_LINES, CURSOR, WRONG, WRONG_WAY = range(11)
MEMORY_COUNTERS = ("reads", "writes", "fetches")  # memory's header holds them first, then whether a fetch is under way
FIRST_COUNTER = 11
COUNTERS = (
    "reads",
    "read_misses",
    "writes",
    "write_misses",
    "writebacks_in",
    "writeback_misses",
    "puts",
    "taken",
    "fills",
    "evictions",
    "writebacks",
    "invalidations",
    "cold",
    "capacity",
    "conflict",
    "fetches",
    "fetch_misses",
)
LOAD, STORE, FETCH = 0, 1, 2  # the low two bits of an event; the rest is the line's number

# Where many references miss, the processor waits for the tables of the caches. What an event needs is known before,
# so it is asked for: the line's address FAR events ahead, and the sets that it leads to NEAR events ahead. Where few
# miss this only costs, so each block of events decides for the next one. Measured on the bundled captures.
FAR, NEAR, BLOCK = 32, 16, 4096
WIDE = 1 << 17  # lines of all caches; the tags of fewer stay near the processor by themselves
WORTH_IT = 16  # one miss in so many references
WIDEST = 32  # ways compared at once


@dataclass(frozen=True)
class Level:
    """One cache as the loop sees it. `below` is the index of the next cache, or None for memory."""

    name: str
    ways: int
    policy: Any
    below: int | None
    serves: frozenset[str] = field(default=frozenset(), repr=False)  # a set of texts has an order of its own each time
    write_back: bool = True
    write_allocate: bool = True
    inclusion: str = "non-inclusive"
    power_of_two: bool = True
    classify: bool = True
    log: bool = False

    @property
    def exclusive(self) -> bool:
        return self.inclusion == "exclusive"

    @property
    def allocates(self) -> bool:
        """Whether a write that misses brings its line in."""
        return self.write_allocate and not self.exclusive

    @property
    def future(self) -> bool:
        return bool(getattr(self.policy, "needs_future", False)) and not self.log

    @property
    def filtered(self) -> bool:
        """Whether a second hit on the line that was just used may be skipped."""
        return getattr(self.policy, "hit_is_idempotent", False) and not self.log and not self.future


def identifier(level: Level) -> str:
    """The cache's name as the functions of a loop carry it."""
    return re.sub(r"\W", "_", level.name)


def prefixes(levels: Sequence[Level]) -> dict[type, str]:
    """What the verbs of each policy's class are called in a loop: PREFIX_victim and so on."""
    classes = dict.fromkeys(type(level.policy) for level in levels)
    return {cls: f"p{place}_{cls.__name__.lower()}" for place, cls in enumerate(classes)}


def fill(template: str, **parts: str) -> str:
    """The template with its parts put in.

    A line that is just ``$part`` becomes the lines of the part, indented as it stands, or no line where the part is
    empty; elsewhere ``$part`` is put into the line.
    """

    def lines(match: re.Match[str]) -> str:
        part = parts[match[2]]
        return textwrap.indent(part, match[1]) + "\n" if part else ""

    text = textwrap.dedent(template).strip("\n") + "\n"
    text = re.sub(r"^( *)\$(\w+)\n", lines, text, flags=re.MULTILINE)
    return re.sub(r"\$(\w+)", lambda match: parts[match[1]], text).rstrip("\n")


def join(*parts: str) -> str:
    """The parts that are not empty, one below the other."""
    return "\n".join(part for part in parts if part)


def when(condition: str, then: str, otherwise: str = "") -> str:
    """A branch, or nothing where it would do nothing."""
    if then == otherwise:
        return then
    if not then:
        return when(f"not ({condition})", otherwise)
    text = fill("if $condition:\n    $then", condition=condition, then=then)
    return join(text, fill("else:\n    $otherwise", otherwise=otherwise)) if otherwise else text


_borrow = cache(borrow)  # a study replays the same policies many times


def verbs_of(cls: type, prefix: str) -> Borrowed:
    """The verbs of a policy's class, `renew` too where it says what `victim` and `fill` would do."""

    def place(verb: str) -> int:
        return next((place for place, base in enumerate(cls.__mro__) if verb in vars(base)), len(cls.__mro__))

    # one that is inherited from above another verb does not know what that does
    renews = place("renew") <= min(place("victim"), place("fill")) < len(cls.__mro__)
    return _borrow(cls, ("hit", "fill", "victim", *(("renew",) if renews else ())), prefix)


class Writer:
    """Writes the functions of one cache, knowing the graph around it."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = levels
        self.parts: Sequence[Level] = levels  # whoever has a policy, or a header
        self.names = [identifier(level) for level in levels]
        self.logs = [k for k, level in enumerate(levels) if level.log]
        self.futures = [k for k, level in enumerate(levels) if level.future]
        extra = [f"G{k}" for k in self.logs] + [f"N{k}" for k in self.futures]
        self.pointers = ["I", "S", "L", "H", *extra]
        self.arrays = ["tags", "words", "lines", "shadow", *(f"array_{name}" for name in extra)]
        self.state = ", ".join(self.pointers)
        self.memory = len(levels) * HEADER + FIRST_COUNTER
        self.fetching = self.memory + len(MEMORY_COUNTERS)
        self.fetches = any("instructions" in level.serves for level in levels)
        self.prefixes = prefixes(levels)
        self.passed = ""  # what the functions of memory take besides
        self.verbs = {cls: verbs_of(cls, prefix) for cls, prefix in self.prefixes.items()}

    def text(self) -> str:
        return "\n\n\n".join([*self.functions(), self.look_ahead(), self.run()]) + "\n"

    def functions(self) -> list[str]:
        """What is shared, the verbs of the policies, and the operations of every cache."""
        parts = [SHARED, *(verbs.text.replace("@jit\n", "@inline\n") for verbs in self.verbs.values())]
        parts += [self.find(ways) for ways in sorted({level.ways for level in self.levels})]
        # a function is written before those that call it, so lower caches come first
        parts += [self.drop(k) for k in self.bottom_up() if self.dropped(k)]
        for k in self.bottom_up():
            parts += [self.insert(k), self.read(k), self.store(k), self.writeback(k)]
            if self.levels[k].exclusive:
                parts.append(self.put(k))
        return parts

    # the graph

    def bottom_up(self) -> list[int]:
        def depth(k: int) -> int:
            n = self.levels[k].below
            return 0 if n is None else 1 + depth(n)

        return sorted(range(len(self.levels)), key=depth)

    def above(self, k: int) -> list[int]:
        """All caches that stand on k, directly or not."""
        direct = [j for j, level in enumerate(self.levels) if level.below == k]
        return direct + [further for j in direct for further in self.above(j)]

    def dropped(self, k: int) -> bool:
        """Whether an inclusive cache below can make cache k drop lines."""
        return any(level.inclusion == "inclusive" and k in self.above(j) for j, level in enumerate(self.levels))

    def over_exclusive(self, k: int) -> bool:
        n = self.levels[k].below
        return n is not None and self.levels[n].exclusive

    def below(self, k: int, operation: str, line: str = "x", *more: str) -> str:
        """An operation of the next cache, or of memory."""
        n = self.levels[k].below
        if n is not None:
            return f"{operation}_{self.names[n]}({', '.join((self.state, line, *more))})"
        passed = f", {self.passed}, {line}" if self.passed else ""
        return f"{'read' if operation == 'read' else 'write'}_memory(S, {self.memory}{passed})"

    def written_back(self, k: int, line: str = "x", index: str = "group") -> str:
        """Writes a line back that is in set `index` of cache k: the address, which has long gone, need not be read."""
        sets = self.word(k, SETS) if self.levels[k].power_of_two else "0"
        return self.below(k, "writeback", line, sets, index)

    # pieces of functions; each is some lines, or none where there is nothing to do

    def word(self, k: int, place: int) -> str:
        return f"S[{self.header(k, place)}]"

    def header(self, k: int, place: int = 0) -> str:
        """Where a word of a cache's header is."""
        return str(k * HEADER + place)

    def counter(self, k: int, counter: str) -> str:
        return self.word(k, FIRST_COUNTER + COUNTERS.index(counter))

    def count(self, k: int, counter: str) -> str:
        return f"{self.counter(k, counter)} += 1"

    def count_fetch(self, k: int, counter: str) -> str:
        """Counts a fetch apart from other reads, where there are any."""
        return f"{self.counter(k, counter)} += S[{self.fetching}]" if self.fetches else ""

    def delay(self, k: int) -> str:
        """Adds up what a lookup takes, where a loop keeps time."""
        return ""

    def call(self, verb: str, k: int) -> str:
        """A call of the policy's verb with just the arguments that it names."""
        policy, known = self.levels[k].policy, self.known(k)
        for name in getattr(type(policy), "__dataclass_fields__", {}):
            known[name] = repr(getattr(policy, name))
        arguments = ", ".join(known[name] for name in self.verbs[type(policy)].arguments[verb])
        return f"{self.prefixes[type(policy)]}_{verb}({arguments})"

    def renewed(self, k: int) -> dict[str, str]:
        """Parts of an insertion: what makes room, and how the policy learns of it, at once or after an empty way."""
        if "renew" in self.verbs[type(self.parts[k].policy)].arguments:
            told = fill("else:\n    $told", told=self.call("fill", k))
            return {"room": self.call("renew", k), "told_if_empty": told, "told": ""}
        return {"room": self.call("victim", k), "told_if_empty": "", "told": self.call("fill", k)}

    def known(self, k: int) -> dict[str, str]:
        """What the verbs of a policy may ask for, as text."""
        level = self.levels[k]
        known = {"s": "S", "at": "at", "way": "way", "kind": "0", "pressure": "0", "allowed": "-1"}
        return {**known, "ways": str(level.ways), "next_use": "use" if level.future else "0"}

    def used(self, k: int) -> str:
        """What follows a read that found its line in `way`."""
        return ""

    def trained(self, k: int, *, first: bool = False) -> str:
        """What follows a read of line x here, or, `first`, a reference of the program: what is true if lines came."""
        return ""

    def entered(self, k: int) -> str:
        """What follows when line x has taken `way`, and `old` (-1: nothing) left it."""
        return ""

    def place(self, k: int, line: str = "x", *, given: tuple[str, ...] = ()) -> str:
        """Finds the set of a line: where its tags and the policy's words begin."""
        sets, tags, words, stride = given or (self.word(k, place) for place in (SETS, TAGS, WORDS, STRIDE))
        index = f"L[{line}] & ({sets} - 1)" if self.levels[k].power_of_two else f"L[{line}] % {sets}"
        return f"group = {index}\nbase = {tags} + group * {self.levels[k].ways}\nat = {words} + group * {stride}"

    def note(self, k: int) -> str:
        """Notes a reference for Belady: into the log, or the next use out of the future."""
        cursor = self.word(k, CURSOR)
        if self.levels[k].log:
            return f"G{k}[{cursor}] = x\n{cursor} += 1"
        if self.levels[k].future:
            return f"use = N{k}[{cursor}]\n{cursor} += 1"
        return ""

    def shadow(self, k: int, verb: str) -> str:
        """Tells the shadow; a demand reference asks what kind of miss this would be."""
        if not self.levels[k].classify:
            return ""
        answer = "kind_of_miss = " if verb in ("touch", "pass", "take") else ""
        return f"{answer}shadow_{verb}(S, H, x, {self.header(k)})"

    def count_kind(self, k: int) -> str:
        cold = self.header(k, FIRST_COUNTER + COUNTERS.index("cold"))
        return f"S[{cold} + kind_of_miss] += 1" if self.levels[k].classify else ""

    def look_up(self, k: int) -> str:
        return f"way = find_{self.levels[k].ways}(I, base, x)"

    def inserted(self, k: int, dirty: str) -> str:
        use = ", use" if self.levels[k].future else ""
        return f"insert_{self.names[k]}({self.state}, x, base, at, {dirty}{use})"

    def bring(self, k: int) -> str:
        """Reads x from below and inserts it; `way` is where it went."""
        settle = ""
        if not self.levels[k].write_back and self.over_exclusive(k):
            settle = when("dirty", f"{self.written_back(k)}\ndirty = 0")
        return join(f"dirty = {self.below(k, 'read')}", settle, f"way = {self.inserted(k, 'dirty')}")

    def stored(self, k: int) -> str:
        """A store to a line that is present in `way`."""
        return "I[base + way] = x << 1 | 1" if self.levels[k].write_back else self.below(k, "store")

    # the functions of a cache

    def find(self, ways: int) -> str:
        """The way of a line, or -1."""
        whole = range(0, ways - WIDEST, WIDEST)
        last = len(whole) * WIDEST
        many = f"""
            for begin in range(0, {last}, {WIDEST}):
                way = find(I, base + begin, {WIDEST}, x)
                if way >= 0:
                    return begin + way
            way = find(I, base + {last}, {ways - last}, x)
            return way + {last} if way >= 0 else -1"""
        return fill(
            """
            @inline
            def find_$ways(I, base, x):
                $body
            """,
            ways=str(ways),
            body=fill(many) if last else f"return find(I, base, {ways}, x)",
        )

    def drop(self, k: int) -> str:
        return fill(
            """
            @inline
            def drop_$name($state, x):
                $place
                $look_up
                if way < 0:
                    return 0
                $count
                dirty = I[base + way] & 1
                I[base + way] = -1
                return dirty
            """,
            name=self.names[k],
            state=self.state,
            place=self.place(k),
            look_up=self.look_up(k),
            count=self.count(k, "invalidations"),
        )

    def drop_above(self, k: int) -> str:
        """Takes the line that leaves an inclusive cache out of cache k above it."""
        return f"dirty_old |= drop_{self.names[k]}({self.state}, old)"

    def handed_down(self, k: int, put: str) -> str:
        """How the line that leaves cache k is put into an exclusive one below."""
        return put

    def insert(self, k: int) -> str:
        level = self.levels[k]
        drops = []
        if level.inclusion == "inclusive":
            drops = [self.drop_above(j) for j in self.above(k)]
        if self.over_exclusive(k):
            give = self.handed_down(k, self.below(k, "put", "old", "dirty_old"))
        elif not level.write_back and not drops:
            give = ""  # a write-through cache holds no dirty line
        else:
            index = f"(base - {self.word(k, TAGS)}) // {level.ways}"
            give = when("dirty_old", join(self.count(k, "writebacks"), self.written_back(k, "old", index)))
        empty = f"way = find_{level.ways}(I, base, -1)"
        if not (level.exclusive or self.dropped(k)):  # ways fill up in order and stay full, so the last one tells
            empty = join("way = -1", when(f"I[base + {level.ways - 1}] == -1", empty))
        return fill(
            """
            @inline
            def insert_$name($state, x, base, at, dirty$use):
                $empty
                old = -1
                dirty_old = 0
                if way < 0:
                    way = $room
                    if way < 0 or way >= $ways:
                        way = refuse(S, $header, way)
                    old = I[base + way] >> 1
                    dirty_old = I[base + way] & 1
                    $evictions
                $told_if_empty
                I[base + way] = x << 1 | dirty
                $fills
                $told
                $entered
                $evicted
                return way
            """,
            name=self.names[k],
            state=self.state,
            use=", use" if level.future else "",
            empty=empty,
            ways=str(level.ways),
            header=self.header(k),
            evictions=self.count(k, "evictions"),
            fills=self.count(k, "fills"),
            **self.renewed(k),
            entered=self.entered(k),
            evicted=when("old >= 0", join(*drops, give)),
        )

    def read(self, k: int) -> str:
        if self.levels[k].exclusive:
            hit = join(self.count(k, "taken"), "dirty = I[base + way] & 1\nI[base + way] = -1\nreturn dirty")
            miss = f"return {self.below(k, 'read')}"
        else:
            hit = join(self.call("hit", k), self.used(k), self.trained(k), "return 0")
            miss = join(self.bring(k), self.trained(k), "return 0")
        return fill(
            """
            @inline
            def read_$name($state, x):
                $place
                $reads
                $delay
                $fetches
                $note
                $shadow
                $look_up
                if way >= 0:
                    $hit
                $misses
                $fetch_misses
                $kind
                $miss
            """,
            name=self.names[k],
            state=self.state,
            place=self.place(k),
            reads=self.count(k, "reads"),
            delay=self.delay(k),
            fetches=self.count_fetch(k, "fetches"),
            note=self.note(k),
            shadow=self.shadow(k, "take" if self.levels[k].exclusive else "touch"),
            look_up=self.look_up(k),
            hit=hit,
            misses=self.count(k, "read_misses"),
            fetch_misses=self.count_fetch(k, "fetch_misses"),
            kind=self.count_kind(k),
            miss=miss,
        )

    def store(self, k: int) -> str:
        level = self.levels[k]
        return fill(
            """
            @inline
            def store_$name($state, x):
                $place
                $writes
                $note
                $shadow
                $look_up
                if way >= 0:
                    $hit
                else:
                    $misses
                    $kind
                    $bring
                $stored
                return 0
            """,
            name=self.names[k],
            state=self.state,
            place=self.place(k),
            writes=self.count(k, "writes"),
            note=self.note(k),
            shadow=self.shadow(k, "touch" if level.allocates else "pass"),
            look_up=self.look_up(k),
            hit=self.call("hit", k),
            misses=self.count(k, "write_misses"),
            kind=self.count_kind(k),
            bring=self.bring(k) if level.allocates else "",
            stored=self.stored(k) if level.allocates else when("way >= 0", self.stored(k), self.below(k, "store")),
        )

    def writeback(self, k: int) -> str:
        level = self.levels[k]
        mark = "I[base + way] = x << 1 | 1" if level.write_back else ""
        pass_on = self.written_back(k)
        address, *rest = self.place(k).split("\n")
        sets = self.word(k, SETS)
        known = when(f"{sets} <= sets", f"group = index & ({sets} - 1)", address) if level.power_of_two else address
        if level.allocates:
            miss, after = self.inserted(k, str(int(level.write_back))), "" if level.write_back else pass_on
        else:
            miss, after = "", when("way < 0", pass_on) if level.write_back else pass_on
        return fill(
            """
            @inline
            def writeback_$name($state, x, sets, index):
                $place
                $received
                $note
                $shadow
                $look_up
                if way >= 0:
                    $hit
                else:
                    $misses
                    $miss
                $after
                return 0
            """,
            name=self.names[k],
            state=self.state,
            place=join(known, *rest),
            received=self.count(k, "writebacks_in"),
            note=self.note(k),
            shadow=self.shadow(k, "bring" if level.allocates else "see"),
            look_up=self.look_up(k),
            hit=join(self.call("hit", k) if level.future else "", mark) or "pass",
            misses=self.count(k, "writeback_misses"),
            miss=miss,
            after=after,
        )

    def put(self, k: int) -> str:
        return fill(
            """
            @inline
            def put_$name($state, x, dirty):
                $place
                $puts
                $shadow
                $look_up
                if way >= 0:
                    I[base + way] |= dirty
                    $hit
                else:
                    $insert
                return 0
            """,
            name=self.names[k],
            state=self.state,
            place=self.place(k),
            puts=self.count(k, "puts"),
            shadow=self.shadow(k, "put"),
            look_up=self.look_up(k),
            hit=self.call("hit", k),
            insert=self.inserted(k, "dirty"),
        )

    # the main loop

    def look_ahead(self) -> str:
        """Asks for what events to come will need, and, `wide`, for the sets of large caches: only time, no result."""
        entries = [k for k, level in enumerate(self.levels) if level.serves]
        far = [k for k in range(len(self.levels)) if k not in entries] or entries
        shadows = [k for k, level in enumerate(self.levels) if level.classify]
        return fill(
            """
            @inline
            def look_ahead($state, E, i, count, wide):
                x = E[min(i + $FAR, count - 1)] >> 2
                $far
                $shadows
                if wide:
                    x = E[min(i + $NEAR, count - 1)] >> 2
                    $sets
            """,
            state=self.state,
            FAR=str(FAR),
            NEAR=str(NEAR),
            far=self.early(),
            shadows=join(*(f"prefetch(H, {self.word(k, SHADOW)} + 2 * (x + 1))" for k in shadows)),
            sets=join(*(join(self.place(k), "prefetch(I, base)", "prefetch(S, at)") for k in far)),
        )

    def early(self) -> str:
        """Asks for what leads to the places of line x."""
        return "prefetch(L, x)"

    def windows(self) -> tuple[str, str, str]:
        """The loop over blocks of events: what `run` takes for it, how a block begins, and how it ends."""
        head = f"for start in range(0, count, {BLOCK}):\n    stop = min(start + {BLOCK}, count)"
        return "", head, ""

    def special(self) -> str:
        """What is done with an event that is no reference."""
        return ""

    def apart(self, data: int | None, fetch: int) -> bool:
        """Whether references to data and fetches, by the caches that serve them, take different ways."""
        return fetch != data

    def filtered(self, k: int) -> bool:
        """Whether a reference to the line that cache k was just asked for may be skipped."""
        return self.levels[k].filtered

    def remembered(self, *, data: bool) -> str:
        """The line that is noted as the last one, after a hit."""
        return "x"

    def translated(self, *, data: bool) -> str:
        """What is done before a line is looked up that is not just the last one again."""
        return ""

    def run(self) -> str:
        """The loop over events: hits in the entry caches are settled here, everything else in the functions above."""
        entries = [k for k, level in enumerate(self.levels) if level.serves]
        data = next((k for k in entries if "data" in self.levels[k].serves), None)
        fetch = next((k for k in entries if "instructions" in self.levels[k].serves), None)
        apart = ""
        if fetch is not None and self.apart(data, fetch):
            apart = when(f"kind == {FETCH}", join(self.entry(fetch, data=False), "continue"))
        begin, end, missed = [], [], []
        deep = [k for k in range(len(self.levels)) if k not in entries] or entries
        wide = " + ".join(f"{self.word(k, SETS)} * {self.levels[k].ways}" for k in deep)
        for k in entries:
            name = self.names[k]
            begin += [f"last_{name} = -1", f"spot_{name} = 0", f"reads_{name} = 0", f"writes_{name} = 0"]
            begin += [f"{what}_{name} = {self.word(k, where)}" for what, where in PLACE.items()]
            end += [f"{self.counter(k, what)} += {what}_{name}" for what in ("reads", "writes")]
            missed += [self.counter(k, "read_misses"), self.counter(k, "write_misses")]
        if fetch is not None:
            begin.append("fetches = 0")
            end.append(f"{self.counter(fetch, 'fetches')} += fetches")
        taken, head, tail = self.windows()
        return fill(
            """
            @jit_cached
            def run(events, count, $taken$arrays):
                $bind
                E = pointer(events)
                $begin
                ahead = False
                wide = $wide
                $head
                    missed = $missed
                    for i in range(start, stop):
                        if ahead:
                            look_ahead($state, E, i, count, wide)
                        x = E[i] >> 2
                        kind = E[i] & 3
                        $special
                        $apart
                        $data
                    ahead = ($missed - missed) * $WORTH_IT > stop - start
                    $tail
                $end
                return 0
            """,
            arrays=", ".join(self.arrays),
            bind="\n".join(
                f"{short} = pointer({long})" for short, long in zip(self.pointers, self.arrays, strict=True)
            ),
            begin=join(*begin),
            taken=taken,
            head=head,
            tail=tail,
            state=self.state,
            special=self.special(),
            missed=" + ".join(missed),
            wide=f"{wide} > {WIDE}",
            apart=apart,
            data=self.entry(data, data=True) if data is not None else "",
            WORTH_IT=str(WORTH_IT),
            end=join(*end),
        )

    def entry(self, k: int, *, data: bool) -> str:
        """One reference of the program at an entry cache; `data` says that it may be a store."""
        level, name = self.levels[k], self.names[k]
        fetches = "instructions" in level.serves

        def if_store(then: str, otherwise: str = "") -> str:
            return when(f"kind == {STORE}", then, otherwise) if data else otherwise

        # an inclusive cache further down may take away the line that another entry cache used last
        inclusive = any(other.inclusion == "inclusive" for other in self.levels)
        forget = [f"last_{self.names[j]} = -1" for j, other in enumerate(self.levels) if other.serves and j != k]
        forget = [f"last_{name} = -1", *(forget if inclusive else [])]

        mark = f"I[spot_{name}] = x << 1 | 1" if level.write_back else self.below(k, "store")
        again = when(f"x == last_{name}", join(if_store(mark), "continue")) if self.filtered(k) else ""
        remember = ""
        if self.filtered(k):  # only after a hit: the first hit after a fill may mean something to the policy
            remember = f"last_{name} = {self.remembered(data=data)}\nspot_{name} = base + way"
            if level.classify and not level.allocates:  # a store does not enter the shadow, a load would
                remember = if_store(f"last_{name} = -1", remember)
        trained = self.trained(k, first=True)
        goes_by = ""
        if data and not level.allocates:
            goes_by = when(
                f"way < 0 and kind == {STORE}",
                join(
                    self.count(k, "write_misses"),
                    self.count_kind(k),
                    self.below(k, "store"),
                    trained,
                    *forget,
                    "continue",
                ),
            )
        count = f"reads_{name} += 1"
        if data:
            count = f"reads_{name} += kind != {STORE}\nwrites_{name} += kind == {STORE}"
        return fill(
            """
            $count
            $count_fetches
            $again
            $translated
            $place
            $note
            $shadow
            $look_up
            $origin
            $goes_by
            if way >= 0:
                $hit
                $remember
            else:
                $misses
                $kind
                $bring
                $forget
            $stored
            $trained
            """,
            count=count,
            count_fetches=f"fetches += kind == {FETCH}" if fetches else "",
            again=again,
            translated=self.translated(data=data),
            place=self.place(k, given=tuple(f"{what}_{name}" for what in PLACE)),
            note=self.note(k),
            shadow=if_store(self.shadow(k, "touch" if level.allocates else "pass"), self.shadow(k, "touch")),
            look_up=self.look_up(k),
            origin=f"S[{self.fetching}] = kind >> 1" if self.fetches else "",
            goes_by=goes_by,
            hit=self.call("hit", k),
            remember=remember,
            misses=if_store(
                self.count(k, "write_misses"),
                join(self.count(k, "read_misses"), self.count_fetch(k, "fetch_misses") if fetches else ""),
            ),
            kind=self.count_kind(k),
            bring=self.bring(k),
            forget=join(*forget),
            stored=if_store(self.stored(k)),
            trained=when(trained, join(*forget)) if trained else "",
        )


PLACE = {"sets": SETS, "tags": TAGS, "words": WORDS, "stride": STRIDE}
SHARED = f"""
@inline
def read_memory(S, at):
    S[at] += 1
    S[at + 2] += S[at + 3]
    return 0


@inline
def write_memory(S, at):
    S[at + 1] += 1
    return 0


@jit
def refuse(S, c, way):
    if S[c + {WRONG}] == 0:
        S[c + {WRONG}] = 1
        S[c + {WRONG_WAY}] = way
    return 0


@inline
def shadow_remove(S, H, x, c):
    if S[c + {ROOMY}]:  # nothing ever leaves for want of room, so the order does not matter
        return
    base = S[c + {SHADOW}]
    before = H[base + 2 * x]
    after = H[base + 2 * x + 1]
    H[base + 2 * before + 1] = after
    H[base + 2 * after] = before


@inline
def shadow_front(S, H, x, c):
    base = S[c + {SHADOW}]
    H[base + 2 * x] = 0
    if S[c + {ROOMY}]:
        return
    first = H[base + 1]
    H[base + 2 * x + 1] = first
    H[base + 2 * first] = x
    H[base + 1] = x


@inline
def shadow_enter(S, H, x, c):
    base = S[c + {SHADOW}]
    if S[c + {SHADOW_LINES}] == S[c + {LINES}]:
        last = H[base]
        shadow_remove(S, H, last, c)
        H[base + 2 * last] = -1
    else:
        S[c + {SHADOW_LINES}] += 1
    shadow_front(S, H, x, c)
    return 0


@inline
def shadow_touch(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    if H[base + 1] == x:
        return 2
    before = H[base + 2 * x]
    if before >= 0:
        shadow_remove(S, H, x, c)
        shadow_front(S, H, x, c)
        return 2
    shadow_enter(S, H, x, c)
    return 2 + before


@inline
def shadow_pass(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    before = H[base + 2 * x]
    if before >= 0:
        shadow_remove(S, H, x, c)
        shadow_front(S, H, x, c)
        return 2
    H[base + 2 * x] = -1
    return 2 + before


@inline
def shadow_see(S, H, x, c):
    at = S[c + {SHADOW}] + 2 * (x + 1)
    if H[at] == -2:
        H[at] = -1
    return 0


@inline
def shadow_bring(S, H, x, c):
    if H[S[c + {SHADOW}] + 2 * (x + 1)] < 0:
        shadow_enter(S, H, x + 1, c)
    return 0


@inline
def shadow_take(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    before = H[base + 2 * x]
    if before >= 0:
        shadow_remove(S, H, x, c)
        H[base + 2 * x] = -1
        S[c + {SHADOW_LINES}] -= 1
        return 2
    H[base + 2 * x] = -1
    return 2 + before


@inline
def shadow_put(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    if H[base + 2 * x] >= 0:
        shadow_remove(S, H, x, c)
        shadow_front(S, H, x, c)
    else:
        shadow_enter(S, H, x, c)
    return 0
"""


def make_loop(levels: Sequence[Level], *, compiled: bool = True) -> ModuleType:
    """The module whose ``run(events, count, tags, words, lines, shadow, ...)`` replays events through these caches.

    After the fixed arrays come the logs, then the futures, each in the order of the levels that have one.
    """
    about = "Replays references through: " + ", ".join(
        f"{level.name} ({level.ways} ways, {type(level.policy).__name__})" for level in levels
    )
    return load_module(Writer(levels).text(), compiled=compiled, about=about)
