"""Servers of language models: a cluster of instances, each with a model, its accelerators, memory and scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.registry import build, nearest
from tiersim._base.units import Quantity, show
from tiersim.models.cluster import Change, Scale
from tiersim.models.cluster import Cluster as Changing
from tiersim.models.gpu import Gpu
from tiersim.models.kv_links import KvLink, TransferLink, moves_of
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.contract import Limits
from tiersim.models.llm.transformer import Transformer
from tiersim.sim.queued.timeline import Timeline
from tiersim.sim.serving import Engines, Link, Server, Tier

__all__ = [
    "Cluster",
    "ClusterChange",
    "ClusterScale",
    "Decode",
    "Instance",
    "KvMemory",
    "KvTier",
    "PrefixCache",
    "Scheduler",
    "ServingSystem",
    "Swap",
    "bytes_of_token",
    "check_decode",
    "limits_of",
    "links_of",
    "policies_of",
    "server_of",
    "tokens_of",
    "transfer_of",
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
    token: Annotated[
        int | None,
        Param(
            "keys and values of a token, on all accelerators of the instance together; unless said, those of the model",
            unit="bytes",
            ge=1,
        ),
    ] = None


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
class KvTier:
    """A place behind the memory that holds blocks of prompts."""

    capacity: Annotated[Quantity, Param("tokens, or bytes", unit="count|bytes", ge=1)]
    link: Annotated[str, Param("the name of the link that leads there; tiers on one link wait for each other")]
    policy: Annotated[Any, Param("which block leaves", family="object-replacement")] = field(
        default_factory=partial(build, "object-replacement", "lru")
    )
    shared: Annotated[bool, Param("whether all instances have it together; else each has one of its own")] = False


@config
class Swap:
    """Where keys and values of requests wait that lost their memory to others."""

    capacity: Annotated[Quantity, Param("tokens, or bytes", unit="count|bytes", ge=1)]
    link: Annotated[str, Param("the name of the link that leads there")]


@config
class Scheduler:
    """What an iteration works on."""

    budget: Annotated[int, Param("tokens of an iteration", unit="count", ge=1, source="vLLM")] = 2048
    max_requests: Annotated[int, Param("requests that run at a time", unit="count", ge=1, source="vLLM")] = 256
    chunked: Annotated[bool, Param("whether prompts are cut, and prefilled beside decodes")] = True
    reserve: Annotated[
        int, Param("share of the pages that stays free at an admission", unit="ratio", ge=0, le=WHOLE, source="vLLM")
    ] = WHOLE // 100
    max_waiting: Annotated[
        int | None, Param("requests that wait at a time; who comes then is refused", unit="count", ge=1)
    ] = None


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
    links: Annotated[dict[str, KvLink], Param("what leads from the memory to tiers and swap, by name")] = field(
        default_factory=dict
    )
    tiers: Annotated[dict[str, KvTier] | None, Param("behind the memory, nearest first; they need `prefix_cache`")] = (
        None
    )
    write: Annotated[
        Literal["through", "eviction"],
        Param("when blocks are copied to the tiers: when a prompt is complete, or when they leave the memory"),
    ] = "through"
    swap: Annotated[
        Swap | None, Param("room for requests that lose their memory; unless said, they are computed again")
    ] = None
    price: Annotated[float | None, Param("of an accelerator for an hour, in any currency", ge=0)] = None


@config
class Decode:
    """Instances that only decode what others have computed."""

    instances: Annotated[int, Param("how many", unit="count", ge=1, le=4096)] = 1
    instance: Annotated[
        Instance | None, Param("each of them; unless said, as the others, without prefix cache and tiers")
    ] = None
    link: Annotated[TransferLink, Param("of each instance that computes prompts, over which keys and values leave it")]
    policy: Annotated[Any, Param("which of them takes a request", family="routing")] = field(
        default_factory=partial(build, "routing", "least-loaded")
    )


@config
class ClusterChange:
    """Instances that come or go at a time, by their numbers from 0."""

    at: Annotated[int, Param("when", unit="time", ge=0)]
    fail: Annotated[list[int] | None, Param("gone at once, with all that is there")] = None
    drain: Annotated[list[int] | None, Param("get nothing more, and are gone when those that run are finished")] = None
    start: Annotated[list[int] | None, Param("are up, with nothing cached if they were gone")] = None


@config
class ClusterScale:
    """Instances start and drain by load: tokens of prompts that those that are up have to compute, in the mean."""

    interval: Annotated[int, Param("between two looks", unit="time", ge=1)]
    high: Annotated[int, Param("tokens; above, one is started", unit="count", ge=0)]
    low: Annotated[int, Param("tokens; below, one is drained", unit="count", ge=0)] = 0
    least: Annotated[int, Param("never fewer are up", unit="count", ge=1)] = 1
    most: Annotated[int | None, Param("never more, with those that start; unless said, all", unit="count", ge=1)] = None
    start_up: Annotated[int, Param("until one that is started is up", unit="time", ge=0)] = 0


@config
class Cluster:
    """Instances that are alike."""

    instances: Annotated[int, Param("how many", unit="count", ge=1, le=4096)] = 1
    up: Annotated[
        int | None, Param("are there at first, those with the lowest numbers; unless said, all", unit="count", ge=0)
    ] = None
    changes: Annotated[list[ClusterChange] | None, Param("who comes and goes when")] = None
    failure: Annotated[
        Literal["reroute", "lose"], Param("what becomes of requests at an instance that fails: routed anew, or lost")
    ] = "reroute"
    scale: Annotated[ClusterScale | None, Param("who comes and goes by load; unless said, nobody")] = None
    refresh: Annotated[
        int | None,
        Param("loads are seen as they were at the last multiple of it; unless said, as they are", unit="time", ge=1),
    ] = None

    @property
    def varies(self) -> bool:
        """Whether not all are always up."""
        return self.up is not None or bool(self.changes) or self.scale is not None

    def check(self) -> None:
        """Raises StudyError, with a ``path``, where it names instances that there are not."""
        for place, change in enumerate(self.changes or []):
            for name in ("fail", "drain", "start"):
                for number in getattr(change, name) or []:
                    if not 0 <= number < self.instances:
                        message = f"there is no instance {number!r}: they have numbers from 0 to {self.instances - 1}"
                        raise _wrong(("changes", str(place), name), message)
        if self.up is not None and self.up > self.instances:
            raise _wrong(("up",), f"there are {self.instances} instances")
        if (scale := self.scale) is not None:
            if scale.low > scale.high:
                raise _wrong(("scale", "low"), "it must not be above `high`")
            if not scale.least <= (scale.most or self.instances) <= self.instances:
                raise _wrong(("scale", "least"), f"it must not be above `most`, nor that above {self.instances}")

    def driver(self, engines: Engines, policy: Any, seed: int, progress: Callable[[int], None]) -> Changing:
        """What sends requests there."""
        changes: list[Change] = []
        for said in self.changes or []:
            changes += [Change(said.at, "fail", number) for number in said.fail or []]
            changes += [Change(said.at, "drain", number) for number in said.drain or []]
            changes += [Change(said.at, "start", number) for number in said.start or []]
        scale = None
        if (held := self.scale) is not None:
            most = held.most or self.instances
            scale = Scale(held.interval, held.high, held.low, held.least, most, held.start_up)
        return Changing(
            engines,
            policy,
            seed,
            progress,
            refresh=self.refresh or 0,
            up=None if self.up is None else range(self.up),
            changes=changes,
            failure=self.failure,
            scale=scale,
        )


@config
class ServingSystem:
    """A cluster of servers."""

    instance: Annotated[Instance, Param("each of them")]
    cluster: Annotated[Cluster, Param("how many there are")] = field(default_factory=Cluster)
    decode: Annotated[Decode | None, Param("instances that decode; unless said, each decodes what it has computed")] = (
        None
    )

    @property
    def decoder(self) -> Instance | None:
        """An instance that decodes, where these are apart."""
        if self.decode is None:
            return None
        return self.decode.instance or replace(self.instance, prefix_cache=None, tiers=None)


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
    tokens = free * count // bytes_of_token(instance)
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


def bytes_of_token(instance: Instance) -> int:
    """Bytes of a token's keys and values, on all accelerators of an instance together.

    Raises StudyError, with a ``path``, where nothing tells.
    """
    if instance.memory.token is not None:
        return instance.memory.token
    if instance.model is None:
        raise _wrong(
            ("memory",),
            "nothing tells how many bytes a token takes: there is no `model`",
            "say it: memory: {token: 128 KiB}",
        )
    _fits(instance)
    return instance.parallel.kv_bytes(instance.model)


def _tokens(said: Quantity, instance: Instance, path: tuple[str, ...]) -> int:
    if said.dimension == "count":
        return int(said.amount)
    if instance.model is None and instance.memory.token is None:
        raise _wrong(path, "bytes hold nobody knows how many tokens: there is no `model`", "give it in tokens")
    return int(said.amount) // bytes_of_token(instance)


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
    links, swap = links_of(instance), instance.swap
    return Server(
        pages,
        page,
        scheduler.max_requests,
        scheduler.budget,
        scheduler.chunked,
        pages * scheduler.reserve // WHOLE,
        prefix,
        blocks,
        links=tuple(_link(instance, name, link) for name, link in links.items()),
        tiers=_tiers(instance, block, list(links)),
        write=instance.write,
        swap=0 if swap is None else _swap_pages(instance, swap),
        swap_link=0 if swap is None else list(links).index(swap.link),
        max_waiting=scheduler.max_waiting or 0,
    )


def links_of(instance: Instance) -> dict[str, KvLink]:
    """The links that tiers or the swap use, in the order of `links`. Raises StudyError where one is not said."""
    users: list[tuple[tuple[str, ...], str]] = [
        (("tiers", name, "link"), tier.link) for name, tier in (instance.tiers or {}).items()
    ]
    users += [] if instance.swap is None else [(("swap", "link"), instance.swap.link)]
    for path, name in users:
        if name not in instance.links:
            hint = nearest(name, list(instance.links)) or "the links are said in `links`"
            raise _wrong(path, f"there is no link {name!r}; {hint}", "links: {pcie: {pcie: pcie-5-x16}}")
    used = {name for _, name in users}
    return {name: link for name, link in instance.links.items() if name in used}


def _link(instance: Instance, name: str, link: KvLink) -> Link:
    """A link in the terms of the engine: what a page takes on it."""
    size = instance.memory.page * bytes_of_token(instance)
    try:
        moves = moves_of(link, size, instance.parallel.gpus)
    except StudyError as error:
        error.path = ("links", name, *error.path)
        raise
    return Link(moves.load, moves.store, moves.latency, link.shared)


def _tiers(instance: Instance, block: int, links: Sequence[str]) -> tuple[Tier, ...]:
    """The tiers in the terms of the engine; none where the trace knows no blocks."""
    said, cache = instance.tiers or {}, instance.prefix_cache
    if said and (cache is None or cache.capacity is not None):
        what = "there is no `prefix_cache`" if cache is None else "`prefix_cache` has memory of its own"
        raise _wrong(("tiers",), f"tiers stand behind a prefix cache in the memory, and {what}", "prefix_cache: {}")
    made = []
    for name, tier in said.items():
        path = ("tiers", name, "capacity")
        tokens = _tokens(tier.capacity, instance, path)
        if block and tokens < block:
            raise _wrong(path, f"it has no room for a block of {block} tokens")
        made.append(Tier(tokens // max(block, 1), links.index(tier.link), tier.shared))
    return tuple(made) if block else ()


def _swap_pages(instance: Instance, swap: Swap) -> int:
    pages = _tokens(swap.capacity, instance, ("swap", "capacity")) // instance.memory.page
    if not pages:
        raise _wrong(("swap", "capacity"), f"it has no room for a page of {instance.memory.page} tokens")
    return pages


def transfer_of(system: ServingSystem) -> tuple[int, int]:
    """What a token takes on its way from an instance that computes prompts to one that decodes, and the latency.

    In picoseconds; a token takes its part of a page's time, rounded up. Raises StudyError, with a ``path``.
    """
    instance, decode = system.instance, system.decode
    assert decode is not None
    page = instance.memory.page
    try:
        size = page * bytes_of_token(instance)
    except StudyError as error:
        error.path = ("instance", *error.path)
        raise
    try:
        moves = moves_of(decode.link, size, instance.parallel.gpus)
    except StudyError as error:
        error.path = ("decode", "link", *error.path)
        raise
    return -(-moves.store // page), moves.latency


def check_decode(system: ServingSystem) -> None:
    """Raises StudyError, with a ``path``, where instances that decode cannot be so."""
    decode = system.decode
    assert decode is not None
    transfer_of(system)
    said = decode.instance
    if said is None:
        return
    for key in ("prefix_cache", "tiers"):
        if getattr(said, key):
            raise _wrong(("decode", "instance", key), "prompts are not computed there: it finds no use", "leave it out")
    if said.scheduler.max_waiting is not None:
        path = ("decode", "instance", "scheduler", "max_waiting")
        raise _wrong(path, "a request that comes over is never refused", "leave it out")


def policies_of(instance: Instance) -> list[Any]:
    """Who says what leaves: the policy of the prefix cache, and that of each tier."""
    cache = instance.prefix_cache
    return [] if cache is None else [cache.policy, *(tier.policy for tier in (instance.tiers or {}).values())]


def limits_of(instance: Instance) -> Limits:
    """Where the time model was measured or fitted."""
    held: Limits = instance.time_model.range(instance.model, instance.accelerator, instance.parallel)
    return held


def write_timeline(
    kinds: Sequence[Engines], arrival: NDArray[np.int64], course: Mapping[str, NDArray[Any]], timeline: Timeline
) -> None:
    """Put iterations, what requests wait for, and what moves into a timeline, in the order of their beginnings.

    ``kinds`` are the instances, and those that decode if these are apart; ``course`` has the fields of `Served`, and of
    `Course`, for each request. Iterations of the same decodes in a row are one slice.
    """
    names = ["instance", "decoding instance"] if len(kinds) > 1 else ["instance"]
    made = [event for name, engines in zip(names, kinds, strict=True) for event in _iterations(name, engines)]
    made += _waits(arrival, course)
    for event in sorted(made, key=lambda event: event[:4]):
        begin, _, track, name, until, more = event
        (timeline.span if "request" in more else timeline.slice)(track, name, begin, until, more)


Event = tuple[
    int, int, str, str, int, dict[str, int]
]  # its beginning, an instance, a track, a name, its end, arguments


def _iterations(kind: str, engines: Engines) -> Iterator[Event]:
    """What the instances of a kind work on."""
    rows = engines.iterations.columns
    names = ("instance", "start", "count", "took", "slope", "decodes", "new")
    for instance, start, count, took, slope, decodes, new in zip(*(rows[key].tolist() for key in names), strict=True):
        if count:
            end = start + count * took + slope * (count * (count - 1) // 2)
            parts = [f"{new} tokens of prompts"] * (new > 0) + [f"{decodes} decodes"] * (decodes > 0)
            more = {"iterations": count} if count > 1 else {}
            yield start, instance, f"{kind} {instance}/iterations", " and ".join(parts), end, more


def _waits(arrival: NDArray[np.int64], course: Mapping[str, NDArray[Any]]) -> Iterator[Event]:
    """What each request does from its arrival to its end, and where."""
    apart = "came" in course
    ready = np.maximum(course["ready"], course["admitted"])
    steps = [("waits", arrival), ("loads", course["admitted"]), ("prefill", ready), ("decode", course["first"])]
    if apart:
        steps[3:] = [
            ("waits for the link", course["first"]),
            ("moves", course["begun"]),
            ("waits to decode", course["came"]),
            ("decode", course["joined"]),
        ]
    ends = [begin.tolist() for _, begin in steps[1:]] + [course["end"].tolist()]
    columns = [begin.tolist() for _, begin in steps]
    later = course["decoded_on"].tolist() if apart else []
    for number, instance in enumerate(course["instance"].tolist()):
        for place, (name, _) in enumerate(steps):
            begin, end = columns[place][number], ends[place][number]
            if end > begin >= 0:
                there = apart and place > 4
                on = later[number] if there else instance
                track = f"{'decoding instance' if there else 'instance'} {on}/requests"
                track = f"instance {instance}/link" if name == "moves" else track
                yield begin, on, track, name, end, {"request": number}


def _wrong(path: tuple[str, ...], message: str, remedy: str = "") -> StudyError:
    error = StudyError(message, None, remedy)
    error.path = path
    return error
