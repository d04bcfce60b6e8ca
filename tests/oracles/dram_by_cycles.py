"""DRAM cycle by cycle, in plain Python: every command ever sent is kept, and every rule is looked up in that list.

Written from the page of the controller (`tiersim.sim.queued.dram`) and from the names of JEDEC; slow, and knows nothing
of what the engine keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LONG = 100  # cycles that no rule of the tests reaches beyond


@dataclass
class Rules:
    """Timings in cycles, by JEDEC's names in small letters."""

    cl: int
    cwl: int
    burst: int
    rcd_read: int
    rcd_write: int
    rp: int
    ras: int
    rrd_s: int
    rrd_l: int
    faw: int
    ccd_s: int
    ccd_l: int
    ccd_l_write: int
    rtp: int
    wr: int
    wtr_s: int
    wtr_l: int
    read_to_write: int
    switch: int
    refi: int
    rfc: int


@dataclass
class Channel:
    """One channel: its history, its open rows, its queues of (number, bank, row)."""

    rules: Rules
    ranks: int
    groups: int
    banks: int
    buses: int
    act_commands: int
    column_commands: int
    high: int
    low: int
    cap: int
    closed: bool
    due: list[int]
    history: list[tuple[int, str, int, int]] = field(default_factory=list)  # cycle, command, bank, row
    row: dict[int, int] = field(default_factory=dict)
    hits: dict[int, int] = field(default_factory=dict)
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    writes: list[tuple[int, int, int]] = field(default_factory=list)
    writing: bool = False
    row_free: int = 0
    column_free: int = 0
    done: dict[int, int] = field(default_factory=dict)

    def group_of(self, bank: int) -> int:
        return bank // self.banks

    def rank_of(self, bank: int) -> int:
        return bank // (self.banks * self.groups)

    def may(self, now: int, command: str, bank: int) -> bool:
        """Whether timing lets a bank have a command now, by all that was sent before."""
        r = self.rules
        acts = []
        for cycle, first, other, _ in reversed(self.history):
            gap = now - cycle
            if gap > LONG:
                break
            same_bank = bank == other
            same_group = self.group_of(bank) == self.group_of(other)
            same_rank = self.rank_of(bank) == self.rank_of(other)
            need = 0
            if command == "ACT":
                if first == "ACT" and same_rank:
                    acts.append(cycle)
                    need = max(r.rrd_s, r.rrd_l if same_group else 0, r.ras + r.rp if same_bank else 0)
                    if len(acts) == 4:
                        need = max(need, r.faw)
                if (first == "PRE" and same_bank) or (first == "PREA" and same_rank):
                    need = r.rp
                if first == "REF" and same_rank:
                    need = r.rfc
            elif command in ("PRE", "PREA"):
                mine = same_bank if command == "PRE" else same_rank
                if mine:
                    need = {"ACT": r.ras, "RD": r.rtp, "WR": r.cwl + r.burst + r.wr}.get(first, 0)
            elif command == "REF" and same_rank:
                need = {"ACT": r.ras + r.rp, "PRE": r.rp, "PREA": r.rp, "REF": r.rfc}.get(first, 0)
            elif command == "RD":
                if first == "ACT" and same_bank:
                    need = r.rcd_read
                if first == "RD":
                    need = max(r.ccd_s, r.burst) if same_rank else r.burst + r.switch
                    need = max(need, r.ccd_l if same_group else 0)
                if first == "WR":
                    last = r.cwl + r.burst
                    need = last + r.wtr_s if same_rank else last + r.switch - r.cl
                    need = max(need, last + r.wtr_l if same_group else 0)
            elif command == "WR":
                if first == "ACT" and same_bank:
                    need = r.rcd_write
                if first == "WR":
                    need = max(r.ccd_s, r.burst) if same_rank else r.burst + r.switch
                    need = max(need, r.ccd_l_write if same_group else 0)
                if first == "RD":
                    need = r.cl + r.burst - r.cwl + (r.read_to_write if same_rank else r.switch)
            if gap < need:
                return False
        return True

    def send(self, now: int, command: str, bank: int) -> None:
        self.history.append((now, command, bank, self.row.get(bank, -1)))

    def step(self, now: int) -> None:
        """What happens at one cycle."""
        per_rank = self.groups * self.banks
        for rank in range(self.ranks):
            if self.due[rank] > now:
                continue
            own = range(rank * per_rank, (rank + 1) * per_rank)
            command = "PREA" if any(bank in self.row for bank in own) else "REF"
            if now < self.row_free or not self.may(now, command, own[0]):
                continue
            for bank in own:
                self.row.pop(bank, None)
            self.history.append((now, command, own[0], -1))
            self.row_free = now + 1
            if self.buses == 1:
                self.column_free = self.row_free
            if command == "REF":
                self.due[rank] += self.rules.refi
        if not self.writing and (len(self.writes) >= self.high or (not self.reads and self.writes)):
            self.writing = True
        elif self.writing and (not self.writes or (len(self.writes) <= self.low and self.reads)):
            self.writing = False
        queue = self.writes if self.writing else self.reads
        ready = [item for item in queue if self.due[self.rank_of(item[1])] > now]
        wants: list[tuple[int, int, int]] = []  # row hits that may go
        for place, item in enumerate(ready):
            _, bank, row = item
            older = any(b == bank and r != row for _, b, r in ready[:place])
            if self.row.get(bank) == row and not (self.hits[bank] >= self.cap and older):
                wants.append(item)
        column = "WR" if self.writing else "RD"
        if now >= self.column_free:
            for item in wants:
                if self.may(now, column, item[1]):
                    number, bank, _ = item
                    self.send(now, column, bank)
                    self.column_free = now + self.column_commands
                    if self.buses == 1:
                        self.row_free = self.column_free
                    latency = self.rules.cwl if self.writing else self.rules.cl
                    self.done[number] = now + latency + self.rules.burst
                    self.hits[bank] += 1
                    queue.remove(item)
                    ready.remove(item)
                    wants.remove(item)
                    break
        if now < self.row_free:
            return
        for _, bank, row in ready:
            if bank not in self.row:
                if self.may(now, "ACT", bank):
                    self.row[bank] = row
                    self.hits[bank] = 0
                    self.send(now, "ACT", bank)
                    self.row_free = now + self.act_commands
                    if self.buses == 1:
                        self.column_free = max(self.column_free, self.row_free)
                    return
            elif self.row[bank] != row and not any(b == bank for _, b, _ in wants) and self.may(now, "PRE", bank):
                self._close(now, bank)
                return
        if self.closed:
            both = [(bank, row) for _, bank, row in self.reads + self.writes]
            for bank in sorted(self.row):
                if (bank, self.row[bank]) in both or self.due[self.rank_of(bank)] <= now:
                    continue
                if self.may(now, "PRE", bank):
                    self._close(now, bank)
                    return

    def _close(self, now: int, bank: int) -> None:
        del self.row[bank]
        self.send(now, "PRE", bank)
        self.row_free = now + 1
        if self.buses == 1:
            self.column_free = max(self.column_free, self.row_free)
