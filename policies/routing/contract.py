"""What a router is told, and what it must answer.

A router is a class with ``route(request, view)``, which gives a place among the instances that are up, or None to
refuse the request: nobody serves it then. One that keeps something besides has ``start(instances, seed)``, called
before the first request of each run with how many are up, and ``changed(instances)``, called with the numbers of those
that are up when these are others. One that must know which requests are still there has ``ended(requests)`` too, called
with the numbers of those that have ended since, or were rejected, refused or lost. A request that was at an instance
that failed or drained comes again.

One that holds requests instead has ``arrive(request, view)`` in the place of ``route``, and ``dispatch(view)``, which
gives pairs of a request's number and a place among the instances, or None to refuse it: they are routed at once. It is
called after arrivals, first tokens, ends and changes, once for all of one kind at one time. ``first(requests)`` is
called with the numbers of those that have made their first token since they were routed. If it has ``loads()``, that
gives what each instance has to compute with what is held for it, for the metrics of loads.

Where prompts are computed apart from decodes, the requests of the first router end with the first token; a second one
is asked when a request begins to move, and cannot refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Asked", "View"]


class Asked(Protocol):
    """A request to be routed."""

    number: int  # of the request, in the order of arrival
    time: int  # of its arrival, or when it begins to move, in picoseconds
    prompt: int  # tokens, with those that it has made if it is routed anew
    session: int  # -1 where the trace does not know it
    block: int  # tokens of each of its blocks but the last, 0 where the trace knows none

    @property
    def blocks(self) -> Sequence[int]:
        """The blocks of its prompt, first to last: equal numbers are equal blocks after equal prompts."""


class View(Protocol):
    """The instances as they are now; each list has a number for each."""

    time: int  # now, in picoseconds
    instances: Sequence[int]  # the numbers of those that are up; in other lists each has the same place
    waiting: Sequence[int]  # requests that are not admitted, those that have come over among them
    running: Sequence[int]  # requests that are
    prompts: Sequence[int]  # tokens of prompts that are to be computed, or computed anew
    pending: Sequence[int]  # those of them that are still to be computed; of waiting ones, by their hit when routed
    pages: Sequence[int]  # of memory that requests and cached blocks take

    def hits(self, request: Asked) -> Sequence[int]:
        """How many tokens of the request's prompt each instance has cached."""
