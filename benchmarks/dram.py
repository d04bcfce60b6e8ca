"""Speed of DRAM in both forms, and how far the fast one is from the detailed one.

python benchmarks/dram.py                     cycles and requests a CPU second
python benchmarks/dram.py --dramsim3 FOLDER   beside DRAMsim3, built in FOLDER/build, in the same run
python benchmarks/dram.py --validate          the fast form beside the detailed one, over load and in closed loops
python benchmarks/dram.py --figure FILE.svg   the curves
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import heapreplace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from tiersim.experiments import presets
from tiersim.experiments.yaml_tree import plain
from tiersim.models.dram import LINE, Dram, Served, serve
from tiersim.models.dram_curve import KINDS, Curve, FastDram, Traffic, arrivals, curve_of, picoseconds, requests
from tiersim.sim.queued.link import WHOLE

ROUNDS = 3
COUNT = 200_000  # requests of a round
CYCLES = 300_000  # of a round of DRAMsim3
MICROSECOND = 10**6  # picoseconds
LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # no points of the fit
SEEDS = (1001, 1002)  # nor its seeds
# as much of it as a third of writes: what DRAMsim3's own "CPUs" do
PATTERNS = {"random": Traffic(writes=WHOLE // 3), "stream": Traffic(writes=WHOLE // 3, random=0)}
# measured once with commit 29817593 on two shared cores, `dramsim3main CONFIG -s PATTERN -c 2000000`
QUOTED = {
    ("DDR4_8Gb_x8_3200", "random"): 0.98e6,
    ("DDR4_8Gb_x8_3200", "stream"): 1.63e6,
    ("HBM2_4Gb_x128", "random"): 0.176e6,
    ("HBM2_4Gb_x128", "stream"): 0.299e6,
}


def built(name: str, **other: Any) -> Dram:
    made: Dram = TypeAdapter(Dram).validate_python(plain(presets.find(name).tree))
    return replace(made, **other)


def alike() -> dict[str, Dram]:
    """The memories of two of DRAMsim3's configurations: ranks, channels, banks, bursts and clock are the same."""
    return {
        "DDR4_8Gb_x8_3200": built("ddr4-3200", channels=1, ranks=2),
        "HBM2_4Gb_x128": built("hbm2e-3200", channels=8, access=64, frequency=10**9),
    }


def timed(run: Callable[[], Any]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun


def own(memory: Dram, traffic: Traffic, a_cycle: float | None = None) -> tuple[float, float, float]:
    """Cycles and requests of the detailed form a CPU second, and requests a cycle: all at once or at a rate."""
    lines, write = requests(memory, traffic, COUNT, 7)
    came = None if a_cycle is None else arrivals(memory, a_cycle * LINE * memory.frequency, COUNT, 7)
    kept: list[Served] = []
    spent = statistics.median(
        timed(lambda: kept.append(serve(memory, lines, arrival=came, write=write))) for _ in range(ROUNDS)
    )
    cycles = int(kept[0].done.max())
    return cycles / spent, COUNT / spent, COUNT / cycles


def theirs(folder: Path, config: str, pattern: str) -> tuple[float, float, float]:
    """The same of DRAMsim3."""
    spent, served = [], 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as out:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                f"{folder}/build/dramsim3main {folder}/configs/{config}.ini -s {pattern} -c {CYCLES} -o {out}".split(),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            told = json.loads((Path(out) / "dramsim3.json").read_text(encoding="utf-8"))
            served = sum(part["num_reads_done"] + part["num_writes_done"] for part in told.values())
    middle = statistics.median(spent)
    return CYCLES / middle, served / middle, served / CYCLES


def speed(folder: Path | None) -> Iterator[str]:
    """Cycles a CPU second beside DRAMsim3's, then both forms by preset."""
    yield f"{'':34} {'M cycles/s':>10} {'of a channel':>12} {'k requests/s':>12} {'requests/cycle':>14}"
    for name, memory in alike().items():
        for pattern, traffic in PATTERNS.items():
            serve(memory, np.arange(100))
            measured = None if folder is None else theirs(folder, name, pattern)
            rows = [("tiersim, all at once", own(memory, traffic))]
            if measured is None:
                rows.append(("DRAMsim3, quoted, not of this run", (QUOTED[name, pattern], 0, 0)))
            else:
                rows.append(("tiersim, as many a cycle as below", own(memory, traffic, measured[2])))
                rows.append(("DRAMsim3", measured))
            yield f"{name}, {memory.channels} channels, {pattern}"
            for who, (cycles, served, a_cycle) in rows:
                said = f"{served / 1e3:12,.0f} {a_cycle:14.3f}" if served else ""
                yield f"  {who:32} {cycles / 1e6:10.2f} {cycles * memory.channels / 1e6:12.2f} {said}".rstrip()
    yield ""
    yield f"{'thousands of requests a CPU second':34} {'random':>10} {'streams':>10} {'mix':>10}"
    for name in presets.names("dram"):
        rates = [own(built(name), traffic)[1] for traffic in KINDS.values()]
        yield f"{name + ', by commands':34} " + " ".join(f"{rate / 1e3:10,.0f}" for rate in rates)
    times, sizes, write = np.arange(COUNT) * 5000, np.full(COUNT, LINE), np.zeros(COUNT, bool)
    curve = curve_of(built("ddr4-3200"), KINDS["random"])
    FastDram(curve).serve(times[:10], sizes[:10], write[:10])
    many = COUNT / statistics.median(timed(lambda: FastDram(curve).serve(times, sizes, write)) for _ in range(ROUNDS))
    each = COUNT / statistics.median(timed(lambda: one_by_one(FastDram(curve), times.tolist())) for _ in range(ROUNDS))
    yield f"{'fast form, one by one in Python':34} {each / 1e3:10,.0f}   of any size"
    yield f"{'fast form, all in one call':34} {many / 1e3:10,.0f}   of any size"


def one_by_one(memory: FastDram, times: list[int]) -> None:
    for now in times:
        memory.request(now)


def validation() -> Iterator[str]:
    """Mean latencies of the fast form over those of the detailed one."""
    yield "Mean latency over load, fast over detailed, without the way to the memory: reads and, if any, writes."
    yield "In front the bandwidth that is reached, in GB/s and as a share of what the pins carry."
    yield ""
    yield f"{'load':32}" + "".join(f"{f'{load:.0%}':>8}" for load in LOADS)
    for name in presets.names("dram"):
        memory = built(name)
        for kind, traffic in KINDS.items():
            curve = curve_of(memory, traffic)
            reached = curve.bandwidth * MICROSECOND
            table = [over_load(memory, traffic, curve, load) for load in LOADS]
            for way, what in enumerate(("reads", "writes") if traffic.writes else ("reads",)):
                label = (
                    f"{name:12} {kind:8}{reached / 1e9:6.1f} {reached / memory.bandwidth:4.0%}"
                    if not way
                    else f"{what:>32}"
                )
                yield f"{label:32}" + "".join(f"{row[way]:>+8.1%}" for row in table)
    yield ""
    yield "Beyond the ceiling: bandwidth reached where 1.3 times as much is asked for, fast over detailed"
    yield f"{'':32}" + "".join(f"{kind:>8}" for kind in KINDS)
    for name in presets.names("dram"):
        yield f"{name:32}" + "".join(f"{beyond(built(name), traffic):>+8.1%}" for traffic in KINDS.values())
    yield ""
    yield "Closed loops: bandwidth with so many reads always under way, fast over detailed"
    flights = (1, 4, 16, 64, 256, 1024)
    yield f"{'reads under way':32}" + "".join(f"{flight:>8}" for flight in flights)
    for name in presets.names("dram"):
        for kind in ("random", "streams"):
            apart = [closed(built(name), KINDS[kind], flight) for flight in flights]
            yield f"{name:12} {kind:19}" + "".join(f"{one:>+8.1%}" for one in apart)


def both(memory: Dram, traffic: Traffic, curve: Curve, load: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """When requests come, when each form has served them (picoseconds), and which of them write."""
    count = max(COUNT, 12_000 * memory.channels)
    lines, write = requests(memory, traffic, count, seed)
    came = arrivals(memory, load * curve.bandwidth * MICROSECOND, count, seed)
    detailed = serve(memory, lines, arrival=came, write=write).done
    at, done = picoseconds(memory, came), picoseconds(memory, detailed)
    return at, FastDram(curve).serve(at, np.full(count, LINE), write), done, write


def over_load(memory: Dram, traffic: Traffic, curve: Curve, load: float) -> list[float]:
    """How far the mean latencies are apart: of reads and, where there are any, of writes."""
    sums = np.zeros((2, 2))
    for seed in SEEDS:
        at, fast, detailed, write = both(memory, traffic, curve, load, seed)
        late = np.arange(len(at)) >= len(at) // 10
        for way in (0, 1):
            some = late & (write == way)
            sums[way] += (fast - at)[some].sum(), (detailed - at)[some].sum()
    return [float(fast / detailed - 1) for fast, detailed in sums if detailed]


def beyond(memory: Dram, traffic: Traffic) -> float:
    _, fast, detailed, _ = both(memory, traffic, curve_of(memory, traffic), 1.3, SEEDS[0])
    return float(detailed.max() / fast.max() - 1)


def closed(memory: Dram, traffic: Traffic, flight: int) -> float:
    count = 40_000
    lines, _ = requests(memory, traffic, count, SEEDS[0])
    detailed = memory.picoseconds(int(serve(memory, lines, window=flight).done.max()))
    fast = FastDram(curve_of(memory, traffic))
    free = [0] * flight
    for _ in range(count):
        heapreplace(free, fast.request(free[0]))
    return detailed / max(free) - 1


def figure(path: Path) -> None:
    """The curves of reads and writes by kind of traffic, a line a memory."""
    from matplotlib.figure import Figure

    from tiersim.experiments.figures import DASHES, MARKERS, PALETTE, encode, style

    with style():
        made = Figure(figsize=(9, 3.2), layout="constrained")
        shown = [("random", "reads"), ("streams", "reads"), ("mix", "reads"), ("mix", "writes")]
        for axes, (kind, way) in zip(made.subplots(1, 4, sharey=True), shown, strict=True):
            for place, name in enumerate(presets.names("dram")):
                curve = curve_of(built(name), KINDS[kind])
                axes.plot(
                    [load / WHOLE for load in curve.load],
                    [point / 1000 for point in getattr(curve, way)],
                    color=PALETTE[place % len(PALETTE)],
                    linestyle=DASHES[place % len(DASHES)],
                    marker=MARKERS[place % len(MARKERS)],
                    markersize=3,
                    label=name,
                )
            axes.set_title(f"{kind}: {way}")
            axes.set_xlabel("load (share of what is reached)")
            axes.set_xlim(0, 1)
        made.axes[0].set_ylim(bottom=0)
        made.axes[0].set_ylabel("mean latency (ns)")
        made.axes[0].legend(fontsize="small")
    path.write_bytes(encode(made, "svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dramsim3", type=Path, metavar="FOLDER", help="its sources, built in FOLDER/build")
    parser.add_argument("--validate", action="store_true", help="the fast form beside the detailed one")
    parser.add_argument("--figure", type=Path, metavar="FILE.svg", help="draw the curves")
    asked = parser.parse_args()
    if asked.figure:
        figure(asked.figure)
    for line in validation() if asked.validate else () if asked.figure else speed(asked.dramsim3):
        print(line, flush=True)


if __name__ == "__main__":
    main()
