"""Speed as ratios measured in one run: `make bench`.

Every comparison runs both sides in turn in this process, on CPU time, and prints the median of the rounds. What cannot
run here (a peer that is not installed) is said, not left out.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRACES = ("captured/sort", "captured/sqlite-query", "captured/graph-bfs", "captured/random-access")
CALLS = 300_000  # of the peer, one at a time: a million a second at best
ROUNDS = 5
PAGE = np.uint64(4096)


def main() -> None:
    rows: list[dict[str, Any]] = []
    # memory first: a child process is charged with what its parent held when it was started
    for bench in (of_memory, of_start, against_pycachesim):
        for row in bench():
            rows.append(row)
            print(f"{row['what']}\n    {row['result']}", flush=True)
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=2))


def cpu(function: Callable[[], Any]) -> float:
    begun = time.process_time()
    function()
    return time.process_time() - begun


def against_pycachesim() -> Any:
    """Three levels of LRU: a capture's loads and stores here, the peer's two ways of taking them there."""
    try:
        import cachesim
    except ImportError:
        yield {"what": "against pycachesim", "result": "skipped: pip install pycachesim==0.3.1 (needs a C compiler)"}
        return

    def peer() -> Any:
        memory = cachesim.MainMemory()
        l3 = cachesim.Cache("L3", 32768, 16, 64, "LRU", write_allocate=False)
        memory.load_to(l3)
        memory.store_from(l3)
        l2 = cachesim.Cache("L2", 2048, 8, 64, "LRU", write_allocate=False, store_to=l3, load_from=l3)
        l1 = cachesim.Cache("L1", 64, 8, 64, "LRU", store_to=l2, load_from=l2)
        return cachesim.CacheSimulator(l1, memory)

    from tiersim.policies.way.lru import Lru
    from tiersim.sim.cache_loop import Level
    from tiersim.sim.events import events_from
    from tiersim.sim.replay import replay
    from tiersim.traces import load_trace

    def levels(classify: bool) -> list[Level]:
        return [
            Level("l1", 8, Lru(), 1, frozenset({"data"}), classify=classify),
            Level("l2", 8, Lru(), 2, classify=classify),
            Level("l3", 16, Lru(), None, classify=classify),
        ]

    for name in TRACES:
        address, kind = _stream(load_trace(name))
        events = events_from(address, kind, 64)
        held = address.tolist()
        some = list(zip(held[:CALLS], (kind[:CALLS] == 1).tolist(), strict=True))
        few = events_from(address[:1000], kind[:1000], 64)
        for classify in (True, False):
            replay(levels(classify), [64, 2048, 32768], few)  # compiled before it is timed
        ours = partial(_ours, levels, events)
        rounds: dict[str, tuple[int, Callable[[], Any]]] = {
            "calls": (len(some), partial(_each, peer, some)),
            "bulk": (len(held), partial(_bulk, peer, held)),
            "ours": (len(held), partial(ours, True)),
            "plain": (len(held), partial(ours, False)),
            "prepare": (len(held), partial(_prepare, address, kind)),
        }
        rate: dict[str, list[float]] = {key: [] for key in rounds}
        for _ in range(ROUNDS):
            for key, (count, function) in rounds.items():
                rate[key].append(count / cpu(function))
        middle = {key: statistics.median(values) for key, values in rate.items()}
        yield {
            "what": f"{name}: {len(held):,} loads and stores, three levels of LRU, against pycachesim",
            "result": (
                f"{middle['plain'] / middle['calls']:.0f} times its call for each access, "
                f"{middle['plain'] / middle['bulk']:.2f} times its load-only bulk call; "
                f"with kinds of misses told apart {middle['ours'] / middle['calls']:.0f} and "
                f"{middle['ours'] / middle['bulk']:.2f} "
                f"({_mega(middle['plain'])} and {_mega(middle['ours'])} here, {_mega(middle['calls'])} and "
                f"{_mega(middle['bulk'])} there; numbering lines, once for each trace: {_mega(middle['prepare'])})"
            ),
            **middle,
        }


def _ours(levels: Callable[[bool], Any], events: Any, classify: bool) -> None:
    from tiersim.sim.replay import replay

    replay(levels(classify), [64, 2048, 32768], events)


def _each(peer: Callable[[], Any], pairs: list[tuple[int, bool]]) -> None:
    """The peer's own way for a program's accesses: one call each."""
    simulator = peer()
    load, store = simulator.load, simulator.store
    for address, write in pairs:
        if write:
            store(address, 1)
        else:
            load(address, 1)


def _bulk(peer: Callable[[], Any], addresses: list[int]) -> None:
    """The peer's fastest way: one call for all, loads only."""
    peer().load(addresses, 1)


def _prepare(address: NDArray[np.uint64], kind: NDArray[np.uint8]) -> None:
    """Number the lines of a capture, in batches as a study does."""
    from tiersim.sim.events import BATCH, Numbering

    numbering = Numbering()
    for begin in range(0, len(address), BATCH):
        part = slice(begin, begin + BATCH)
        ones = np.ones(len(address[part]), np.uint16)
        numbering.turn({"address": address[part], "kind": kind[part], "size": ones, "gap": ones}, 6, True)


def _mega(rate: float) -> str:
    return f"{rate / 1e6:.3g} M/s"


def _stream(trace: Any) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """A capture as single-line loads and stores, pages renumbered below 2^31 (the peer cuts addresses off)."""
    parts = list(trace.chunks())
    address = np.concatenate([part["address"] for part in parts])
    kind = np.concatenate([part["kind"] for part in parts])
    kept = kind != 3
    address, kind = address[kept], (kind[kept] == 1).astype(np.uint8)
    pages, number = np.unique(address // PAGE, return_inverse=True)
    assert len(pages) < 2**19
    return number.astype(np.uint64) * PAGE + address % PAGE, kind


def of_memory() -> Any:
    """A generated trace of 200 million accesses through the whole command, in a process of its own."""
    study = """
study: memory
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 200M, footprint: 64 MiB, seed: 1}
system: desktop-cpu
"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "memory.yaml"
        file.write_text(study)
        environment = {**os.environ, "TIERSIM_CACHE": str(Path(folder) / "cache")}
        command = [sys.executable, "-m", "tiersim", "run", str(file), "--workers", "1", "--quiet"]
        command += ["--out", f"{folder}/out"]
        begun = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        spent = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    yield {
        "what": "200 million generated accesses, `tiersim run` from nothing, one process",
        "result": f"peak memory {peak / 2**30:.2f} GiB, {spent:.0f} s with generating, numbering and compiling",
        "peak_bytes": peak,
        "seconds": spent,
    }


def of_start() -> Any:
    """What a user waits for before anything happens."""
    found: dict[str, list[float]] = {"help": [], "python": []}
    for _ in range(11):
        for key, command in (("help", ["-m", "tiersim", "--help"]), ("python", ["-c", "pass"])):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            found[key].append(time.perf_counter() - begun)
    help_, python = statistics.median(found["help"]), statistics.median(found["python"])
    yield {
        "what": "tiersim --help",
        "result": f"{help_:.3f} s, {help_ / python:.1f} times an empty Python ({python:.3f} s)",
        "seconds": help_,
    }


if __name__ == "__main__":
    main()
