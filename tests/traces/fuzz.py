"""Fuzzing of every reader: files that are nearly right give one clear error or a right result, and nothing else.

    python -m tests.traces.fuzz --inputs 1000000 --seed 0 --record docs/explanation/fuzzing.txt
    python -m tests.traces.fuzz --reader lirs --seed 0 --number 4711      one input again, shown

An input is a valid file of a reader (`SAMPLES` of the tests of recognition, and more below), changed and perhaps packed
(`tests.traces.mutations`), read through the front door: by its own reader, by the one that recognises it, or by a
wrong one. Reader, seed and number tell an input; nothing else does. What must hold of each:

- it ends in a TraceError or StudyError of one printable line that names the file, with a remedy; or in records that fit
  their schema, of the same columns throughout, and whose counts the trace tells afterwards;
- in blocks of another size, and packed, the same bytes give the same error or the same records;
- where there is a plain parser of the format among the tests, it agrees;
- no warning, no other exception, at most `SECONDS` of CPU time and `MEMORY` more than the readers themselves take.

The inputs run in processes of their own, so that a crash or a hang is found, and told with its input.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args, get_origin

import numpy as np

from tests.traces import test_access_text
from tests.traces.mutations import PACKERS, damaged, mutated, nested
from tests.traces.test_recognition import OPTIONS, SAMPLES, put_beside
from tiersim._base.errors import StudyError, TraceError
from tiersim._base.params import params
from tiersim._base.registry import index, load
from tiersim.traces import direct, foreign, stream_trace
from tiersim.traces.chunks import length
from tiersim.traces.compression import FORMATS
from tiersim.traces.direct import DirectTrace
from tiersim.traces.ragged import Ragged
from tiersim.traces.readers import requests, text
from tiersim.traces.schema import ACCESS, QUERY, REQUEST, SCHEMAS, Chunk, Schema
from tiersim.traces.store import Writer

SECONDS = 10  # of CPU time an input; a process that is silent three times as long is killed
MEMORY = 1 << 30  # of address space, beyond what a process has when all readers are loaded
RECORDS = 1 << 17  # a stream that has come as far goes on; a line of the ARC traces can stand for 16 million requests
BATCH = 200  # inputs between two reports of a process
LONG = 1 << 14  # bytes of a sample that shows no more than half of so many would
LONGEST_MESSAGE = 1500
COLUMNWISE = (", column ", " columns, and line 1 has ")  # in messages of tables that are read one column after another
MAGIC = tuple(start for start, *_ in FORMATS)
STORED = "tiersim"  # our own Parquet, which has no reader
READERS = [*sorted({entry.name for entry in index("reader").values()} & SAMPLES.keys()), STORED]

CALL = {"t": 0.5, "type": "n", "model": "m", "in": 70, "out": 5, "hash_ids": [1, 2]}
# valid files beside the samples, for what those do not show
MORE: dict[str, list[bytes]] = {
    "arc": [b"0 1 0 0\n18446744073709551615 1 0 1\n5 200 9 2\n"],
    "burstgpt": [
        b"Timestamp,Session ID,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,s1,GPT-4,4,8,12,API log\n",
        b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,A,4,8,12,a\n7.25,B,4,0,4,b\n",
    ],
    "claude-sessions": [
        json.dumps(
            {
                "id": "s",
                "block_size": 64,
                "hash_id_scope": "local",
                "requests": [CALL, {"t": 2.0, "type": "subagent", "requests": [CALL, CALL]}],
            }
        ).encode()
    ],
    "dinero": [b"r 4001f0 4\nw 7fffe8 8\ni 7ffff0 4\n0 10\n"],
    "dramsim": [b"0x10 P_MEM_RD 1\n0x20 P_MEM_WR 2\n30 P_FETCH 9\n"],
    "lackey": [
        b"==12== Lackey, an example Valgrind tool\n==12==\n S 7ff0,4\n M 04222ca0,8\nI  0400,3\n==12== Counted\n"
    ],
    "lirs": [b"17\n*\n18446744073709551615\r\n 3 \n"],
    "object-csv": [
        b"time,id,size,op,ttl,tenant,cost\n0.5,a,3,get,10,1,1.5\n1,007,4,set,0,2,1e3\n1.000000001,9,0,delete,1,0,0.1\n",
        b'timestamp,key,op\n1,"a,b",read\n2,"c",write\n',
    ],
    "ramulator": [b"LD 0x40\nST 64\n" * 3, b"0x12345680 R\n4cbd56c0 W\n" * 3],
}
CHUNKS: list[tuple[Schema, Chunk]] = [
    (
        ACCESS,
        {
            "address": np.arange(20, dtype=np.uint64) << 40,
            "size": np.full(20, 8, np.uint16),
            "kind": np.arange(20, dtype=np.uint8) % 4,
            "gap": np.ones(20, np.uint32),
        },
    ),
    (
        REQUEST,
        {
            "input": np.arange(3, dtype=np.uint32),
            "output": np.ones(3, np.uint32),
            "blocks": Ragged.of([[1, 2], [], [2**64 - 1]]),
        },
    ),
    (QUERY, {"text": Ragged.texts(["how", "", "why \u00e4"]), "time": np.arange(3)}),
]
PLAIN: dict[str, Callable[[bytes], Any]] = {
    name: lambda raw, name=name: test_access_text.plain(name, raw)  # type: ignore[misc]
    for name in test_access_text.PLAIN
}


@dataclass(frozen=True)
class Input:
    """A file to read: its bytes, what they unpack to if they do, and how it is read."""

    raw: bytes
    plain: bytes | None
    format: str | None
    options: dict[str, Any]
    draws: int  # of the further checks


@dataclass(frozen=True)
class Outcome:
    """How many records there are and a hash of them, or the error."""

    records: int
    digest: str = ""
    error: str = ""


class FaultError(Exception):
    """What must not come of any input."""


class SlowError(BaseException):
    """An input that takes longer than it may; no reader catches it."""


@cache
def valid(reader: str) -> list[bytes]:
    """The valid files that inputs of a reader are made of."""
    if reader == STORED:
        return [_stored(schema, chunk) for schema, chunk in CHUNKS]
    sample = SAMPLES[reader]
    return [sample if len(sample) < LONG else sample[: LONG // 2], *MORE.get(reader, [])]


def _stored(schema: Schema, chunk: Chunk) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "trace.parquet"
        with Writer(path, schema=schema) as out:
            out.append(chunk)
        return path.read_bytes()


def make(reader: str, seed: int, number: int) -> Input:
    """An input of a reader."""
    draw = Random(f"{reader} {seed} {number}")
    plain = mutated(draw, valid(reader), list(SAMPLES.values()))
    if reader == STORED:
        return Input(plain, None, None, {}, draw.getrandbits(32))
    raw, whole = plain, None
    how = draw.random()
    if how < 0.1:
        name = draw.choice(sorted(PACKERS))
        raw = PACKERS[name](plain)
        if how < 0.05:
            raw = damaged(draw, raw)
        else:
            whole = plain
    elif how < 0.12:
        raw = nested(draw, plain)
    who = draw.random()
    format = reader if who < 0.7 else None if who < 0.95 else draw.choice(READERS[:-1])
    options = dict(OPTIONS.get(format or "", {}))
    if format is not None and draw.random() < 0.5:
        options |= _options(draw, format)
    return Input(raw, whole, format, options, draw.getrandbits(32))


def _options(draw: Random, reader: str) -> dict[str, Any]:
    """Options that a reader takes: some of those with few values, or that are whole numbers."""
    return {name: draw.choice(values) for name, values in _choices(reader).items() if draw.random() < 0.3}


@cache
def _choices(reader: str) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {}
    for item, hint, param in params(load("reader", reader)):
        values = list(_values(hint))
        if not values and "int" in str(hint) and param is not None and param.ge is not None:
            least = int(param.ge)
            most = least + 65535 if param.le is None else param.le
            values = [each for each in (least, least + 1, least + 2, 64, 4096, 65535) if least <= each <= most]
        if values:
            made[item.name] = values
    return made


def _values(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif hint is bool:
        yield from (False, True)
    else:
        for inner in get_args(hint)[:1] if hasattr(hint, "__metadata__") else get_args(hint):
            yield from _values(inner)


def check(made: Input, path: Path) -> Outcome:
    """What comes of an input, written to this path. Raises FaultError, or whatever else it should not."""
    path.write_bytes(made.raw)
    found = read(path, made.format, made.options)
    content = made.raw if made.plain is None else made.plain
    if made.plain is not None:
        path.write_bytes(content)
        _same("unpacked", found, read(path, made.format, made.options))
    if content.startswith((*MAGIC, b"PAR1")):  # and damaged, or packed twice: what is inside is not known
        return found
    if made.draws % 8 == 0:
        with small_blocks(content, made.draws):
            _same("in small blocks", found, read(path, made.format, made.options))
    if made.format in PLAIN and not made.options and len(content) < 5000:
        _as_plain(made.format, content, found)
    return found


def read(path: Path, format: str | None, options: dict[str, Any]) -> Outcome:
    """The outcome of reading a file, which must be one of the two that are right."""
    hashes: dict[str, list[Any]] = {}  # of the values of each column, and of how many a record has
    count = 0
    try:
        trace = stream_trace(path, format=format, **options)
        schema = SCHEMAS[trace.schema]
        # as the reader makes them: cutting into other sizes takes the columns of the first for those of all
        for chunk in trace._counted(trace._found.records()) if isinstance(trace, DirectTrace) else trace.chunks():
            right = schema.check(chunk, path.name)
            hashes = hashes or {name: [hashlib.blake2b(digest_size=16) for _ in range(2)] for name in right}
            if list(right) != list(hashes):
                raise FaultError(f"the columns {list(hashes)} become {list(right)} after record {count:,}")
            for name, held in right.items():
                parts = [
                    (each.values, each.counts) if isinstance(each, Ragged) else (each,) for each in (chunk[name], held)
                ]
                for made, wanted, digest in zip(*parts, hashes[name]):
                    if made.dtype != wanted.dtype:
                        raise FaultError(f"{name} is {made.dtype}, not {wanted.dtype}")
                    digest.update(made.tobytes())
            count += length(chunk)
            if count >= RECORDS:
                return Outcome(RECORDS)
        if not count or trace.records != count or sum(trace.kinds.values()) != count:
            raise FaultError(f"{count} records were read, and the trace tells of {trace.records}: {trace.kinds}")
    except (TraceError, StudyError) as error:
        _clear(error, path.name)
        return Outcome(0, error=error.message)
    said = [f"{name} {values.hexdigest()} {counts.hexdigest()}" for name, (values, counts) in hashes.items()]
    return Outcome(count, f"{said} {trace.instructions}")


def _clear(error: TraceError | StudyError, name: str) -> None:
    """Raise for a message that does not say where, or not what to do, or not in one line."""
    said = error.message
    if name not in said:
        raise FaultError(f"the message does not name the file: {said!r}")
    if not error.remedy:
        raise FaultError(f"the message has no remedy: {said!r}")
    if not (said + error.remedy).isprintable() or len(said) + len(error.remedy) > LONGEST_MESSAGE:
        raise FaultError(f"the message is not one line that can be printed: {said[:300]!r} {error.remedy[:300]!r}")


def _same(how: str, first: Outcome, other: Outcome) -> None:
    if RECORDS in (first.records, other.records):  # an error that comes later is met in one of them only
        return
    columnwise = any(mark in first.error + other.error for mark in COLUMNWISE)
    if bool(first.error) != bool(other.error) or (not columnwise and first != other):
        raise FaultError(f"{how} it gives another outcome: {first} and then {other}")


@contextmanager
def small_blocks(raw: bytes, draws: int) -> Iterator[None]:
    """Readers of text read it in blocks that hold the longest line and not much more."""
    size = max(map(len, raw.split(b"\n"))) + 1 + draws % 97
    held = text.BLOCK, requests.LONGEST
    text.BLOCK, requests.LONGEST = size, size  # type: ignore[misc]
    try:
        yield
    finally:
        text.BLOCK, requests.LONGEST = held  # type: ignore[misc]


def _as_plain(reader: str, raw: bytes, found: Outcome) -> None:
    wanted = PLAIN[reader](raw)
    rows = None if wanted is None else len(wanted[0])
    if (rows or None) != (None if found.error else found.records):
        raise FaultError(f"a plain parser reads {rows} records, and the reader {found}")


# Processes


@dataclass
class Tally:
    """What came of the inputs of a reader."""

    inputs: int = 0
    accepted: int = 0
    records: int = 0
    slowest: float = 0.0
    slowest_number: int = 0
    peak: int = 0  # bytes that the process held at most
    peak_number: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count these too."""
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.records += other.records
        self.faults += other.faults
        if other.slowest > self.slowest:
            self.slowest, self.slowest_number = other.slowest, other.slowest_number
        if other.peak > self.peak:
            self.peak, self.peak_number = other.peak, other.peak_number


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes each thing once: what depends on no file need not be made again for each."""
    made: dict[str, Any] = {}

    def kept(*given: Any) -> Any:
        key = repr(given)
        if key not in made:
            if len(made) >= 1000:  # options are drawn without end
                made.clear()
            made[key] = make(*given)
        return made[key]

    return kept


def _work(seed: int, pipe: Connection, now: Any, place: str) -> None:
    """The inputs that the pipe asks for, as (reader, first, end), read in a folder; a tally of each comes back."""
    folder = Path(place)
    os.environ.update(TIERSIM_TRACE_MIRROR=place, TIERSIM_CACHE=place)
    put_beside(folder)
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _too_slow)
    for module, name in ((foreign, "configured"), (direct, "code_hash"), (direct, "dump")):
        setattr(module, name, _once(getattr(module, name)))
    for reader in READERS:
        run_one(reader, seed, 0, folder / "input")
    gc.freeze()
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    with suppress(EOFError):
        while True:
            reader, first, end = pipe.recv()
            pipe.send(_batch(reader, seed, range(first, end), folder / "input", now))


def _memory() -> str | None:
    """A folder in memory, if there is one: a million files need not wear out a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _too_slow(*_: Any) -> None:
    raise SlowError(f"takes more than {SECONDS} s of CPU time")


def _batch(reader: str, seed: int, numbers: range, path: Path, now: Any) -> Tally:
    tally = Tally(len(numbers))
    before = _peak()
    for number in numbers:
        now.value = number
        began = time.process_time()
        found = run_one(reader, seed, number, path)
        took = time.process_time() - began
        if isinstance(found, str):
            tally.faults.append((number, found))
        else:
            tally.accepted += not found.error
            tally.records += found.records
        if took > tally.slowest:
            tally.slowest, tally.slowest_number = took, number
        if (after := _peak()) > before or not tally.peak:
            tally.peak, tally.peak_number = after, number
            before = after
    return tally


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_one(reader: str, seed: int, number: int, path: Path) -> Outcome | str:
    """What comes of an input, or what is wrong with that."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return check(make(reader, seed, number), path)
    except (Exception, SlowError) as error:
        trail, last = error.__traceback__, ""
        while trail is not None:  # the innermost place of ours
            file = trail.tb_frame.f_code.co_filename
            last = f"{Path(file).name}:{trail.tb_lineno}" if "tiersim" in file or "traces" in file else last
            trail = trail.tb_next
        return f"{type(error).__name__} at {last}: {str(error)[:2000]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class _Process:
    """A process that reads inputs, one batch after the other."""

    def __init__(self, seed: int, work: Callable[..., None]) -> None:
        spawning = multiprocessing.get_context("spawn")
        self.folder = tempfile.TemporaryDirectory(dir=_memory())
        self.now = spawning.Value("q", -1, lock=False)
        self.pipe, theirs = spawning.Pipe()
        self.process = spawning.Process(target=work, args=(seed, theirs, self.now, self.folder.name), daemon=True)
        self.process.start()
        theirs.close()
        self.batch: tuple[str, int, int] | None = None
        self.seen = (-1, time.monotonic())

    def give(self, batch: tuple[str, int, int]) -> None:
        """The next batch."""
        self.batch = batch
        self.seen = (-1, time.monotonic())
        self.pipe.send(batch)

    def hangs(self) -> bool:
        """Whether it has been on the same input for too long."""
        if self.now.value != self.seen[0]:
            self.seen = (self.now.value, time.monotonic())
        return time.monotonic() - self.seen[1] > 6 * SECONDS

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.folder.cleanup()


def run(
    readers: list[str],
    seed: int,
    inputs: int,
    processes: int = 1,
    progress: bool = False,
    work: Callable[..., None] = _work,
) -> dict[str, Tally]:
    """What came of so many inputs, as many of each reader."""
    made = {reader: Tally() for reader in readers}
    share = {name: inputs // len(readers) + (place < inputs % len(readers)) for place, name in enumerate(readers)}
    todo = [
        (name, first, min(first + BATCH, share[name]))
        for first in range(0, max(share.values()), BATCH)
        for name in readers
        if first < share[name]
    ][::-1]
    pool = [_Process(seed, work) for _ in range(min(processes, len(todo)))]
    began, done, told = time.monotonic(), 0, 0
    try:
        while todo or any(each.batch for each in pool):
            for each in pool:
                if each.batch is None and todo:
                    each.give(todo.pop())
            ready = wait([each.pipe for each in pool if each.batch], timeout=1)
            for place, each in enumerate(pool):
                if each.batch is None or (each.pipe not in ready and not each.hangs()):
                    continue
                reader, first, end = each.batch
                try:
                    if each.pipe not in ready:
                        raise EOFError
                    tally = each.pipe.recv()
                    made[reader].add(tally)
                    if progress and tally.faults:
                        print(f"{reader}: {tally.faults}", file=sys.stderr, flush=True)
                    each.batch = None
                    done += end - first
                except (EOFError, ConnectionError):
                    # the inputs before the fatal one of this batch are read again, and the rest after it
                    fatal = max(first, each.now.value)
                    each.process.join(1)  # its pipe may end before it does
                    hung = each.process.is_alive()
                    each.stop()
                    how = "hangs" if hung else f"ends the process with {each.process.exitcode}"
                    made[reader].add(Tally(1, faults=[(fatal, how)]))
                    if progress:
                        print(f"{reader}: input {fatal} {how}", file=sys.stderr, flush=True)
                    todo += [(reader, *part) for part in ((fatal + 1, end), (first, fatal)) if part[0] < part[1]]
                    pool[place] = _Process(seed, work)
                if progress and done >= told + 10_000:
                    told = done
                    rate = done / (time.monotonic() - began)
                    faults = sum(len(tally.faults) for tally in made.values())
                    print(f"{done:,} of {inputs:,} inputs, {rate:,.0f}/s, {faults} faults", file=sys.stderr, flush=True)
    finally:
        for each in pool:
            each.stop()
    return made


# What is shown


def shown(reader: str, seed: int, number: int, what: str) -> str:
    """A fault, with all that is needed to have it again."""
    made = make(reader, seed, number)
    dump = "\n".join(
        f"  {at:06x}  {made.raw[at : at + 32].hex(' ', 4)}  {made.raw[at : at + 32].decode('latin-1')!r}"
        for at in range(0, min(len(made.raw), 1024), 32)
    )
    return (
        f"{what}\n  python -m tests.traces.fuzz --reader {reader} --seed {seed} --number {number}\n"
        f"  format={made.format!r}, options={made.options!r}, {len(made.raw):,} bytes\n{dump}"
    )


def record(made: dict[str, Tally], seed: int, seconds: float) -> str:
    """The account of a run."""
    inputs = sum(tally.inputs for tally in made.values())
    faults = sum(len(tally.faults) for tally in made.values())
    slow = max(made, key=lambda name: made[name].slowest)
    large = max(made, key=lambda name: made[name].peak)
    head = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "code": _code(),
        "with": f"Python {platform.python_version()}, numpy {version('numpy')}, pyarrow {version('pyarrow')}",
        "seed": f"{seed}",
        "inputs": f"{inputs:,} of {len(made)} readers in {seconds / 60:.1f} minutes",
        "faults": f"{faults}",
        "slowest": f"{made[slow].slowest:.2f} s of CPU time ({slow} {made[slow].slowest_number})",
        "peak memory": f"{made[large].peak / 2**20:.0f} MiB in a process ({large} {made[large].peak_number}); it may "
        f"take {MEMORY >> 20:,} MiB of address space more than the loaded readers",
    }
    lines = [f"{name + ':':<13}{value}" for name, value in head.items()]
    lines += ["", f"{'reader':<22}{'inputs':>10}{'read':>10}{'refused':>10}{'faults':>8}{'slowest':>10}"]
    for name, tally in made.items():
        refused = tally.inputs - tally.accepted - len(tally.faults)
        lines.append(
            f"{name:<22}{tally.inputs:>10,}{tally.accepted:>10,}{refused:>10,}{len(tally.faults):>8}"
            f"{tally.slowest:>8.2f} s"
        )
    return "\n".join(lines) + "\n"


def _code() -> str:
    """The commit, and a hash of the sources of the traces, which tells whether they were those of the commit."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted((root / "traces").rglob("*.py")):
        digest.update(path.read_bytes())
    said = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return f"commit {said.stdout.strip() or 'unknown'}, sources of traces {digest.hexdigest()[:16]}"


def main() -> None:
    """Fuzz, or read one input again."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of traces.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", choices=READERS, help="only this one; may be said again")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--number", type=int, help="only this input of the reader, shown with what comes of it")
    parser.add_argument("--record", type=Path, help="write the account of the run to this file")
    parser.add_argument("--keep", type=Path, help="folder for the inputs at fault")
    asked = parser.parse_args()
    readers = asked.reader or READERS
    if asked.number is not None:
        with tempfile.TemporaryDirectory(dir=_memory()) as name:
            os.environ.update(TIERSIM_TRACE_MIRROR=name, TIERSIM_CACHE=name)
            put_beside(Path(name))
            warnings.simplefilter("error")
            print(shown(readers[0], asked.seed, asked.number, ""))
            print(check(make(readers[0], asked.seed, asked.number), Path(name) / "input"))
        return
    began = time.monotonic()
    made = run(readers, asked.seed, asked.inputs, asked.processes, progress=True)
    account = record(made, asked.seed, time.monotonic() - began)
    kinds = Counter(f"{reader}: {what[:120]}" for reader, tally in made.items() for _, what in tally.faults)
    for kind, count in kinds.most_common(100):
        print(f"{count:>6} times {kind}")
    for reader, tally in made.items():
        for number, what in tally.faults[:20]:
            print(shown(reader, asked.seed, number, what))
            if asked.keep:
                asked.keep.mkdir(parents=True, exist_ok=True)
                (asked.keep / f"{reader}-{asked.seed}-{number}").write_bytes(make(reader, asked.seed, number).raw)
    print(account)
    if asked.record:
        asked.record.write_text(account, encoding="utf-8")
    raise SystemExit(any(tally.faults for tally in made.values()))


if __name__ == "__main__":
    main()
