"""What a study costs beside its simulations: part of `make bench`.

Each study runs in a process of its own, with compiled loops and the trace prepared before. Overhead is all CPU time
that is not spent inside simulations: reading and checking the study, naming, handing out and storing the runs. The
efficiency of two processes is on the clock, and wants a machine that does nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

RUNS = 1000
POLICIES = ("lru", "fifo", "srrip", "clock")
SHORT, LONGER = 5_000, 3_000_000  # accesses: a few milliseconds, and about 50
CHILD = """
import json, sys, time
import psutil
from tiersim.experiments import runner
from tiersim.experiments.executors import here

study, out, workers = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
inside, memory = [], []
settle, attempt = runner._Run._settle, here.attempt

def settled(self, job, finished):
    settle(self, job, finished)
    memory.append(psutil.Process().memory_info().rss)

def attempted(job, progress):
    begun = time.process_time()
    finished = attempt(job, progress)
    inside.append(time.process_time() - begun)
    return finished

runner._Run._settle, here.attempt = settled, attempted
runner.run(study, out=out + "/warm", workers=workers)
memory.clear()
inside.clear()
wall, cpu = time.perf_counter(), time.process_time()
runner.run(study, out=out + "/told", workers=workers)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"wall": wall, "cpu": cpu, "inside": sum(inside), "memory": memory}))
"""


def study(runs: int, records: int) -> dict[str, Any]:
    return {
        "study": "many",
        "scenario": "memory-hierarchy",
        "trace": {"use": "generated/zipf", "records": records, "footprint": "256 KiB", "seed": 1},
        "system": {
            "caches": {"l1": {"capacity": "4 KiB", "ways": 4, "latency": "1 ns"}},
            "memory": {"latency": "80 ns"},
            "core": {"frequency": "1 GHz"},
        },
        "sweep": {
            "system.caches.l1.policy": list(POLICIES),
            "system.caches.l1.capacity": [f"{4 * (place + 1)} KiB" for place in range(runs // len(POLICIES))],
        },
    }


def measured(runs: int, records: int, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [json.dumps(study(runs, records)), folder, str(workers)]
        done = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def benches() -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    short = measured(RUNS, SHORT, 1)
    each, whole = (1000 * found / RUNS for found in (short["cpu"] - short["inside"], short["cpu"]))
    yield {
        "what": f"{RUNS:,} runs of {SHORT:,} accesses, one process",
        "result": f"{each:.2f} ms overhead a run (wanted: under 5), of {whole:.2f} ms",
        "milliseconds": each,
    }
    grown = (short["memory"][-1] - short["memory"][99]) / 2**20
    yield {
        "what": f"memory of the parent from run 100 to run {RUNS:,}",
        "result": f"{grown:+.1f} MiB, of {short['memory'][99] / 2**20:.0f} MiB",
        "megabytes": grown,
    }
    one, two = measured(RUNS, LONGER, 1), measured(RUNS, LONGER, 2)
    share = one["wall"] / two["wall"] / 2
    yield {
        "what": f"{RUNS:,} runs of {1000 * one['inside'] / RUNS:.0f} ms, two processes against one",
        "result": f"{one['wall']:.1f} s and {two['wall']:.1f} s: efficiency {100 * share:.0f} % (wanted: 85)",
        "efficiency": share,
    }


def main() -> None:
    rows = []
    begun = time.perf_counter()
    for row in benches():
        rows.append(row)
        print(f"{row['what']}\n    {row['result']}", flush=True)
    print(f"{time.perf_counter() - begun:.0f} s in all")
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
