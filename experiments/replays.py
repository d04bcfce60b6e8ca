"""Many policies and sizes over one object trace: what `tiersim replay` does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from tiersim._base.errors import AuditError, DependencyError, PolicyError, StudyError, TiersimError, TraceError
from tiersim._base.registry import build
from tiersim._base.units import Quantity, parse
from tiersim.experiments.progress import Bar
from tiersim.models.object_cache import ObjectCache, QuotasParam, capacity_of, refuses, simulate_objects, unit_sizes
from tiersim.sim.object_loop import asked_by
from tiersim.sim.object_replay import Life, Outcome, Totals, replay_objects
from tiersim.sim.requests import Requests, Source, begin_requests, number_requests
from tiersim.traces import stream_trace
from tiersim.traces.keys import key_of
from tiersim.traces.schema import OBJECT

if TYPE_CHECKING:
    import pandas

__all__ = [
    "ReplayResult",
    "Row",
    "ask_why",
    "names_in",
    "parse_policy",
    "parse_size",
    "read_requests",
    "replay",
    "value_of",
]

GROUPS = 8  # parts of a sample whose spread tells its error
BARE = re.compile(r"[0-9._]+\s*([kMGTP]i?)?")
CHUNK = 1 << 16  # requests read at a time: what is numbered next lies in the processor's cache
RANDOM_SEED = 0
REFERENCE = "belady"


@dataclass
class Row:
    """One policy at one size; ``tenant`` is set in rows of one tenant, ``window`` and ``end`` in rows of one window.

    ``capacity`` is in bytes, or in objects where they all count as one. Of a sample the counts are those of the sample;
    the ratios and the capacity are of the whole, and ``error`` is the standard error of the miss ratio.
    """

    policy: str
    size: str
    capacity: int
    requests: int
    hits: int
    misses: int
    bytes: int
    byte_misses: int
    evictions: int | None
    miss_ratio: float
    byte_miss_ratio: float
    regret: float | None = None
    error: float | None = None
    seed: int | None = None
    tenant: int | None = None
    window: int | None = None
    end: int | None = None


@dataclass
class ReplayResult:
    """What a replay gives: rows of whole runs, of tenants and of windows; what was skipped; what to know."""

    trace: str
    rows: list[Row] = field(default_factory=list)
    tenants: list[Row] = field(default_factory=list)
    windows: list[Row] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim replay --json` prints."""
        return {
            "trace": self.trace,
            "rows": [_plain(row) for row in self.rows],
            "tenants": [_plain(row) for row in self.tenants],
            "windows": [_plain(row) for row in self.windows],
            "skipped": self.skipped,
            "notes": self.notes,
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Rows of whole runs, then of tenants and windows, as one table. Raises DependencyError without pandas."""
        try:
            import pandas
        except ImportError:
            raise DependencyError("a table needs pandas", None, "pip install pandas") from None
        return pandas.DataFrame([asdict(row) for row in (*self.rows, *self.tenants, *self.windows)])


def _plain(row: Row) -> dict[str, Any]:
    return {name: held for name, held in asdict(row).items() if held is not None}


def names_in(text: str) -> list[str]:
    """The items of a list with commas, where commas inside brackets belong to an item."""
    return [item.strip() for item in re.split(r",(?![^(]*\))", text) if item.strip()]


def parse_policy(text: str) -> tuple[str, Any, Any]:
    """A policy as a command line spells it: its name, itself, and what admits in front of it.

    ``slru``, ``slru(protected=80 %)``, ``path/to/file.py:Name``, ``tinylfu+lru`` (admission before the plus). Raises
    StudyError when there is no such policy or parameter.
    """
    first, plus, second = _at_plus(text)
    admission = _built("admission", first) if plus else None
    return text, _built("object-replacement", second if plus else first), admission


def _at_plus(text: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"([^()+]+(?:\([^()]*\))?)\s*\+\s*(.+)", text)
    return (match[1].strip(), "+", match[2].strip()) if match else (text, "", "")


def _built(family: str, text: str) -> Any:
    match = re.fullmatch(r"([^()]+)(?:\((.*)\))?", text)
    if not match:
        raise StudyError(f"{text!r} is no policy; write NAME or NAME(parameter=value, ...)")
    given: dict[str, Any] = {"use": match[1].strip()}
    for item in names_in(match[2] or ""):
        key, equals, value = item.partition("=")
        if not equals:
            raise StudyError(f"{item!r} in {text!r} is no parameter=value")
        given[key.strip()] = value_of(value.strip())
    try:
        return build(family, given)
    except StudyError as error:
        told = "; ".join(message for _, message in error.detail) or error.message
        raise StudyError(f"{text}: {told}", None, error.remedy) from None


def value_of(text: str) -> Any:
    """What a word of a command line stands for: true or false, a number, a list as in JSON, or text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (json.loads,) if text.startswith("[") else (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def parse_size(text: str) -> Quantity:
    """A size: ``64MiB``, ``1000obj``, ``1%`` (of all different objects). Raises UnitError, StudyError when it is 0."""
    found = parse(text, "bytes", "count", "ratio")
    if not found.amount:
        raise StudyError(f"a cache of {text} has no room for anything")
    return found


def refuse_reading(format: str | None, share: float, limit: int | None, options: dict[str, Any]) -> None:
    """Raise StudyError where requests that were read already are to be read in some way."""
    asked = {"format": format, "share": share if share != 1 else None, "limit": limit, **options}
    if said := [name for name, value in asked.items() if value is not None]:
        raise StudyError(f"these requests have been read, and {said[0]!r} says how to read a trace")


def read_requests(
    trace: str | Path,
    *,
    format: str | None = None,
    share: float = 1.0,
    seed: int = 0,
    limit: int | None = None,
    times: bool = True,
    quiet: bool = True,
    **options: Any,
) -> tuple[str, Requests]:
    """The name of a trace, and its requests with objects numbered; `times` says whether a policy looks at the clock.

    Raises TraceError when it is no trace of objects.
    """
    found = _opened(trace, format, options)
    return found.name, _numbered(found, share=share, seed=seed, limit=limit, times=times, quiet=quiet)


def _opened(trace: str | Path, format: str | None, options: dict[str, Any]) -> Source:
    found = stream_trace(trace, format=format, **options)
    if found.schema != OBJECT.name:
        raise TraceError(
            f"{found.name} is a trace of {found.schema} records, and a replay of objects needs requests for objects",
            None,
            "`tiersim run` replays memory accesses through caches" if found.schema == "access" else "",
        )
    return found


def _numbered(found: Source, *, share: float, seed: int, limit: int | None, times: bool, quiet: bool) -> Requests:
    total = min(found.records or 0, limit or (1 << 62))
    with Bar("reading the trace", total, "requests", quiet=quiet) as bar:
        return number_requests(
            found.chunks(CHUNK, limit=limit), bar.add, share=share, seed=seed, times=times, expected=total
        )


def replay(
    trace: str | Path | Requests,
    policies: str | Sequence[str] = "lru",
    sizes: str | Sequence[str] = "1%",
    *,
    format: str | None = None,
    ignore_sizes: bool = False,
    quotas: Any = None,
    share: float = 1.0,
    warm_up: str = "0",
    windows: int = 1,
    seed: int = RANDOM_SEED,
    seeds: int = 1,
    limit: int | None = None,
    regret: bool = True,
    workers: int = 1,
    quiet: bool = True,
    **options: Any,
) -> ReplayResult:
    """Replay an object trace under every policy at every size.

    `policies` are names as `parse_policy` reads them, `sizes` as `parse_size` does. `ignore_sizes` takes every object
    as equally large; `quotas` as in `tiersim.models.object_cache.ObjectCache`. With a `share` below one only so many of
    the objects are kept and sizes are scaled (miniature simulation: Waldspurger et al., ATC 2017), and ratios are
    corrected as SHARDS does; what random policies draw follows from `seed`, and they run `seeds` times. `warm_up` is a
    number of requests or a share of them that are not counted; `windows` cuts what is counted into as many parts.
    `regret` adds to each row how far its miss ratio lies above that of Belady's policy, which knows the future.
    `options` are those of the reader. Raises TraceError and StudyError; a policy that cannot honour the trace is listed
    as skipped.
    """
    names = list(dict.fromkeys(names_in(policies) if isinstance(policies, str) else policies))
    asked = {size: parse_size(size) for size in (names_in(sizes) if isinstance(sizes, str) else sizes)}
    if not names or not asked:
        raise StudyError("a replay needs a policy and a size")
    chosen = [parse_policy(name) for name in names]
    if isinstance(trace, Requests):
        refuse_reading(format, share, limit, options)
        name, requests = "requests", trace
    else:
        found, times = _opened(trace, format, options), _times(chosen)
        name = found.name
        # a whole stored trace is numbered while the first policy replays it
        begun = begin_requests(found, times=times) if share == 1 and limit is None else None
        requests = begun or _numbered(found, share=share, seed=seed, limit=limit, times=times, quiet=quiet)
    result = ReplayResult(name)
    if requests.share < 1:
        result.notes.append(
            f"estimated from {len(requests):,} of {requests.asked:,} requests, for {requests.objects:,} objects drawn "
            f"as {100 * requests.share:g} % of all"
        )
    if requests.size is not None and not ignore_sizes and (bare := [text for text in asked if BARE.fullmatch(text)]):
        raise StudyError(f"{bare[0]} of what? The trace has sizes", None, f"write {bare[0]}B, or {bare[0]}obj")
    jobs = _jobs(chosen, asked, requests, ignore_sizes, quotas, seed, seeds, regret, result)
    warm = first_requests(warm_up, len(requests))
    done = _run(jobs, requests, warm, windows, workers, quiet)
    errors: dict[int, float] = {}
    if requests.share < 1:
        errors = _errors(jobs, requests, workers, quiet)
        if not errors:
            result.notes.append("the sample is too small to tell its error")
    _rows(done, result, requests, warm, windows, errors)
    return result


def _times(chosen: list[tuple[str, Any, Any]]) -> bool:
    return any("time" in asked_by(part) for _, *parts in chosen for part in parts if part is not None)


@dataclass
class _Job:
    name: str
    size: str
    cache: ObjectCache
    seed: int | None
    shown: bool
    outcome: Outcome | TiersimError | None = None


def _jobs(
    chosen: list[tuple[str, Any, Any]],
    sizes: dict[str, Quantity],
    requests: Requests,
    ignore_sizes: bool,
    quotas: Any,
    seed: int,
    seeds: int,
    regret: bool,
    result: ReplayResult,
) -> list[_Job]:
    jobs = []
    common: dict[str, Any] = {"sizes": "one" if ignore_sizes else "trace", "quotas": QuotasParam("").read(quotas)}
    for name, policy, admission in chosen:
        drawn = getattr(policy, "random", False) or getattr(admission, "random", False)
        for size, amount in sizes.items():
            cache = ObjectCache(capacity=amount, policy=policy, admission=admission, **common)
            held = requests.without_sizes() if unit_sizes(cache) else requests
            capacity_of(amount, held)  # a size that cannot be is told before anything runs
            if why := refuses(policy, held):
                result.skipped.append({"what": f"{name} at {size}", "why": why})
                continue
            for one in range(seed, seed + seeds) if drawn else [None]:
                jobs.append(_Job(name, size, cache, one, True))
    known = {(job.name, job.size) for job in jobs}
    if regret and any(job.shown for job in jobs):
        best = build("object-replacement", REFERENCE)
        for size, amount in sizes.items():
            if (REFERENCE, size) not in known:
                jobs.append(_Job(REFERENCE, size, ObjectCache(capacity=amount, policy=best, **common), None, False))
    return jobs


def _run(jobs: list[_Job], requests: Requests, warm_up: int, windows: int, workers: int, quiet: bool) -> list[_Job]:
    cuts = [warm_up + (len(requests) - warm_up) * step // windows for step in range(1, windows)]
    lock = Lock()
    with Bar("replaying", len(jobs) * len(requests), "requests", quiet=quiet) as bar:

        def add(count: int) -> None:
            with lock:
                bar.add(count)

        def go(job: _Job) -> None:
            try:
                job.outcome = simulate_objects(
                    job.cache, requests, seed=job.seed or 0, warm_up=warm_up, cuts=cuts, progress=add
                )
            except PolicyError as error:
                job.outcome = error
            except AuditError as error:
                raise AuditError(f"{job.name} at {job.size}: {error.message}", error.place, error.remedy) from None

        if workers == 1 or len(jobs) == 1:
            for job in jobs:
                go(job)
        else:  # loops run without Python's lock
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(go, jobs))
    return jobs


def _errors(jobs: list[_Job], requests: Requests, workers: int, quiet: bool) -> dict[int, float]:
    """The standard error of each job's miss ratio, from disjoint parts of the sample, each a sample of its own."""
    found: list[list[float]] = []
    for part in requests.parts(GROUPS, 0):
        again = [replace(job, outcome=None) for job in jobs if job.shown]
        _run(again, part, 0, 1, workers, quiet)
        found.append([_miss_ratio(job.outcome.totals, part) for job in again if isinstance(job.outcome, Outcome)])
    if not found or len(set(map(len, found))) != 1:
        return {}
    spread = np.std(found, axis=0, ddof=1) / math.sqrt(GROUPS)
    told = [place for place, job in enumerate(jobs) if job.shown and isinstance(job.outcome, Outcome)]
    return dict(zip(told, spread.tolist(), strict=True)) if len(told) == len(spread) else {}


def first_requests(text: str, requests: int) -> int:
    """How many requests a warm-up takes, from a count or a share. Raises StudyError when nothing would be left."""
    found = parse(text, "count", "ratio")
    count = requests * int(found.amount) // 10**9 if found.dimension == "ratio" else int(found.amount)
    if count >= requests:
        raise StudyError(f"a warm-up of {count:,} requests leaves nothing of {requests:,}")
    return count


def _rows(
    jobs: list[_Job], result: ReplayResult, requests: Requests, warm_up: int, windows: int, errors: dict[int, float]
) -> None:
    best = {job.size: job.outcome.totals for job in jobs if job.name == REFERENCE and isinstance(job.outcome, Outcome)}
    for place, job in enumerate(jobs):
        if isinstance(job.outcome, TiersimError):
            what = job.name if job.shown else "regret"
            result.skipped.append({"what": f"{what} at {job.size}", "why": str(job.outcome)})
            continue
        if not job.shown:
            continue
        assert job.outcome is not None
        row = _row(job, job.outcome.totals, requests)
        row.evictions = job.outcome.counters.get("evicted")
        row.error = errors.get(place)
        if job.size in best:
            row.regret = row.miss_ratio - _miss_ratio(best[job.size], requests)
        result.rows.append(row)
        for tenant, totals in sorted(job.outcome.tenants.items()):
            result.tenants.append(replace(_row(job, totals, requests), tenant=tenant))
        counted = [(end, totals) for end, totals in job.outcome.windows if end > warm_up]
        for number, (end, totals) in enumerate(counted if windows > 1 else []):
            result.windows.append(replace(_row(job, totals, requests), window=number, end=end))


def _row(job: _Job, totals: Totals, requests: Requests) -> Row:
    held = requests.without_sizes() if unit_sizes(job.cache) else requests
    capacity = capacity_of(job.cache.capacity, held)
    if job.cache.capacity.dimension == "ratio":
        capacity = round(capacity / requests.share)
    return Row(
        job.name,
        job.size,
        capacity,
        totals.requests,
        totals.hits,
        totals.misses,
        totals.bytes,
        totals.byte_misses,
        None,
        _miss_ratio(totals, requests),
        _ratio(totals.byte_misses, totals.bytes) if requests.size is not None else _miss_ratio(totals, requests),
        seed=job.seed,
    )


def _miss_ratio(totals: Totals, requests: Requests) -> float:
    """Misses by requests; of a sample, by as many requests as it should have (SHARDS-adj: the others count as hits)."""
    return min(1.0, _ratio(totals.misses, totals.requests) * len(requests) / requests.expected)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def ask_why(
    trace: str | Path | Requests,
    policy: str,
    size: str,
    key: str,
    *,
    format: str | None = None,
    ignore_sizes: bool = False,
    seed: int = RANDOM_SEED,
    limit: int | None = None,
    quiet: bool = True,
    **options: Any,
) -> tuple[Requests, list[Life]]:
    """The life of one object under a policy: each request for it, each move, and for whom it was moved.

    `key` is the object's key in the trace. Raises StudyError when the trace has no such object.
    """
    name, chosen, admission = parse_policy(policy)
    asked = parse_size(size)
    if isinstance(trace, Requests):
        requests = trace
    else:
        _, requests = read_requests(trace, format=format, limit=limit, quiet=quiet, **options)
    number = _number_of(key, requests)
    cache = ObjectCache(capacity=asked, policy=chosen, admission=admission, sizes="one" if ignore_sizes else "trace")
    held = requests.without_sizes() if unit_sizes(cache) else requests
    if why := refuses(chosen, held):
        raise PolicyError(f"{name}: {why}")
    capacity = capacity_of(asked, held)
    found = replay_objects(chosen, capacity, held, admission=admission, seed=seed, watch=number)
    return requests, found.life


def _number_of(key: str, requests: Requests) -> int:
    wanted = int(key, 0) if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", key) else None
    if wanted is None:
        wanted = key_of(key)
    places = (requests.keys == wanted).nonzero()[0] if 0 <= wanted < 1 << 64 else []
    if not len(places):
        raise StudyError(
            f"no request is for an object {key!r}", None, f"the first of {requests.objects:,} is {requests.keys[0]}"
        )
    return int(places[0])
