"""Speed of the generators, each alone: records a second on one thread, beside numpy filling the same columns.

Chunks are made and thrown away, after a first that compiles and draws graphs and tables; CPU time counts, and of the
rounds the median. The reference writes one number all over columns of the same types and sizes, which says how far
a generator is from writing alone.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ROUNDS = 5
RECORDS = 4_000_000  # of a round
WANTED = 20e6
SIZED = {"size": "1 KiB", "largest": "1 MiB"}
CURVE = [[1000, 0.6], [10_000, 0.3], [100_000, 0.05]]
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (  # what costs more than the defaults
    ("zipf", {"skew": 1.0, "footprint": "64 GiB", "write_share": "30 %"}),
    ("zipf-objects", {**SIZED, "sizes": "lognormal", "shape": 1.5, "tenants": 4, "set_share": "10 %"}),
    ("zipf-objects", {**SIZED, "correlation": -0.5}),
    ("stack-distance-objects", {"skew": 0}),
    ("stack-distance-objects", {"curve": CURVE}),
    ("bfs", {"scale": 22, "vertex": 512, "edge": 144}),
    ("triangle-count", {"scale": 22, "edge": 144, "scattered": True, "first": 3_500_000}),
    ("xs-lookup", {"nuclides": 355, "fuel": 321}),
    ("xs-lookup", {"points": 786_432}),
    ("kmer-count", {"genome": 1 << 26, "slot": 24}),
)


def benches(names: list[str]) -> Iterator[dict[str, Any]]:
    """All generators, or those named, each as what was measured and what came out."""
    from tiersim._base.registry import index

    known = sorted({entry.name for entry in index("generator").values()})
    for name in names or known:
        yield _one(name, {})
    for name, options in VARIANTS:
        if not names or name in names:
            yield _one(name, options)


def _one(name: str, options: dict[str, Any]) -> dict[str, Any]:
    from tiersim.traces import load_trace

    # the count of records has another name in each family of generators
    trace = load_trace(f"generated/{name}", **options)
    count = next(key for key in ("records", "references", "requests") if key in trace.provenance["generator"])
    options_: dict[str, Any] = {**options, count: (ROUNDS + 1) * RECORDS}
    trace = load_trace(f"generated/{name}", **options_)
    chunks = trace.chunks(1 << 16)
    first = next(chunks)
    rounds = RECORDS >> 16
    columns = {name: np.empty_like(column) for name, column in first.items()}
    spent: dict[str, list[float]] = {"made": [], "filled": []}
    for _ in range(ROUNDS):
        spent["made"].append(_cpu(lambda: [None for _ in zip(range(rounds), chunks)]))
        spent["filled"].append(_cpu(lambda: [column.fill(1) for _ in range(rounds) for column in columns.values()]))
    rate = {key: (rounds << 16) / statistics.median(held) for key, held in spent.items()}
    told = ", ".join(f"{key} {held}" for key, held in options.items())
    return {"what": f"{name} {told}".strip(), "rate": rate["made"], "ratio": rate["made"] / rate["filled"]}


def _cpu(function: Callable[[], Any]) -> float:
    begun = time.process_time()
    function()
    return time.process_time() - begun


if __name__ == "__main__":
    print(f"{'generator':66}  M records/s  of numpy's fill    ({WANTED / 1e6:.0f} M/s are wanted)")
    for row in benches(sys.argv[1:]):
        short = "" if row["rate"] >= WANTED else "  too slow"
        print(f"{row['what'][:66]:66}  {row['rate'] / 1e6:11.1f}  {row['ratio']:15.1%}{short}", flush=True)
