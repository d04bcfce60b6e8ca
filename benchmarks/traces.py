"""Speed of reading, numbering and beginning to replay traces, as ratios measured in one run.

Both sides take the same data, in turn, on CPU time; the median of the rounds counts. What a user waits for is wall
time, from the call to the first chunk and to the first requests that were simulated: of the best round, because other
work on the machine only makes it longer. ``--large`` makes stored traces of 200 million records and not of 20, so that
they tell whether the start grows with the length.
"""

from __future__ import annotations

import io
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 3
KEYS = 20_000_000
LINES = 1_000_000
RECORD = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
PIECE = 1 << 20


def benches(large: bool) -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TIERSIM_CACHE"] = str(Path(folder) / "cache")
        yield from of_numbering()
        yield from of_oracle_general(Path(folder))
        yield from of_lackey()
        for records in (2_000_000, 200_000_000) if large else (2_000_000, 20_000_000):
            yield from of_start(Path(folder), records)


def _in_turn(sides: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median of the CPU seconds that each side takes."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            begun = time.process_time()
            function()
            spent[name].append(time.process_time() - begun)
    return {name: statistics.median(held) for name, held in spent.items()}


def _ratio(what: str, ours: float, theirs: float, wanted: float, more: str = "") -> dict[str, Any]:
    return {
        "what": what,
        "result": f"{theirs / ours:.1f} times (wanted {wanted:g}): {ours:.3f} s and {theirs:.3f} s of CPU{more}",
        "ratio": theirs / ours,
        "wanted": wanted,
    }


# numbering


def _words(count: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    return rng.integers(0, 1 << 64, count, dtype=np.uint64)


def _ranks(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ranks that follow Zipf's law, out of a million."""
    weights = np.cumsum(1 / np.arange(1, 1_000_001))
    made: NDArray[np.int64] = np.searchsorted(weights, rng.random(count) * weights[-1])
    return made


def of_numbering() -> Iterator[dict[str, Any]]:
    """Keys to numbers by first use, against numpy's numbers by value."""
    from tiersim.sim.requests import number_requests

    def ours(key: NDArray[np.uint64]) -> Any:
        return number_requests({"id": key[at : at + (1 << 16)]} for at in range(0, len(key), 1 << 16))

    rng = np.random.default_rng(1)
    zipf = _words(1_000_000, rng)[_ranks(KEYS, rng)]
    for title, key, wanted in (
        (f"{KEYS:,} keys of 64 random bits, by Zipf's law out of a million", zipf, 5),
        (f"{KEYS:,} different keys of 64 random bits", _words(KEYS, rng), 1),
    ):
        ours(key[:1000])  # compiled before it is timed
        made = ours(key)
        assert (made.keys[made.ids] == key).all()
        del made
        spent = _in_turn({"ours": partial(ours, key), "numpy": partial(np.unique, key, return_inverse=True)})
        yield _ratio(
            f"numbering {title}, against np.unique(keys, return_inverse=True)", spent["ours"], spent["numpy"], wanted
        )


# oracleGeneral


def of_oracle_general(folder: Path) -> Iterator[dict[str, Any]]:
    """Draining a file, against the ways that libCacheSim's wheel offers to have every request read."""
    try:
        import libcachesim as peer
    except ImportError:
        yield {"what": "oracleGeneral against libCacheSim", "result": "skipped: pip install libcachesim"}
        return
    from tiersim.traces import stream_trace

    path, rng = folder / "zipf.oracleGeneral.bin", np.random.default_rng(1)
    rows = np.zeros(KEYS, RECORD)
    rows["time"] = np.arange(KEYS) // 1000
    rows["id"] = _words(1_000_000, rng)[_ranks(KEYS, rng)]
    rows["size"], rows["next"] = 1, -1
    rows.tofile(path)
    del rows

    def opened() -> Any:
        return peer.TraceReader(str(path), peer.TraceType.ORACLE_GENERAL_TRACE)

    def drained() -> None:
        reader, request = opened()._reader, peer.Request()
        count = 0
        while reader.read_one_req(request) == 0:
            count += 1
        assert count == KEYS

    def replayed(policy: str) -> None:
        getattr(peer, policy)(cache_size=1).process_trace(opened())

    def ours() -> None:
        assert sum(len(chunk["id"]) for chunk in stream_trace(path).chunks(1 << 16)) == KEYS

    ways: dict[str, Callable[[], Any]] = {
        "its reader called from Python for each request": drained,
        "its FIFO of one byte, in C": lambda: replayed("FIFO"),
        "its LRU of one byte, in C": lambda: replayed("LRU"),
    }
    ours()
    spent = _in_turn({"ours": ours, **ways})
    for name in ways:
        yield _ratio(
            f"reading {KEYS:,} requests of oracleGeneral into columns, against {name}", spent["ours"], spent[name], 1
        )


# lackey


def plain_lackey(lines: Iterable[str]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Addresses, sizes, kinds and gaps, as one writes it down."""
    addresses, sizes, kinds, gaps = [], [], [], []
    gap = 0
    for line in lines:
        if line.startswith("=="):
            continue
        if line.startswith("I"):
            gap += 1
            continue
        kind, rest = line.split()
        address, size = rest.split(",")
        addresses.append(int(address, 16))
        sizes.append(int(size))
        kinds.append("LSM".index(kind))
        gaps.append(gap)
        gap = 0
    return addresses, sizes, kinds, gaps


def of_lackey() -> Iterator[dict[str, Any]]:
    """Text of a program's accesses, against a plain loop that makes the same columns."""
    from tiersim._base.registry import build

    rng = random.Random(1)
    heads = ("I  {:08x},{}\n", " L 1ffe{:06x},{}\n", " S 1ffe{:06x},{}\n", " M {:08x},{}\n")
    text = "".join(
        heads[rng.choices(range(4), (6, 3, 1, 0.1))[0]].format(rng.randrange(1 << 24), rng.choice((1, 2, 4, 8)))
        for _ in range(LINES)
    )
    raw = text.encode()
    reader = build("reader", "lackey")

    def ours() -> list[dict[str, Any]]:
        return list(reader.read(io.BytesIO(raw), "text"))

    def plain() -> Any:
        return plain_lackey(io.StringIO(text))

    made = ours()
    for name, column in zip(("address", "size", "kind", "gap"), plain(), strict=True):
        assert np.concatenate([chunk[name] for chunk in made]).tolist() == column
    for title, quiet in (("as it is", False), ("without its fetches", True)):
        if quiet:
            text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("I"))
            raw = text.encode()
        spent = _in_turn({"ours": ours, "plain": plain})
        yield _ratio(
            f"{text.count(chr(10)):,} lines of lackey {title}, against a plain Python loop",
            spent["ours"],
            spent["plain"],
            10,
            f"; {len(raw) / spent['ours'] / 1e6:.0f} MB/s",
        )


# the start of a replay


def _stored(path: Path, kind: str, records: int) -> Path:
    from tiersim.traces.schema import SCHEMAS
    from tiersim.traces.store import Writer

    rng = np.random.default_rng(1)
    words = _words(1_000_000, rng)
    ranks = _ranks(PIECE, rng)
    with Writer(path, schema=SCHEMAS[kind], level=1) as out:
        for at in range(0, records, PIECE):
            some = rng.permutation(ranks)[: records - at]
            if kind == "object":
                out.append({"id": words[some], "size": some % 4096 + 1, "time": np.arange(at, at + len(some)) * 1000})
            else:
                out.append(
                    {
                        "address": some.astype(np.uint64) * np.uint64(64),
                        "size": np.full(len(some), 8, np.uint16),
                        "kind": (some & 1).astype(np.uint8),
                        "gap": np.full(len(some), 2, np.uint32),
                    }
                )
    return path


# What a process runs: replays that leave at the first requests that were simulated, again and again. `Bar.add` is told
# by the engine after each stretch of requests.
CHILD = """
import os, shutil, sys, time

kind, path, study, events, rounds = sys.argv[1:]


class First(Exception):
    pass


def stop(self, count):
    raise First


def waited(function):
    begun = time.perf_counter()
    try:
        function()
    except First:
        pass
    return time.perf_counter() - begun


def begin():
    import tiersim
    from tiersim.experiments.progress import Bar

    Bar.add = stop
    if kind == "object":
        tiersim.replay(path, "lru", "1%")
    else:
        tiersim.run(study, keep=False)


def chunk():
    import tiersim

    next(tiersim.load_trace(path).chunks(1 << 16))


print(waited(begin), time.time() - float(os.environ["BEGUN"]), time.process_time())
for _ in range(int(rounds)):
    shutil.rmtree(events, ignore_errors=True)
    print(waited(chunk), waited(begin))
"""


def of_start(folder: Path, records: int) -> Iterator[dict[str, Any]]:
    """From the call to the first chunk and to the first stretch of requests that was simulated; nothing is prepared."""
    for kind in ("object", "access"):
        path = _stored(folder / f"{kind}{records}.parquet", kind, records)
        study = folder / "study.yaml"
        study.write_text(f"study: start\nscenario: memory-hierarchy\ntrace: {path}\nsystem: desktop-cpu\n")
        events = folder / "cache" / "events"
        command = [sys.executable, "-c", CHILD, kind, str(path), str(study), str(events)]
        _told([*command, "0"])  # its loop is compiled before it is timed
        processes = [_told([*command, "5"]) for _ in range(ROUNDS)]
        whole, cpu = (min(rows[0][place] for rows in processes) for place in (1, 2))
        first, simulated = (min(row[place] for rows in processes for row in rows[1:]) for place in (0, 1))
        what = "tiersim.replay" if kind == "object" else "tiersim.run, memory-hierarchy"
        size = path.stat().st_size / 1e6
        yield {
            "what": f"{what}: a stored {kind} trace of {records:,} records ({size:,.0f} MB), never replayed before",
            "result": (
                f"first chunk after {first:.3f} s; first requests simulated after {simulated:.3f} s (wanted 0.5), in a "
                f"new process after {whole:.2f} s (wanted 1; {cpu:.2f} s of CPU)"
            ),
            "first_chunk": first,
            "first_simulated": simulated,
            "whole_process": whole,
            "whole_process_cpu": cpu,
        }
        path.unlink()


def _told(command: list[str]) -> list[list[float]]:
    environment = {**os.environ, "BEGUN": repr(time.time())}
    told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [[float(word) for word in line.split()] for line in told.splitlines()]


if __name__ == "__main__":
    for row in benches("--large" in sys.argv):
        print(f"{row['what']}\n    {row['result']}", flush=True)
