"""DRAM by its commands: channels, ranks, bank groups, open rows, refresh, turning the bus round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import Quantity
from tiersim.sim.queued import SECOND, dram

__all__ = ["FIELDS", "Controller", "Dram", "Places", "Served", "Timing", "constraints", "serve", "shape_of"]

FIELDS: Final = ("channel", "group", "column", "bank", "rank", "row")
LINE: Final = 64  # bytes of a request
TIME: Final = "time|cycles"

Ints = NDArray[np.int64]


@config
class Timing:
    """What a DRAM device demands, in the names of JEDEC; a time is rounded up to whole cycles of the command clock."""

    cl: Annotated[Quantity, Param("from a read to its first data (CL, RL)", unit=TIME, ge=0)]
    cwl: Annotated[Quantity, Param("from a write to its first data (CWL, WL)", unit=TIME, ge=0)]
    burst: Annotated[Quantity, Param("of the data of a read or write on its bus (BL)", unit=TIME, ge=0)]
    rcd_read: Annotated[Quantity, Param("from opening a row to a read (tRCD)", unit=TIME, ge=0)]
    rcd_write: Annotated[Quantity, Param("from opening a row to a write (tRCD)", unit=TIME, ge=0)]
    rp: Annotated[Quantity, Param("from closing a row to opening one (tRP)", unit=TIME, ge=0)]
    ras: Annotated[Quantity, Param("from opening a row to closing it (tRAS)", unit=TIME, ge=0)]
    rrd_s: Annotated[Quantity, Param("between opening rows of two bank groups (tRRD_S)", unit=TIME, ge=0)]
    rrd_l: Annotated[Quantity, Param("between opening rows of one bank group (tRRD_L)", unit=TIME, ge=0)]
    faw: Annotated[Quantity, Param("in which a rank opens at most four rows (tFAW)", unit=TIME, ge=0)]
    ccd_s: Annotated[Quantity, Param("between reads, or writes, of two bank groups (tCCD_S)", unit=TIME, ge=0)]
    ccd_l: Annotated[Quantity, Param("between reads of one bank group (tCCD_L)", unit=TIME, ge=0)]
    ccd_l_write: Annotated[Quantity, Param("between writes of one bank group (tCCD_L_WR)", unit=TIME, ge=0)]
    rtp: Annotated[Quantity, Param("from a read to closing its row (tRTP)", unit=TIME, ge=0)]
    wr: Annotated[Quantity, Param("from the last data of a write to closing its row (tWR)", unit=TIME, ge=0)]
    wtr_s: Annotated[Quantity, Param("from the last data of a write to a read elsewhere (tWTR_S)", unit=TIME, ge=0)]
    wtr_l: Annotated[Quantity, Param("from the last data of a write to a read of its group (tWTR_L)", unit=TIME, ge=0)]
    read_to_write: Annotated[Quantity, Param("idle data bus between a read and a write", unit=TIME, ge=0)]
    switch: Annotated[Quantity, Param("idle data bus between two ranks (tRTRS, tCS)", unit=TIME, ge=0)]
    refi: Annotated[Quantity, Param("from one refresh of a rank to the next (tREFI); 0: none", unit=TIME, ge=0)]
    rfc: Annotated[Quantity, Param("that a refresh takes (tRFC)", unit=TIME, ge=0)]
    act_commands: Annotated[int, Param("cycles of the command bus that opening a row takes", ge=1, le=4)] = 1
    column_commands: Annotated[int, Param("cycles of the command bus that a read or write takes", ge=1, le=4)] = 1


@config
class Controller:
    """How a channel's requests are chosen (FR-FCFS: row hits first, then the oldest)."""

    queue: Annotated[int, Param("reads, and as many writes, that a channel holds", ge=2, le=256)] = 32
    high: Annotated[int, Param("writes at which they are served", ge=1)] = 24
    low: Annotated[int, Param("writes that are left when reads are served again", ge=0)] = 8
    cap: Annotated[int, Param("row hits after which an older request for another row goes first", ge=1)] = 16
    rows: Annotated[Literal["open", "closed"], Param("whether a row that nobody waits for is closed")] = "open"
    latency: Annotated[int, Param("of the way to the memory and back, and of the controller", unit="time", ge=0)] = 0


@config
class Dram:
    """A DRAM memory: equal channels of banks, and a controller each.

    A request is a line of 64 bytes of one channel: as many bursts of ``access`` bytes, of one row, as that takes.
    """

    channels: Annotated[int, Param("independent channels; of HBM its pseudo-channels", ge=1, le=1024)]
    ranks: Annotated[int, Param("ranks of a channel; of HBM its stack IDs", ge=1, le=16)]
    groups: Annotated[int, Param("bank groups of a rank", ge=1, le=16)]
    banks: Annotated[int, Param("banks of a bank group", ge=1, le=16)]
    rows: Annotated[int, Param("rows of a bank", unit="count", ge=1)]
    row: Annotated[int, Param("bytes of a row, over all the chips of a rank", unit="bytes", ge=LINE)]
    access: Annotated[int, Param("bytes of a read or write", unit="bytes", ge=8)]
    frequency: Annotated[int, Param("of the command clock", unit="frequency", ge=1)]
    timing: Annotated[Timing, Param("what the device demands")]
    buses: Annotated[Literal[1, 2], Param("command buses: 2 where rows and columns have one each, as in HBM")] = 1
    controller: Annotated[Controller, Param("how requests are chosen")] = field(default_factory=Controller)
    mapping: Annotated[
        tuple[Literal["channel", "group", "column", "bank", "rank", "row"], ...],
        Param("what the bits of an address above those of a line mean, lowest first; each once"),
    ] = ("channel", "group", "column", "bank", "rank", "row")
    hashed: Annotated[bool, Param("whether bank and group are mixed with the low bits of the row")] = False

    @property
    def capacity(self) -> int:
        """Bytes in all."""
        return self.channels * self.ranks * self.groups * self.banks * self.rows * self.row

    @property
    def bandwidth(self) -> int:
        """Bytes a second that the pins carry, of all channels."""
        return self.channels * self.access * self.frequency // self.cycles("burst")

    def cycles(self, name: str) -> int:
        """A timing in cycles of the command clock; a time is rounded up."""
        said: Quantity = getattr(self.timing, name)
        amount = int(said.amount)
        return amount if said.dimension == "cycles" else -(-amount * self.frequency // SECOND)

    def picoseconds(self, cycles: int) -> int:
        """So many cycles in picoseconds, rounded down once."""
        return cycles * SECOND // self.frequency


@dataclass(frozen=True)
class Places:
    """Where requests go: channel, bank (numbered through the ranks and groups of a channel) and row of each."""

    channel: Ints
    bank: Ints
    row: Ints


def constraints(memory: Dram) -> list[tuple[str, str, str, str, int]]:
    """Every rule between two commands: name, scope, first, then, and the cycles that must lie between.

    The four-activation window is not among them: it looks further back.
    """
    get = memory.cycles
    cl, cwl, burst = get("cl"), get("cwl"), get("burst")
    turn = get("read_to_write")
    switch = get("switch")
    rows = [
        ("tRCD", "bank", "ACT", "RD", get("rcd_read")),
        ("tRCD", "bank", "ACT", "WR", get("rcd_write")),
        ("tRAS", "bank", "ACT", "PRE", get("ras")),
        ("tRC", "bank", "ACT", "ACT", get("ras") + get("rp")),
        ("tRP", "bank", "PRE", "ACT", get("rp")),
        ("tRTP", "bank", "RD", "PRE", get("rtp")),
        ("tWR", "bank", "WR", "PRE", cwl + burst + get("wr")),
        ("tRRD_L", "group", "ACT", "ACT", get("rrd_l")),
        ("tCCD_L", "group", "RD", "RD", get("ccd_l")),
        ("tCCD_L_WR", "group", "WR", "WR", get("ccd_l_write")),
        ("tWTR_L", "group", "WR", "RD", cwl + burst + get("wtr_l")),
        ("tRRD_S", "rank", "ACT", "ACT", get("rrd_s")),
        ("tCCD_S", "rank", "RD", "RD", max(get("ccd_s"), burst)),
        ("tCCD_S", "rank", "WR", "WR", max(get("ccd_s"), burst)),
        ("tRTW", "rank", "RD", "WR", cl + burst + turn - cwl),
        ("tWTR_S", "rank", "WR", "RD", cwl + burst + get("wtr_s")),
        ("tRC", "rank", "ACT", "REF", get("ras") + get("rp")),
        ("tRP", "rank", "PRE", "REF", get("rp")),
        ("tRP", "rank", "PREA", "REF", get("rp")),
        ("tRP", "rank", "PREA", "ACT", get("rp")),
        ("tRFC", "rank", "REF", "ACT", get("rfc")),
        ("tRFC", "rank", "REF", "REF", get("rfc")),
        ("tRTRS", "others", "RD", "RD", burst + switch),
        ("tRTRS", "others", "WR", "WR", burst + switch),
        ("tRTRS", "others", "RD", "WR", cl + burst + switch - cwl),
        ("tRTRS", "others", "WR", "RD", cwl + burst + switch - cl),
    ]
    return [(name, scope, first, then, max(wait, 0)) for name, scope, first, then, wait in rows]


def shape_of(memory: Dram) -> dram.Shape:
    """The memory as the engine sees a channel of it. Raises StudyError for what does not fit together."""
    if sorted(memory.mapping) != sorted(FIELDS):
        raise _wrong("mapping", f"a mapping names each of {', '.join(FIELDS)} once, and is {', '.join(memory.mapping)}")
    for name, size in (("row", memory.row), ("access", memory.access)):
        if size & (size - 1):
            raise _wrong(name, f"{size} bytes are no power of two")
    if memory.access > LINE:
        raise _wrong("access", f"a request is a line of {LINE} bytes, and an access would be of {memory.access}")
    own = memory.controller
    if not own.low < own.high <= own.queue:
        raise _wrong("controller", f"writes are served from {own.high} down to {own.low}, of a queue of {own.queue}")
    refi, rfc = memory.cycles("refi"), memory.cycles("rfc")
    if refi and refi <= rfc + memory.cycles("rp"):
        raise _wrong("timing", f"a refresh every {refi} cycles that takes {rfc} leaves no time for anything else")
    if not memory.cycles("burst"):
        raise _wrong("timing", "a burst takes a cycle or more")
    act, column = memory.timing.act_commands, memory.timing.column_commands
    return dram.Shape(
        ranks=memory.ranks,
        groups=memory.groups,
        banks=memory.banks,
        read_latency=memory.cycles("cl"),
        write_latency=memory.cycles("cwl"),
        burst=memory.cycles("burst"),
        window=memory.cycles("faw"),
        refresh_every=refi,
        refresh_first=refi,
        constraints=tuple(
            (dram.SCOPES.index(scope), dram.COMMANDS.index(first), dram.COMMANDS.index(then), wait)
            for _, scope, first, then, wait in constraints(memory)
        ),
        occupancy=(act, 1, column, column, 1, 1),
        buses=memory.buses,
        queue=own.queue,
        high=own.high,
        low=own.low,
        cap=own.cap,
        closed=own.rows == "closed",
    )


def _wrong(key: str, message: str) -> StudyError:
    error = StudyError(message)
    error.path = (key,)
    return error


def sizes_of(memory: Dram) -> dict[str, int]:
    """How many values each field of an address has."""
    return {
        "channel": memory.channels,
        "group": memory.groups,
        "column": memory.row // LINE,
        "bank": memory.banks,
        "rank": memory.ranks,
        "row": memory.rows,
    }


def places(memory: Dram, lines: Ints) -> Places:
    """Where lines are, by their numbers (addresses over 64); numbers beyond the capacity begin again."""
    sizes = sizes_of(memory)
    rest = lines.astype(np.int64, copy=False)
    held: dict[str, Ints] = {}
    for name in memory.mapping:
        rest, held[name] = np.divmod(rest, sizes[name])
    group, bank, row = held["group"], held["bank"], held["row"]
    if memory.hashed:
        group = (group + row) % memory.groups
        bank = (bank + row // memory.groups) % memory.banks
    return Places(held["channel"], (held["rank"] * memory.groups + group) * memory.banks + bank, row)


@dataclass
class Served:
    """What became of requests, in cycles: when each was sent, joined a queue, and had its data; and counts."""

    sent: Ints
    begun: Ints
    done: Ints
    counts: dict[str, int]
    log: Ints

    def bandwidth(self, memory: Dram) -> float:
        """Bytes a second, from the first request to the last data."""
        span = int(self.done.max() - self.sent.min())
        return len(self.done) * LINE * memory.frequency / span


def serve(
    memory: Dram,
    lines: Ints,
    *,
    arrival: Ints | None = None,
    write: NDArray[np.bool_] | None = None,
    window: int = 1 << 40,
    log: int = 0,
) -> Served:
    """Send requests for lines, by number, through the memory in their order.

    ``arrival`` is the cycle before which each does not come (all at once unless said), ``window`` how many reads are
    under way at most, 1 for a chase of pointers. ``log`` is how many commands are kept. Raises AuditError when the
    counts contradict each other, StudyError for a memory that cannot be.
    """
    count = len(lines)
    held = dram.new_channels(shape_of(memory), memory.channels)
    at = places(memory, lines)
    parts = LINE // memory.access
    table = np.zeros((count, dram.R_FIELDS), np.int64)
    table[:, dram.R_CHANNEL], table[:, dram.R_BANK], table[:, dram.R_ROW] = at.channel, at.bank, at.row
    table[:, dram.R_PARTS] = parts
    if write is not None:
        table[:, dram.R_WRITE] = write
    if arrival is not None:
        table[:, dram.R_AT] = np.maximum.accumulate(arrival)
    kept = np.zeros((log, 4), np.int64)
    drive: Any = dram.drive  # its first arguments are the arrays of the channels
    finished = np.zeros(1 << 12, np.int64)
    logged = drive(*held.arrays, table, window, finished, np.zeros(count + 1, np.int64), kept)
    counts = held.counts()
    if table[:, dram.R_PARTS].any() or counts["reads"] + counts["writes"] != count * parts:
        raise AuditError(f"of {count} requests of {parts} bursts {counts['reads'] + counts['writes']} were served")
    return Served(table[:, dram.R_AT], table[:, dram.R_BEGUN], table[:, dram.R_DONE], counts, kept[:logged])
