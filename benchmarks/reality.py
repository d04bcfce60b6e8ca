"""Measures the caches of this machine and predicts the same: a pointer chase, and reading, writing and copying.

    python benchmarks/reality.py                       measure, predict, and print the table
    python benchmarks/reality.py --json FILE           also keep all numbers
    python benchmarks/reality.py --figure FILE.svg     also draw them
    python benchmarks/reality.py --from FILE           print (and draw) a run that was kept, and measure nothing

The kernels are reality.c, which needs a C compiler. The model knows the sizes and ways of the caches from the kernel
(sysfs). Its latencies are fitted on one plateau of the chase for each cache and the memory; all other points, and so
every place where a curve bends, are predicted. docs/explanation/against-reality.md says what came out.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import itertools
import json
import mmap
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base import units
from tiersim._base.errors import DependencyError, StudyError, TiersimError
from tiersim._base.registry import build
from tiersim._base.units import Quantity
from tiersim.models.caches import Cache, Core, Memory, System, additive, simulate
from tiersim.sim.events import Events, events_from

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-fno-tree-loop-distribute-patterns", "-shared", "-fPIC", "-pthread")
SYSFS = Path("/sys/devices/system/cpu")
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SMALL, HUGE = 4096, 2 << 20  # bytes of a page
PAGES = {"huge": HUGE, "small": SMALL}
FRAMES = 1 << 36  # bytes of memory over which the model scatters pages
MOST_THREADS = 64  # as in reality.c
KERNELS = ("read", "write", "copy")  # in the order of reality.c
POLICIES = ("lru", "random")  # the first one is the prediction
LOADS = 1 << 15  # of a sample of the chase: short, or others take the shared cache back in the meantime
SAMPLES = 40
SWEEPS = 3
AMOUNT = 16 << 20  # bytes that a sample of a stream goes over at least, again and again
WINDOW = 8 << 20  # bytes that it goes over at most before the next sample
STREAMS = 200  # samples
FAR = 4  # a footprint so many times the last cache is read through only in part: it leaves nothing behind
BEND = 2  # within this factor of a capacity a point is counted as transition


# the host


@dataclass(frozen=True)
class HostCache:
    """One cache as the kernel describes it; `cpus` are those that share it."""

    level: int
    kind: str
    capacity: int
    ways: int
    line: int
    cpus: str


def host_caches(folder: Path) -> list[HostCache]:
    """The caches that data goes through, from the core down, as a folder of sysfs tells.

    Raises StudyError where there are none: some virtual machines and containers hide them.
    """
    found = []
    for index in sorted(folder.glob("index*")):
        told = {file.name: file.read_text(encoding="ascii").strip() for file in index.iterdir() if file.is_file()}
        if told.get("type") in ("Data", "Unified"):
            size = told["size"]  # in KiB, written 32K
            number, unit = int(size.rstrip("KM")), size.lstrip("0123456789")
            found.append(
                HostCache(
                    int(told["level"]),
                    told["type"],
                    number << {"": 0, "K": 10, "M": 20}[unit],
                    int(told["ways_of_associativity"]),
                    int(told["coherency_line_size"]),
                    told.get("shared_cpu_list", ""),
                )
            )
    if not found:
        raise StudyError(f"{folder} describes no cache", None, "run on a machine whose kernel shows its caches there")
    return sorted(found, key=lambda cache: cache.level)


def processors() -> list[int]:
    """The processors that this process may use; the streams run on the first of them, a thread each."""
    return sorted(os.sched_getaffinity(0))


def host_cpu(text: str) -> dict[str, str]:
    """Vendor and model of the first processor in /proc/cpuinfo, and whether it says that it is a virtual machine."""
    first = text.split("\n\n")[0]
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    return {
        "vendor": told.get("vendor_id", "unknown"),
        "model": told.get("model name", "unknown"),
        "virtual": "yes" if "hypervisor" in told.get("flags", "").split() else "not said",
    }


def huge_pages() -> str:
    """The kernel's word on transparent huge pages: always, madvise or never."""
    return THP.read_text(encoding="ascii").split("[")[-1].split("]")[0] if THP.exists() else "not there"


# measuring


@contextmanager
def kernels() -> Iterator[ctypes.CDLL]:
    """The kernels of reality.c, compiled for this machine. Raises DependencyError without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise DependencyError("the kernels are C, and there is no gcc or cc", None, "install a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "reality.so"
        done = subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(made)], capture_output=True, text=True)
        if done.returncode:
            raise DependencyError(f"{compiler} does not compile {SOURCE.name}:\n{done.stderr}", None, "use gcc")
        held = ctypes.CDLL(str(made))
    number, pointer = ctypes.c_uint64, ctypes.c_void_p
    held.add.argtypes, held.add.restype = [number], ctypes.c_double
    held.link_lines.argtypes, held.link_lines.restype = [pointer, pointer, number, number], None
    held.chase.argtypes, held.chase.restype = [pointer, number], ctypes.c_double
    whole = ctypes.c_int
    held.stream.argtypes = [whole, whole, pointer, number, number, number, whole, number, whole]
    held.stream.restype = ctypes.c_double
    yield held


class Buffer:
    """Memory of one kind of page, all of it touched; `granted` is the share that came as huge pages."""

    def __init__(self, size: int, pages: str) -> None:
        self._map = mmap.mmap(-1, size + 2 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if THP.exists():
            self._map.madvise(mmap.MADV_HUGEPAGE if pages == "huge" else mmap.MADV_NOHUGEPAGE)
        held = np.frombuffer(self._map, np.uint8)
        begin = -held.ctypes.data % HUGE
        whole = held[begin : begin + -(-size // HUGE) * HUGE]
        whole[::SMALL] = 0
        self.address = whole.ctypes.data
        self.granted = min(_huge_bytes(self.address) / len(whole), 1.0)  # a mapping can be one with its neighbour
        self._held = whole


def _huge_bytes(address: int) -> int:
    """The bytes in huge pages of the mapping that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        key = line.split()[0]
        if "-" in key and not key.endswith(":"):
            begin, end = (int(part, 16) for part in key.split("-"))
            inside = begin <= address < end
        elif inside and key == "AnonHugePages:":
            return int(line.split()[1]) << 10
    return 0


def footprints(smallest: int, largest: int) -> list[int]:
    """1 and 1.5 times every power of two in between."""
    powers = [1 << k for k in range(smallest.bit_length() - 1, largest.bit_length())]
    return [size for power in powers for size in (power, power * 3 // 2) if smallest <= size <= largest]


def walk(order: NDArray[np.uint32], footprint: int, line: int) -> NDArray[np.uint32]:
    """The order in which a chase visits the lines of a footprint: that of the largest, without what lies beyond."""
    kept: NDArray[np.uint32] = order[order < footprint // line]
    return kept


def measure_clock(run: ctypes.CDLL) -> float:
    """Hertz: additions a second of a chain, the best of many, at one a cycle."""
    count = 1 << 22
    return count / min(float(run.add(count)) for _ in range(50))


def measure_chase(
    run: ctypes.CDLL, order: NDArray[np.uint32], sizes: Sequence[int], line: int, cache: int, sweeps: int
) -> list[dict[str, Any]]:
    """Nanoseconds a load for each footprint and kind of page.

    Before each sample the footprint is read through, fast, so that the lines are in the caches that can hold them
    whatever others did there since. A figure is the median over the sweeps of the best sample of each; `typical` is
    the median of all samples.
    """
    rows = []
    for size in sizes:
        ordered = walk(order, size, line)[: SAMPLES * LOADS]  # no more is walked
        row: dict[str, Any] = {"footprint": size}
        best: dict[str, list[float]] = {pages: [] for pages in PAGES}
        every: dict[str, list[float]] = {pages: [] for pages in PAGES}
        for pages in list(PAGES) * sweeps:
            buffer = Buffer(size, pages)
            row[f"{pages}_granted"] = buffer.granted
            run.link_lines(buffer.address, ordered.ctypes.data, len(ordered), line)
            at = ctypes.c_void_p(buffer.address + int(ordered[0]) * line)
            read = min(size, FAR * cache)
            samples = []
            for _ in range(SAMPLES):
                stream(run, "read", [buffer], (size - read, size))
                samples.append(run.chase(ctypes.byref(at), LOADS) / LOADS * 1e9)
            best[pages].append(min(samples))
            every[pages] += samples
        for pages in PAGES:
            row[pages] = statistics.median(best[pages])
            row[f"{pages}_typical"] = statistics.median(every[pages])
        rows.append(row)
    return rows


def stream(
    run: ctypes.CDLL,
    kernel: str,
    buffers: Sequence[Buffer],
    span: tuple[int, int],
    *,
    rounds: int = 1,
    samples: int = 1,
    window: int | None = None,
) -> float:
    """Seconds of the best sample of a stream over a span of bytes in each buffer, in as many threads.

    With a window, each sample goes over that much, and the next one over what follows. Raises StudyError if the system
    refuses the threads.
    """
    begin, end = span
    size = window or end - begin
    away, step, steps = (end - begin) // 2, size // 2, (end - begin) // size
    bases = (ctypes.c_void_p * len(buffers))(*(buffer.address + begin for buffer in buffers))
    if kernel != "copy":  # a copy goes over two halves at once
        step = size
    kind = KERNELS.index(kernel)
    spent = float(run.stream(kind, len(buffers), bases, away, size, rounds, samples, step, steps))
    if spent < 0:
        raise StudyError(f"the system refuses {len(buffers)} threads", None, "say fewer --threads")
    return spent


def measure_streams(run: ctypes.CDLL, sizes: Sequence[int], threads: int, sweeps: int) -> list[dict[str, Any]]:
    """Bytes read and written a second by each kernel, each thread in huge pages of its own, `footprint` bytes.

    A large footprint is gone through in windows, a sample each: all at once it would be interrupted.
    """
    rows = []
    for size, count in itertools.product(sizes, range(1, threads + 1)):
        buffers = [Buffer(size, "huge") for _ in range(count)]
        window, rounds = min(size, WINDOW), max(AMOUNT // size, 1)
        for kernel in KERNELS:
            fastest = [
                stream(run, kernel, buffers, (0, size), rounds=rounds, samples=STREAMS, window=window)
                for _ in range(sweeps)
            ]
            rate = count * window * rounds / statistics.median(fastest)
            rows.append({"kernel": kernel, "threads": count, "footprint": size, "rate": rate})
    return rows


# predicting


@dataclass(frozen=True)
class Lookups:
    """What a replay counted: of each cache and the memory, over `count` lines asked for by the program."""

    caches: dict[str, dict[str, int]]
    memory: dict[str, int]
    count: int

    def reads(self) -> list[float]:
        """Lookups a line asked for: of each cache, and last of the memory."""
        inner = [held["reads"] + held["writes"] for held in self.caches.values()]
        return [number / self.count for number in [*inner, self.memory["reads"]]]


def system_of(caches: Sequence[HostCache], vendor: str, clock: float, policy: str = POLICIES[0]) -> System:
    """The caches of a host as a system without latencies; an L3 of AMD holds what the L2 evicted: exclusive."""
    none = Quantity(0, "time")
    made = {
        f"l{cache.level}": Cache(
            capacity=cache.capacity,
            ways=cache.ways or "full",  # 0 in sysfs
            latency=none,
            policy=build("way-replacement", policy),
            inclusion="exclusive" if cache.level == 3 and vendor == "AuthenticAMD" else "non-inclusive",
        )
        for cache in caches
    }
    return System(caches=made, memory=Memory(latency=none), core=Core(frequency=round(clock)), line=caches[0].line)


def with_latencies(system: System, nanoseconds: Sequence[float]) -> System:
    """The system with the latencies of its caches and, last, its memory."""
    told = [Quantity(round(value * 1000), "time") for value in nanoseconds]
    caches = {
        name: replace(cache, latency=latency)
        for (name, cache), latency in zip(system.caches.items(), told[:-1], strict=True)
    }
    return replace(system, caches=caches, memory=Memory(latency=told[-1]))


def sharers(cache: HostCache, cpus: Sequence[int]) -> int:
    """How many of some processors share a cache: its list reads 0-3,8."""
    ranges = [part.partition("-") for part in cache.cpus.split(",") if part]
    return sum(any(int(low) <= cpu <= int(high or low) for low, _, high in ranges) for cpu in cpus)


def part_of(cache: HostCache, cpus: Sequence[int]) -> HostCache:
    """What each of some processors has of a cache: its share of the ways where they share it, else all."""
    count = max(sharers(cache, cpus), 1)
    if not cache.ways:
        return replace(cache, capacity=cache.capacity // cache.line // count * cache.line)
    ways = max(cache.ways // count, 1)
    return replace(cache, capacity=cache.capacity // cache.ways * ways, ways=ways)


def scattered(offsets: NDArray[np.uint64], page: int, seed: int) -> NDArray[np.uint64]:
    """Addresses for offsets: pages lie anywhere in memory, as a system hands them out."""
    count = int(offsets.max()) // page + 1
    frames = np.random.default_rng(seed).choice(FRAMES // page, count, replace=False).astype(np.uint64)
    address: NDArray[np.uint64] = frames[offsets // np.uint64(page)] * np.uint64(page) + offsets % np.uint64(page)
    return address


@dataclass(frozen=True)
class Stretch:
    """A stream of loads and stores, ready for replay, of which only the last `count` are counted."""

    events: Events
    count: int

    def replay(self, system: System) -> Lookups:
        """What the caches of a system do with it."""
        warm = self.events.counts.events - self.count
        result = simulate(system, self.events, cuts=[warm], classify=False)
        counters = dict(zip(system.caches, result.counters(warm), strict=True))
        return Lookups(counters, result.memory(warm), self.count)


def stretch(parts: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint8]]], page: int, line: int) -> Stretch:
    """A stretch from parts, each offsets with kinds (0 load, 1 store), the last of them counted."""
    offset, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Stretch(events_from(scattered(offset, page, seed=1), kind, line), len(parts[-1][0]))


def loads(lines: NDArray[Any], line: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Lines as a part of a stream of loads."""
    return lines.astype(np.uint64) * np.uint64(line), np.zeros(len(lines), np.uint8)


def chase_of(ordered: NDArray[np.uint32], page: int, line: int, cache: int) -> Stretch:
    """A chase as it is measured: the second of two samples, the footprint read through before each."""
    count = len(ordered)
    through = loads(np.arange(max(count - FAR * cache // line, 0), count), line)
    first, second = (loads(np.take(ordered, range(k, k + LOADS), mode="wrap"), line) for k in (0, LOADS))
    return stretch([through, first, through, second], page, line)


def stream_of(kernel: str, footprint: int, line: int) -> Stretch:
    """A stream over a footprint, warmed: one round and a second."""
    offset, kind = loads(np.arange(footprint // line), line)
    if kernel == "write":
        kind += 1
    elif kernel == "copy":
        offset = np.stack(np.split(offset, 2)[::-1], axis=1).reshape(-1)
        kind[1::2] = 1
    return stretch([(offset, kind)] * 2, HUGE, line)


def nanoseconds(system: System, lookups: Lookups) -> float:
    """Mean time of a line asked for, one after the other."""
    return additive(system, lookups.caches, lookups.memory).data / lookups.count / 1000


def plateaus(capacities: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The footprint for each cache, halfway (in octaves) from the one above, and for the memory, 4 times the last."""
    wanted = [capacities[0] / 2, *((a * b) ** 0.5 for a, b in itertools.pairwise(capacities)), 4 * capacities[-1]]
    return [min(sizes, key=lambda size: abs(np.log(size / want))) for want in wanted]


def fitted(reads: Sequence[Sequence[float]], measured: Sequence[float]) -> list[float]:
    """What a lookup of each level takes, so that the model gives what was measured at one point for each level."""
    solved = np.linalg.solve(np.array(reads), np.array(measured))
    return [max(float(value), 0.001) for value in solved]  # a picosecond: a fit to noise can be negative


def bandwidth(line: int, lookups: Lookups, waits: Sequence[float], issue: float) -> float:
    """Bytes a second: a line takes what the core needs to issue it, or what it waits beyond the first cache.

    `waits` holds, for each further cache and the memory, the latency of a lookup over the lines outstanding there,
    which is Little's law; the waits of a line add up. Both in nanoseconds.
    """
    waited = sum(wait * reads for wait, reads in zip(waits, lookups.reads()[1:], strict=True))
    return line / max(issue, waited) * 1e9


def in_reach(caches: Sequence[HostCache], largest: int) -> tuple[list[HostCache], int]:
    """The caches that footprints exceed four times, and the largest footprint.

    What lies beyond is memory to the model, and no footprint may fill more than half of a cache there. Raises
    StudyError when not even the first cache is exceeded.
    """
    kept = [cache for cache in caches if 4 * cache.capacity <= largest]
    if not kept:
        raise StudyError(
            f"footprints up to {_size(largest)} are too small for a first cache of {_size(caches[0].capacity)}",
            None,
            f"say --largest '{_size(4 * caches[0].capacity)}' or more",
        )
    beyond = caches[len(kept) :]
    return kept, min(largest, beyond[0].capacity // 2) if beyond else largest


def predict_chase(
    caches: Sequence[HostCache],
    vendor: str,
    clock: float,
    order: NDArray[np.uint32],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Add the predictions to the measured rows; give back what was fitted, on huge pages and by the first policy."""
    sizes = [row["footprint"] for row in rows]
    points = plateaus([cache.capacity for cache in caches], sizes)
    line = caches[0].line
    bare = {policy: system_of(caches, vendor, clock, policy) for policy in POLICIES}
    found = {}
    for size, (pages, page) in itertools.product(sizes, PAGES.items()):
        chase = chase_of(walk(order, size, line), page, line, caches[-1].capacity)
        for policy, system in bare.items():
            found[size, pages, policy] = chase.replay(system)
    measured = {row["footprint"]: row["huge"] for row in rows}
    latencies = fitted(
        [found[size, "huge", POLICIES[0]].reads() for size in points], [measured[size] for size in points]
    )
    for row, pages, policy in itertools.product(rows, PAGES, POLICIES):
        system = with_latencies(bare[policy], latencies)
        row[f"{pages}_{policy}"] = nanoseconds(system, found[row["footprint"], pages, policy])
    for row in rows:
        row["fitted"] = row["footprint"] in points
        row["transition"] = any(cache.capacity / BEND < row["footprint"] < cache.capacity * BEND for cache in caches)
    return {"latencies": latencies, "points": points}


def predict_streams(
    caches: Sequence[HostCache],
    vendor: str,
    clock: float,
    cpus: Sequence[int],
    latencies: Sequence[float],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Add the predictions to the measured rows; give back what was fitted, all of it with one thread.

    The lines outstanding come from reading at one plateau for each level, what a kernel issues from that of the first
    cache. Of a cache that threads share, each has its part.
    """
    line = caches[0].line
    points = plateaus([cache.capacity for cache in caches], sorted({row["footprint"] for row in rows}))
    alone = {(row["kernel"], row["footprint"]): line / row["rate"] * 1e9 for row in rows if row["threads"] == 1}
    issue = {kernel: alone[kernel, points[0]] for kernel in KERNELS}
    systems = {
        threads: system_of([part_of(cache, cpus[:threads]) for cache in caches], vendor, clock)
        for threads in {row["threads"] for row in rows}
    }
    waits = fitted(
        [stream_of("read", size, line).replay(systems[1]).reads()[1:] for size in points[1:]],
        [alone["read", size] for size in points[1:]],
    )
    for row in rows:
        kernel, threads, size = row["kernel"], row["threads"], row["footprint"]
        lookups = stream_of(kernel, size, line).replay(systems[threads])
        row["predicted"] = threads * bandwidth(line, lookups, waits, issue[kernel])
        row["fitted"] = threads == 1 and (size == points[0] or (kernel == "read" and size in points))
    outstanding = [latency / wait for latency, wait in zip(latencies[1:], waits, strict=True)]
    return {"outstanding": outstanding, "points": points, "issue": issue}


# telling


def error(predicted: float, measured: float) -> float:
    """How far a prediction is off, in per cent of what was measured."""
    return 100 * (predicted / measured - 1)


def worst(errors: dict[int, float]) -> tuple[int, float]:
    """The footprint with the largest error, and that."""
    return max(errors.items(), key=lambda item: abs(item[1]))


def chase_errors(rows: Sequence[dict[str, Any]], pages: str, predicted: str, which: str = "all") -> dict[int, float]:
    """Errors by footprint over what was not fitted: all of it, or only the plateaus or the transitions."""
    return {
        row["footprint"]: error(row[predicted], row[pages])
        for row in rows
        if not (row["fitted"] and pages == "huge") and (which == "all" or row["transition"] == (which == "transition"))
    }


def _mean(errors: dict[Any, float]) -> float:
    return statistics.fmean(map(abs, errors.values()))


def _said(errors: dict[int, float]) -> str:
    at, most = worst(errors)
    return f"mean {_mean(errors):5.1f} %, worst {most:+.0f} % at {_size(at)} ({len(errors)} points)"


def _size(amount: int) -> str:
    return units.show(amount, "bytes")


def report(run: dict[str, Any]) -> str:
    """A run as text: the machine, what was fitted, what was measured beside what was predicted, and the errors."""
    rows, fit = run["chase"], run["fit"]
    lines = [
        f"{run['cpu']['model']} ({run['cpu']['vendor']}), {run['date']}, virtual machine: {run['cpu']['virtual']}",
        f"clock {run['clock'] / 1e9:.2f} GHz by a chain of additions; {run['processors']} processors to run on",
        f"load average {run['load'][0]:.1f} before and {run['load'][1]:.1f} after",
    ]
    for cache in run["caches"]:
        ways = f"{cache['ways']} ways" if cache["ways"] else "fully associative"
        lines.append(
            f"L{cache['level']} {_size(cache['capacity'])}, {ways}, lines of {cache['line']} B, "
            f"shared by processors {cache['cpus']}, says sysfs"
        )
    granted = min(row["huge_granted"] for row in rows)
    lines += [
        f"transparent huge pages: {run['huge_pages']}; at least {100 * granted:.0f} % of what asked for them got them",
        "",
        "Fitted, each on one point of the chase in huge pages; a latency is what a lookup there adds:",
    ]
    names = [*(f"L{cache['level']}" for cache in run["caches"]), "memory"]
    del names[len(fit["latencies"]) - 1 : -1]
    for name, latency, point in zip(names, fit["latencies"], fit["points"], strict=True):
        cycles = latency * run["clock"] / 1e9
        lines.append(f"  {name:6} {latency:7.2f} ns ({cycles:.1f} cycles) at {_size(point)}")
    lines += [
        "",
        "Pointer chase, ns a load. * fitted on, ~ within a factor of two of a capacity, TLB: small less huge pages",
        "               huge pages (2 MiB)             small pages (4 KiB)",
        "footprint     measured predicted  error     measured predicted  error      TLB",
    ]
    lru = POLICIES[0]
    for row in rows:
        mark = "*" if row["fitted"] else "~" if row["transition"] else " "
        parts = [
            f"{row[pages]:9.2f} {row[f'{pages}_{lru}']:9.2f} {error(row[f'{pages}_{lru}'], row[pages]):+5.0f} %"
            for pages in PAGES
        ]
        lines.append(
            f"{_size(row['footprint']):>9} {mark}  {parts[0]}    {parts[1]}  {row['small'] - row['huge']:+7.2f}"
        )
    lines += ["", "Error of the chase over the points not fitted on:"]
    for pages in PAGES:
        for which in ("all", "plateau", "transition"):
            found = chase_errors(rows, pages, f"{pages}_{lru}", which)
            if found:
                lines.append(f"  {pages:5} pages, {which + ':':12}{_said(found)}")
    for policy in POLICIES[1:]:
        lines.append(f"  huge pages, {policy} in all caches: {_said(chase_errors(rows, 'huge', f'huge_{policy}'))}")
    lines.append(f"  huge pages, if scattered by 4 KiB: {_said(chase_errors(rows, 'huge', f'small_{lru}'))}")
    spread = statistics.median(row["huge_typical"] / row["huge"] - 1 for row in rows)
    lines += [
        f"  noise: the median sample is {100 * spread:.0f} % slower than the best, in the middle over the footprints",
        "",
        "Bandwidth in huge pages, GB/s read and written. * fitted on",
        "lines outstanding, fitted: "
        + ", ".join(
            f"{number:.1f} to {name} at {_size(point)}"
            for name, number, point in zip(
                names[1:], run["streams_fit"]["outstanding"], run["streams_fit"]["points"][1:], strict=True
            )
        ),
        "footprint  threads " + "".join(f"  {kernel:>5}: measured predicted  error" for kernel in KERNELS),
    ]
    held = {(row["footprint"], row["threads"], row["kernel"]): row for row in run["streams"]}
    for size, count in dict.fromkeys((size, count) for size, count, _ in held):
        parts = []
        for kernel in KERNELS:
            row = held[size, count, kernel]
            mark = "*" if row["fitted"] else " "
            off = error(row["predicted"], row["rate"])
            parts.append(f"  {row['rate'] / 1e9:15.1f} {row['predicted'] / 1e9:9.1f} {off:+5.0f} %{mark}")
        lines.append(f"{_size(size):>9} {count:8} " + "".join(parts).rstrip())
    lines += ["", "Error of the bandwidth over the points not fitted on:"]
    for count in sorted({row["threads"] for row in run["streams"]}):
        for kernel in KERNELS:
            found = {
                size: error(row["predicted"], row["rate"])
                for (size, threads, name), row in held.items()
                if threads == count and name == kernel and not row["fitted"]
            }
            if found:
                lines.append(f"  {kernel + ',':6} {count} thread{'s' * (count > 1)}: {_said(found)}")
    return "\n".join(line.rstrip() for line in lines)


def draw(run: dict[str, Any]) -> Figure:
    """Measured and predicted curves: the chase in both kinds of pages, and reading with one thread and more."""
    try:
        from matplotlib.figure import Figure as Made
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
    except ImportError:
        raise DependencyError("a figure needs matplotlib", None, "pip install 'tiersim[report]'") from None

    from tiersim.experiments.figures import PAGE, PALETTE, style

    rows, lru = run["chase"], POLICIES[0]
    sizes = [row["footprint"] for row in rows]
    with style():
        figure = Made(figsize=(PAGE, 3.0))
        chase, streams = figure.subplots(1, 2)
        for place, (pages, marker) in enumerate(zip(PAGES, "os", strict=True), 1):
            measured = [row[pages] for row in rows]
            chase.plot(sizes, measured, marker, color=PALETTE[place], mfc="none", label=f"measured, {pages} pages")
            predicted = [row[f"{pages}_{lru}"] for row in rows]
            chase.plot(sizes, predicted, "-" if place == 1 else "--", color=PALETTE[place], label=f"predicted, {pages}")
        fitted_on = [row for row in rows if row["fitted"]]
        chase.plot(
            [row["footprint"] for row in fitted_on],
            [row["huge"] for row in fitted_on],
            "o",
            color="k",
            label="fitted on",
        )
        chase.set_ylabel("ns a load")
        for place, count in enumerate(sorted({row["threads"] for row in run["streams"]}), 1):
            held = [row for row in run["streams"] if row["threads"] == count and row["kernel"] == "read"]
            at, said = [row["footprint"] for row in held], f"{count} thread{'s' * (count > 1)}"
            look = PALETTE[place]
            streams.plot(
                at,
                [row["rate"] / 1e9 for row in held],
                "os"[place % 2],
                color=look,
                mfc="none",
                label=f"measured, {said}",
            )
            streams.plot(at, [row["predicted"] / 1e9 for row in held], "-", color=look, label=f"predicted, {said}")
        streams.set_ylabel("GB/s read")
        for axes in (chase, streams):
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            for cache in run["caches"]:
                axes.axvline(cache["capacity"], color="#999999", linewidth=0.6, linestyle=":")
            axes.set_xticks([size for size in sizes if size.bit_length() % 4 == 1 and not size & (size - 1)])
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size(round(value))))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.set_xlabel("footprint (dotted: capacities)")
            axes.legend()
    return figure


def measure(smallest: int, largest: int, threads: int, sweeps: int) -> dict[str, Any]:
    """One run: the host, what was measured on it, and what was predicted."""
    cpus = processors()
    caches = host_caches(SYSFS / f"cpu{cpus[0]}" / "cache")
    cpu = host_cpu(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    reach, largest = in_reach(caches, largest)
    line, cache = caches[0].line, reach[-1].capacity
    if not 1024 <= smallest <= caches[0].capacity // 2:
        raise StudyError(
            f"footprints from {_size(smallest)} on leave no point for the first cache of {_size(caches[0].capacity)}",
            None,
            f"say --smallest '1 KiB' to '{_size(caches[0].capacity // 2)}'",
        )
    load = [os.getloadavg()[0]]
    sizes = footprints(smallest, largest)
    wide = [size for size in sizes if size & (size - 1) == 0 and size <= 4 * cache]
    order = np.random.default_rng(1).permutation(largest // line).astype(np.uint32)
    with kernels() as run:
        clock = measure_clock(run)
        chase = measure_chase(run, order, sizes, line, caches[-1].capacity, sweeps)
        streams = measure_streams(run, wide, threads, sweeps)
    load.append(os.getloadavg()[0])
    fit = predict_chase(reach, cpu["vendor"], clock, order, chase)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu,
        "processors": len(cpus),
        "caches": [asdict(cache) for cache in caches],
        "huge_pages": huge_pages(),
        "load": load,
        "clock": clock,
        "fit": fit,
        "streams_fit": predict_streams(reach, cpu["vendor"], clock, cpus, fit["latencies"], streams),
        "chase": chase,
        "streams": streams,
    }


def kept_run(file: Path) -> dict[str, Any]:
    """A run that --json kept. Raises StudyError for any other file."""
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        run = None
    if not isinstance(run, dict) or not {"chase", "streams", "fit", "streams_fit"} <= set(run):
        raise StudyError(f"{file} is no run that --json kept", None, "measure one: reality.py --json FILE")
    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure or read a run, and tell it, as the command line says."""
    parser = argparse.ArgumentParser(description="Measure the caches of this machine and predict the same.")
    parser.add_argument("--smallest", default="4 KiB", help="footprint to begin with (default: 4 KiB)")
    parser.add_argument("--largest", default="1 GiB", help="footprint to end with (default: 1 GiB)")
    parser.add_argument("--threads", type=int, default=min(2, len(processors())), help="of the streams, at most")
    parser.add_argument("--sweeps", type=int, default=SWEEPS, help=f"of the measurements (default: {SWEEPS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the curves: .svg, .png or .pdf")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="kept", help="tell a run that was kept")
    asked = parser.parse_args(arguments)
    try:
        if asked.kept:
            run = kept_run(asked.kept)
        elif asked.sweeps < 1:
            raise StudyError("no sweep measures nothing", None, "say --sweeps 1 or more")
        elif asked.threads > (most := min(len(processors()), MOST_THREADS)) or asked.threads < 1:  # they spin
            raise StudyError(
                f"{asked.threads} threads cannot run at once here", None, f"say --threads from 1 to {most}"
            )
        else:
            ends = [int(units.parse(text, "bytes").amount) for text in (asked.smallest, asked.largest)]
            run = measure(ends[0], ends[1], asked.threads, asked.sweeps)
        print(report(run))
        if asked.json:
            asked.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        if asked.figure:
            from tiersim.experiments.curve_figures import saved

            saved(draw(run), asked.figure)
    except (TiersimError, OSError) as problem:
        raise SystemExit(str(problem)) from None


if __name__ == "__main__":
    main()
