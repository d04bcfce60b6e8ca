"""Writes the loop of several cores in front of a graph of caches and a memory, which keeps time while it replays.

What a cache does is what `tiersim.sim.cache_loop` writes; here each core has caches of its own in front of those that
all share, references come one at a time from the core that is ready first, and what they wait for is modelled.

Time is in whole picoseconds. A core executes instructions at its base rate, and a reference is issued when it is met,
unless the core must wait:

- *window*: no instruction is executed that is ``window`` or more behind a load that has not its data yet; those that
  are still between that one and the reference are executed afterwards;
- *outstanding*: a reference that misses its first cache, load or store, holds one of ``outstanding`` places until its
  data has come, and waits while there is none. Where there is none nobody knows yet whether the next reference will
  hit; it is looked up first.

What a miss takes is the latencies of all caches that were looked up beyond the first, and of memory: a fixed latency,
or what DRAM takes by its commands (`tiersim.sim.queued.dram`) and a fixed latency on top. Lines that are written back
are posted: nobody waits for them, but they use the memory.

Contents change when a reference is issued; timing follows and never alters them, except that it decides whose turn is
next. ``order`` is that decision, kept; a loop that is given one follows it, and then ends with the same contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tiersim.sim.cache_loop import FETCH, FIRST_COUNTER, HEADER, STORE, Level, Writer, fill, join, when
from tiersim.sim.queued import dram
from tiersim.sim.source import load_module

__all__ = ["CORES", "FIELDS", "JOURNAL", "LATENCY", "SETTINGS", "CoreWriter", "make_core_loop"]

LATENCY = 30  # word of a cache's header: what a lookup takes, in picoseconds
# words of memory's header, after its counters and whether a fetch is under way
TRAFFIC, DELAY, CORES = range(FIRST_COUNTER + 4, FIRST_COUNTER + 7)

FIELDS = (  # of a core
    "time",  # when it met its last reference
    "rest",  # of a picosecond, in 2**-20
    "instructions",
    "place",  # of the next reference in its buffer
    "end",  # of its buffer
    "closed",  # nothing comes after the buffer
    "held",  # places of outstanding misses that are taken
    "window_stall",
    "outstanding_stall",
    "misses",
    "delay",  # of all data references beyond their first cache
    "memory_reads",
    "memory_delay",
    "references",
    "fetch_delay",
)
JOURNAL = ("core", "issued", "asked", "ended", "channel", "kind")  # of a miss; the channel is -1 without DRAM
SETTINGS = ("cores", "outstanding", "window", "pace", "memory", "lines", "page", "frequency", "follow", "keep")
PARTS = {"F_" + name.upper(): place for place, name in enumerate(FIELDS)} | {
    "T_" + name.upper(): place for place, name in enumerate(SETTINGS)
}


class CoreWriter(Writer):
    """Writes the functions of caches that cores have for themselves or share, and the loop of the cores."""

    def share(self, shared: frozenset[int], block: int) -> None:
        """Say what all cores have together; each has a block of so many words."""
        self.shared = shared
        self.passed = "M"
        self.pointers = [*self.pointers, "M", "O"]
        self.state = ", ".join(self.pointers)
        self.own_block = block
        self.base = len(self.levels) * HEADER

    def header(self, k: int, place: int = 0) -> str:
        at = str(k * HEADER + place)
        return at if k in self.shared else f"{at} + O"

    def drop_above(self, k: int) -> str:
        if k in self.shared:
            return super().drop_above(k)
        state = self.state.removesuffix("O") + "other"
        return fill(
            """
            for number in range(S[$cores]):
                other = number * $block
                dirty_old |= drop_$name($state, old)
            """,
            cores=str(self.base + CORES),
            block=str(self.own_block),
            name=self.names[k],
            state=state,
        )

    def delay(self, k: int) -> str:
        return f"S[{self.base + DELAY}] += {self.word(k, LATENCY)}"

    def text(self) -> str:
        constants = self.constants()
        numbers = "\n".join(f"{name} = {value}" for name, value in constants.items())
        functions = "\n\n\n".join(self.functions()).replace(MEMORY, TRACED)
        binds = zip(self.pointers[:-2], self.arrays, strict=True)
        parts = self.loop_parts()
        loop = fill(
            LOOP,
            arrays=", ".join(self.arrays),
            state=self.state,
            bind=join(*(f"{short} = pointer({long})" for short, long in binds)),
            **parts,
        )
        return "\n\n\n".join([self.imports(), numbers, functions, self.misses(), self.step(), loop]) + "\n"

    def imports(self) -> str:
        return f"{digest(dram)}\nfrom tiersim.sim.queued.dram import advance, offer"

    def constants(self) -> dict[str, int]:
        """What the loop calls by a name."""
        constants = {**PARTS, "READS": dram.READS, "WRITES": dram.WRITES, "FIRST": dram.FIRST, "NOW": dram.NOW}
        constants |= {"P_CL": dram.P_CL, "P_BURST": dram.P_BURST, "NEVER": dram.NEVER, "BLOCK": self.own_block}
        constants |= {"MASK": (1 << 62) - 1, "TRAFFIC": self.base + TRAFFIC, "DELAY": self.base + DELAY}
        return constants | {name: getattr(dram, name) for name in dir(dram) if name.startswith("R_")}

    def loop_parts(self) -> dict[str, str]:
        """What the loop does where a reference asks memory for one line at most.

        `served` is what follows when memory has served request f; `until` the time of what comes next besides memory,
        and `events` what that is, unless it is a reference; `windows` comes before a reference and `settle` after it,
        `stalled` where its core had to wait for it; `drain` is the end.
        """
        served = "ended(finished[f], table, misses, cores, settings, placed, spare, journal)"
        sent = fill(SEND, at="at + delay", line="physical(L[entry >> 1], k, settings)")
        return {
            "more": "",
            "functions": ENDED.strip("\n"),
            "served": served,
            "closed": "if not open_:\n    break",
            "until": "at",
            "events": "",
            "stalled": "",
            "windows": "",
            "settle": fill(SETTLE, state=self.state, send=sent),
            "drain": fill(DRAIN, served=served),
        }

    def _entries(self) -> tuple[int | None, int | None]:
        entries = [k for k, level in enumerate(self.levels) if level.serves]
        data = next((k for k in entries if "data" in self.levels[k].serves), None)
        fetch = next((k for k in entries if "instructions" in self.levels[k].serves), None)
        return data, fetch

    def misses(self) -> str:
        """Whether a reference would miss its first cache; nothing changes."""
        data, fetch = self._entries()

        def looked(k: int, *, data: bool) -> str:
            return join(self.unknown(data=data), self.place(k), self.look_up(k), "return way < 0")

        apart = ""
        if fetch is not None and self.apart(data, fetch):
            apart = when(f"kind == {FETCH}", looked(fetch, data=False))
        return fill(
            """
            @inline
            def would_miss($state, x, kind):
                $apart
                $data
            """,
            state=self.state,
            apart=apart,
            data=looked(data, data=True) if data is not None else "return False",
        )

    def unknown(self, *, data: bool) -> str:
        """What makes a reference wait before its first cache is looked up."""
        return ""

    def begins(self) -> str:
        """What a reference begins with."""
        return ""

    def late(self) -> str:
        """What makes a reference late besides a miss."""
        return ""

    def step(self) -> str:
        """One reference; returns whether it missed its first cache."""
        data, fetch = self._entries()
        apart = ""
        if fetch is not None and self.apart(data, fetch):
            apart = when(f"kind == {FETCH}", self.reference(fetch, data=False))
        return fill(
            """
            @inline
            def step($state, x, kind):
                $begins
                $apart
                $data
            """,
            state=self.state,
            begins=self.begins(),
            apart=apart,
            data=self.reference(data, data=True) if data is not None else "return False",
        )

    def reference(self, k: int, *, data: bool) -> str:
        """One reference at a first cache: as `entry` of a plain loop, without its shortcuts."""
        level = self.levels[k]
        fetches = "instructions" in level.serves

        def if_store(then: str, otherwise: str = "") -> str:
            return when(f"kind == {STORE}", then, otherwise) if data else otherwise

        trained = self.trained(k, first=True)
        goes_by = ""
        if data and not level.allocates:
            passed_on = self.below(k, "store")
            goes_by = when(
                f"way < 0 and kind == {STORE}",
                join(self.count(k, "write_misses"), self.count_kind(k), passed_on, trained, "return True"),
            )
        count = self.count(k, "reads")
        if data:
            reads, writes = self.counter(k, "reads"), self.counter(k, "writes")
            count = f"{reads} += kind != {STORE}\n{writes} += kind == {STORE}"
        return fill(
            """
            $count
            $count_fetches
            $translated
            $origin
            $place
            $note
            $shadow
            $look_up
            $goes_by
            missed = way < 0$late
            if way >= 0:
                $hit
            else:
                $misses
                $kind
                $bring
            $stored
            $trained
            return missed
            """,
            count=count,
            count_fetches=f"{self.counter(k, 'fetches')} += kind == {FETCH}" if fetches else "",
            translated=self.translated(data=data),
            origin=f"S[{self.fetching}] = kind >> 1" if self.fetches else "",
            late=self.late(),
            trained=trained,
            place=self.place(k),
            note=self.note(k),
            shadow=if_store(self.shadow(k, "touch" if level.allocates else "pass"), self.shadow(k, "touch")),
            look_up=self.look_up(k),
            goes_by=goes_by,
            hit=self.call("hit", k),
            misses=if_store(
                self.count(k, "write_misses"),
                join(self.count(k, "read_misses"), self.count_fetch(k, "fetch_misses") if fetches else ""),
            ),
            kind=self.count_kind(k),
            bring=self.bring(k),
            stored=if_store(self.stored(k)),
        )


MEMORY = """@inline
def read_memory(S, at):
    S[at] += 1
    S[at + 2] += S[at + 3]
    return 0


@inline
def write_memory(S, at):
    S[at + 1] += 1
    return 0
"""
TRACED = """@inline
def read_memory(S, at, M, x):
    S[at] += 1
    S[at + 2] += S[at + 3]
    M[S[at + 4]] = x << 1
    S[at + 4] += 1
    return 0


@inline
def write_memory(S, at, M, x):
    S[at + 1] += 1
    M[S[at + 4]] = x << 1 | 1
    S[at + 4] += 1
    return 0
"""
LOOP = '''
@jit
def to_cycles(time, kilohertz):
    """The first cycle that begins at a time or later."""
    whole = time // 1000000000
    rest = time - whole * 1000000000
    return whole * kilohertz + (rest * kilohertz + 999999999) // 1000000000


@jit
def to_time(cycle, kilohertz):
    whole = cycle // kilohertz
    return whole * 1000000000 + (cycle - whole * kilohertz) * 1000000000 // kilohertz


@jit
def physical(line, core, settings):
    """Where a line of a core's addresses is in memory: page by page at random, the same at every run."""
    page = settings[T_PAGE]
    if page == 0:
        return (line + core * (settings[T_LINES] // settings[T_CORES])) % settings[T_LINES]
    number = (int(line) // int(page) + (core << 44)) & MASK
    number = ((number ^ (number >> 30)) * -4658895280553007687) & MASK
    number = ((number ^ (number >> 27)) * -7723592293110705685) & MASK
    return (number ^ (number >> 31)) % (settings[T_LINES] // page) * page + line % page


@jit
def place_of(line, sizes, roles, table, row):
    """Channel, bank and row of a line of memory, by the fields of its number."""
    held_group = 0
    held_bank = 0
    held_rank = 0
    held_row = 0
    rest = line
    for k in range(6):
        value = rest % sizes[k]
        rest = rest // sizes[k]
        role = roles[k]
        if role == 0:
            table[row, R_CHANNEL] = value
        elif role == 1:
            held_group = value
        elif role == 3:
            held_bank = value
        elif role == 4:
            held_rank = value
        elif role == 5:
            held_row = value
    groups = roles[6]
    banks = roles[7]
    if roles[8]:
        held_group = (held_group + held_row) % groups
        held_bank = (held_bank + held_row // groups) % banks
    table[row, R_BANK] = (held_rank * groups + held_group) * banks + held_bank
    table[row, R_ROW] = held_row


@jit
def ready_at(core, cores, misses, settings, would):
    """When a core can issue its next reference: NEVER while it waits for something whose end is not known."""
    time = cores[core, F_TIME]
    if cores[core, F_HELD] == 0:
        return time, time
    oldest = cores[core, F_INSTRUCTIONS] - settings[T_WINDOW]
    taken = 0
    first = NEVER
    for m in range(settings[T_OUTSTANDING]):
        end = misses[core, m, 0]
        if end == 0:
            continue
        if misses[core, m, 2] and misses[core, m, 1] <= oldest:
            behind = ((oldest - misses[core, m, 1]) * settings[T_PACE]) >> 20
            time = max(time, min(misses[core, m, 2] + behind, NEVER))
        first = min(first, end)
        taken += end > cores[core, F_TIME]
    window = time
    if would and taken == settings[T_OUTSTANDING] and first > time:
        time = first
    return time, window


$functions


@jit_cached
def run(E, gaps, cores, misses, settings, order, placed, sizes, roles, table, spare, traffic, journal, chips, rules,
        head, ready, opened, hits, acts, due, queues, scratch, finished, log, $more$arrays):
    $bind
    M = pointer(traffic)
    count = settings[T_CORES]
    outstanding = settings[T_OUTSTANDING]
    kilohertz = settings[T_FREQUENCY]
    latency = settings[T_MEMORY]
    ahead = 0
    channels = 0
    if kilohertz:
        channels = len(head)
        ahead = to_time(chips[P_CL] + chips[P_BURST], kilohertz) + latency
    safe = NEVER  # all data that comes up to now is known
    if channels:
        safe = placed[2]
    while True:
        # the core that is ready first
        best = -1
        at = NEVER
        window = NEVER
        if settings[T_FOLLOW]:
            if placed[0] == settings[T_FOLLOW]:
                return 0
            best = int(order[placed[0]])
            at = cores[best, F_TIME]
            window = at
            if cores[best, F_PLACE] == cores[best, F_END]:
                return best + 1
        else:
            open_ = False
            for k in range(count):
                if cores[k, F_PLACE] == cores[k, F_END]:
                    if cores[k, F_CLOSED]:
                        continue
                    return k + 1
                open_ = True
                O = k * BLOCK
                would = False
                if cores[k, F_HELD] == outstanding:
                    event = E[k, cores[k, F_PLACE]]
                    would = would_miss($state, event >> 2, event & 3)
                when, bound = ready_at(k, cores, misses, settings, would)
                if when < at:
                    best = k
                    at = when
                    window = bound
            $closed
        # memory, as far as something may come of it before
        until = $until
        if channels and not settings[T_FOLLOW] and safe < until:
            behind = NEVER
            for ch in range(channels):
                if head[ch, READS] or head[ch, WRITES] or head[ch, FIRST] >= 0:
                    behind = min(behind, head[ch, NOW])
            if behind == NEVER:
                safe = NEVER
                continue
            limit = behind + chips[P_CL] + chips[P_BURST]
            if until < NEVER:
                limit = min(limit, max(to_cycles(until, kilohertz), behind + 1))
            for ch in range(channels):
                if head[ch, NOW] >= limit or not (head[ch, READS] or head[ch, WRITES] or head[ch, FIRST] >= 0):
                    continue
                done, _ = advance(chips, rules, head, ready, opened, hits, acts, due, queues, scratch, table, ch, limit,
                                  len(finished) - 1, finished, log, 0)
                for f in range(done):
                    $served
            safe = to_time(limit, kilohertz) + ahead
            placed[2] = safe
            continue
        $events
        # its reference
        k = best
        O = k * BLOCK
        $stalled
        cores[k, F_WINDOW_STALL] += window - cores[k, F_TIME]
        cores[k, F_OUTSTANDING_STALL] += at - window
        cores[k, F_TIME] = at
        if cores[k, F_HELD]:
            for m in range(outstanding):
                if misses[k, m, 0] and misses[k, m, 0] <= at:
                    misses[k, m, 0] = 0
                    cores[k, F_HELD] -= 1
        if settings[T_KEEP]:
            order[placed[0]] = k
        placed[0] += 1
        event = E[k, cores[k, F_PLACE]]
        kind = event & 3
        $windows
        $settle
        # the next one
        cores[k, F_PLACE] += 1
        if cores[k, F_PLACE] < cores[k, F_END]:
            gap = gaps[k, cores[k, F_PLACE]]
            cores[k, F_INSTRUCTIONS] += gap
            paced = cores[k, F_REST] + gap * settings[T_PACE]
            cores[k, F_TIME] += paced >> 20
            cores[k, F_REST] = paced & 1048575
    $drain
    for k in range(count):
        for m in range(outstanding):
            cores[k, F_TIME] = max(cores[k, F_TIME], misses[k, m, 0])
    return 0
'''

ENDED = '''
@jit
def note(journal, placed, core, issued, asked, end, channel, kind):
    row = placed[3]
    if row < len(journal):
        placed[3] = row + 1
        journal[row, 0] = core
        journal[row, 1] = issued
        journal[row, 2] = asked
        journal[row, 3] = end
        journal[row, 4] = channel
        journal[row, 5] = kind


@jit
def ended(number, table, misses, cores, settings, placed, spare, journal):
    """A request that DRAM has served: its miss has an end now, or its row is free again."""
    outstanding = settings[T_OUTSTANDING]
    if number >= settings[T_CORES] * outstanding:
        placed[1] += 1
        spare[placed[1]] = number
        return
    core = number // outstanding
    m = number - core * outstanding
    end = to_time(table[number, R_DONE], settings[T_FREQUENCY]) + settings[T_MEMORY]
    misses[core, m, 0] = end
    if misses[core, m, 2]:
        misses[core, m, 2] = end
    took = end - misses[core, m, 3]
    cores[core, F_MEMORY_DELAY] += took
    if misses[core, m, 4] == 2:
        cores[core, F_FETCH_DELAY] += took
    else:
        cores[core, F_DELAY] += took
    asked, kind, channel = misses[core, m, 3], misses[core, m, 4], table[number, R_CHANNEL]
    note(journal, placed, core, misses[core, m, 5], asked, end, channel, kind)
'''
SETTLE = """
S[TRAFFIC] = 0
S[DELAY] = 0
missed = step($state, event >> 2, kind)
for t in range(S[TRAFFIC]):  # a store that is passed on may bring a line in further down
    missed |= (M[t] & 1) == 0
cores[k, F_REFERENCES] += kind != 2
delay = S[DELAY]
reads = 0
slot = -1
if missed and not settings[T_FOLLOW]:
    cores[k, F_MISSES] += 1
    for m in range(outstanding):
        if misses[k, m, 0] == 0:
            slot = m
            break
for t in range(S[TRAFFIC]):
    entry = M[t]
    write = entry & 1
    reads += 1 - write
    if channels == 0 or settings[T_FOLLOW]:
        continue
    if write:
        if placed[1] < 0:
            return -1  # no row left for lines that are written
        number = spare[placed[1]]
        placed[1] -= 1
    elif slot >= 0:
        number = k * outstanding + slot
    else:  # a store that was passed on, and has no place: nobody waits
        if placed[1] < 0:
            return -1
        number = spare[placed[1]]
        placed[1] -= 1
    $send
cores[k, F_MEMORY_READS] += reads
if reads and (channels == 0 or settings[T_FOLLOW]):
    delay += latency
    cores[k, F_MEMORY_DELAY] += latency
if kind == 2:
    cores[k, F_FETCH_DELAY] += delay
else:
    cores[k, F_DELAY] += delay
if slot >= 0 and (delay or reads):
    misses[k, slot, 0] = at + delay
    if reads and channels:
        misses[k, slot, 0] = NEVER
    misses[k, slot, 1] = cores[k, F_INSTRUCTIONS]
    misses[k, slot, 2] = misses[k, slot, 0] * (kind != 1)
    misses[k, slot, 3] = at + delay
    misses[k, slot, 4] = kind
    misses[k, slot, 5] = at
    if misses[k, slot, 0] < NEVER:
        note(journal, placed, k, at, at + delay - latency * reads, at + delay, -1, kind)
    cores[k, F_HELD] += 1
"""
SEND = """
place_of($line, sizes, roles, table, number)
begin = to_cycles($at, kilohertz)
table[number, R_WRITE] = write
table[number, R_PARTS] = roles[9]
table[number, R_AT] = begin
ch = table[number, R_CHANNEL]
if not (head[ch, READS] or head[ch, WRITES] or head[ch, FIRST] >= 0) and head[ch, NOW] < begin:
    advance(chips, rules, head, ready, opened, hits, acts, due, queues, scratch, table, ch, begin,
            len(finished) - 1, finished, log, 0)
offer(head, table, ch, number)
safe = min(safe, to_time(begin, kilohertz) + ahead)
placed[2] = safe
"""
DRAIN = """
# what is still under way
for ch in range(channels):
    while head[ch, READS] or head[ch, WRITES] or head[ch, FIRST] >= 0:
        done, _ = advance(chips, rules, head, ready, opened, hits, acts, due, queues, scratch, table, ch, NEVER, 1,
                          finished, log, 0)
        for f in range(done):
            $served
"""


def digest(module: ModuleType) -> str:
    """A line that changes with the source of a module: a loop is named by its text, not by what it imports."""
    held = hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()[:20]
    return f"# with {module.__name__} {held}"


def make_core_loop(levels: Sequence[Level], shared: frozenset[int], *, compiled: bool = True) -> ModuleType:
    """The module whose ``run`` keeps time; ``shared`` are the caches that all cores have together."""
    about = "Cores in front of: " + ", ".join(
        f"{level.name} ({level.ways} ways, {type(level.policy).__name__}{', shared' if k in shared else ''})"
        for k, level in enumerate(levels)
    )
    writer = CoreWriter(levels)
    writer.share(shared, (len(levels) + 1) * HEADER)
    return load_module(writer.text(), compiled=compiled, about=about)
