"""Miss ratio by cache size: what `tiersim mrc` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import DependencyError, PolicyError, StudyError
from tiersim.experiments.progress import Bar
from tiersim.experiments.replays import (
    GROUPS,
    RANDOM_SEED,
    first_requests,
    parse_policy,
    parse_size,
    read_requests,
    refuse_reading,
)
from tiersim.models.object_cache import capacity_of, refuses
from tiersim.sim.object_loop import SET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests
from tiersim.sim.stack_distance import has_distances, lru_curve

if TYPE_CHECKING:
    import pandas

__all__ = ["Curve", "miss_ratio_curve"]

FEW = 100  # objects of a sample: a cache of fewer is not what it would be like as a whole
SMALLEST = 1000  # the first of the default sizes is the footprint by this


@dataclass
class Curve:
    """Miss ratios of one policy by capacity, in bytes (`unit` says) or objects.

    ``error`` has the standard error of each miss ratio where the curve is estimated from a sample, and None where it is
    exact; ``method`` says how it was made.
    """

    trace: str
    policy: str
    unit: str
    sizes: list[int]
    miss_ratio: list[float]
    byte_miss_ratio: list[float]
    error: list[float] | None
    method: str
    requests: int
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim mrc --json` prints."""
        return dict(vars(self))

    def to_pandas(self) -> pandas.DataFrame:
        """One row a size. Raises DependencyError without pandas."""
        try:
            import pandas
        except ImportError:
            raise DependencyError("a table needs pandas", None, "pip install pandas") from None
        columns = {"size": self.sizes, "miss_ratio": self.miss_ratio, "byte_miss_ratio": self.byte_miss_ratio}
        return pandas.DataFrame(columns | ({"error": self.error} if self.error else {}))


def miss_ratio_curve(
    trace: str | Path | Requests,
    policy: str = "lru",
    *,
    points: int = 20,
    sizes: Sequence[str] | None = None,
    share: float = 1.0,
    format: str | None = None,
    ignore_sizes: bool = False,
    warm_up: str | int = 0,
    seed: int = RANDOM_SEED,
    limit: int | None = None,
    workers: int = 1,
    quiet: bool = True,
    **options: Any,
) -> Curve:
    """The miss ratio of a policy at many sizes.

    LRU is exact for all sizes in one pass (`tiersim.sim.stack_distance`), any other policy runs once for each size.
    With a `share` below one the curve is estimated from that share of all objects: for LRU by SHARDS with its
    correction (Waldspurger et al., FAST 2015), for others by miniature simulation (ATC 2017); ``error`` is then the
    standard error, from the spread over disjoint parts of the sample. Unless `sizes` are given, `points` of them are
    spaced evenly on a logarithmic scale up to all objects. `sizes` and `warm_up` are as for `replay`. Raises
    TraceError, StudyError and PolicyError.
    """
    if points < 2:
        raise StudyError("a curve needs at least two points")
    if isinstance(trace, Requests):
        refuse_reading(format, share, limit, options)
        name, requests = "requests", trace
    else:
        name, requests = read_requests(
            trace, format=format, share=share, seed=seed, limit=limit, quiet=quiet, **options
        )
    asked_sizes = [parse_size(size) for size in sizes] if sizes else None
    if ignore_sizes or (asked_sizes and all(size.dimension == "count" for size in asked_sizes)):
        requests = requests.without_sizes()
    elif asked_sizes and requests.size is not None and any(size.dimension == "count" for size in asked_sizes):
        raise StudyError("a curve is in bytes or in objects: the sizes mix both")
    warm = first_requests(str(warm_up), len(requests))
    _, chosen, admission = parse_policy(policy)
    if why := refuses(chosen, requests):
        raise PolicyError(f"{policy}: {why}")
    if asked_sizes:
        # of a sample a share is of what was drawn, a size of the whole
        wanted = [
            capacity_of(size, requests) if size.dimension == "ratio" else capacity_of(size, requests) * requests.share
            for size in asked_sizes
        ]
        small = np.maximum(1, np.round(wanted)).astype(np.int64)
    else:
        top = requests.footprint
        small = np.unique(np.geomspace(max(1, top / SMALLEST), max(top, 1), points).round().astype(np.int64))
    stack = chosen.registered.name == "lru" and admission is None and has_distances(requests)
    notes = []
    if stack and requests.size is not None and (largest := _largest(requests)) > int(small.min()):
        stack_from = small >= largest
        notes.append(f"sizes under the largest object ({largest:,} bytes) are replayed one by one")
    else:
        stack_from = np.full(len(small), stack)

    def measure(part: Requests, capacities: NDArray[np.int64], progress: Callable[[int], None]) -> NDArray[np.float64]:
        """Miss ratio and byte miss ratio, shape (2, sizes)."""
        out = np.empty((2, len(capacities)))
        expected = part.expected if part.share < 1 else 0.0
        if stack_from.any():
            curve = lru_curve(part, capacities[stack_from], min(warm, len(part)), progress)
            out[:, stack_from] = [
                _ratios(curve.misses, curve.requests, expected),
                _ratios(curve.byte_misses, curve.bytes, 0.0 if part.size is not None else expected),
            ]

        def one(place: int) -> None:
            done = replay_objects(
                chosen,
                int(capacities[place]),
                part,
                admission=admission,
                seed=seed,
                warm_up=min(warm, len(part)),
                progress=progress,
            ).totals
            out[0, place] = _ratios(np.array(done.misses), done.requests, expected)
            out[1, place] = _ratios(np.array(done.byte_misses), done.bytes, 0.0 if part.size is not None else expected)

        places = [int(place) for place in np.flatnonzero(~stack_from)]
        if chosen.registered.name == "belady" and places:
            _ = part.next_use
        if workers == 1 or len(places) < 2:
            for place in places:
                one(place)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(one, places))
        return out

    steps = len(requests) * (int(stack_from.any()) + int((~stack_from).sum()))
    lock = Lock()
    with Bar("replaying", steps * (2 if requests.share < 1 else 1), "requests", quiet=quiet) as bar:

        def add(count: int) -> None:
            with lock:
                bar.add(count)

        ratios = measure(requests, small, add)
        error = None
        if requests.share < 1:
            error = _error(requests, small, lambda part, caps: measure(part, caps, add), seed)
            if error is None:
                notes.append("the sample is too small to tell its error")
    asked = len(requests) if requests.op is None else int((requests.op[:] <= SET).sum())
    how = "stack distances" if stack_from.all() else "one replay a size" if not stack_from.any() else "both"
    if requests.share < 1:
        how = f"{'SHARDS' if stack_from.all() else 'miniature simulation'} of {100 * requests.share:g} % of the objects"
        notes.append(f"{len(requests):,} of {requests.asked:,} requests were replayed")
        if (few := small < FEW * requests.footprint / requests.objects).any():
            full = int(small[few].max() / requests.share)
            notes.append(
                f"up to {full:,} a cache holds so little of the sample that the errors are too small: sample more"
            )
    full = small if requests.share == 1 else np.round(small / requests.share).astype(np.int64)
    return Curve(
        name,
        policy,
        "objects" if requests.size is None else "bytes",
        full.tolist(),
        ratios[0].tolist(),
        ratios[1].tolist(),
        error,
        how,
        requests.asked if requests.share < 1 else asked,
        notes,
    )


def _largest(requests: Requests) -> int:
    assert requests.size is not None
    return max(int(requests.size[at : at + (1 << 20)].max()) for at in range(0, len(requests), 1 << 20))


def _ratios(misses: NDArray[np.int64], asked: int, expected: float) -> NDArray[np.float64]:
    """Misses by requests; of a sample, requests that it has too few or too many count as hits (SHARDS-adj)."""
    # hits are asked - misses + (expected - asked), and misses the rest of what was expected
    made: NDArray[np.float64] = np.clip(misses / (expected or max(asked, 1)), 0.0, 1.0)
    return made


def _error(
    requests: Requests,
    capacities: NDArray[np.int64],
    measure: Callable[[Requests, NDArray[np.int64]], NDArray[np.float64]],
    seed: int,
) -> list[float] | None:
    """The standard error of each miss ratio, from disjoint parts of the sample, each a sample of its own."""
    found = [measure(part, np.maximum(1, capacities // GROUPS))[0] for part in requests.parts(GROUPS, seed)]
    if not found:
        return None
    made: list[float] = (np.std(found, axis=0, ddof=1) / np.sqrt(GROUPS)).tolist()
    return made
