"""Steps that wait for one another, such as the reads of a walk, and when each is taken; compiled.

A reference that is issued leaves a *draft*: what it reads from memory and writes there, and the walks that it needs, as
steps in the order in which they came up. Each follows one that came up before it, or the issue, after the time that
lookups take between; where several go on at once a JOIN follows two. `adopt` turns a draft into rows of a table, and
from then on a step is taken when those that it follows are over:

- READ and WRITE are given to memory; nothing follows a WRITE.
- TAKE waits for one of the core's page walkers, LEAVE gives it back. Walks are served in the order in which they ask,
  those that nobody waits for after all others.
- TRANSLATED and END tell a core when its reference has its translation, and its data.

Steps of the same moment are taken in the order of their issue.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.kernels import compiled

__all__ = [
    "COUNT",
    "DRAFT",
    "END",
    "FIELDS",
    "FIRST",
    "FOLLOWS",
    "FULL",
    "JOIN",
    "JOURNAL",
    "LEAVE",
    "MISS",
    "MOST",
    "OFFSET",
    "READ",
    "SIDE",
    "SOURCE",
    "STEPS",
    "TAKE",
    "TRANSLATED",
    "WRITE",
    "Desk",
    "adopt",
    "finish",
    "new_desk",
    "note",
    "pop",
    "serve",
    "take",
]

Words = NDArray[np.int64]

READ, WRITE, JOIN, TAKE, LEAVE, TRANSLATED, END = range(7)

# A draft: how many steps it has; the one that what comes up next follows (-1: the issue), and how long after it;
# whether there was no room; what follows the translation, likewise. Then the steps, of so many words each: what it is,
# its line (or kind: of the reference, of LEAVE whether nobody waits), what it follows and how long after, and again.
COUNT, FOLLOWS, OFFSET, FULL, SIDE, FIRST = 0, 1, 2, 3, 4, 8
DRAFT = 6
MOST: Final = 4000  # steps of one reference
STEPS: Final = 1 << 15  # that wait, of all references

# a step in the table; those that follow it are a list of edges, each twice its number and 1 for the second of the two
(
    S_WHAT, S_LINE, S_WAITS, S_AT, S_OUT, S_NEXT, S_NEXT_2, S_GAP, S_GAP_2, S_CORE, S_MISS, S_BEGUN, S_OTHER, S_ORDER,
    S_BEHIND, S_FIELDS,
) = range(16)  # fmt: skip

# of a miss of a core: when it has its data (NEVER while nobody knows, 0: none), its instruction, until when the core
# may not run further ahead, when memory was asked, the kind of the reference, its issue, and when it is translated
MISS: Final = 7
M_END, M_INSTRUCTION, M_BOUND, M_ASKED, M_KIND, M_ISSUED, M_TRANSLATED = range(MISS)

# words of a desk: the last free row, the size of the heap, how many steps there were, and how many rows are noted
FREE, SIZE, ORDER, NOTED = range(4)
JOURNAL = ("what", "core", "begun", "ended", "kind", "channel")  # of a READ, a walk (LEAVE) or a reference (END)
SOURCE: Final = 4  # bits of the line of a READ that tell who reads
HELD, FRONT, BACK, SIDE_FRONT, SIDE_BACK, LIMIT = range(6)  # of the walkers of a core

FIELDS = (  # of a core
    "delay",  # of all data references beyond their first TLB and cache
    "fetch_delay",
    "memory_reads",  # by whomever
    "memory_delay",
    "translation_delay",  # of the translations that the first TLB did not have
    "walks",  # that ended
    "walk_delay",  # of those, waiting for a walker included
    "walk_longest",
    "walker_stall",  # waiting for a walker
    "background_walks",
    "background_delay",
    "translation_stall",  # of the core, behind what is not translated
)
F_DELAY, F_FETCH, F_READS, F_READ_DELAY, F_TRANSLATION, F_WALKS, F_WALK_DELAY, F_LONGEST, F_WALKER = range(9)
F_SIDE_WALKS, F_SIDE_DELAY, F_STALL = range(9, 12)


class Desk:
    """The table of steps of some cores, and what keeps it in order."""

    def __init__(self, cores: int, walkers: int, journal: int) -> None:
        self.steps = np.zeros((STEPS, S_FIELDS), np.int64)
        self.free = np.arange(STEPS - 1, -1, -1)
        self.heap = np.zeros((STEPS, 3), np.int64)
        self.desk = np.array([STEPS - 1, 0, 0, 0], np.int64)
        self.walkers = np.zeros((cores, LIMIT + 1), np.int64)
        self.walkers[:, FRONT : SIDE_BACK + 1] = -1
        self.walkers[:, LIMIT] = walkers
        self.told = np.zeros((cores, len(FIELDS)), np.int64)
        self.journal = np.zeros((journal, len(JOURNAL)), np.int64)

    @property
    def arrays(self) -> tuple[Words, ...]:
        """What the kernels take."""
        return self.steps, self.free, self.heap, self.desk, self.walkers, self.told

    def noted(self) -> Words:
        """What has been noted, as far as there was room."""
        return self.journal[: self.desk[NOTED]]

    def waiting(self) -> int:
        """How many steps are not over."""
        return STEPS - 1 - int(self.desk[FREE])


def new_desk(cores: int, walkers: int, journal: int = 0) -> Desk:
    """A table without steps for some cores, each with so many page walkers, and room to note what happens."""
    return Desk(cores, walkers, journal)


@compiled
def push(steps: Words, heap: Words, desk: Words, number: int) -> None:
    """Put a step into the heap of those whose time is known."""
    time, order = steps[number, S_AT], steps[number, S_ORDER]
    at = desk[SIZE]
    desk[SIZE] += 1
    while at > 0:
        up = (at - 1) >> 1
        if heap[up, 0] < time or (heap[up, 0] == time and heap[up, 1] < order):
            break
        for k in range(3):
            heap[at, k] = heap[up, k]
        at = up
    heap[at, 0], heap[at, 1], heap[at, 2] = time, order, number


@compiled
def pop(heap: Words, desk: Words) -> int:
    """Take the first step out of the heap."""
    number: int = heap[0, 2]
    desk[SIZE] -= 1
    size = desk[SIZE]
    time, order = heap[size, 0], heap[size, 1]
    at = 0
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        other = down + 1
        if other < size and (
            heap[other, 0] < heap[down, 0] or (heap[other, 0] == heap[down, 0] and heap[other, 1] < heap[down, 1])
        ):
            down = other
        if heap[down, 0] > time or (heap[down, 0] == time and heap[down, 1] > order):
            break
        for k in range(3):
            heap[at, k] = heap[down, k]
        at = down
    last = heap[size, 2]
    heap[at, 0], heap[at, 1], heap[at, 2] = time, order, last
    return number


@compiled
def note(journal: Words, desk: Words, what: int, core: int, begun: int, ended: int, kind: int, channel: int) -> None:
    """Write a row of the journal, if there is room."""
    row = desk[NOTED]
    if row < len(journal):
        desk[NOTED] = row + 1
        journal[row, 0], journal[row, 1], journal[row, 2] = what, core, begun
        journal[row, 3], journal[row, 4], journal[row, 5] = ended, kind, channel


@compiled
def release(free: Words, desk: Words, number: int) -> None:
    """A row is free again."""
    desk[FREE] += 1
    free[desk[FREE]] = number


@compiled
def ready(
    steps: Words, free: Words, heap: Words, desk: Words, told: Words, journal: Words, misses: Words, number: int
) -> None:
    """The time of a step is known."""
    what, core, miss = steps[number, S_WHAT], steps[number, S_CORE], steps[number, S_MISS]
    if what < TRANSLATED:
        push(steps, heap, desk, number)
        return
    time, kind = steps[number, S_AT], steps[number, S_LINE]
    took = time - steps[number, S_BEGUN]
    if what == TRANSLATED:
        told[core, F_TRANSLATION] += took
        if miss >= 0:
            misses[core, miss, M_TRANSLATED] = time
            if kind == 1:  # a store may not be undone: what is far behind it waits until its page is known
                misses[core, miss, M_BOUND] = time
    else:
        told[core, F_FETCH if kind == 2 else F_DELAY] += took
        note(journal, desk, END, core, steps[number, S_BEGUN], time, kind, -1)
        if miss >= 0:
            misses[core, miss, M_END] = max(time, 1)  # 0 says that there is no miss
            if kind != 1:
                misses[core, miss, M_BOUND] = time
    release(free, desk, number)


@compiled
def finish(
    steps: Words,
    free: Words,
    heap: Words,
    desk: Words,
    told: Words,
    journal: Words,
    misses: Words,
    number: int,
    time: int,
) -> None:
    """A step is over at a time: those that follow it may know theirs."""
    edge = steps[number, S_OUT]
    while edge >= 0:
        after, which = edge >> 1, edge & 1
        edge = steps[after, S_NEXT + which]
        steps[after, S_AT] = max(steps[after, S_AT], time + steps[after, S_GAP + which])
        steps[after, S_WAITS] -= 1
        if steps[after, S_WAITS] == 0:
            ready(steps, free, heap, desk, told, journal, misses, after)
    release(free, desk, number)


@compiled
def adopt(
    steps: Words,
    free: Words,
    heap: Words,
    desk: Words,
    told: Words,
    journal: Words,
    misses: Words,
    draft: Words,
    core: int,
    miss: int,
    time: int,
) -> bool:
    """Put the steps of a draft, issued at a time, into the table; False where there is no room."""
    count = draft[COUNT]
    if draft[FULL] or desk[FREE] + 1 < count:
        return False
    for k in range(count):
        at = FIRST + k * DRAFT
        number = free[desk[FREE]]
        desk[FREE] -= 1
        what = draft[at]
        steps[number, S_WHAT] = what
        steps[number, S_LINE] = draft[at + 1]
        steps[number, S_WAITS] = 0
        steps[number, S_AT] = time
        steps[number, S_OUT] = -1
        steps[number, S_CORE] = core
        steps[number, S_MISS] = miss
        steps[number, S_BEGUN] = time
        steps[number, S_ORDER] = desk[ORDER]
        desk[ORDER] += 1
        draft[at] = number  # those that follow find it here
        for which in range(2):
            before, gap = draft[at + 2 + 2 * which], draft[at + 3 + 2 * which]
            if before < 0:
                steps[number, S_AT] = max(steps[number, S_AT], time + gap)
                continue
            there = draft[FIRST + before * DRAFT]
            steps[number, S_GAP + which] = gap
            steps[number, S_NEXT + which] = steps[there, S_OUT]
            steps[there, S_OUT] = 2 * number + which
            steps[number, S_WAITS] += 1
            if what == LEAVE and which == 1:  # of the walk that began there
                steps[there, S_OTHER] = number
    for k in range(count):
        number = draft[FIRST + k * DRAFT]
        if steps[number, S_WAITS] == 0:
            ready(steps, free, heap, desk, told, journal, misses, number)
    return True


@compiled
def serve(
    steps: Words,
    free: Words,
    heap: Words,
    desk: Words,
    told: Words,
    journal: Words,
    misses: Words,
    number: int,
    time: int,
    channel: int,
) -> None:
    """Memory has served a READ or WRITE at a time; without DRAM the channel is -1."""
    if steps[number, S_WHAT] == READ:
        core, asked = steps[number, S_CORE], steps[number, S_AT]
        told[core, F_READS] += 1
        told[core, F_READ_DELAY] += time - asked
        note(journal, desk, READ, core, asked, time, steps[number, S_LINE] & (1 << SOURCE) - 1, channel)
    finish(steps, free, heap, desk, told, journal, misses, number, time)


@compiled
def take(
    steps: Words,
    free: Words,
    heap: Words,
    desk: Words,
    walkers: Words,
    told: Words,
    journal: Words,
    misses: Words,
    number: int,
    latency: int,
) -> None:
    """Take a step, whose time has come, with a memory of a fixed latency."""
    what, core, time = steps[number, S_WHAT], steps[number, S_CORE], steps[number, S_AT]
    if what <= WRITE:
        serve(steps, free, heap, desk, told, journal, misses, number, time + latency * (what == READ), -1)
    elif what == TAKE:
        walk = steps[number, S_OTHER]
        steps[walk, S_BEGUN] = time
        if walkers[core, HELD] < walkers[core, LIMIT]:
            walkers[core, HELD] += 1
            finish(steps, free, heap, desk, told, journal, misses, number, time)
            return
        steps[number, S_BEHIND] = -1
        front = SIDE_FRONT if steps[walk, S_LINE] else FRONT
        if walkers[core, front] < 0:
            walkers[core, front] = number
        else:
            steps[walkers[core, front + 1], S_BEHIND] = number
        walkers[core, front + 1] = number
    else:
        if what == LEAVE:
            took = time - steps[number, S_BEGUN]
            note(journal, desk, LEAVE, core, steps[number, S_BEGUN], time, steps[number, S_LINE], -1)
            if steps[number, S_LINE]:
                told[core, F_SIDE_WALKS] += 1
                told[core, F_SIDE_DELAY] += took
            else:
                told[core, F_WALKS] += 1
                told[core, F_WALK_DELAY] += took
                told[core, F_LONGEST] = max(told[core, F_LONGEST], took)
            front = FRONT if walkers[core, FRONT] >= 0 else SIDE_FRONT
            after = walkers[core, front]
            if after < 0:
                walkers[core, HELD] -= 1
            else:
                walkers[core, front] = steps[after, S_BEHIND]
                if front == FRONT:
                    told[core, F_WALKER] += time - steps[after, S_AT]
                finish(steps, free, heap, desk, told, journal, misses, after, time)
        finish(steps, free, heap, desk, told, journal, misses, number, time)
