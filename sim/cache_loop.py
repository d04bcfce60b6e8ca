"""Writes the loop that replays references through a graph of set-associative caches.

What it does is specified in docs/explanation/hierarchy.md, operation by operation; the functions here are named after
them. One module is written for each combination of policies, ways and modes; numbers of sets and everything else that
only changes arithmetic stay data, so that a sweep over capacities compiles once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tiersim.sim.source import borrow, load_module

__all__ = ["COUNTERS", "FIRST_COUNTER", "HEADER", "Level", "make_loop"]

HEADER = 32  # 64-bit words a cache has at the front of the state, memory after the last one
SETS, TAGS, WORDS, STRIDE, SHADOW, LINES, SHADOW_LINES, CURSOR = range(8)
MEMORY_COUNTERS = ("reads", "writes", "fetches")  # memory's header holds them first, then whether a fetch is under way
FIRST_COUNTER = 8
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


@dataclass(frozen=True)
class Level:
    """One cache as the loop sees it. `below` is the index of the next cache, or None for memory."""

    name: str
    ways: int
    policy: Any
    below: int | None
    serves: frozenset[str] = frozenset()
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
    def future(self) -> bool:
        return bool(getattr(self.policy, "needs_future", False)) and not self.log


def at(counter: str) -> int:
    """Where a counter stands in a cache's header."""
    return FIRST_COUNTER + COUNTERS.index(counter)


class _Writer:
    """Writes the functions of one cache, knowing the graph around it."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = levels
        self.names = [re.sub(r"\W", "_", level.name) for level in levels]
        self.logs = [k for k, level in enumerate(levels) if level.log]
        self.futures = [k for k, level in enumerate(levels) if level.future]
        extra = [f"G{k}" for k in self.logs] + [f"N{k}" for k in self.futures]
        self.state = ", ".join(["I", "S", "L", "H", *extra])
        self.arrays = ", ".join(["tags", "words", "lines", "shadow", *(f"array_{name}" for name in extra)])
        self.fetching = len(levels) * HEADER + FIRST_COUNTER + len(MEMORY_COUNTERS)
        self.fetches = any(level_serves(level, "instructions") for level in levels)
        self.bind = "\n    ".join(
            f"{short} = pointer({long})"
            for short, long in zip(self.state.split(", "), self.arrays.split(", "), strict=True)
        )

    def count(self, k: int, counter: str, amount: str = "1") -> str:
        return f"S[{k * HEADER + at(counter)}] += {amount}"

    def call(self, verb: str, k: int, **given: str) -> str:
        """A call of the policy's verb with just the arguments that it names."""
        level = self.levels[k]
        known = {
            "s": "S",
            "at": "at",
            "way": "way",
            "kind": "0",
            "allowed": "-1",
            "ways": str(level.ways),
            "next_use": "use" if level.future else "0",
        }
        for name in getattr(type(level.policy), "__dataclass_fields__", {}):
            known[name] = repr(getattr(level.policy, name))
        known |= given
        arguments = ", ".join(known[name] for name in self.verbs[type(level.policy)].arguments[verb])
        return f"{self.prefixes[type(level.policy)]}_{verb}({arguments})"

    def place(self, k: int) -> str:
        """Lines that find the set of line x."""
        c = k * HEADER
        find = f"L[x] & (S[{c + SETS}] - 1)" if self.levels[k].power_of_two else f"L[x] % S[{c + SETS}]"
        return f"""
    group = {find}
    base = S[{c + TAGS}] + group * {self.levels[k].ways}
    at = S[{c + WORDS}] + group * S[{c + STRIDE}]"""

    def reference(self, k: int) -> str:
        """Lines that note a reference for Belady: into the log, or the next use out of the future."""
        c = k * HEADER + CURSOR
        if self.levels[k].log:
            return f"\n    G{k}[S[{c}]] = x\n    S[{c}] += 1"
        if self.levels[k].future:
            return f"\n    use = N{k}[S[{c}]]\n    S[{c}] += 1"
        return ""

    def touch(self, k: int, verb: str = "touch") -> str:
        if not self.levels[k].classify:
            return ""
        if verb in ("bring", "see", "put"):
            return f"\n    shadow_{verb}(S, H, x, {k * HEADER})"
        return f"\n    kind_of_miss = shadow_{verb}(S, H, x, {k * HEADER})"

    def fetch(self, k: int, counter: str, indent: str = "    ") -> str:
        """A line that counts a fetch apart from other reads, where there are any."""
        return f"\n{indent}{self.count(k, counter, f'S[{self.fetching}]')}" if self.fetches else ""

    def classify(self, k: int, indent: str = "    ") -> str:
        return f"\n{indent}S[{k * HEADER + at('cold')} + kind_of_miss] += 1" if self.levels[k].classify else ""

    def below(self, k: int, operation: str, line: str = "x", *more: str) -> str:
        n = self.levels[k].below
        if n is not None:
            return f"{operation}_{self.names[n]}({', '.join((self.state, line, *more))})"
        verb = "read" if operation == "read" else "write"
        return f"{verb}_memory(S, {len(self.levels) * HEADER + FIRST_COUNTER})"

    def above(self, k: int) -> list[int]:
        """All caches that stand on k, directly or not."""
        direct = [j for j, level in enumerate(self.levels) if level.below == k]
        return direct + [further for j in direct for further in self.above(j)]

    def text(self) -> str:
        classes = list(dict.fromkeys(type(level.policy) for level in self.levels))
        self.prefixes = {cls: f"p{place}_{cls.__name__.lower()}" for place, cls in enumerate(classes)}
        self.verbs = {cls: borrow(cls, ("hit", "fill", "victim"), prefix) for cls, prefix in self.prefixes.items()}
        parts = [SHARED, *(verbs.text for verbs in self.verbs.values())]
        parts += [self.find(ways) for ways in sorted({level.ways for level in self.levels})]
        # a function is written before those that call it, so lower caches come first
        for k in self.bottom_up():
            if self.dropped(k):
                parts.append(self.drop(k))
        for k in self.bottom_up():
            parts += [self.insert(k), self.read(k), self.store(k), self.writeback(k)]
            if self.levels[k].exclusive:
                parts.append(self.put(k))
        parts.append(self.run())
        return "\n".join(parts)

    def bottom_up(self) -> list[int]:
        def depth(k: int) -> int:
            n = self.levels[k].below
            return 0 if n is None else 1 + depth(n)

        return sorted(range(len(self.levels)), key=depth)

    def find(self, ways: int) -> str:
        return f"""
@jit
def find_{ways}(I, base, x):
    way = -1
    for j in range({ways}):
        if I[base + j] | 1 == x << 1 | 1:
            way = j
    return way
"""

    def drop(self, k: int) -> str:
        return f"""
@jit
def drop_{self.names[k]}(I, S, L, x):{self.place(k)}
    way = find_{self.levels[k].ways}(I, base, x)
    if way < 0:
        return 0
    {self.count(k, "invalidations")}
    dirty = I[base + way] & 1
    I[base + way] = -1
    return dirty
"""

    def insert(self, k: int) -> str:
        level, name, n = self.levels[k], self.names[k], self.levels[k].below
        drops = ""
        if level.inclusion == "inclusive":
            drops = "".join(f"\n        dirty_old |= drop_{self.names[j]}(I, S, L, old)" for j in self.above(k))
        if n is not None and self.levels[n].exclusive:
            give = self.below(k, "put", "old", "dirty_old")
        else:
            give = f"""if dirty_old:
            {self.count(k, "writebacks")}
            {self.below(k, "writeback", "old")}"""
        use = ", use" if level.future else ""
        return f"""
@jit
def insert_{name}({self.state}, x, base, at, dirty{use}):
    {self.empty(k)}
    old = -1
    dirty_old = 0
    if way == {level.ways}:
        way = {self.call("victim", k)}
        old = I[base + way] >> 1
        dirty_old = I[base + way] & 1
        {self.count(k, "evictions")}
    I[base + way] = x << 1 | dirty
    {self.count(k, "fills")}
    {self.call("fill", k)}
    if old >= 0:{drops}
        {give}
    return way
"""

    def empty(self, k: int) -> str:
        """Lines that set `way` to the first empty way, or to the number of ways."""
        ways = self.levels[k].ways
        scan = f"while way < {ways} and I[base + way] != -1:\n{{0}}    way += 1"
        if self.levels[k].exclusive or self.dropped(k):
            return "way = 0\n    " + scan.format("    ")
        # ways fill up in order and stay full, so the last one tells
        return f"way = {ways}\n    if I[base + {ways - 1}] == -1:\n        way = 0\n        " + scan.format("        ")

    def dropped(self, k: int) -> bool:
        """Whether an inclusive cache below can make cache k drop lines."""
        return any(level.inclusion == "inclusive" and k in self.above(j) for j, level in enumerate(self.levels))

    def bring(self, k: int, indent: str) -> str:
        """Lines that read x from below and insert it; `way` is where it went."""
        level = self.levels[k]
        use = ", use" if level.future else ""
        settle = ""
        n = level.below
        if not level.write_back and n is not None and self.levels[n].exclusive:
            settle = f"\n{indent}if dirty:\n{indent}    {self.below(k, 'writeback')}\n{indent}    dirty = 0"
        return (
            f"\n{indent}dirty = {self.below(k, 'read')}{settle}"
            f"\n{indent}way = insert_{self.names[k]}({self.state}, x, base, at, dirty{use})"
        )

    def read(self, k: int) -> str:
        level, name = self.levels[k], self.names[k]
        if level.exclusive:
            hit = f"""{self.count(k, "taken")}
        dirty = I[base + way] & 1
        I[base + way] = -1
        return dirty"""
            miss = f"\n    return {self.below(k, 'read')}"
        else:
            hit = f"{self.call('hit', k)}\n        return 0"
            miss = self.bring(k, "    ") + "\n    return 0"
        return f"""
@jit
def read_{name}({self.state}, x):{self.place(k)}
    {self.count(k, "reads")}{self.fetch(k, "fetches")}{self.reference(k)}{
            self.touch(k, "take" if level.exclusive else "touch")
        }
    way = find_{level.ways}(I, base, x)
    if way >= 0:
        {hit}
    {self.count(k, "read_misses")}{self.fetch(k, "fetch_misses")}{self.classify(k)}{miss}
"""

    def stored(self, k: int, indent: str) -> str:
        """Lines for a store to a line that is present in `way`."""
        if self.levels[k].write_back:
            return f"\n{indent}I[base + way] = x << 1 | 1"
        return f"\n{indent}{self.below(k, 'store')}"

    def allocates(self, k: int) -> bool:
        return self.levels[k].write_allocate and not self.levels[k].exclusive

    def store(self, k: int) -> str:
        level, name = self.levels[k], self.names[k]
        if self.allocates(k):
            miss = self.bring(k, "    ") + self.stored(k, "    ")
        else:
            miss = f"\n    {self.below(k, 'store')}"
        return f"""
@jit
def store_{name}({self.state}, x):{self.place(k)}
    {self.count(k, "writes")}{self.reference(k)}{self.touch(k, "touch" if self.allocates(k) else "pass")}
    way = find_{level.ways}(I, base, x)
    if way >= 0:
        {self.call("hit", k)}{self.stored(k, "        ")}
        return 0
    {self.count(k, "write_misses")}{self.classify(k)}{miss}
    return 0
"""

    def writeback(self, k: int) -> str:
        level, name = self.levels[k], self.names[k]
        use = ", use" if level.future else ""
        on = f"\n        {self.below(k, 'writeback')}" if not level.write_back else ""
        hit = "\n        I[base + way] = x << 1 | 1" if level.write_back else on
        if level.future:
            hit = f"\n        {self.call('hit', k)}" + hit
        miss = f"\n        {self.below(k, 'writeback')}"
        if self.allocates(k):
            miss = f"\n        insert_{name}({self.state}, x, base, at, {int(level.write_back)}{use})" + on
        return f"""
@jit
def writeback_{name}({self.state}, x):{self.place(k)}
    {self.count(k, "writebacks_in")}{self.reference(k)}{self.touch(k, "bring" if self.allocates(k) else "see")}
    way = find_{level.ways}(I, base, x)
    if way >= 0:{hit}
    else:
        {self.count(k, "writeback_misses")}{miss}
    return 0
"""

    def put(self, k: int) -> str:
        level, name = self.levels[k], self.names[k]
        return f"""
@jit
def put_{name}({self.state}, x, dirty):{self.place(k)}
    {self.count(k, "puts")}{self.touch(k, "put")}
    way = find_{level.ways}(I, base, x)
    if way >= 0:
        I[base + way] |= dirty
        {self.call("hit", k)}
    else:
        insert_{name}({self.state}, x, base, at, dirty)
    return 0
"""

    def run(self) -> str:
        """The main loop: hits in the entry caches are settled here, everything else in the functions above."""
        entries = [k for k, level in enumerate(self.levels) if level.serves]
        data = next((k for k in entries if level_serves(self.levels[k], "data")), None)
        fetch = next((k for k in entries if level_serves(self.levels[k], "instructions")), None)
        bodies = []
        if fetch is not None and fetch != data:
            bodies.append(
                f"        if kind == {FETCH}:{self.entry(fetch, '            ', data=False)}            continue\n"
            )
        if data is not None:
            bodies.append(self.entry(data, "        ", data=True))
        setup = "".join(f"    last_{self.names[k]} = -1\n    spot_{self.names[k]} = 0\n" for k in entries)
        counts = "".join(
            f"    {self.count(k, 'reads', f'reads_{self.names[k]}')}\n"
            f"    {self.count(k, 'writes', f'writes_{self.names[k]}')}\n"
            for k in entries
        )
        zero = "".join(f"    reads_{self.names[k]} = 0\n    writes_{self.names[k]} = 0\n" for k in entries)
        if fetch is not None:
            zero += "    fetches = 0\n"
            counts += f"    {self.count(fetch, 'fetches', 'fetches')}\n"
        return f"""
@jit_cached
def run(events, count, {self.arrays}):
    {self.bind}
    E = pointer(events)
{setup}{zero}    for i in range(count):
        x = E[i] >> 2
        kind = E[i] & 3
{"".join(bodies)}{counts}    return 0
"""

    def entry(self, k: int, indent: str, *, data: bool) -> str:
        """One reference of the program at an entry cache."""
        level, name = self.levels[k], self.names[k]
        others = [j for j, other in enumerate(self.levels) if other.serves and j != k]
        inclusive = any(other.inclusion == "inclusive" for other in self.levels)
        filtered = getattr(level.policy, "hit_is_idempotent", False) and not level.log and not level.future
        forget = "".join(f"last_{self.names[j]} = -1\n" for j in others) if inclusive else ""
        lines = []
        lines.append(
            f"reads_{name} += kind != {STORE}\nwrites_{name} += kind == {STORE}" if data else f"reads_{name} += 1"
        )
        if level_serves(level, "instructions"):
            lines.append(f"fetches += kind == {FETCH}")
        if filtered:
            again = "continue"
            if data:
                mark = f"I[spot_{name}] = x << 1 | 1" if level.write_back else self.below(k, "store")
                again = f"if kind == {STORE}:\n    {mark}\ncontinue"
            lines.append(f"if x == last_{name}:\n" + _indent(again, "    "))
        lines.append(_dedent(self.place(k) + self.reference(k)))
        if data and not self.allocates(k):
            lines.append(
                f"if kind == {STORE}:\n{_indent(_dedent(self.touch(k, 'pass')) or 'pass', '    ')}\n"
                f"else:\n{_indent(_dedent(self.touch(k)) or 'pass', '    ')}"
            )
        else:
            lines.append(_dedent(self.touch(k)))
        lines.append(f"way = find_{level.ways}(I, base, x)")
        origin = f"S[{self.fetching}] = kind >> 1" if level_serves(level, "instructions") else ""
        if self.fetches and not origin:
            origin = f"S[{self.fetching}] = 0"
        hit = self.call("hit", k)
        if data:
            stored = self.stored(k, "").strip()
            hit += f"\nif kind == {STORE}:\n    {stored}"
        count = self.count(k, "read_misses")
        if origin:
            count = f"{origin}\n{count}"
        if level_serves(level, "instructions"):
            count += self.fetch(k, "fetch_misses", "")
        miss = f"{count}{self.classify(k, '')}{self.bring(k, '')}"
        if data:
            if self.allocates(k):
                bring = f"{self.classify(k, '')}{self.bring(k, '')}".strip()
                miss = (
                    f"if kind == {STORE}:\n    {self.count(k, 'write_misses')}\n{_indent(origin, '    ')}\n"
                    f"else:\n{_indent(count, '    ')}\n{bring}\n"
                    f"if kind == {STORE}:\n    {stored}"
                )
            else:
                miss = (
                    f"if kind == {STORE}:\n    {self.count(k, 'write_misses')}"
                    + _indent(self.classify(k, ""), "    ")
                    + f"\n    {self.below(k, 'store')}\n    {'last_' + name + ' = -1' if filtered else 'pass'}\n"
                    + _indent(forget, "    ")
                    + f"    continue\n{miss}"
                )
        if filtered:  # only after a hit: the first hit after a fill may mean something to the policy
            hit += f"\nlast_{name} = x"
            if data and level.classify and not self.allocates(k):  # a store does not enter the shadow, a load would
                hit += f"\nif kind == {STORE}:\n    last_{name} = -1"
            if data and level.write_back:
                hit += f"\nspot_{name} = base + way"
            miss += f"\nlast_{name} = -1"
        lines.append(f"if way >= 0:\n{_indent(hit, '    ')}\nelse:\n{_indent(miss + chr(10) + forget, '    ')}")
        body = "\n".join(line for line in lines if line.strip())
        return ("\n" if not data else "") + _indent(body, indent) + "\n"


def level_serves(level: Level, what: str) -> bool:
    """Whether an entry cache serves data or instructions."""
    return what in level.serves


def _dedent(text: str) -> str:
    return "\n".join(line[4:] if line.startswith("    ") else line for line in text.strip("\n").split("\n"))


def _indent(text: str, by: str) -> str:
    return "\n".join(by + line if line.strip() else line for line in text.split("\n"))


SHARED = f"""
@jit
def read_memory(S, at):
    S[at] += 1
    S[at + 2] += S[at + 3]
    return 0


@jit
def write_memory(S, at):
    S[at + 1] += 1
    return 0


@jit
def shadow_remove(H, base, x):
    before = H[base + 2 * x]
    after = H[base + 2 * x + 1]
    H[base + 2 * before + 1] = after
    H[base + 2 * after] = before


@jit
def shadow_front(H, base, x):
    first = H[base + 1]
    H[base + 2 * x] = 0
    H[base + 2 * x + 1] = first
    H[base + 2 * first] = x
    H[base + 1] = x


@jit
def shadow_enter(S, H, x, c):
    base = S[c + {SHADOW}]
    if S[c + {SHADOW_LINES}] == S[c + {LINES}]:
        last = H[base]
        shadow_remove(H, base, last)
        H[base + 2 * last] = -1
    else:
        S[c + {SHADOW_LINES}] += 1
    shadow_front(H, base, x)
    return 0


@jit
def shadow_touch(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    if H[base + 1] == x:
        return 2
    before = H[base + 2 * x]
    if before >= 0:
        shadow_remove(H, base, x)
        shadow_front(H, base, x)
        return 2
    shadow_enter(S, H, x, c)
    return 2 + before


@jit
def shadow_pass(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    before = H[base + 2 * x]
    if before >= 0:
        shadow_remove(H, base, x)
        shadow_front(H, base, x)
        return 2
    H[base + 2 * x] = -1
    return 2 + before


@jit
def shadow_see(S, H, x, c):
    at = S[c + {SHADOW}] + 2 * (x + 1)
    if H[at] == -2:
        H[at] = -1
    return 0


@jit
def shadow_bring(S, H, x, c):
    if H[S[c + {SHADOW}] + 2 * (x + 1)] < 0:
        shadow_enter(S, H, x + 1, c)
    return 0


@jit
def shadow_take(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    before = H[base + 2 * x]
    if before >= 0:
        shadow_remove(H, base, x)
        H[base + 2 * x] = -1
        S[c + {SHADOW_LINES}] -= 1
        return 2
    H[base + 2 * x] = -1
    return 2 + before


@jit
def shadow_put(S, H, x, c):
    base = S[c + {SHADOW}]
    x += 1
    if H[base + 2 * x] >= 0:
        shadow_remove(H, base, x)
        shadow_front(H, base, x)
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
    return load_module(_Writer(levels).text(), compiled=compiled, about=about)
