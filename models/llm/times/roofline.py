"""The roofline time model."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.contract import ALWAYS, Limits, Words, fine, pairs, product, slope, whole
from tiersim.models.llm.times.fitted import FITTED, limits
from tiersim.models.llm.transformer import Transformer
from tiersim.sim.queued.clock import SECOND
from tiersim.sim.queued.link import WHOLE

__all__ = ["Roofline"]

(
    STAGES, TOKEN, WIRE, PAIR, SPAN, EXPAND, CONTEXT, OUTPUT, OUTPUT_READ, ITERATION, STAGE, REQUEST, READS,
) = range(13)  # fmt: skip
ACTIVATION = 2  # bytes of a number that GPUs send each other
SPREAD = 4096  # tokens beyond which all experts are taken to be read
LEARNT = "learnt by inference-sim/inference-sim from vLLM on H100"
VIDUR = "measured by Vidur with Llama 2 7B on an A100, all operations of a layer but attention"
FLASH = "T. Dao, FlashAttention-2, 2023: up to 73 % forward on an A100, less with short prompts"
REDUCED = "measured by Vidur with all-reduces in a DGX A100"
OF_PEAK = "share of the peak that {}"


@register("roofline", family="time-model", paper="Williams et al., CACM 2009, doi:10.1145/1498765.1498785")
class Roofline:
    """What arithmetic and memory of the GPUs need, whichever is more, as shares of their peaks, and overheads.

    Three parts run one after the other, each as long as the larger of its arithmetic and its memory: all matrices,
    whose weights an iteration reads once; attention of prompts; attention of decodes, which reads their context. Of
    experts those are read that so many tokens hit on average when each picks at random. Tensor parts meet in two ring
    all-reduces a layer, experts in two exchanges of all with all; neither overlaps with anything. A batch goes through
    several stages whole, or in as many micro-batches one behind the other, whichever is faster; an iteration is over
    when the last one is.

    An efficiency is a share of the peak of the arithmetic, or of the usable bandwidth (`memory.efficiency`).
    """

    matrices: Annotated[
        int, Param(OF_PEAK.format("large matrices reach"), unit="ratio", ge=1, le=WHOLE, source=VIDUR)
    ] = 64 * 10**7
    attention: Annotated[
        int, Param(OF_PEAK.format("attention of prompts reaches"), unit="ratio", ge=1, le=WHOLE, source=FLASH)
    ] = 50 * 10**7
    weights: Annotated[
        int, Param("share of the usable bandwidth, reading weights", unit="ratio", ge=1, le=WHOLE, source=VIDUR)
    ] = 83 * 10**7
    cache: Annotated[
        int, Param("share of the usable bandwidth, reading contexts", unit="ratio", ge=1, le=WHOLE, source=LEARNT)
    ] = 55 * 10**7
    network: Annotated[
        int, Param("share of the bandwidth between GPUs", unit="ratio", ge=1, le=WHOLE, source=REDUCED)
    ] = 60 * 10**7
    meeting: Annotated[
        int, Param("of GPUs, each time, besides what they send", unit="time", ge=0, le=10**12, source=REDUCED)
    ] = 4 * 10**7
    iteration: Annotated[int, Param("overhead of each iteration", unit="time", ge=0, le=10**15, source=LEARNT)] = (
        126 * 10**6
    )
    layer: Annotated[int, Param("overhead of a layer", unit="time_per_item", ge=0, le=10**12, source=LEARNT)] = (
        32_100_000
    )
    request: Annotated[int, Param("overhead of a request", unit="time_per_item", ge=0, le=10**12, source=LEARNT)] = (
        4_400_000
    )
    imbalance: Annotated[
        int, Param("work of the expert GPU that has most, to the mean", unit="ratio", ge=WHOLE, le=100 * WHOLE)
    ] = WHOLE
    arithmetic: Annotated[
        Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8"] | None,
        Param("type that matrices are computed with; unless said that of the weights, or bf16 where a GPU has it not"),
    ] = None
    fitted: Annotated[dict[str, list[int]] | None, FITTED] = None

    def __post_init__(self) -> None:
        limits(self.fitted)

    def compiled(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> dict[str, NDArray[Any]]:
        """Its coefficients, and the time to read weights by the number of tokens."""
        if model is None or gpu is None:
            raise StudyError("the roofline needs to know the model and the accelerator", None, "say both, by presets")
        parallel.check(model)
        made = Costs(self, model, gpu, parallel)
        reads = made.reads()
        return {"costs": np.array([*made.all(), len(reads) - 1], np.int64), "reads": np.array(reads, np.int64)}

    def range(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> Limits:
        """What `fitted` says."""
        return limits(self.fitted)

    @staticmethod
    def step(
        costs: Words,
        reads: Words,
        chunks: int,
        new: int,
        area: int,
        squares: int,
        span: int,
        decodes: int,
        context: int,
    ) -> int:
        prompts = max(product(costs[PAIR], pairs(area, squares, new)), costs[SPAN] * span) + costs[EXPAND] * (
            span - new
        )
        tokens, requests = new + decodes, chunks + decodes
        whole = constant(costs, reads, tokens, requests, prompts, 1) + rise(costs, 1) * context
        batches = micro_batches(costs, tokens)
        if batches == 1:
            return whole
        return min(whole, constant(costs, reads, tokens, requests, prompts, batches) + rise(costs, batches) * context)

    @staticmethod
    def line(costs: Words, reads: Words, decodes: int, context: int) -> tuple[int, int, int]:
        first, steep = constant(costs, reads, decodes, decodes, 0, 1), rise(costs, 1)
        batches = micro_batches(costs, decodes)
        if batches == 1:
            return first, steep, ALWAYS
        other, flat = constant(costs, reads, decodes, decodes, 0, batches), rise(costs, batches)
        if first + steep * context > other + flat * context:
            return other, flat, ALWAYS
        return first, steep, ALWAYS if steep <= flat else (other - first) // (steep - flat)


def micro_batches(costs: Words, tokens: int) -> int:
    """In how many parts a batch may be cut: one for each stage, if there are as many tokens."""
    return min(max(tokens, 1), costs[STAGES])


def rise(costs: Words, batches: int) -> int:
    """What a token of a context takes in all turns of the stages."""
    return (batches + costs[STAGES] - 1) * costs[CONTEXT] // batches


def constant(costs: Words, reads: Words, tokens: int, requests: int, prompts: int, batches: int) -> int:
    """All that does not depend on the context: so many turns of a stage, each with its part of tokens and prompts."""
    turns = batches + costs[STAGES] - 1
    each = -(-tokens // batches)
    stage = max(costs[TOKEN] * each, reads[min(each, costs[READS])]) + costs[WIRE] * each + costs[STAGE]
    time = turns * (stage + prompts // batches) + costs[ITERATION] + costs[REQUEST] * requests
    return max(time + max(costs[OUTPUT] * requests, costs[OUTPUT_READ]), 1)


class Costs:
    """The coefficients of the roofline, for the GPU that has most of the work of a stage."""

    def __init__(self, said: Roofline, model: Transformer, gpu: Gpu, parallel: Parallel) -> None:
        self.said, self.model, self.gpu, self.parallel = said, model, gpu, parallel
        self.layers = max(parallel.layer_counts(model))
        self.part = Fraction(self.layers, model.layers)
        self.peak = peak(said, model, gpu)
        self.bandwidth = Fraction(gpu.memory.bandwidth * gpu.memory.efficiency, WHOLE)

    def arithmetic(self, operations: Fraction | int, efficiency: int) -> Fraction:
        """Picoseconds of so many operations on one GPU."""
        return Fraction(operations) * SECOND * WHOLE / (self.peak * efficiency)

    def traffic(self, size: Fraction | int, efficiency: int) -> Fraction:
        """Picoseconds of so many bytes of one GPU's memory."""
        return Fraction(size) * SECOND * WHOLE / (self.bandwidth * efficiency)

    def all(self) -> list[int]:
        """Each coefficient, in the order of their names."""
        pair, span, expand, output, output_read, stage, request, wire = self.apart()
        token = whole(self.token(), "a token")
        return [
            self.parallel.pipeline, token, wire, pair, span, expand, self.context(), output, output_read,
            self.said.iteration, stage - self.said.iteration, request,
        ]  # fmt: skip

    def apart(self) -> list[int]:
        """All but the matrices: attention of prompts (three), the output (two), overheads (two), and the way."""
        said, model, parallel = self.said, self.model, self.parallel
        output = Fraction(model.embedding, parallel.stage)
        expand = self.arithmetic(self.expansion() * self.part / parallel.stage, said.matrices)
        return [
            fine(self.pair()),
            slope(self.traffic(self.kept, said.cache), "a token of the cache"),
            slope(expand, "a token of the cache"),
            whole(self.arithmetic(2 * output, said.matrices), "a next token"),
            round(self.traffic(model.bytes(-(-model.embedding // parallel.tensor)), said.weights)),
            said.iteration + self.layers * said.layer + self.meetings() * said.meeting,
            said.request,
            whole(self.wire(), "a token on the way between GPUs"),
        ]

    @property
    def kept(self) -> Fraction:
        """Bytes of a token in the cache of one GPU, in one stage."""
        return Fraction(self.parallel.kv_bytes(self.model)) * self.part / self.parallel.stage

    def pair(self) -> Fraction:
        """The time of a token of a prompt for each at or before it."""
        operations = self.model.prefill_operations * self.part / self.parallel.stage
        return self.arithmetic(operations, self.said.attention)

    def context(self) -> int:
        """The time of a token of a context."""
        operations = self.model.decode_operations * self.part / self.parallel.stage
        time = max(self.traffic(self.kept, self.said.cache), self.arithmetic(operations, self.said.attention))
        return slope(time, "a token of a context")

    def token(self) -> Fraction:
        """Arithmetic of a token in the matrices of a stage; experts wait for the GPU that has most of them to do."""
        model = self.model
        routed = 0
        if model.experts is not None:
            routed = 2 * (model.layers - model.dense_layers) * model.experts.active * model.expert
        uneven = self.said.imbalance if self.parallel.expert > 1 else WHOLE
        operations = model.token_operations - routed + Fraction(routed * uneven, WHOLE)
        return self.arithmetic(operations * self.part / self.parallel.stage, self.said.matrices)

    def expansion(self) -> int:
        """Operations that make keys and values of a compressed vector, which prompts need of all tokens before."""
        latent = self.model.latent
        if latent is None:
            return 0
        return 2 * self.model.layers * latent.rank * self.model.heads * (self.model.head + self.model.value)

    def reads(self) -> list[int]:
        """The time to read the weights of a stage that so many tokens need, by their number."""
        model, parallel = self.model, self.parallel
        layers, dense = model.layers, model.dense_layers
        always = layers * parallel.attention(model) + dense * Fraction(model.dense, parallel.tensor)
        always += (layers - dense) * parallel.common(model)
        if model.experts is None:
            return [self.read(always)]
        routed = (layers - dense) * parallel.experts(model)
        spared = 1 - model.experts.active / model.experts.count
        made = [self.read(always + round(routed * (1 - spared**tokens))) for tokens in range(SPREAD)]
        return [*made, self.read(always + routed)]

    def read(self, parameters: Fraction | int) -> int:
        """The time to read a stage's part of so many weights."""
        return round(self.traffic(self.model.bytes(round(parameters * self.part)), self.said.weights))

    def wire(self) -> Fraction:
        """What a token costs between GPUs: all-reduces and exchanges of a stage, and the way to the next one."""
        model, parallel = self.model, self.parallel
        size = model.hidden * ACTIVATION
        sent = Fraction(0)
        if parallel.tensor > 1:  # groups of tensor parts have other tokens each
            ring = Fraction(2 * (parallel.tensor - 1), parallel.tensor) * Fraction(parallel.tensor, parallel.stage)
            sent += 2 * self.layers * ring * size
        if parallel.expert > 1 and model.experts is not None:
            away = Fraction(parallel.expert - 1, parallel.expert) * Fraction(1, parallel.stage)
            sparse = Fraction(model.layers - model.dense_layers) * self.part
            sent += 2 * sparse * model.experts.active * away * size * Fraction(self.said.imbalance, WHOLE)
        if parallel.pipeline > 1:
            sent += Fraction(size, parallel.stage)
        if not sent:
            return sent
        return sent * SECOND * WHOLE / (Fraction(self.between()) * self.said.network)

    def between(self) -> float:
        """Bytes a second from a GPU to others: over NVLink, or PCI Express where there is none."""
        if self.gpu.nvlink is not None:
            return self.gpu.nvlink.wire().goodput
        return self.gpu.pcie.wire(self.gpu.pcie.write).goodput

    def meetings(self) -> int:
        """How often GPUs of a stage meet, and stages."""
        model, parallel = self.model, self.parallel
        sparse = round((model.layers - model.dense_layers) * self.part)
        count = 2 * self.layers if parallel.tensor > 1 else 0
        count += 2 * sparse if parallel.expert > 1 else 0
        return count + (parallel.pipeline > 1)


def peak(said: Roofline, model: Transformer, gpu: Gpu) -> int:
    """Operations a second of the type that matrices are computed with. Raises StudyError for one the GPU has not."""
    kinds = [said.arithmetic] if said.arithmetic else [model.weights, "bf16", "fp16"]
    for kind in kinds:
        found: int | None = getattr(gpu.compute, kind, None)
        if found is not None:
            return found
    known = ", ".join(key for key, held in vars(gpu.compute).items() if held is not None)
    raise StudyError(f"this GPU has no figure for {kinds[0]!r}; it has: {known}", None, "say another `arithmetic`")
