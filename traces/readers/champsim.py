"""Binary traces of instructions, as ChampSim reads them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import HEAD, ByteStream
from tiersim.traces.schema import FETCH, LOAD, STORE, Chunk

Variant = Literal["auto", "standard", "cloudsuite"]

STANDARD: Final = np.dtype(
    [
        ("ip", "<u8"),
        ("branch", "u1"),
        ("taken", "u1"),
        ("registers", "u1", 6),
        ("stores", "<u8", 2),
        ("loads", "<u8", 4),
    ]
)
CLOUDSUITE: Final = np.dtype(  # as a C compiler lays it out, with room between and after
    {
        "names": ["ip", "branch", "taken", "registers", "stores", "loads", "asid"],
        "formats": ["<u8", "u1", "u1", ("u1", 8), ("<u8", 4), ("<u8", 4), "<u2"],
        "offsets": [0, 8, 9, 10, 24, 56, 88],
        "itemsize": 96,
    }
)
FORMS: Final = {"standard": STANDARD, "cloudsuite": CLOUDSUITE}
BLOCK: Final = 192 << 12  # whole records of either, small enough to stay in the processor's cache
ADDRESS_BITS: Final = 57  # of virtual addresses; the bits above repeat the topmost


@register("champsim", family="reader", paper="https://github.com/ChampSim/ChampSim")
class ChampSim:
    """ChampSim's records of one instruction each: 64 bytes, or the 96 of the traces of CloudSuite.

    The addresses an instruction reads become loads, then those it writes stores; an address of 0 is none. The gap
    counts instructions. How many bytes are touched the format does not tell. ``cloudsuite`` has address spaces.
    """

    variant: Annotated[Variant, Param("which of the two; auto finds out")] = "auto"
    fetches: Annotated[bool, Param("keep the fetch of each instruction as a record before its loads")] = False
    size: Annotated[int, Param("bytes of each access", unit="bytes", ge=1, le=65535)] = 1

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the records can be instructions, only branches are taken, and one has an address."""
        found = _likely(head)
        if len(found) != 1:
            return False
        rows = _rows(head, FORMS[found[0]])
        # a program goes on where it is most of the time; other tables of numbers do not
        steps = np.diff(rows["ip"].astype(np.int64))
        flows = len(steps) < 32 or float((np.abs(steps) < 64).mean()) > 0.25
        return (
            flows and not (rows["taken"] > rows["branch"]).any() and bool(rows["loads"].any() or rows["stores"].any())
        )

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every access as a record of the access schema. Raises TraceError with record, byte offset and values."""
        form: np.dtype[Any] | None = None
        done = since = 0
        while data := stream.read(BLOCK):
            if form is None:
                form = self._form(data[:HEAD], source)
            rows = _rows(data, form)
            bad = np.flatnonzero(~_right(rows))
            if len(bad):
                raise _malformed(rows[int(bad[0])], source, done + int(bad[0]))
            chunk, since = self._records(rows, since)
            yield chunk
            done += len(rows)
            if left := len(data) % form.itemsize:
                stream.read(1)  # raises if it is the packing that breaks off
                raise TraceError(
                    f"{source}: record {done + 1:,} (byte {done * form.itemsize:,}) breaks off after {left} of "
                    f"{form.itemsize} bytes",
                    None,
                    "fetch the file again, cut it before this record, or say variant='standard' or 'cloudsuite'",
                )
        return since

    def _form(self, head: bytes, source: str) -> np.dtype[Any]:
        if self.variant != "auto":
            return FORMS[self.variant]
        found = _likely(head)
        if len(found) > 1:
            raise TraceError(
                f"{source}: records of 64 bytes and of 96 both make sense of the first {len(head):,} bytes (byte 0 on)",
                None,
                "say variant='standard' or variant='cloudsuite'",
            )
        return FORMS[found[0]] if found else STANDARD  # whose first wrong record is then the message

    def _records(self, rows: NDArray[Any], since: int) -> tuple[Chunk, int]:
        """The records of these instructions, and how many instructions come after the last of them."""
        parts = [rows["loads"], rows["stores"]]
        kinds = [LOAD] * parts[0].shape[1] + [STORE] * parts[1].shape[1]
        if self.fetches:
            parts.insert(0, rows["ip"][:, None])
            kinds.insert(0, FETCH)
        address = np.concatenate(parts, axis=1)
        held = np.flatnonzero(address)
        row, place = np.divmod(held, len(kinds))
        gap = np.diff(row, prepend=-1).astype(np.uint32)
        gap[:1] += np.uint32(since)
        made: Chunk = {
            "address": address.ravel()[held].astype(np.uint64),
            "size": np.full(len(held), self.size, np.uint16),
            "kind": np.array(kinds, np.uint8)[place],
            "gap": gap,
        }
        if "asid" in (rows.dtype.names or ()):
            made["asid"] = rows["asid"][row].astype(np.uint16)
        return made, len(rows) - 1 - int(row[-1]) if len(row) else since + len(rows)


def _rows(data: bytes, form: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(data, form, len(data) // form.itemsize)


def _likely(head: bytes) -> list[str]:
    """The variants that a file which begins so can have."""
    found = []
    for name, form in FORMS.items():
        rows = _rows(head, form)
        whole = len(head) >= HEAD or len(head) % form.itemsize == 0
        if len(rows) and whole and _right(rows).all():
            found.append(name)
    return found


def _right(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which records can be instructions."""
    made: NDArray[np.bool_] = (rows["branch"] <= 1) & (rows["taken"] <= 1) & (rows["ip"] != 0) & _canonical(rows["ip"])
    return made & _canonical(rows["loads"]).all(axis=1) & _canonical(rows["stores"]).all(axis=1)


def _canonical(address: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether the bits above those of a virtual address repeat its topmost."""
    half = np.uint64(1 << (ADDRESS_BITS - 1))
    right: NDArray[np.bool_] = (address + half) < half + half
    return right


def _malformed(row: Any, source: str, number: int) -> TraceError:
    size = row.dtype.itemsize
    wrong = [f"its {name} is {int(row[name])}" for name in ("branch", "taken") if row[name] > 1]
    if not int(row["ip"]):
        wrong.append("its ip is 0")
    for name in ("ip", "stores", "loads"):
        wrong += [
            f"one of its {name} is {int(held):#x}" for held in np.atleast_1d(row[name]) if not _canonical(held[None])[0]
        ]
    return TraceError(
        f"{source}: record {number + 1:,} (byte {number * size:,}) is not an instruction: {wrong[0]}",
        None,
        f"expected {size} bytes, little-endian: ip (u64, not 0), is_branch and taken (u8, 0 or 1), registers, and "
        f"addresses of {ADDRESS_BITS} bits; fetch the file again, say variant='standard' or 'cloudsuite', or name the "
        "format",
    )
