"""Speed of servers of language models: `python benchmarks/serving.py`, part of `make bench`.

CPU time of one thread, the median of the rounds, with what becomes of every request and the log of all iterations; the
traces are those of Azure and Mooncake, from the folder that TIERSIM_TRACE_MIRROR names. The ratio is to the plain model
of the tests, which takes one iteration at a time, on the first requests of the same trace, with the same times.

A decision of a router is one chain of calls that places requests, or leaves them where they are: `route`; of a router
that holds requests `arrive` and `dispatch` at an arrival, `first` and `dispatch` at first tokens, `ended` and
`dispatch` at ends, each for itself. What counts is all the time within these methods, and in `ended` of other routers:
the router's own Python, and what it looks up in the view, which the engine finds and which is told apart too. What
the clock takes is measured, and taken off. The servers are those of `dualmap-servers.yaml` in the library.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5
TOKEN = 128 * 1024 * 20  # picoseconds on a link of 400 Gbit/s
FEW = 1000  # requests that the plain model gets too
# near those of Llama 3 8B on an A100
MODEL = {"iteration": "9 ms", "prefill": "55 us/token", "decode": "30 us/token", "cached": "15 ns/token"}
TRACES = {
    "azure": ("azure_llm_2023_conv.csv.gz", "azure-llm"),
    "mooncake": ("mooncake_conversation.jsonl.gz", "mooncake-requests"),
}
ROUTED = 32  # instances
LOADS = (20, 30)  # requests a second that come to them
WANTED = 20  # microseconds of a decision, less than that
MORE_ROUTERS: list[dict[str, Any]] = [{"use": "dualmap", "profile": "artifact"}]
GROWTH = (62_500, 250_000, 1_000_000)
INSTANCES = 256
VERBS = ("route", "arrive", "dispatch", "first", "ended")


def benches() -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    mirror = os.environ.get("TIERSIM_TRACE_MIRROR", "")
    for bench, name in ((azure, "azure"), (mooncake, "mooncake")):
        file, form = TRACES[name]
        if mirror and (Path(mirror) / file).exists():
            yield from bench(_prompts(file, form))
            if name == "azure":
                yield studied(file, form)
            else:
                yield from decisions(file, form)
        else:
            yield {"what": file, "result": "skipped: name a folder that has it with TIERSIM_TRACE_MIRROR"}
    yield from growth()
    yield of_compiling()


def azure(prompts: Any) -> Iterator[dict[str, Any]]:
    """One server in front of a real stream of requests."""
    from tiersim.sim.serving import Server

    server = Server(pages=30_000, page=16, max_requests=256, budget=512)
    served(prompts, server)  # compiled before it is timed
    spent, held = _median(lambda: served(prompts, server))
    stepping, stepped = _median(lambda: served(prompts, server, fast=False))
    with_gaps, _ = _median(lambda: served(prompts, server).iterations.gaps())
    equal = bool((held.served.end == stepped.served.end).all() and (held.served.first == stepped.served.first).all())
    some = _first(prompts, FEW)
    plain, jobs = _median(lambda: modelled(some, server), rounds=1)
    ours, own = _median(lambda: served(some, server))
    yield {
        "what": f"Azure conversations, {len(prompts):,} requests, one server, prompts in chunks within 512 tokens",
        "result": (
            f"{_kilo(len(prompts) / spent)} a CPU second (wanted 60 k), {_kilo(len(prompts) / with_gaps)} with all "
            f"times between tokens, {_kilo(len(prompts) / stepping)} one iteration at a time, "
            f"with {'the same' if equal else 'OTHER'} times; {int(held.iterations.columns['count'].sum()):,} iterations"
        ),
        "rate": len(prompts) / spent,
        "stepping": len(prompts) / stepping,
    }
    same = [job.end for job in jobs] == own.served.end.tolist()
    yield {
        "what": f"its first {FEW:,} requests, against the plain model",
        "result": f"{plain / ours:,.0f} times as fast, {'the same' if same else 'OTHER'} times",
        "ratio": plain / ours,
    }


def studied(file: str, form: str) -> dict[str, Any]:
    """The same as a study: all metrics, their intervals, and a row for each request."""
    import tiersim

    instance = {"time_model": {"use": "linear", **MODEL}, "memory": {"capacity": 480_000}, "scheduler": {"budget": 512}}
    study = {
        "study": "speed",
        "scenario": "serving",
        "trace": {"use": file, "format": form},
        "system": {"instance": instance},
        "slo": {"ttft": "1 s", "tpot": "100 ms"},
    }
    tiersim.run(study, keep=False, workers=1)
    spent, result = _median(lambda: tiersim.run(study, keep=False, workers=1))
    (row,) = result.rows
    count = len(row.table("requests")["ttft"])
    return {
        "what": f"a study of it, with {len(row.metrics)} metrics and the row of each request",
        "result": f"{_kilo(count / spent)} a CPU second (wanted 60 k)",
        "rate": count / spent,
    }


def mooncake(prompts: Any) -> Iterator[dict[str, Any]]:
    """Eight servers with prefix caches behind routers in plain Python."""
    from tiersim.sim.serving import Server

    server = Server(pages=40_000, page=16, max_requests=256, budget=2048, prefix="memory")
    for router in ("min-ttft", "cache-affinity", "round-robin"):
        routed(prompts, server, 8, router)
        spent, held = _median(lambda router=router: routed(prompts, server, 8, router))
        hit = int(held.served.hit.sum()) / int(prompts.input.sum())
        yield {
            "what": f"Mooncake conversations, {len(prompts):,} requests, 8 servers with prefix caches, router {router}",
            "result": f"{_kilo(len(prompts) / spent)} a CPU second (wanted 40 k); {100 * hit:.1f} % of tokens hit",
            "rate": len(prompts) / spent,
        }
    for waits in (False, True):
        apart(prompts, server, 4, 4, waits)
        spent, held = _median(lambda waits=waits: apart(prompts, server, 4, 4, waits))
        yield {
            "what": f"the same, 4 servers that compute prompts and 4 that decode, router min-ttft, then least-loaded"
            f"{', each step of both in the order of time, as sessions that wait have it' if waits else ''}",
            "result": f"{_kilo(len(prompts) / spent)} a CPU second; {sum(held.carried()['tokens']):,} tokens moved",
            "rate": len(prompts) / spent,
        }
    yield behind(prompts, server)


def behind(prompts: Any, server: Any) -> dict[str, Any]:
    """The same with memory of the node behind each and a drive behind all, and with a swap."""
    from dataclasses import replace

    from tiersim.sim.serving import Link, Tier

    # pages of 2 MiB at 55 GB/s, and at 6 and 3 GB/s
    links = (Link(38_000_000, 38_000_000, 10**6), Link(350_000_000, 700_000_000, 10**8, shared=True))
    server = replace(server, links=links, tiers=(Tier(2000, 0), Tier(20_000, 1, shared=True)), swap=10_000)
    routed(prompts, server, 8, "min-ttft")
    spent, held = _median(lambda: routed(prompts, server, 8, "min-ttft"))
    tokens = int(prompts.input.sum())
    hit, fetched = int(held.served.hit.sum()) / tokens, int(held.served.fetched.sum()) / tokens
    return {
        "what": f"the same with two tiers and a swap, {len(prompts):,} requests, 8 servers, router min-ttft",
        "result": (
            f"{_kilo(len(prompts) / spent)} a CPU second; {100 * hit:.1f} % of tokens hit, "
            f"{100 * fetched:.1f} % in tiers"
        ),
        "rate": len(prompts) / spent,
    }


def decisions(file: str, form: str) -> Iterator[dict[str, Any]]:
    """What each router takes to decide, at a moderate and at a high load."""
    from tiersim._base.registry import index
    from tiersim.models.prompts import prompts_of, tied
    from tiersim.traces import stream_trace

    requests = prompts_of(stream_trace(file, format=form).chunks(limit=4 * FEW), truncate=20_480)
    prompts = tied(requests, 0, spread=True)
    routers: list[Any] = sorted(name for name, entry in index("routing").items() if name == entry.name)
    decided(prompts, "round-robin", LOADS[0], looks=False)  # compiled before it is timed
    for router in [*routers, *MORE_ROUTERS]:
        told, means = [], []
        for rate in LOADS:
            rounds = [decided(prompts, router, rate, looks=False) for _ in range(3)]
            spent, count, busy = statistics.median(one[0] for one in rounds), rounds[0][1], rounds[0][2]
            looks = decided(prompts, router, rate, looks=True)[0]
            means.append(1e6 * spent / count)
            told.append(
                f"{means[-1]:.1f} us ({1e6 * looks / count:.1f} us of it look-ups; {1e6 * spent / len(prompts):.1f} us "
                f"a request) at {100 * busy:.0f} % of the time busy"
            )
        name = router if isinstance(router, str) else ", ".join(router.values())
        yield {
            "what": f"decisions of {name}, {ROUTED} servers, Mooncake's first {len(prompts):,} at {LOADS} /s",
            "result": f"{'; '.join(told)} (wanted < {WANTED} us)",
            "decision_us": means,
        }


def decided(prompts: Any, router: Any, rate: int, *, looks: bool) -> tuple[float, int, float]:
    """CPU seconds in a router's methods, or in what it looks up; its decisions; the share of time that servers work."""
    from dataclasses import replace

    from tiersim._base.registry import build
    from tiersim.models.cluster import Cluster, drives
    from tiersim.models.llm.parallel import Parallel
    from tiersim.models.prompts import rated
    from tiersim.models.routed import Driver
    from tiersim.sim.serving import Engines, Server

    prompts = replace(prompts, arrival=rated(prompts, rate * 10**9))
    server = Server(1 << 22, page=16, budget=20_480, max_requests=1, prefix="apart", blocks=2048)
    clock = build("time-model", {"use": "linear", "prefill": "160 us/token"})
    arrays = clock.compiled(None, None, Parallel())
    engines = Engines(prompts, server, ROUTED, clock, arrays, policy=build("object-replacement", "lru"))
    policy, watch = build("routing", router), Watch()
    kind = type(policy)
    methods = {name: getattr(kind, name) for name in VERBS if hasattr(kind, name)}
    timed = {name: watch.inside(call) if looks else watch.timed(call, name) for name, call in methods.items()}
    policy.__class__ = type(kind.__name__, (kind,), timed)
    if looks:
        for name in ("view", "hits"):
            setattr(engines, name, watch.timed(getattr(engines, name), name, only_inside=True))
    (Cluster if drives(policy) else Driver)(engines, policy, 0, lambda done: None).as_recorded()
    served = engines.served
    busy = (prompts.input - served.hit).sum() * 160e6 / ROUTED / served.end.max()
    counted = [name for name in methods if name != ("dispatch" if "dispatch" in methods else "ended")]
    return watch.seconds(), sum(watch.calls[name] for name in counted), float(busy)


class Watch:
    """The CPU time within calls, but for what the clock takes, and how many there were."""

    def __init__(self) -> None:
        self.spent, self.calls, self.readings, self.within = 0, Counter[str](), 0, False
        self.reading = min(self._pair() for _ in range(1000))

    def _pair(self) -> int:
        begun = time.thread_time_ns()
        return time.thread_time_ns() - begun

    def timed(self, call: Callable[..., Any], name: str, *, only_inside: bool = False) -> Callable[..., Any]:
        def clocked(*given: Any) -> Any:
            if only_inside and not self.within:
                return call(*given)
            begun = time.thread_time_ns()
            made = call(*given)
            self.spent += time.thread_time_ns() - begun
            self.readings += 1
            self.calls[name] += 1
            return made

        return clocked

    def inside(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Only what is looked up within these calls counts."""

        def watched(*given: Any) -> Any:
            self.within = True
            made = call(*given)
            self.within = False
            return made

        return watched

    def seconds(self) -> float:
        return (self.spent - self.readings * self.reading) / 1e9


def growth() -> Iterator[dict[str, Any]]:
    """Made-up requests at many instances, each number in a process of its own, with its peak of memory."""
    rows = []
    for count in GROWTH:
        done = subprocess.run(
            [sys.executable, __file__, "--many", str(count)], check=True, capture_output=True, text=True
        )
        seconds, peak = map(float, done.stdout.split())
        rows.append((count, seconds, peak))
        yield {
            "what": f"{count:,} made-up requests at {INSTANCES} servers with prefix caches, in turn",
            "result": f"{seconds:.1f} CPU seconds, {_kilo(count / seconds)} a second; at most {peak / 2**30:.2f} GiB",
            "peak_bytes": peak,
        }
    (few, quick, _), (many, slow, _) = rows[0], rows[-1]
    exponent = math.log(slow / quick) / math.log(many / few)
    yield {"what": "its growth", "result": f"time grows with requests to the {exponent:.2f}", "exponent": exponent}


def of_compiling() -> dict[str, Any]:
    """What whoever takes a policy and a time model for the first time waits for."""
    code = "from benchmarks.serving import served, made_up; from tiersim.sim.serving import Server\n"
    code += "served(made_up(10), Server(pages=5000, prefix='memory'))"
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TIERSIM_CACHE": folder, "PYTHONPATH": str(Path(__file__).parents[1])}
        for _ in range(2):
            before = _children()
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            spent.append(_children() - before)
    return {
        "what": "the first run with a policy and a time model, and the second, whole processes",
        "result": f"{spent[0]:.1f} s and {spent[1]:.1f} s of CPU",
        "seconds": spent,
    }


def served(prompts: Any, server: Any, **options: Any) -> Any:
    """One instance, which gets all requests."""
    held = engines(prompts, server, 1, **options)
    for number, now in enumerate(prompts.arrival.tolist()):
        held.advance(now)
        held.submit(number, 0, now)
    held.advance()
    return held


def routed(prompts: Any, server: Any, count: int, router: str) -> Any:
    """Instances behind a router, as a study has them."""
    from tiersim._base.registry import build
    from tiersim.models.routed import Driver

    held = engines(prompts, server, count)
    Driver(held, build("routing", router), 0, lambda done: None).as_recorded()
    return held


def apart(prompts: Any, server: Any, computing: int, decoding: int, waits: bool) -> Any:
    """Instances that compute prompts, and others that decode, behind two routers."""
    from dataclasses import replace

    from tiersim._base.registry import build
    from tiersim.models.apart import Apart

    first = engines(prompts, replace(server, hold=True), computing)
    second = engines(prompts, replace(server, prefix="none"), decoding)
    routers = build("routing", "min-ttft"), build("routing", "least-loaded")
    held = Apart(first, second, *routers, token=TOKEN, latency=10**7, seed=0, progress=lambda done: None)
    if waits:
        held.in_turn(None)
    else:
        held.as_recorded()
    return held


def engines(prompts: Any, server: Any, count: int, **options: Any) -> Any:
    from tiersim._base.registry import build
    from tiersim.models.llm.parallel import Parallel
    from tiersim.sim.serving import Engines

    clock = build("time-model", {"use": "linear", **MODEL})
    arrays = clock.compiled(None, None, Parallel())
    policy = build("object-replacement", "lru")
    tiers = [policy] * len(server.tiers)
    return Engines(prompts, server, count, clock, arrays, policy=policy, tier_policies=tiers, **options)


def modelled(prompts: Any, server: Any) -> list[Any]:
    """The same one instance by the plain model of the tests."""
    from tests.oracles import serving as oracle
    from tiersim._base.registry import build
    from tiersim.models.llm.parallel import Parallel

    clock = build("time-model", {"use": "linear", **MODEL})
    (rates,) = (array.tolist() for array in clock.compiled(None, None, Parallel()).values())
    memory = oracle.Memory(server.pages, server.page, server.max_requests, server.budget)
    held = oracle.Cluster(memory, 1, lambda *work: type(clock).step(rates, *work), lambda k: None)
    columns = zip(prompts.arrival.tolist(), prompts.input.tolist(), prompts.output.tolist())
    for number, (now, prompt, answer) in enumerate(columns):
        held.advance(now)
        held.submit(oracle.Job(number, now, prompt, answer), 0, now)
    held.advance(None)
    return held.jobs


def made_up(count: int, rate: float = 4.0) -> Any:
    """Poisson arrivals at `rate` a second and instance; prompts of 4 shared blocks of 128 tokens and 4 of their own."""
    from tiersim.sim.prompts import Prompts
    from tiersim.traces.ragged import Ragged

    rng = np.random.default_rng(1)
    arrival = np.cumsum(rng.exponential(10**12 / rate / INSTANCES, count)).astype(np.int64)
    shared = rng.zipf(1.3, count) % 5000
    blocks = np.empty((count, 8), np.int64)
    blocks[:, :4] = shared[:, None] * 4 + np.arange(4)
    blocks[:, 4:] = 20_000 + np.arange(4 * count).reshape(count, 4)
    parent = np.arange(20_000 + 4 * count) - 1
    parent[:20_000:4] = -1
    parent[20_000::4] = blocks[:, 3]
    unknown = np.full(count, -1, np.int64)
    output = np.minimum(1 + rng.geometric(1 / 200, count), 1000)
    ragged = Ragged(blocks.reshape(-1), 8 * np.arange(count + 1))
    return Prompts(arrival, np.full(count, 1100, np.int64), output, ragged, parent, 128, unknown, unknown)


def many(count: int) -> None:
    """CPU seconds and peak bytes of one size."""
    from tiersim.sim.serving import Server

    server = Server(pages=30_000, prefix="memory")
    routed(made_up(100), server, INSTANCES, "round-robin")
    prompts = made_up(count)
    spent, _ = _median(lambda: routed(prompts, server, INSTANCES, "round-robin"), rounds=1)
    print(spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _prompts(file: str, form: str) -> Any:
    from tiersim.models.prompts import prompts_of
    from tiersim.traces import stream_trace

    return prompts_of(stream_trace(file, format=form).chunks())


def _first(prompts: Any, count: int) -> Any:
    from tiersim.sim.prompts import Prompts
    from tiersim.traces.ragged import Ragged

    blocks = Ragged(prompts.blocks.values[: prompts.blocks.offsets[count]], prompts.blocks.offsets[: count + 1])
    columns = (getattr(prompts, name)[:count] for name in ("arrival", "input", "output"))
    rest = (getattr(prompts, name)[:count] for name in ("session", "category"))
    return Prompts(*columns, blocks, prompts.parent, prompts.block, *rest)


def _median(function: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    spent, made = [], None
    for _ in range(rounds):
        begun = time.process_time()
        made = function()
        spent.append(time.process_time() - begun)
    return statistics.median(spent), made


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kilo(rate: float) -> str:
    return f"{rate / 1000:,.0f} k requests"


if __name__ == "__main__":
    if "--many" in sys.argv:
        many(int(sys.argv[-1]))
    else:
        sys.path.insert(0, str(Path(__file__).parents[1]))  # for the plain model of the tests
        for row in benches():
            print(f"{row['what']}\n    {row['result']}", flush=True)
