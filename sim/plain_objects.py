"""Replays requests through a plain class with one method: slow, and the easiest way to try an idea."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.sim.object_loop import DELETE, GET, HIT, MISS, OTHER, PIN
from tiersim.sim.requests import Requests

__all__ = ["is_plain", "plain_outcomes"]


def is_plain(policy: Any) -> bool:
    """Whether a policy is a class with ``on_access``."""
    return hasattr(policy, "on_access")


def plain_outcomes(
    policy: Any,
    capacity: int,
    requests: Requests,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """The outcome of every request: what ``on_access(x, size)`` said, asked of a fresh copy of the policy.

    ``start(capacity)`` is called first, ``on_delete(x)`` for deletions if there is one. A policy that has a length is
    held to its capacity where all sizes are one. Raises PolicyError with the number of the request when the class fails
    or holds more than it may, or when the trace has what such a class is not told of.
    """
    who = type(policy).__name__
    if requests.ttl is not None or (requests.op is not None and bool((requests.op[:] >= PIN).any())):
        raise PolicyError(
            f"{who} has on_access only, and would not hear of the trace's times to live and pins",
            None,
            "write the verbs of tiersim.policies.object",
        )
    one = copy.deepcopy(policy)
    outcome = np.empty(len(requests), np.uint8)
    measured = hasattr(one, "__len__") and requests.size is None
    at = 0
    try:
        if hasattr(one, "start"):
            one.start(capacity)
        forget = getattr(one, "on_delete", None)
        for start in range(0, len(requests), 1 << 16):
            part = slice(start, min(start + (1 << 16), len(requests)))
            ids = requests.ids[part].tolist()
            sizes = [1] * len(ids) if requests.size is None else requests.size[part].tolist()
            ops = [GET] * len(ids) if requests.op is None else requests.op[part].tolist()
            for at, (x, size, op) in enumerate(zip(ids, sizes, ops, strict=True), start):
                if op == DELETE:
                    outcome[at] = OTHER
                    if forget is not None:
                        forget(x)
                else:
                    outcome[at] = HIT if one.on_access(x, size) else MISS
                    if measured and len(one) > capacity:
                        raise PolicyError(
                            f"{who} holds {len(one):,} objects after request {at:,}, and may {capacity:,}"
                        )
            if progress:
                progress(len(ids))
    except PolicyError:
        raise
    except Exception as error:
        raise PolicyError(f"{who} fails at request {at:,}: {type(error).__name__}: {error}", None, "mend it") from None
    return outcome
