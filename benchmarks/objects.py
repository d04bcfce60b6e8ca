"""Speed of object replacement against libCacheSim, as ratios measured in one run: part of `make bench`.

Both sides replay the same requests, one thread, on CPU time, in turn; the median of the rounds counts. Ours starts from
numbered requests in memory, theirs from a mapped file in its own binary format, which is the fastest that it reads.
What a user waits for, from a file to an answer with starting Python, is measured beside it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 3
# ours, theirs, the ratio that is wanted
PAIRS: tuple[tuple[str, str, float], ...] = (
    ("lru", "LRU", 10),
    ("fifo", "FIFO", 10),
    ("clock", "Clock", 10),
    ("sieve", "Sieve", 10),
    ("s3-fifo", "S3FIFO", 10),
    ("arc", "ARC", 8),
    ("lfu", "LFU", 5),
    ("lfu-da", "LFUDA", 5),
    ("slru", "SLRU", 5),
    ("2q", "TwoQ", 5),
    ("mq", "MQ", 5),
    ("lru-k", "LRUK", 5),
    ("lirs", "LIRS", 5),
    ("w-tinylfu", "WTinyLFU", 5),
    ("gdsf", "GDSF", 5),
    ("hyperbolic", "Hyperbolic", 5),
    ("lhd", "LHD", 5),
    ("lecar", "LeCaR", 5),
    ("cacheus", "Cacheus", 5),
    ("random", "Random", 5),
    ("belady", "Belady", 5),
    ("belady-size", "BeladySize", 5),
)
RECORD = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
REAL = ("cloudphysics_w106.bin.xz", {"format": "key-binary", "bits": 32, "order": "little"})


def benches() -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    try:
        import libcachesim
    except ImportError:
        yield {"what": "against libCacheSim", "result": "skipped: pip install libcachesim"}
        return
    with tempfile.TemporaryDirectory() as folder:
        many = _zipf(20_000_000)
        traces = {"20 M Zipf requests": (many, _written(many, Path(folder) / "zipf.oracleGeneral.bin"))}
        if (real := _real()) is None:
            yield {"what": REAL[0], "result": "skipped: name a folder that has it with TIERSIM_TRACE_MIRROR"}
        else:
            traces[REAL[0]] = (real, _written(real, Path(folder) / "real.oracleGeneral.bin"))
        for title, (requests, file) in traces.items():
            for ours, theirs, wanted in PAIRS:
                yield _one_size(libcachesim, title, requests, file, ours, theirs, wanted)
        yield _curve(libcachesim, *traces["20 M Zipf requests"])
        yield from _whole_process(many, Path(folder))


def of_a_billion() -> Iterator[dict[str, Any]]:
    """A billion generated requests through two policies, `tiersim replay` from nothing; takes long and much disk."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TIERSIM_CACHE": folder}
        options = [f"--option={text}" for text in ("requests=1000000000", "objects=1000000", "seed=1")]
        command = [sys.executable, "-m", "tiersim", "replay", "generated/zipf-objects", *options, "--no-regret"]
        command += ["--policy", "lru,s3-fifo", "--size", "10%", "--workers", "1", "--json", "--quiet"]
        begun = time.perf_counter()
        told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        spent = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    misses = [line.split(":")[1].strip(" ,") for line in told.splitlines() if '"misses"' in line]
    yield {
        "what": "1 billion generated requests through lru and s3-fifo, `tiersim replay` from nothing, one thread",
        "result": f"peak memory {peak / 2**30:.2f} GiB, {spent:.0f} s; misses {' and '.join(misses)}",
        "seconds": spent,
        "peak_bytes": peak,
    }


def _cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    made = function()
    return time.process_time() - begun, made


def _zipf(count: int) -> Any:
    from tiersim.sim.requests import requests_from

    rng = np.random.default_rng(1)
    weights = np.cumsum(1 / np.arange(1, 1_000_001))
    ranks = np.searchsorted(weights, rng.random(count) * weights[-1]).astype(np.uint64)
    return requests_from(rng.permutation(1_000_000).astype(np.uint64)[ranks] * np.uint64(2654435761))


def _real() -> Any:
    from tiersim.sim.requests import number_requests
    from tiersim.traces import stream_trace

    mirror = os.environ.get("TIERSIM_TRACE_MIRROR", "")
    if not mirror or not (Path(mirror) / REAL[0]).exists():
        return None
    return number_requests(stream_trace(REAL[0], **REAL[1]).chunks())


def _written(requests: Any, path: Path) -> Path:
    rows = np.zeros(len(requests), RECORD)
    rows["time"] = np.arange(len(requests)) // 1000
    rows["id"] = requests.keys[requests.ids]
    rows["size"] = 1
    rows["next"] = np.where(requests.next_use < len(requests), requests.next_use, -1)
    rows.tofile(path)
    return path


def _theirs(peer: Any, file: Path, theirs: str, capacity: int) -> int:
    reader = peer.TraceReader(
        str(file), peer.TraceType.ORACLE_GENERAL_TRACE, peer.ReaderInitParam(ignore_obj_size=True)
    )
    ratio, _ = getattr(peer, theirs)(cache_size=capacity).process_trace(reader)
    return round(ratio * reader.get_num_of_req())


def _one_size(
    peer: Any, title: str, requests: Any, file: Path, ours: str, theirs: str, wanted: float
) -> dict[str, Any]:
    from tiersim._base.errors import StudyError
    from tiersim._base.registry import build
    from tiersim.sim.object_replay import replay_objects
    from tiersim.sim.requests import requests_from

    capacity = requests.objects // 10
    try:
        policy = build("object-replacement", ours)
    except StudyError as error:
        return {"what": f"{title}, {ours}", "result": f"skipped: {error.message}"}
    replay_objects(policy, 10, requests_from([1, 2]))  # compiled before it is timed
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        seconds, done = _cpu(lambda: replay_objects(policy, capacity, requests))
        spent["ours"].append(seconds)
        seconds, misses = _cpu(lambda: _theirs(peer, file, theirs, capacity))
        spent["theirs"].append(seconds)
    rate = {key: len(requests) / statistics.median(held) for key, held in spent.items()}
    ratio = rate["ours"] / rate["theirs"]
    same = "the same misses" if done.totals.misses == misses else f"misses {done.totals.misses:,} against {misses:,}"
    return {
        "what": f"{title}, {ours} at 10 % of the objects, against {theirs} of libCacheSim",
        "result": f"{ratio:.1f} times (wanted {wanted:g}): {_mega(rate['ours'])} and {_mega(rate['theirs'])}; {same}",
        "ratio": ratio,
        "wanted": wanted,
        **rate,
    }


def _curve(peer: Any, requests: Any, file: Path) -> dict[str, Any]:
    from tiersim.sim.requests import requests_from
    from tiersim.sim.stack_distance import lru_curve

    sizes = np.linspace(0.05, 1, 20) * requests.objects
    capacities = sizes.astype(np.int64)
    lru_curve(requests_from([1, 2]), capacities)
    ours, curve = _cpu(lambda: lru_curve(requests, capacities))
    theirs, misses = _cpu(lambda: [_theirs(peer, file, "LRU", int(size)) for size in capacities])
    same = "the same misses" if curve.misses.tolist() == misses else "other misses"
    return {
        "what": "20 M Zipf requests, LRU at 20 sizes, against 20 runs of libCacheSim",
        "result": f"{theirs / ours:.1f} times (wanted 20): {ours:.2f} s and {theirs:.2f} s; {same}",
        "ratio": theirs / ours,
    }


def _whole_process(many: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """From a file to an answer, with starting Python; each side in a process of its own."""
    small = many.where(np.arange(len(many)) < 100_000)
    files = {
        "20 M requests": folder / "zipf.oracleGeneral.bin",
        "100,000 requests": _written(small, folder / "small.oracleGeneral.bin"),
    }
    capacity = {"20 M requests": many.objects // 10, "100,000 requests": small.objects // 10}
    for title, file in files.items():
        for ours, theirs in (("lru", "LRU"), ("s3-fifo", "S3FIFO"), ("sieve", "Sieve")):
            size = capacity[title]
            code = (
                "import libcachesim as l, sys;"
                f"r = l.TraceReader({str(file)!r}, l.TraceType.ORACLE_GENERAL_TRACE,"
                f"l.ReaderInitParam(ignore_obj_size=True)); print(l.{theirs}(cache_size={size}).process_trace(r))"
            )
            command = [sys.executable, "-m", "tiersim", "replay", str(file), "--policy", ours, "--size", f"{size}obj"]
            command += ["--no-regret", "--json", "--quiet", "--workers", "1"]
            spent: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
            for _ in range(ROUNDS):
                spent["ours"].append(_process(command))
                spent["theirs"].append(_process([sys.executable, "-c", code]))
            cpu = {key: statistics.median(one for one, _ in held) for key, held in spent.items()}
            wall = {key: statistics.median(one for _, one in held) for key, held in spent.items()}
            yield {
                "what": f"file to answer, {title}, {ours}, whole processes",
                "result": (
                    f"{cpu['theirs'] / cpu['ours']:.2f} times libCacheSim: {cpu['ours']:.2f} s and "
                    f"{cpu['theirs']:.2f} s of CPU, {wall['ours']:.2f} s and {wall['theirs']:.2f} s of waiting"
                ),
                "ratio": cpu["theirs"] / cpu["ours"],
            }


def _process(command: list[str]) -> tuple[float, float]:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def _mega(rate: float) -> str:
    return f"{rate / 1e6:.3g} M/s"


if __name__ == "__main__":
    for row in of_a_billion() if "--billion" in sys.argv else benches():
        print(f"{row['what']}\n    {row['result']}", flush=True)
