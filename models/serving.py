"""Servers of language models: a cluster of instances, each with a model, its accelerators, memory and scheduler."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.registry import build
from tiersim._base.units import Quantity, show
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.contract import Limits
from tiersim.models.llm.transformer import Transformer
from tiersim.sim.queued.timeline import Timeline
from tiersim.sim.serving import Engines, Server

__all__ = [
    "Cluster",
    "Instance",
    "KvMemory",
    "PrefixCache",
    "Scheduler",
    "ServingSystem",
    "limits_of",
    "server_of",
    "tokens_of",
]

WHOLE = 10**9


@config
class KvMemory:
    """The memory of keys and values of an instance, in pages."""

    capacity: Annotated[
        Quantity | None,
        Param(
            "tokens, or bytes; unless said, what `share` of the accelerators' memory leaves", unit="count|bytes", ge=1
        ),
    ] = None
    share: Annotated[
        int,
        Param("of the accelerators' memory, for weights, keys and values", unit="ratio", ge=1, le=WHOLE, source="vLLM"),
    ] = 9 * WHOLE // 10
    page: Annotated[int, Param("tokens of a page", unit="count", ge=1, source="vLLM")] = 16


@config
class PrefixCache:
    """What stays of prompts when their requests are finished."""

    capacity: Annotated[
        Quantity | None,
        Param("of memory of its own: tokens, or bytes; unless said, it lies in the memory", unit="count|bytes", ge=1),
    ] = None
    block: Annotated[int | None, Param("tokens of a block; must be those of the trace", unit="count", ge=1)] = None
    policy: Annotated[Any, Param("which block leaves", family="object-replacement")] = field(
        default_factory=partial(build, "object-replacement", "lru")
    )


@config
class Scheduler:
    """What an iteration works on."""

    budget: Annotated[int, Param("tokens of an iteration", unit="count", ge=1, source="vLLM")] = 2048
    max_requests: Annotated[int, Param("requests that run at a time", unit="count", ge=1, source="vLLM")] = 256
    chunked: Annotated[bool, Param("whether prompts are cut, and prefilled beside decodes")] = True
    reserve: Annotated[
        int, Param("share of the pages that stays free at an admission", unit="ratio", ge=0, le=WHOLE, source="vLLM")
    ] = WHOLE // 100


@config
class Instance:
    """One server: what it runs, on what, and how it is scheduled."""

    time_model: Annotated[Any, Param("how long an iteration takes", family="time-model")]
    model: Annotated[Transformer | None, Param("the model: a preset's name, or its shape")] = None
    accelerator: Annotated[Gpu | None, Param("the accelerator: a preset's name, or its figures")] = None
    parallel: Annotated[Parallel, Param("how accelerators share the model")] = field(default_factory=Parallel)
    memory: Annotated[KvMemory, Param("of keys and values")] = field(default_factory=KvMemory)
    prefix_cache: Annotated[PrefixCache | None, Param("what stays of prompts; unless said, nothing")] = None
    scheduler: Annotated[Scheduler, Param("what an iteration works on")] = field(default_factory=Scheduler)
    price: Annotated[float | None, Param("of an accelerator for an hour, in any currency", ge=0)] = None


@config
class Cluster:
    """Instances that are alike."""

    instances: Annotated[int, Param("how many", unit="count", ge=1, le=4096)] = 1


@config
class ServingSystem:
    """A cluster of servers."""

    instance: Annotated[Instance, Param("each of them")]
    cluster: Annotated[Cluster, Param("how many there are")] = field(default_factory=Cluster)


def tokens_of(instance: Instance) -> int:
    """Tokens that the memory of keys and values holds. Raises StudyError, with a ``path``, where nothing tells."""
    said, model, gpu = instance.memory.capacity, instance.model, instance.accelerator
    if said is not None:
        return _tokens(said, instance, ("memory", "capacity"))
    if model is None or gpu is None:
        what = "model" if model is None else "accelerator"
        raise _wrong(
            ("memory",),
            f"nothing tells how many tokens the memory holds: there is no `{what}`",
            "say it: memory: {capacity: 1 Mi tokens}",
        )
    _fits(instance)
    weights, count = instance.parallel.weight_bytes(model), instance.parallel.gpus
    free = gpu.memory.capacity * instance.memory.share // WHOLE - weights
    tokens = free * count // instance.parallel.kv_bytes(model)
    if tokens < instance.memory.page:
        raise _wrong(
            ("memory",),
            f"the weights take {show(weights, 'bytes')} of each accelerator, and "
            f"{show(gpu.memory.capacity, 'bytes')} of memory leave no room for keys and values",
            "share the model among more accelerators: parallel: {tensor: 2}",
        )
    return tokens


def _fits(instance: Instance) -> None:
    assert instance.model is not None
    try:
        instance.parallel.check(instance.model)
    except StudyError as error:
        error.path = ("parallel",)
        raise


def _tokens(said: Quantity, instance: Instance, path: tuple[str, ...]) -> int:
    if said.dimension == "count":
        return int(said.amount)
    if instance.model is None:
        raise _wrong(path, "bytes hold nobody knows how many tokens: there is no `model`", "give it in tokens")
    _fits(instance)
    return int(said.amount) // instance.parallel.kv_bytes(instance.model)


def server_of(instance: Instance, block: int) -> Server:
    """An instance in the terms of the engine, for prompts in blocks of so many tokens (0: the trace knows none).

    Raises StudyError, with a ``path`` inside the instance, where parts do not fit together.
    """
    page, scheduler, cache = instance.memory.page, instance.scheduler, instance.prefix_cache
    pages = tokens_of(instance) // page
    if not pages:
        raise _wrong(("memory", "capacity"), f"it has no room for a page of {page} tokens")
    prefix: Literal["none", "memory", "apart"] = "none"
    blocks = 0
    if cache is not None:
        if cache.block is not None and block and cache.block != block:
            raise _wrong(
                ("prefix_cache", "block"), f"the blocks of the trace have {block} tokens, and these {cache.block}"
            )
        prefix = "memory"
        if cache.capacity is not None:
            held = _tokens(cache.capacity, instance, ("prefix_cache", "capacity"))
            prefix, blocks = "apart", held // block if block else 0
            if block and not blocks:
                raise _wrong(("prefix_cache", "capacity"), f"it has no room for a block of {block} tokens")
    return Server(
        pages,
        page,
        scheduler.max_requests,
        scheduler.budget,
        scheduler.chunked,
        pages * scheduler.reserve // WHOLE,
        prefix,
        blocks,
    )


def limits_of(instance: Instance) -> Limits:
    """Where the time model was measured or fitted."""
    held: Limits = instance.time_model.range(instance.model, instance.accelerator, instance.parallel)
    return held


def write_timeline(engines: Engines, arrival: NDArray[np.int64], timeline: Timeline) -> None:
    """Put iterations, and what requests wait for, into a timeline, by instance and in the order of their beginnings.

    Iterations of the same decodes in a row are one slice.
    """
    served, rows = engines.served, engines.iterations.columns
    events: list[tuple[int, int, int, str, dict[str, int]]] = []  # begin, end, instance, name, arguments
    names = ("instance", "start", "count", "took", "slope", "decodes", "new")
    for instance, start, count, took, slope, decodes, new in zip(*(rows[key].tolist() for key in names), strict=True):
        if count:
            end = start + count * took + slope * (count * (count - 1) // 2)
            parts = [f"{new} tokens of prompts"] * (new > 0) + [f"{decodes} decodes"] * (decodes > 0)
            more = {"iterations": count} if count > 1 else {}
            events.append((start, end, instance, " and ".join(parts), more))
    marks = zip(
        *(held.tolist() for held in (served.instance, arrival, served.admitted, served.first, served.end)), strict=True
    )
    for number, (instance, came, admitted, first, end) in enumerate(marks):
        for name, begin, until in (("waits", came, admitted), ("prefill", admitted, first), ("decode", first, end)):
            if until > begin >= 0:
                events.append((begin, until, instance, name, {"request": number}))
    for begin, until, instance, name, more in sorted(events, key=lambda event: event[:3]):
        if "request" in more:
            timeline.span(f"instance {instance}/requests", name, begin, until, more)
        else:
            timeline.slice(f"instance {instance}/iterations", name, begin, until, more)


def _wrong(path: tuple[str, ...], message: str, remedy: str = "") -> StudyError:
    error = StudyError(message, None, remedy)
    error.path = path
    return error
