"""A model whose experts do not all fit on its GPUs: what holds them, what they move over, and how long all takes."""

from __future__ import annotations

from dataclasses import field, replace
from fractions import Fraction
from functools import partial
from inspect import signature
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.registry import build
from tiersim._base.units import Quantity
from tiersim.models.gpu import Gpu
from tiersim.models.kv_links import KvLink, moves_of
from tiersim.models.links.pcie import Pcie
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.roofline import ACTIVATION, Roofline
from tiersim.models.llm.times.roofline import Costs as Coefficients
from tiersim.models.llm.transformer import BITS, Number, Transformer
from tiersim.models.node import Node
from tiersim.models.ssd import Ssd
from tiersim.sim.expert_rows import Costs, Rows
from tiersim.sim.queued.clock import SECOND, Clock

__all__ = ["ExpertSystem", "check_system", "costs_of", "placed_of", "routed_layers", "slots_of"]

Numbers = NDArray[np.int64]

WHOLE: Final = 10**9
ENDLESS: Final = 1 << 40
AVX2 = (
    "assumed: 8 cores of 4.5 GHz with two units of 8 products and sums a cycle do 1.15 T, of which large matrices "
    "reach nine tenths"
)
CORES = "0.4 T to 4 T: from 4 cores to AVX-512 in bfloat16"
COPY = "assumed: launch and set-up of one copy (cudaMemcpyAsync)"


@config
class ExpertSystem:
    """GPUs with slots for experts, and a host that holds all of them."""

    model: Annotated[Transformer, Param("the model: a preset's name, or its shape")]
    accelerator: Annotated[Gpu, Param("the GPU: a preset's name, or its figures")]
    gpus: Annotated[int, Param("GPUs that the experts of a layer are dealt out over", unit="count", ge=1, le=64)] = 1
    expert_slots: Annotated[
        Quantity | None,
        Param(
            "experts that a GPU holds: `12 per layer`, or in all; unless said, as many as the rest leaves room for",
            unit="count_per_item|count",
            ge=1,
        ),
    ] = None
    share: Annotated[
        int, Param("of a GPU's memory, for weights, slots, keys and values", unit="ratio", ge=1, le=WHOLE)
    ] = 9 * WHOLE // 10
    kv_memory: Annotated[
        Quantity | None,
        Param(
            "of each GPU, for keys and values: tokens, or bytes; the rest stays in DRAM, and is read over the link; "
            "unless said, as much as they need",
            unit="count|bytes",
            ge=0,
        ),
    ] = None
    link: Annotated[Pcie | None, Param("from the host to each GPU; unless said, that of the accelerator")] = None
    copy: Annotated[
        int,
        Param("of each copy, besides what the link takes", unit="time", ge=0, source=COPY, uncertainty="3 to 20 us"),
    ] = 10**7
    host: Annotated[Node, Param("the node, whose DRAM holds the experts, and whose cores may run them")]
    cpu: Annotated[
        int,
        Param(
            "operations a second that all cores together reach with matrices",
            unit="count",
            ge=1,
            source=AVX2,
            uncertainty=CORES,
        ),
    ] = 10**12
    host_experts: Annotated[
        int | None, Param("experts that DRAM holds, the others on the drive; unless said, all", unit="count", ge=1)
    ] = None
    storage: Annotated[Ssd | None, Param("the drive; unless said, that of the host")] = None
    low: Annotated[Number, Param("type of a weight in low precision, for systems that load some so")] = "int4"
    overlap: Annotated[bool, Param("whether GPUs compute while experts are loaded, and some are loaded ahead")] = True
    time_model: Annotated[
        Any, Param("shares of their peaks that kernels reach, and overheads; of the roofline", family="time-model")
    ] = field(default_factory=partial(build, "time-model", "roofline"))


def routed_layers(system: ExpertSystem) -> int:
    """Layers that route to experts."""
    return system.model.layers - system.model.dense_layers


def check_system(system: ExpertSystem) -> None:
    """Raises StudyError, with a ``path``, where the parts do not fit together, whatever the trace is."""
    model, host = system.model, system.host
    if model.experts is None or not routed_layers(system):
        raise _at("model", "this model has no experts", "take another, such as deepseek-v2-lite or mixtral-8x7b")
    if system.gpus > model.experts.count:
        raise _at("gpus", f"{model.experts.count} experts cannot be dealt out over {system.gpus} GPUs")
    if not isinstance(system.time_model, Roofline):
        name = system.time_model.registered.name
        raise _at("time_model", f"{name} does not tell experts from the rest", "take the roofline, with other shares")
    if system.time_model.imbalance != WHOLE:
        raise _at("time_model", "which GPU has most to do is found here", "leave `imbalance` out")
    if BITS[system.low] > BITS[model.weights]:
        raise _at("low", f"{system.low} is no lower precision than the {model.weights} of the weights")
    if (said := system.expert_slots) is not None and said.dimension == "count_per_item" and said.item != "layer":
        raise _at("expert_slots", f"slots are of layers, and not of a {said.item}", "such as 12 per layer, or 300")
    _coefficients(system)
    whole, size = model.experts.count * routed_layers(system), model.bytes(model.expert)
    if system.host_experts is not None and system.host_experts < whole and _drive(system) is None:
        raise _at("host_experts", f"of {whole:,} experts some are nowhere: there is no drive", "say `storage`")
    held, room = min(system.host_experts or whole, whole), host.sockets * host.memory.capacity
    if held * size > room:
        raise _at(
            "host" if system.host_experts is None else "host_experts",
            f"{held:,} experts take {_gib(held * size)}, and the host's memory has {_gib(room)}",
            f"give it more, or leave the others on a drive: host_experts: {room // size}",
        )


def slots_of(system: ExpertSystem, contexts: int) -> int:
    """Experts that each GPU has room for beside other weights, and the keys and values of so many tokens.

    Of all layers together, and a multiple of them where the study gives slots per layer. Raises StudyError, with a
    ``path``, where that is more than its memory holds, or nothing is left.
    """
    model, layers = system.model, routed_layers(system)
    assert model.experts is not None
    size = model.bytes(model.expert)
    others = model.bytes(model.parameters - layers * model.experts.count * model.expert)
    kept = min(-(-contexts // system.gpus), _kv_tokens(system)) * model.kv_bytes
    room = system.accelerator.memory.capacity * system.share // WHOLE
    most = layers * -(-model.experts.count // system.gpus)
    left = max(room - others - kept, 0) // size
    said = system.expert_slots
    slots = min(left, most)
    if said is not None:
        slots = int(said.amount) * (layers if said.dimension == "count_per_item" else 1)
    if left < min(slots, most) or not slots:
        parts = f"weights besides the experts take {_gib(others)}"
        parts += f", keys and values of {contexts:,} tokens {_gib(kept)}"
        raise _at(
            "accelerator" if said is None else "expert_slots",
            f"{parts}, and {_gib(room)} of a GPU's memory leave room for {left:,} experts of "
            f"{_gib(size)}" + ("" if said is None else f", not for {slots:,}"),
            "take fewer slots, a smaller batch, or a larger GPU",
        )
    return min(slots, most)


def costs_of(system: ExpertSystem, rows: Rows) -> Costs:
    """How long the parts of these steps take, by the roofline; whole picoseconds.

    Raises StudyError, with a ``path``, as `check_system`.
    """
    model = system.model
    assert model.experts is not None
    steps, roof = _Steps(system, rows), _coefficients(system)
    said: Roofline = system.time_model
    dense = _matrices(roof, model.attention + model.dense, steps.tokens)
    sparse = _matrices(roof, model.attention + roof.parallel.common(model), steps.tokens)
    attention = _attention(roof, steps)
    before = said.iteration + said.request * steps.sampled + model.dense_layers * (dense + attention + said.layer)
    most, size = int(rows.tokens.max(initial=1)), model.bytes(model.expert)
    low = -(-model.expert * BITS[system.low] // 8)
    port = _link(system).connect(Clock(), ("down", "up"))
    hidden = model.hidden * ACTIVATION
    moves = max(port.occupied(hidden), port.occupied(hidden, forth=False))
    load, latency = _load(system, size)
    each = np.arange(int(rows.size.max(initial=1)) + 1)
    # each token in packets of its own, and one copy for all
    ship = np.where(each > 0, moves * each + system.copy + latency, 0)
    return Costs(
        before=before,
        dense=sparse + attention + said.layer,
        after=_matrices(roof, model.embedding, steps.sampled),
        exchange=_exchange(system, roof, steps.tokens),
        run=_matrices(roof, model.expert, np.arange(most + 1)) * (np.arange(most + 1) > 0),
        cpu=_on_cores(system, np.arange(most + 1)),
        ship=ship,
        load=load,
        load_low=_load(system, low)[0],
        latency=latency,
        size=size,
        size_low=low,
        hidden=hidden,
        read=_read(system, size),
        host_experts=0 if system.host_experts is None else system.host_experts,
        stream=_stream(system, steps),
    )


def placed_of(system: ExpertSystem, policy: Any, learnt: Rows, slots: int, popular: Numbers) -> list[int]:
    """The experts that a policy places for good, which has the verb ``place`` of the family ``experts``.

    It learns of the rows of other sequences, and of how many of their tokens passed each expert.
    """
    costs = costs_of(system, learnt)
    row = np.repeat(np.arange(len(learnt.start) - 1), np.diff(learnt.start))
    given: dict[str, Any] = {"layers": learnt.layers, "experts": learnt.experts, "gpus": system.gpus, "slots": slots}
    given |= {name: getattr(costs, name) for name in ("load", "load_low", "cpu", "run", "ship")}
    given |= {"needed_row": row, "needed_x": row % learnt.layers * learnt.experts + learnt.expert}
    given |= {"needed_n": learnt.tokens, "popular": popular}
    return [int(x) for x in policy.place(**{name: given[name] for name in signature(policy.place).parameters})]


class _Steps:
    """What a GPU does of steps: its share of tokens, contexts and pairs, as its share of the tokens is."""

    def __init__(self, system: ExpertSystem, rows: Rows) -> None:
        self.tokens = -(-rows.size // system.gpus)
        self.sampled = -(-rows.sampled // system.gpus)
        self.context = -(-rows.context * self.tokens // rows.size)
        self.pairs = -(-rows.pairs * self.tokens // rows.size)
        self.prefill = rows.prefill == 1


def _coefficients(system: ExpertSystem) -> Coefficients:
    """The roofline of one GPU, which has all of the model but its experts."""
    gpu = replace(system.accelerator, pcie=_link(system))
    try:
        return Coefficients(system.time_model, system.model, gpu, Parallel())
    except StudyError as error:
        error.path = ("time_model",)
        raise


def _matrices(roof: Coefficients, parameters: int, tokens: Numbers) -> Numbers:
    """Products of so many tokens with a matrix: arithmetic, or to read it, whichever takes longer."""
    read = round(roof.traffic(roof.model.bytes(parameters), roof.said.weights))
    return np.maximum(_times(roof.arithmetic(2 * parameters, roof.said.matrices), tokens), read)


def _attention(roof: Coefficients, steps: _Steps) -> Numbers:
    """Attention of one layer."""
    said, model = roof.said, roof.model
    kept = roof.traffic(model.kv_layer_bytes, said.cache)
    ahead = np.maximum(_times(roof.pair() / model.layers, steps.pairs), _times(kept, steps.context))
    operations = Fraction(model.decode_operations, model.layers)
    each = _times(max(kept, roof.arithmetic(operations, said.attention)), steps.context)
    return np.where(steps.prefill, ahead, each)


def _exchange(system: ExpertSystem, roof: Coefficients, tokens: Numbers) -> Numbers:
    """A GPU's tokens to the GPUs of their experts, of which all but one are others, or back."""
    if system.gpus == 1:
        return np.zeros_like(tokens)
    assert system.model.experts is not None
    away = Fraction(system.model.experts.active * (system.gpus - 1), system.gpus)
    sent = away * system.model.hidden * ACTIVATION
    between = Fraction(roof.between()) * roof.said.network
    return _times(sent * SECOND * WHOLE / between, tokens) + roof.said.meeting


def _on_cores(system: ExpertSystem, tokens: Numbers) -> Numbers:
    """An expert on the processor: to read it from DRAM, or its arithmetic, whichever takes longer."""
    model = system.model
    read = -(-model.bytes(model.expert) * SECOND // _dram(system))
    made = _times(Fraction(2 * model.expert * SECOND, system.cpu), tokens)
    return np.where(tokens > 0, np.maximum(made, read), 0)


def _load(system: ExpertSystem, size: int) -> tuple[int, int]:
    """How long a copy of so many bytes occupies the link, and its latency: as slow as the link or the DRAM is."""
    moves = moves_of(KvLink(pcie=_link(system)), size, 1)
    return max(moves.load, -(-size * SECOND // _dram(system))) + system.copy, moves.latency


def _read(system: ExpertSystem, size: int) -> int:
    """How long the drive takes to read so many bytes."""
    drive = _drive(system)
    if system.host_experts is None or drive is None:
        return 0
    moves = moves_of(KvLink(ssd=drive), size, 1)
    return moves.load + moves.latency


def _kv_tokens(system: ExpertSystem) -> int:
    """Tokens whose keys and values a GPU has room for; more than any context has where it has room for all."""
    said = system.kv_memory
    if said is None:
        return ENDLESS
    return int(said.amount) // (1 if said.dimension == "count" else system.model.kv_bytes)


def _stream(system: ExpertSystem, steps: _Steps) -> Numbers:
    """How long the keys and values that are in DRAM take the link, for each layer; those of prompts are made there."""
    missing = np.where(steps.prefill, 0, np.maximum(steps.context - _kv_tokens(system), 0))
    many, place = np.unique(missing, return_inverse=True)
    sizes = (many * system.model.kv_layer_bytes).tolist()
    made: Numbers = np.array([_load(system, size)[0] if size else 0 for size in sizes], np.int64)[place]
    return made


def _link(system: ExpertSystem) -> Pcie:
    return system.link or system.accelerator.pcie


def _drive(system: ExpertSystem) -> Ssd | None:
    return system.storage or (system.host.ssd if system.host.ssds else None)


def _dram(system: ExpertSystem) -> int:
    """Bytes a second of all sockets."""
    memory = system.host.memory
    return system.host.sockets * memory.bandwidth * memory.efficiency // WHOLE


def _times(time: Fraction, counts: Numbers) -> Numbers:
    """So many times a time, to the nearest picosecond."""
    made: Numbers = np.rint(counts * float(time)).astype(np.int64)
    return made


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _at(key: str, message: str, remedy: str = "") -> StudyError:
    error = StudyError(message, None, remedy)
    error.path = (key,)
    return error
