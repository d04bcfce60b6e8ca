"""Captures in front of a server whose iterations take linear times."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tiersim.traces import Writer
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import REQUEST

__all__ = ["DECODE", "ITERATION", "PREFILL", "captured"]

ITERATION, PREFILL, DECODE = 20_000_000, 1_000_000, 3_000_000  # ns: of each, of a token of a prompt, of a decode
SLOTS = 3

Log = list[tuple[int, int, int, int]]


def served(arrival: list[int], sizes: list[int], lengths: list[int]) -> tuple[list[list[int]], Log]:
    """When a server with three slots makes each token, and its iterations: tokens of prompts, decodes, time, end."""
    made: list[list[int]] = [[] for _ in arrival]
    now, log = 0, []
    waiting, running = list(range(len(arrival))), []  # type: list[int], list[int]
    while waiting or running:
        now = max(now, arrival[waiting[0]]) if not running else now
        decodes, new = len(running), 0
        while waiting and arrival[waiting[0]] <= now and len(running) < SLOTS:
            running.append(waiting.pop(0))
            new += sizes[running[-1]]
        took = ITERATION + PREFILL * new + DECODE * decodes
        now += took
        log.append((new, decodes, took, now))
        for row in running:
            made[row].append(now)
        running = [row for row in running if len(made[row]) < lengths[row]]
    return made, log


def captured(path: Path, seed: int, rate: float, count: int = 60, **more: object) -> Log:
    """A capture of requests at this rate a second, with further columns, and the iterations of the server."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1e9 / rate, count - 1)
    arrival = [0, *np.cumsum(gaps).astype(np.int64).tolist()]
    sizes, lengths = (rng.integers(low, high, count).tolist() for low, high in ((12, 60), (2, 13)))
    made, log = served(arrival, sizes, lengths)
    pieces = Ragged.of([[time - since for time in each] for each, since in zip(made, arrival, strict=True)], "int64")
    with Writer(path, schema=REQUEST) as out:
        counts = {"input": np.array(sizes, np.uint32), "output": pieces.counts.astype(np.uint32)}
        times = {"arrival": np.array(arrival), "end": np.array([each[-1] for each in pieces]), "pieces": pieces}
        out.append({**counts, **times, **more})
    return log
