"""Small files that hold very much: memory stays bounded, and what comes is one error or a stream that goes on.

Each is read in a process of its own whose resident memory is measured: how far it rises above that of the loaded
readers, which is what `MOST` bounds.
"""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import re
import struct
import time
import zipfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces import fuzz
from tests.traces.mutations import PACKERS
from tests.traces.test_compression import large_window
from tests.traces.test_recognition import OPTIONS, SAMPLES, put_beside
from tiersim._base.errors import TraceError
from tiersim.traces import chunks, store, stream_trace
from tiersim.traces.chunks import length, rechunk
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import REQUEST, Chunk

MOST = 600 << 20  # a line of JSON of 16 MiB that is all empty objects takes 450 MiB
RECORDS = 1 << 17
MIB = 1 << 20
READERS = fuzz.READERS[:-1]


def _peak(key: str = "VmHWM") -> int:
    found = re.search(key + r":\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) << 10


def reading(pipe: Connection, folder: str) -> None:
    """What the process does: reads each file that it is told of, and tells what came of it and what it took."""
    os.environ.update(TIERSIM_TRACE_MIRROR=folder, TIERSIM_CACHE=folder)
    for reader in READERS:
        fuzz.run_one(reader, 0, 0, Path(folder) / "input")
    base = _peak("VmRSS")
    while True:
        path, format, options = pipe.recv()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here on
        began, count, said = time.process_time(), 0, ""
        try:
            for chunk in stream_trace(path, format=format, **options).chunks():
                count += length(chunk)
                if count >= RECORDS:
                    count = RECORDS
                    break
        except TraceError as error:
            said = error.message
        except BaseException as error:
            said = f"!{type(error).__name__}: {error}"
        pipe.send((count, said, _peak() - base, time.process_time() - began))


class Bombs:
    """The process, and the folder that has the files."""

    def __init__(self, folder: Path) -> None:
        put_beside(folder)
        self.folder = folder
        spawning = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawning.Pipe()
        self.process = spawning.Process(target=reading, args=(theirs, str(folder)), daemon=True)
        self.process.start()

    def read(self, raw: bytes, format: str | None = None) -> tuple[int, str]:
        """How many records came, and the error. What must hold of every file is checked here."""
        path = self.folder / "bomb"
        path.write_bytes(raw)
        self.pipe.send((path, format, OPTIONS.get(format or "", {})))
        assert self.pipe.poll(300), "it hangs"
        count, said, peak, seconds = self.pipe.recv()
        print(f"{len(raw):,} bytes: {count:,} records in {seconds:.1f} s and {peak / MIB:.0f} MiB; {said}")
        assert peak < MOST
        assert not said.startswith("!")
        assert count or "bomb" in said
        return count, said


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bombs]:
    """One process for all of them."""
    made = Bombs(tmp_path_factory.mktemp("bombs"))
    yield made
    made.process.kill()
    made.process.join()


def members(name: str, piece: bytes, size: int) -> bytes:
    """A packed file of so many bytes: the same stream again and again."""
    return PACKERS[name](piece * (MIB // len(piece))) * (size // MIB)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("piece", [b"\0", b"1", b"[", b'"'])
def test_a_line_without_an_end(bombs: Bombs, name: str, piece: bytes) -> None:
    raw = members(name, piece, 64 * MIB)
    assert len(raw) < MIB // 2
    assert bombs.read(raw)[1]
    count, said = bombs.read(raw, "lirs")
    assert count == 0
    assert re.match(r"bomb: line 1 \(byte 0\) has more than [\d,]+ bytes", said)


@pytest.mark.parametrize("name", PACKERS)
def test_lines_without_end(bombs: Bombs, name: str) -> None:
    assert bombs.read(members(name, b"17\n", 64 * MIB), "lirs") == (RECORDS, "")
    assert "holds not one request in 8,388,608 bytes" in bombs.read(members(name, b"\n", 8 * MIB), "lirs")[1]


def test_packed_again_and_again(bombs: Bombs) -> None:
    raw = members("gzip", b"\0", 64 * MIB)
    for name in ("zstd", "xz", "bzip2", "gzip"):
        raw = PACKERS[name](raw)
    assert len(raw) < 4000
    assert "is not a trace" in bombs.read(raw)[1]


@pytest.mark.parametrize("packing", ["xz", "zstd"])
def test_a_large_window(bombs: Bombs, packing: str) -> None:
    assert "needs more memory to unpack" in bombs.read(large_window(packing))[1]


def test_a_stream_of_nothing(bombs: Bombs) -> None:
    for name, pack in PACKERS.items():
        assert "is empty" in bombs.read(pack(b"") * 20_000)[1], name


@pytest.mark.parametrize("reader", READERS)
def test_every_reader(bombs: Bombs, reader: str) -> None:
    """A line without an end after the first line, or inside the last; blank lines; lines again and again."""
    sample = SAMPLES[reader]
    first, last = sample.splitlines(keepends=True)[0], sample.splitlines(keepends=True)[-1]
    for head, piece, size in (
        (first, b"1", 20),
        (sample.rstrip(b"}]\n ") + b", ", b"[0, ", 2),
        (first, b"\n", 2),
        (first, last[: MIB // 2], 2),
        (b"", last[: MIB // 2], 2),
    ):
        bombs.read(gzip.compress(head) + members("gzip", piece, size * MIB), reader)


def many_things(reader: str, piece: bytes) -> bytes:
    """A line as long as one may be, of what takes the most memory for its length."""
    line = SAMPLES[reader].splitlines()[0]
    at = line.index(b"{") + 1
    return line[:at] + b'"x": [' + b",".join([piece] * ((15 * MIB) // (len(piece) + 1))) + b"], " + line[at:] + b"\n"


@pytest.mark.parametrize("piece", [b"{}", b'{"a":1}'])
@pytest.mark.parametrize("reader", ["mooncake", "mooncake-requests"])
def test_a_line_of_many_things(bombs: Bombs, reader: str, piece: bytes) -> None:
    assert bombs.read(gzip.compress(many_things(reader, piece), 1), reader) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_with_more(bombs: Bombs, reader: str) -> None:
    sample = SAMPLES[reader]
    first, last = sample.splitlines(keepends=True)[0], sample.splitlines(keepends=True)[-1]
    for head, piece in (
        (first, b"\n"),
        (sample, b" "),
        (sample.rstrip(b"}]\n ") + b", ", b"[0, "),
        (b"", b"["),
        (first, last[: MIB // 2]),
    ):
        bombs.read(gzip.compress(head) + members("gzip", piece, 20 * MIB), reader)
    if b"{" in first:
        for piece in (b"{}", b"[]", b'{"a":1}', b"1.5"):
            bombs.read(gzip.compress(many_things(reader, piece), 1), reader)


# Archives of arrays


def archive(experts: bytes, shape: str, size: int | None = None) -> bytes:
    """An archive as numpy saves it, whose experts have this header and these bytes; and are said to be so many."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}".ljust(117) + "\n"
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
        out.writestr("experts.npy", start + experts)
        tokens = min(int(shape.split(",")[0]), 2**62)
        for name, held in (("offsets.npy", np.array([0, tokens])), ("prompts.npy", np.array(["a"]))):
            with out.open(name, "w") as file:
                np.lib.format.write_array(file, held)
    raw = made.getvalue()
    if size is not None:
        raw = raw.replace(struct.pack("<I", len(start) + len(experts)), struct.pack("<I", size))
    return raw


@pytest.mark.parametrize(
    ("shape", "held", "size"),
    [
        ("4294967296, 65536, 65536", 8, None),
        ("4, 1073741824, 1", 8, None),
        ("99999999999999999999999999, 1, 1", 8, None),
        ("4, 1, 2", 64 * MIB, None),
        ("4, 1, 2", 8, 2**32 - 2),
        ("536870888, 1, 8", 8, 2**32 - 64),
        (f"{32 * MIB}, 4, 2", 64 * MIB, None),
    ],
)
def test_archives_that_lie(bombs: Bombs, shape: str, held: int, size: int | None) -> None:
    count, said = bombs.read(archive(bytes(held), shape, size), "moe-npz")
    assert count == 0
    assert said


# Our own Parquet


def parquet(path: Path, schema: str, kind: str, columns: dict[str, Any], rows: int | None = None) -> bytes:
    """A file that says that it is a trace of so many records."""
    told = len(next(iter(columns.values()))) if rows is None else rows
    about = {"schema": schema, "version": 1, "units": {}, "kinds": {kind: told}, "instructions": 0, "provenance": {}}
    form = pa.schema([pa.field(name, column.type, nullable=False) for name, column in columns.items()])
    with pq.ParquetWriter(path, form, compression="zstd", store_schema=False, write_page_checksum=True) as out:
        out.write_table(pa.table(list(columns.values()), schema=form), row_group_size=1 << 30)
        out.add_key_value_metadata({"tiersim": json.dumps(about)})
    return path.read_bytes()


def repeated(text: str, times: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([text]))


def test_a_long_text_that_is_repeated(bombs: Bombs, tmp_path: Path) -> None:
    raw = parquet(tmp_path / "t", "query", "query", {"text": repeated("x" * MIB, 1000)})
    assert len(raw) < 1000
    assert bombs.read(raw) == (1000, "")


def test_rows_without_end(bombs: Bombs, tmp_path: Path) -> None:
    flat = {name: pa.array(np.ones(1 << 22, kind)) for name, kind in {"source": np.uint64, "target": np.uint64}.items()}
    raw = parquet(tmp_path / "t", "edge", "edge", flat)
    assert len(raw) < 50_000
    assert bombs.read(raw) == (RECORDS, "")


@pytest.mark.parametrize("rows", [0, 5, 2**40, 2**63 - 1, -1])
def test_rows_that_are_not_there(bombs: Bombs, tmp_path: Path, rows: int) -> None:
    raw = parquet(tmp_path / "t", "query", "query", {"text": repeated("x", 100)}, rows)
    assert "is damaged" in bombs.read(raw)[1]


LISTS = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=30)


@given(LISTS, st.integers(1, 40), st.integers(1, 12))
def test_chunks_of_long_lists_are_shorter(rows: list[list[int]], cut: int, records: int) -> None:
    whole = {"blocks": Ragged.of(rows), "input": np.arange(len(rows), dtype=np.uint32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "NUMBERS", 10)
        made = list(rechunk([whole], records))
        again = list(rechunk(rechunk([whole], cut), records))
    assert joined([chunk["blocks"] for chunk in made]).values.tolist() == [key for row in rows for key in row]
    assert np.concatenate([chunk["input"] for chunk in made]).tolist() == list(range(len(rows)))
    for chunk, after in zip(made, [*made[1:], None]):
        held = len(chunk["blocks"].values)
        assert length(chunk) <= records
        assert held <= 10 or length(chunk) == 1
        assert after is None or length(chunk) == records or held + after["blocks"].counts[0] > 10
    assert list(map(length, again)) == list(map(length, made))  # however the records came


@settings(deadline=None, max_examples=30)
@given(LISTS, st.integers(1, 40))
def test_groups_of_long_lists_are_smaller(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]], cut: int
) -> None:
    whole: Chunk = {
        "input": np.ones(len(rows), np.uint32),
        "output": np.ones(len(rows), np.uint32),
        "blocks": Ragged.of(rows),
    }
    folder = tmp_path_factory.mktemp("groups")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "NUMBERS", 10)
        patch.setattr(store, "NUMBERS", 10)
        for name, size in (("a", cut), ("b", len(rows))):
            with store.Writer(folder / name, schema=REQUEST) as out:
                for start in range(0, len(rows), size):
                    out.append({column: values[start : start + size] for column, values in whole.items()})
        trace = store.StoredTrace(folder / "a")
        made = list(trace.chunks())
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert joined([chunk["blocks"] for chunk in made]).values.tolist() == [key for row in rows for key in row]
    assert all(len(chunk["blocks"].values) <= 10 or length(chunk) == 1 for chunk in made)
    about = pq.read_metadata(folder / "a")
    sizes = [about.row_group(place).num_rows for place in range(about.num_row_groups)]
    assert sizes == list(map(length, made))


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("piece", [b"\0", b"\n", b"1"])
@pytest.mark.parametrize("reader", ["lirs", "mooncake-requests"])
def test_gigabytes(bombs: Bombs, name: str, piece: bytes, reader: str) -> None:
    assert bombs.read(members(name, piece, 2 << 30), reader)[1]
