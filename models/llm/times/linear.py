"""The linear time model."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.contract import ALWAYS, Limits, Words, fine, pairs, product
from tiersim.models.llm.times.fitted import FITTED, limits
from tiersim.models.llm.transformer import Transformer

__all__ = ["Linear"]

ITERATION, PREFILL, ATTENTION, DECODE, CACHED = range(5)


@register("linear", family="time-model")
class Linear:
    """Constant times of an iteration, of a prompt's token and of one that decodes, with their attention if it counts.

    With `prefill` alone it is the estimate that routers such as DualMap work with: decodes then take no time.
    """

    prefill: Annotated[int, Param("of a token of a prompt", unit="time_per_item", ge=0, le=10**12)]
    iteration: Annotated[int, Param("of each iteration", unit="time", ge=0, le=10**15)] = 0
    attention: Annotated[
        int, Param("of a token of a prompt, for each token at or before it", unit="time_per_item", ge=0, le=5 * 10**8)
    ] = 0
    decode: Annotated[int, Param("of a request that decodes", unit="time_per_item", ge=0, le=10**12)] = 0
    cached: Annotated[
        int, Param("of a request that decodes, for each token of its context", unit="time_per_item", ge=0, le=6 * 10**7)
    ] = 0
    fitted: Annotated[dict[str, list[int]] | None, FITTED] = None

    def __post_init__(self) -> None:
        limits(self.fitted)

    def compiled(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> dict[str, NDArray[Any]]:
        """Its times, whatever the model and the GPU."""
        attention = fine(self.attention)
        rates = [self.iteration, self.prefill, attention, self.decode, self.cached]
        return {"rates": np.array(rates, np.int64)}

    def range(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> Limits:
        """What `fitted` says."""
        return limits(self.fitted)

    @staticmethod
    def step(
        rates: Words, chunks: int, new: int, area: int, squares: int, span: int, decodes: int, context: int
    ) -> int:
        time = rates[ITERATION] + rates[PREFILL] * new + rates[DECODE] * decodes
        time += product(rates[ATTENTION], pairs(area, squares, new))
        return max(time, 1) + rates[CACHED] * context

    @staticmethod
    def line(rates: Words, decodes: int, context: int) -> tuple[int, int, int]:
        return max(rates[ITERATION] + rates[DECODE] * decodes, 1), rates[CACHED], ALWAYS
