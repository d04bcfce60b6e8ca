"""A cache of objects: how much it may hold, who stays, who may enter, and how tenants share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError, StudyError
from tiersim._base.params import Param, config
from tiersim._base.registry import build
from tiersim._base.units import Quantity, parse
from tiersim.sim.object_replay import Known, Outcome, replay_objects, settle
from tiersim.sim.requests import Requests

__all__ = ["ObjectCache", "capacity_of", "refuses", "shares_of", "simulate_objects", "unit_sizes"]

WHOLE = 10**9  # parts per billion
QUOTAS = "a part of the cache for each tenant alone: `equal`, or shares by tenant; the others share what is left"
CAPACITY = "bytes, or a number of objects, or a share of all different objects of the trace"


@dataclass(frozen=True)
class QuotasParam(Param):
    """A Param that reads ``equal`` or a share for each of some tenants."""

    def read(self, value: Any) -> Any:
        if value is None or value == "equal":
            return value
        if not isinstance(value, dict) or not value:
            raise StudyError("must be `equal`, or a share for each of some tenants, as in {1: 30 %}")
        made = {}
        for name, share in value.items():
            if not str(name).isdecimal():
                raise StudyError(f"tenants are numbers, and {name!r} is none")
            found = share if isinstance(share, Quantity) else parse(share, "ratio")
            if not 0 < found.amount <= WHOLE:
                raise StudyError(f"the quota of tenant {name} must lie above 0 and not above 100 %")
            made[str(name)] = found
        if sum(share.amount for share in made.values()) > WHOLE:
            raise StudyError("the quotas are more than the whole cache")
        return made

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        shares = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
        return {"anyOf": [{"enum": ["equal", None]}, shares], "description": self.doc}


@config
class ObjectCache:
    """One cache of objects."""

    capacity: Annotated[Quantity, Param(CAPACITY, unit="bytes|count|ratio", ge=1)]
    policy: Annotated[Any, Param("which object makes room", family="object-replacement")] = field(
        # by name: what uses another policy does not depend on this one's code
        default_factory=partial(build, "object-replacement", "lru")
    )
    admission: Annotated[Any, Param("who may enter; unless said, everyone", family="admission")] = None
    sizes: Annotated[
        Literal["trace", "one"],
        Param("`one` takes every object as equally large, as a capacity in objects does"),
    ] = "trace"
    quotas: Annotated[dict[str, Quantity] | Literal["equal"] | None, QuotasParam(QUOTAS, reads_all=True)] = None


def unit_sizes(cache: ObjectCache) -> bool:
    """Whether the cache counts objects whatever their size."""
    return cache.sizes == "one" or cache.capacity.dimension == "count"


def capacity_of(capacity: Quantity, requests: Requests) -> int:
    """A capacity in bytes, or in objects where the requests have no sizes. Raises StudyError when it is none."""
    if capacity.dimension == "ratio":
        return max(1, requests.footprint * int(capacity.amount) // WHOLE)
    if capacity.dimension == "bytes" and requests.size is None:
        raise StudyError(
            f"a capacity of {capacity} needs object sizes, which the trace does not have",
            None,
            "give it in objects, as in 1000obj, or as a share, as in 1 %",
        )
    return int(capacity.amount)


def refuses(policy: Any, requests: Requests) -> str:
    """Why a policy cannot honour these requests, or nothing."""
    if requests.size is not None and hasattr(policy, "unit_only"):
        return f"{policy.unit_only}; give the capacity in objects, or `sizes: one`"
    return ""


def shares_of(cache: ObjectCache, requests: Requests) -> list[tuple[NDArray[np.bool_], int]]:
    """The parts of the cache: which requests each serves, and its share in parts per billion."""
    assert cache.quotas is not None
    if requests.tenant is None:
        raise StudyError("quotas need tenants, which the trace does not have")
    tenant = requests.tenant[:]
    names = [int(name) for name in np.unique(tenant)]
    if cache.quotas == "equal":
        return [(tenant == name, WHOLE // len(names)) for name in names]
    said = {int(name): share.amount for name, share in cache.quotas.items()}
    if absent := sorted(set(said) - set(names)):
        raise StudyError(f"no request is of tenant {absent[0]}; there are: {', '.join(map(str, names[:20]))}")
    parts = [(tenant == name, share) for name, share in said.items()]
    if set(names) - set(said):
        rest = WHOLE - sum(said.values())
        if not rest:
            raise StudyError("the quotas leave nothing for the other tenants")
        parts.append((~np.isin(tenant, list(said)), rest))
    return parts


def simulate_objects(
    cache: ObjectCache,
    requests: Requests,
    *,
    seed: int = 0,
    warm_up: int = 0,
    cuts: Sequence[int] = (),
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Replay requests through a cache; see `tiersim.sim.object_replay.replay_objects`.

    The capacity of a sampled trace is sampled too (miniature simulation: Waldspurger et al., ATC 2017). With quotas
    each part is a cache of its own. Raises StudyError when the capacity or a quota is none, PolicyError as the replay.
    """
    if unit_sizes(cache):
        requests = requests.without_sizes()
    capacity = capacity_of(cache.capacity, requests)
    if requests.share < 1 and cache.capacity.dimension != "ratio":
        capacity = max(1, round(capacity * requests.share))
    if cache.quotas is None:
        return replay_objects(
            cache.policy,
            capacity,
            requests,
            admission=cache.admission,
            seed=seed,
            warm_up=warm_up,
            cuts=cuts,
            progress=progress,
        )
    outcome = np.empty(len(requests), np.uint8)
    counters: dict[str, int] = {}
    for chosen, share in shares_of(cache, requests):
        part = capacity * share // WHOLE
        if not part:
            raise PolicyError(f"a quota of {share / 1e7:g} % of {capacity:,} leaves no room for anything")
        held: list[NDArray[np.uint8]] = []
        done = replay_objects(
            cache.policy,
            part,
            requests.where(chosen),
            admission=cache.admission,
            seed=seed,
            outcomes=held,
            progress=progress,
        )
        outcome[chosen] = np.concatenate(held)
        for name, count in done.counters.items():
            counters[name] = counters.get(name, 0) + count
    return settle(Known(outcome, counters), requests, warm_up=warm_up, cuts=cuts)
