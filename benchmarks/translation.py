"""Speed of translation on the eleven workloads of the study of Victima, and its memory on a long trace.

python benchmarks/translation.py                          minutes, and as many to make the traces the first time
python benchmarks/translation.py --only gups xs-lookup    some of the workloads
python benchmarks/translation.py --length 1000M           one workload streamed at that length: time and memory
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiersim._base import units
from tiersim.experiments.plan import make_plan
from tiersim.experiments.scenarios.translation import Translation
from tiersim.experiments.yaml_tree import load, plain
from tiersim.models.caches import levels_of
from tiersim.models.translation import Paging
from tiersim.sim.cache_loop import STORE
from tiersim.sim.events import Counts, Events
from tiersim.sim.pages import LINE, PagedEvents, Tables, prepare_pages
from tiersim.sim.replay import replay
from tiersim.sim.translation import translate

STUDY = Path(__file__).parents[1] / "experiments" / "library" / "victima-workloads.yaml"
ROUNDS = 3
BEGIN, REFERENCES = 20_000_000, 10_000_000  # of each workload, behind what it does only once
PLAIN = 5_000  # references that the same loop replays as plain Python
# as of the released artifact: by steps of any length in front of the L1, by lines in front of the L2
PREFETCHERS = {"l1d": {"prefetch": {"degree": 2}}, "l2": {"prefetch": {"degree": 4, "steps": "one"}}}
MECHANISMS = {"radix": "radix", "Victima": "victima"}


def study() -> dict[str, Any]:
    """What the library's study says, without its claims and figures."""
    tree = plain(load(STUDY))
    return {key: tree[key] for key in ("study", "scenario", "trace", "system", "policy", "large_pages", "sweep")}


def scenarios(policy: str, *, prefetchers: bool) -> dict[str, Translation]:
    """The study's workloads with this policy, by the name of their generator."""
    kept = study()
    if prefetchers:
        kept["system"] = {"use": kept["system"], "caches": PREFETCHERS}
    made = {}
    for run in make_plan(kept | {"policy": policy}).runs:
        assert isinstance(run.scenario, Translation)
        made[run.scenario.trace.use.rpartition("/")[2]] = run.scenario
    return made


def best(run: Callable[[], Any]) -> float:
    """CPU seconds, of the fastest round; what is compiled is compiled before."""
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return min(times)


def part(events: PagedEvents, count: int, *, stores: bool) -> PagedEvents:
    """References from `BEGIN` on, held in memory; loads alone unless `stores`."""
    (held,) = events.chunks(BEGIN, BEGIN + count, count)
    if not stores:
        held = np.where(held & 3 == STORE, held & ~3, held).astype(np.int32)
    marks = events.ends_between(BEGIN, BEGIN + count)
    return PagedEvents(Counts(events=count), events.lines, None, held, marks=marks)


def rate(scenario: Translation, events: PagedEvents, tables: Tables, *, compiled: bool = True) -> float:
    """Millions of references a CPU second."""
    wired = scenario.wired

    def run() -> None:
        translate(wired.loop, wired.sets, events, tables, wired.timing, compiled=compiled)

    return events.counts.events / best(run) / 1e6


def untranslated(scenario: Translation, events: PagedEvents) -> float:
    """The same for the caches alone: the addresses of the program as they are, and no prefetcher."""
    levels, sets = levels_of(scenario.system, classify=False)
    lines = (events.lines[:, None] << LINE | np.arange(1 << LINE)).reshape(-1)
    flat = Events(events.counts, lines, None, events.held)
    return events.counts.events / best(lambda: replay(levels, sets, flat)) / 1e6


def measured(name: str, variants: dict[tuple[str, bool], dict[str, Translation]], count: int) -> list[float]:
    """The row of one workload."""
    scenario = variants["radix", False][name]
    whole = prepare_pages(scenario.trace.open(), fetches=False)
    loads, both = (part(whole, count, stores=stores) for stores in (False, True))
    tables = scenario.wired.tables(whole.lines, Paging(scenario.large_pages), seed=0)
    row = [untranslated(scenario, loads)]
    for events, prefetchers in ((loads, False), (both, False), (both, True)):
        row += [rate(variants[mechanism, prefetchers][name], events, tables) for mechanism in MECHANISMS]
    return [*row, rate(scenario, part(whole, PLAIN, stores=False), tables, compiled=False)]


def compare(names: Sequence[str], count: int) -> None:
    """The table: millions of references a CPU second by workload, and their geometric means."""
    variants = {
        (mechanism, prefetchers): scenarios(policy, prefetchers=prefetchers)
        for mechanism, policy in MECHANISMS.items()
        for prefetchers in (False, True)
    }
    for held in variants.values():
        next(iter(held.values())).warm(lambda text: None)
    print(f"{'M references/CPU s':21}{'loads':>26}{'with stores':>20}{'and prefetchers':>20}{'Python':>9}")
    print(f"{'':21}{'caches':>8}" + 3 * "".join(f"{title:>{9 + k}}" for k, title in enumerate(MECHANISMS)))
    rows = []
    for name in names or list(variants["radix", False]):
        rows.append(measured(name, variants, count))
        show(name, rows[-1])
    show("geometric mean", [math.exp(sum(map(math.log, held)) / len(rows)) for held in zip(*rows, strict=True)])
    print(machine())


def show(name: str, row: Sequence[float]) -> None:
    cells = "".join(f"{value:{9 + k % 2}.1f}" for k, value in enumerate(row[1:-1]))
    print(f"{name:21}{row[0]:8.1f}{cells}{row[-1]:10.4f}", flush=True)


def machine() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, Python {platform.python_version()}"


def long(name: str, length: int) -> None:
    """One workload at this length, with radix tables, from its generator to its results."""
    trace = scenarios("radix", prefetchers=False)[name].trace.to_data() | {"references": length, "warm_up": 0}
    (run,) = make_plan({key: held for key, held in study().items() if key != "sweep"} | {"trace": trace}).runs
    scenario = run.scenario
    assert isinstance(scenario, Translation)
    scenario.warm(lambda text: None)
    begun = time.process_time()
    scenario.prepare(lambda *told: None)
    prepared = time.process_time()
    made = scenario.simulate(0, lambda *told: None)
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}, {made.counts.events / 1e6:,.0f} M references, {made.pages:,} pages: made in {prepared - begun:.0f} "
        f"CPU s, replayed in {done - prepared:.0f} ({made.counts.events / (done - prepared) / 1e6:.1f} M/s), "
        f"at most {peak:,.0f} MiB of memory"
    )
    print(machine())


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="Speed of translation.")
    parser.add_argument("--only", nargs="*", default=[], help="workloads, by their generator; all unless said")
    parser.add_argument("--references", default=f"{REFERENCES // 10**6}M", help="of each workload")
    parser.add_argument("--length", help="instead: run one workload at this length")
    asked = parser.parse_args()
    if asked.length:
        long(*(asked.only or ["gups"]), units.parse(asked.length, "count").amount)
    else:
        compare(asked.only, units.parse(asked.references, "count").amount)


if __name__ == "__main__":
    main()
