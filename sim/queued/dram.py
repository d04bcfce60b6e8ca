"""The commands of DRAM: banks, what each command keeps waiting for how long, and a controller; compiled.

One call advances one channel to a time, from command to command. What it decides is what a controller would that looks
at its queues at every cycle, and is told here in its order; a plain model of the tests does just that.

At a cycle, where the bus is free:

1. A rank whose refresh is due closes its rows (PREA) and refreshes (REF) as soon as it may, and does nothing else.
2. Writes are served when there are ``high`` of them or no read waits, and until ``low`` are left and a read waits.
3. A read or write whose row is open goes first, the oldest of them; but after ``cap`` of them since the row was opened
   those stand back for an older request of the bank that wants another row.
4. Else the oldest request whose next step is to close a row that no request of 3. wants any more, or to open its own.
5. With ``closed`` rows one that no queued request wants is closed.

With two buses (HBM) a step of 3. and one of 4. or 5. may go out in the same cycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.kernels import compiled

__all__ = [
    "ACT",
    "COMMANDS",
    "NEVER",
    "PRE",
    "PREA",
    "RD",
    "REF",
    "SCOPES",
    "WR",
    "Channels",
    "Shape",
    "advance",
    "drive",
    "earliest",
    "issue",
    "new_channels",
    "offer",
]

Words = NDArray[np.int64]

COMMANDS: Final = ("ACT", "PRE", "RD", "WR", "REF", "PREA")
ACT, PRE, RD, WR, REF, PREA = range(6)
# where a command keeps another waiting: its own bank, bank group, rank, or the other ranks of the channel
SCOPES: Final = ("bank", "group", "rank", "others")
BANK, GROUP, RANK, OTHERS = range(4)
NEVER: Final = 1 << 60
LONG_AGO: Final = -(1 << 40)

# a request: where it goes, of how many bursts, the cycle before which it does not come; when it got its place in the
# queue and when the last of its data has passed; who waits behind it
R_CHANNEL, R_BANK, R_ROW, R_WRITE, R_PARTS, R_AT, R_BEGUN, R_DONE, R_NEXT, R_FIELDS = range(10)

# a burst of one in a queue
Q_BANK, Q_ROW, Q_ID, Q_FIELDS = range(4)

# words of a channel
(
    NOW, READS, WRITES, MODE, N_ACT, N_HIT, N_READ, N_WRITE, N_REF, N_PRE, ROW_FREE, COLUMN_FREE, FIRST, LAST, LEFT,
    HEAD,
) = range(16)  # fmt: skip

# what is noted of a bank: how many requests for its open row may go, and the oldest of them; the oldest for another
# row, or -1; whether any of both queues wants its open row; its group and rank. And the banks of which there is a HIT,
# and those of which there is an OTHER, in the order of these.
HITS, HIT, OTHER, WANTED, GROUP_OF, RANK_OF, HIT_BANKS, OTHER_BANKS, NOTES = range(9)


@dataclass(frozen=True)
class Shape:
    """What a channel is: its parts, its timings in cycles, its controller.

    ``constraints`` has the rows (scope, first, then, cycles): after ``first`` the command ``then`` waits so long within
    the scope. ``occupancy`` is how many cycles a command is on the bus, by command.
    """

    ranks: int
    groups: int
    banks: int
    read_latency: int
    write_latency: int
    burst: int
    window: int
    refresh_every: int
    refresh_first: int
    constraints: tuple[tuple[int, int, int, int], ...]
    occupancy: tuple[int, ...] = (1, 1, 1, 1, 1, 1)
    buses: int = 1
    queue: int = 32
    high: int = 24
    low: int = 8
    cap: int = 16
    closed: bool = False

    def words(self) -> Words:
        """The numbers as the kernels take them."""
        return np.array(
            [
                self.ranks, self.groups, self.banks, self.read_latency, self.write_latency, self.burst, self.window,
                self.refresh_every, self.buses, self.queue, self.high, self.low, self.cap, self.closed,
                *self.occupancy,
            ],
            np.int64,
        )  # fmt: skip


(
    P_RANKS, P_GROUPS, P_BANKS, P_CL, P_CWL, P_BURST, P_FAW, P_REFI, P_BUSES, P_QUEUE, P_HIGH, P_LOW, P_CAP, P_CLOSED,
    P_OCCUPANCY,
) = range(15)  # fmt: skip


@dataclass
class Channels:
    """The state of some channels, by channel: words, when each node may get each command, rows, windows, queues."""

    shape: Words
    rules: Words
    head: Words
    ready: Words
    row: Words
    hits: Words
    acts: Words
    due: Words
    queues: Words
    scratch: Words

    @property
    def arrays(self) -> tuple[Words, ...]:
        """What the kernels take."""
        return (
            self.shape, self.rules, self.head, self.ready, self.row, self.hits, self.acts, self.due, self.queues,
            self.scratch,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """What the channels did, summed."""
        names = {
            "reads": N_READ,
            "writes": N_WRITE,
            "row_hits": N_HIT,
            "activations": N_ACT,
            "precharges": N_PRE,
            "refreshes": N_REF,
        }
        return {name: int(self.head[:, word].sum()) for name, word in names.items()}


def scattering(count: int) -> int:
    """A step, near the smaller part of the golden section, that visits each of so many places once."""
    step = max(round(count * 0.382), 1)
    while gcd(step, count) > 1:
        step += 1
    return step


def new_channels(shape: Shape, count: int) -> Channels:
    """Channels with all rows closed and empty queues at cycle 0.

    The refreshes of ranks and channels are spread evenly over the interval, as controllers do, and those of neighbours
    lie far apart: a stream that waits for one would else meet the next channel's, and so on for ever.
    """
    banks = shape.ranks * shape.groups * shape.banks
    nodes = shape.ranks + shape.ranks * shape.groups + banks
    due = np.full((count, shape.ranks), NEVER, np.int64)
    if shape.refresh_every:
        parts = count * shape.ranks
        step = scattering(parts)
        for k in range(parts):
            later = shape.refresh_every * (k * step % parts) // parts
            due[k // shape.ranks, k % shape.ranks] = shape.refresh_first + later
    head = np.zeros((count, HEAD), np.int64)
    head[:, FIRST] = -1
    notes = np.zeros((count, NOTES, banks), np.int64)
    notes[:, GROUP_OF] = np.arange(banks) // shape.banks
    notes[:, RANK_OF] = np.arange(banks) // (shape.banks * shape.groups)
    return Channels(
        shape.words(),
        np.array(shape.constraints, np.int64).reshape(-1, 4),
        head,
        np.zeros((count, nodes, len(COMMANDS)), np.int64),
        np.full((count, banks), -1, np.int64),
        np.zeros((count, banks), np.int64),
        np.full((count, shape.ranks, 5), LONG_AGO, np.int64),
        due,
        np.zeros((count, 2, shape.queue, Q_FIELDS), np.int64),
        notes,
    )


@compiled
def one_bank(p: Words, ready: Words, acts: Words, ch: int, command: int, bank: int, group: int, rank: int) -> int:
    """The first cycle at which a bank may get a command that is for it alone."""
    ranks = p[P_RANKS]
    at: int = max(
        ready[ch, rank, command],
        ready[ch, ranks + group, command],
        ready[ch, ranks + ranks * p[P_GROUPS] + bank, command],
    )
    if command == ACT:
        at = max(at, acts[ch, rank, acts[ch, rank, 4] & 3] + p[P_FAW])
    return at


@compiled
def earliest(p: Words, ready: Words, acts: Words, ch: int, command: int, bank: int) -> int:
    """The first cycle at which a bank (REF and PREA: its rank) may get a command, as far as timing goes."""
    groups, banks = p[P_GROUPS], p[P_BANKS]
    rank = bank // banks // groups
    if command != PREA:
        return int(one_bank(p, ready, acts, ch, command, bank, bank // banks, rank))
    at: int = ready[ch, rank, PREA]
    first = rank * groups * banks
    for b in range(first, first + groups * banks):
        at = max(at, one_bank(p, ready, acts, ch, PRE, b, b // banks, rank))
    return at


@compiled
def issue(
    p: Words, rules: Words, ready: Words, acts: Words, row: Words, ch: int, command: int, bank: int, now: int
) -> None:
    """Send a command to a bank (REF and PREA: to its rank) at a cycle."""
    ranks, groups, banks = p[P_RANKS], p[P_GROUPS], p[P_BANKS]
    group = bank // banks
    rank = group // groups
    for k in range(len(rules)):
        if rules[k, 1] != command:
            continue
        scope, then, at = rules[k, 0], rules[k, 2], now + rules[k, 3]
        if scope == BANK:
            node = ranks + ranks * groups + bank
            ready[ch, node, then] = max(ready[ch, node, then], at)
        elif scope == GROUP:
            ready[ch, ranks + group, then] = max(ready[ch, ranks + group, then], at)
        elif scope == RANK:
            ready[ch, rank, then] = max(ready[ch, rank, then], at)
        else:
            for other in range(ranks):
                if other != rank:
                    ready[ch, other, then] = max(ready[ch, other, then], at)
    if command == ACT:
        slot = acts[ch, rank, 4] & 3  # the fourth last, which the window looks back to
        acts[ch, rank, slot] = now
        acts[ch, rank, 4] = slot + 1
    elif command == PRE:
        row[ch, bank] = -1
    elif command == PREA:
        first = rank * groups * banks
        for b in range(first, first + groups * banks):
            row[ch, b] = -1


@compiled
def offer(head: Words, table: Words, ch: int, number: int) -> None:
    """Put a request, a row of the table, behind those that wait for a place in the queues of a channel."""
    table[number, R_NEXT] = -1
    head[ch, LEFT] += 1
    if head[ch, FIRST] < 0:
        head[ch, FIRST] = number
    else:
        table[head[ch, LAST], R_NEXT] = number
    head[ch, LAST] = number


@compiled
def advance(
    p: Words,
    rules: Words,
    head: Words,
    ready: Words,
    row: Words,
    hits: Words,
    acts: Words,
    due: Words,
    queues: Words,
    scratch: Words,
    table: Words,
    ch: int,
    until: int,
    most: int,
    finished: Words,
    log: Words,
    logged: int,
) -> tuple[int, int]:
    """Send the commands of all cycles before ``until``, or until ``most`` requests are finished.

    Nothing may be offered at a cycle that is past. ``finished`` gets the numbers of the requests whose last burst was
    sent, so that the end of their data is known. ``log`` gets rows (cycle, command, bank, row) while it has room.
    Returns how many were finished, and how many rows the log has.
    """
    ranks, groups, banks = p[P_RANKS], p[P_GROUPS], p[P_BANKS]
    per_rank = groups * banks
    one_bus = p[P_BUSES] == 1
    count = 0
    now = head[ch, NOW]
    hit_banks = other_banks = 0
    known = False  # whether what is noted of the banks holds
    while now < until and count < most:
        soon = NEVER
        sent = False
        # who waits joins its queue, in turn, when there is a place for all of its bursts
        while head[ch, FIRST] >= 0:
            number = head[ch, FIRST]
            if table[number, R_AT] > now:
                soon = table[number, R_AT]
                break
            write = table[number, R_WRITE]
            held = head[ch, READS + write]
            if held + table[number, R_PARTS] > p[P_QUEUE]:
                break
            for _ in range(table[number, R_PARTS]):
                queues[ch, write, held, Q_BANK] = table[number, R_BANK]
                queues[ch, write, held, Q_ROW] = table[number, R_ROW]
                queues[ch, write, held, Q_ID] = number
                held += 1
            head[ch, READS + write] = held
            known = False
            table[number, R_BEGUN] = now
            head[ch, FIRST] = table[number, R_NEXT]
        # refresh
        for rank in range(ranks):
            if due[ch, rank] > now:
                soon = min(soon, due[ch, rank])
                continue
            first = rank * per_rank
            command = REF
            for b in range(first, first + per_rank):
                if row[ch, b] >= 0:
                    command = PREA
            at = earliest(p, ready, acts, ch, command, first)
            at = max(at, head[ch, ROW_FREE])
            if at > now:
                soon = min(soon, at)
                continue
            issue(p, rules, ready, acts, row, ch, command, first, now)
            if logged < len(log):
                log[logged, 0], log[logged, 1], log[logged, 2], log[logged, 3] = now, command, first, -1
                logged += 1
            sent = True
            head[ch, ROW_FREE] = now + p[P_OCCUPANCY + command]
            if one_bus:
                head[ch, COLUMN_FREE] = head[ch, ROW_FREE]
            if command == REF:
                head[ch, N_REF] += 1
                due[ch, rank] += p[P_REFI]
        # which queue
        reads, writes = head[ch, READS], head[ch, WRITES]
        mode = head[ch, MODE]
        if mode == 0 and (writes >= p[P_HIGH] or (reads == 0 and writes > 0)):
            mode = 1
        elif mode == 1 and (writes == 0 or (writes <= p[P_LOW] and reads > 0)):
            mode = 0
        known = known and mode == head[ch, MODE]
        head[ch, MODE] = mode
        held = head[ch, READS + mode]
        # what each bank is asked for, where something has changed
        if not known:
            known = True
            hit_banks = other_banks = 0
            for b in range(ranks * per_rank):
                scratch[ch, HITS, b] = 0
                scratch[ch, OTHER, b] = -1
            for i in range(held):
                bank = queues[ch, mode, i, Q_BANK]
                if queues[ch, mode, i, Q_ROW] != row[ch, bank]:
                    if scratch[ch, OTHER, bank] < 0:
                        scratch[ch, OTHER, bank] = i
                        scratch[ch, OTHER_BANKS, other_banks] = bank
                        other_banks += 1
                elif hits[ch, bank] < p[P_CAP] or scratch[ch, OTHER, bank] < 0:
                    if scratch[ch, HITS, bank] == 0:
                        scratch[ch, HIT, bank] = i
                        scratch[ch, HIT_BANKS, hit_banks] = bank
                        hit_banks += 1
                    scratch[ch, HITS, bank] += 1
        best = held
        for k in range(hit_banks):
            bank = scratch[ch, HIT_BANKS, k]
            rank = scratch[ch, RANK_OF, bank]
            if due[ch, rank] <= now:
                continue
            at = one_bank(p, ready, acts, ch, RD + mode, bank, scratch[ch, GROUP_OF, bank], rank)
            at = max(at, head[ch, COLUMN_FREE])
            if at <= now:
                best = scratch[ch, HIT, bank]
                break
            soon = min(soon, at)
        if best < held:
            bank = queues[ch, mode, best, Q_BANK]
            number = queues[ch, mode, best, Q_ID]
            command = RD + mode
            issue(p, rules, ready, acts, row, ch, command, bank, now)
            if logged < len(log):
                log[logged, 0], log[logged, 1], log[logged, 2], log[logged, 3] = now, command, bank, row[ch, bank]
                logged += 1
            sent = True
            head[ch, COLUMN_FREE] = now + p[P_OCCUPANCY + command]
            if one_bus:
                head[ch, ROW_FREE] = head[ch, COLUMN_FREE]
            table[number, R_DONE] = now + p[P_CL + mode] + p[P_BURST]
            table[number, R_PARTS] -= 1
            if table[number, R_PARTS] == 0:
                finished[count] = number
                count += 1
                head[ch, LEFT] -= 1
            head[ch, N_READ + mode] += 1
            head[ch, N_HIT] += hits[ch, bank] > 0
            hits[ch, bank] += 1
            held -= 1
            for i in range(best, held):
                for f in range(Q_FIELDS):
                    queues[ch, mode, i, f] = queues[ch, mode, i + 1, f]
            head[ch, READS + mode] = held
            scratch[ch, HITS, bank] -= 1
        if head[ch, ROW_FREE] > now:
            soon = min(soon, head[ch, ROW_FREE])
        else:
            taken = best
            chosen = -1
            for k in range(other_banks):
                bank = scratch[ch, OTHER_BANKS, k]
                rank = scratch[ch, RANK_OF, bank]
                if due[ch, rank] <= now or (row[ch, bank] >= 0 and scratch[ch, HITS, bank]):
                    continue
                command = PRE if row[ch, bank] >= 0 else ACT
                at = one_bank(p, ready, acts, ch, command, bank, scratch[ch, GROUP_OF, bank], rank)
                if at <= now:
                    chosen = bank
                    break
                soon = min(soon, at)
            if chosen >= 0:
                bank = chosen
                issue(p, rules, ready, acts, row, ch, command, bank, now)
                if command == ACT:
                    place = scratch[ch, OTHER, bank]
                    place -= place > taken  # those behind what was sent this cycle have moved up
                    row[ch, bank] = queues[ch, mode, place, Q_ROW]
                    hits[ch, bank] = 0
                    head[ch, N_ACT] += 1
                else:
                    head[ch, N_PRE] += 1
                if logged < len(log):
                    log[logged, 0], log[logged, 1], log[logged, 2], log[logged, 3] = now, command, bank, row[ch, bank]
                    logged += 1
                sent = True
                head[ch, ROW_FREE] = now + p[P_OCCUPANCY + command]
            elif p[P_CLOSED]:
                for b in range(ranks * per_rank):
                    scratch[ch, WANTED, b] = 0
                for w in range(2):
                    for i in range(head[ch, READS + w]):
                        bank = queues[ch, w, i, Q_BANK]
                        if queues[ch, w, i, Q_ROW] == row[ch, bank]:
                            scratch[ch, WANTED, bank] = 1
                for b in range(ranks * per_rank):
                    if row[ch, b] < 0 or scratch[ch, WANTED, b] or due[ch, b // per_rank] <= now:
                        continue
                    at = earliest(p, ready, acts, ch, PRE, b)
                    if at > now:
                        soon = min(soon, at)
                        continue
                    issue(p, rules, ready, acts, row, ch, PRE, b, now)
                    head[ch, N_PRE] += 1
                    if logged < len(log):
                        log[logged, 0], log[logged, 1], log[logged, 2], log[logged, 3] = now, PRE, b, -1
                        logged += 1
                    sent = True
                    head[ch, ROW_FREE] = now + p[P_OCCUPANCY + PRE]
                    break
            if sent and one_bus:
                head[ch, COLUMN_FREE] = max(head[ch, COLUMN_FREE], head[ch, ROW_FREE])
        known = known and not sent
        now = now + 1 if sent else max(min(soon, until), now + 1)
    head[ch, NOW] = now
    return count, logged


@compiled
def push(heap: Words, size: int, time: int) -> int:
    """Put a time into a heap; returns the new size."""
    at = size
    while at > 0:
        up = (at - 1) >> 1
        if heap[up] <= time:
            break
        heap[at] = heap[up]
        at = up
    heap[at] = time
    return size + 1


@compiled
def pop(heap: Words, size: int) -> int:
    """Take the smallest time, heap[0], out of a heap; returns the new size."""
    size -= 1
    time = heap[size]
    at = 0
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        if down + 1 < size and heap[down + 1] < heap[down]:
            down += 1
        if heap[down] >= time:
            break
        heap[at] = heap[down]
        at = down
    heap[at] = time
    return size


@compiled
def drive(
    p: Words,
    rules: Words,
    head: Words,
    ready: Words,
    row: Words,
    hits: Words,
    acts: Words,
    due: Words,
    queues: Words,
    scratch: Words,
    table: Words,
    window: int,
    finished: Words,
    heap: Words,
    log: Words,
) -> int:
    """Offer all requests of a table in order, each at its time or later: at most ``window`` reads are under way.

    A channel whose queues are full keeps those behind it waiting, and no other channel. Returns how many rows the log
    has.
    """
    logged = 0
    channels = len(head)
    now = 0
    size = 0  # of the heap of the times at which reads end
    flying = 0
    number = 0
    total = len(table)
    while True:
        # offer what may go now
        while number < total and (flying < window or table[number, R_WRITE]):
            now = max(now, table[number, R_AT])
            table[number, R_AT] = now
            while size and heap[0] <= now:
                size = pop(heap, size)
                flying -= 1
            offer(head, table, table[number, R_CHANNEL], number)
            flying += 1 - table[number, R_WRITE]
            number += 1
        if number == total:
            window = NEVER
        # No read that is not sent yet ends before a latency and a burst from now on: up to then all channels may go on
        # and nothing that is offered at an end comes too late.
        first = heap[0] if size and number < total else NEVER
        behind = NEVER
        for ch in range(channels):
            if head[ch, LEFT]:
                behind = min(behind, head[ch, NOW])
        busy = behind < first
        limit = min(first, behind + p[P_CL] + p[P_BURST])
        if number == total:
            limit = NEVER
        for ch in range(channels):
            if not busy or head[ch, LEFT] == 0:
                continue
            most = len(finished)
            if number == total:
                most = min(most, head[ch, LEFT])  # nothing is left behind the last, and its clock need not run on
            count, logged = advance(
                p, rules, head, ready, row, hits, acts, due, queues, scratch, table, ch, limit, most, finished, log,
                logged,
            )  # fmt: skip
            for k in range(count):
                if not table[finished[k], R_WRITE]:
                    size = push(heap, size, table[finished[k], R_DONE])
        if busy:
            continue
        if number == total:
            return logged
        now = max(now, heap[0])
        while size and heap[0] <= now:
            size = pop(heap, size)
            flying -= 1
