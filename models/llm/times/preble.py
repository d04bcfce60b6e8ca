"""The equations that Preble's authors fitted to their servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.contract import ALWAYS, Limits, Words, fine, product
from tiersim.models.llm.transformer import Transformer

__all__ = ["Preble"]

MILLISECOND: Final = 10**9
LARGE, BOTH, EACH, NEW, SPAN, AREA, DECODING, SHORT, FLAT, FIRST, SLOPE, PARTS = range(12)


@dataclass(frozen=True)
class Equations:
    """One fit, in ms: of tokens together by their number, of prompts, and of all that is attended."""

    tokens: tuple[tuple[int, float, float], ...]  # from so many on: a constant, and for each token
    prompt: tuple[float, float, float, float]  # for each prompt, its tokens, its tokens in the end, both multiplied
    large: int = 0  # prompts count where these products are at least so many together
    both: bool = False  # whether the context of large prompts counts as that of others too
    decoding: float = 0  # once where there are decodes
    short: int = 0  # a context of up to so many tokens is constant
    flat: float = 0
    first: float = 0
    slope: float = 0
    share: float = 1  # of the time that the equations tell


FITS: Final = {
    "mistral-7b/a100": Equations(
        ((0, 8.96, 0), (64, 10.5, 0), (256, 5.505996896412796, 0.05031337)),
        (0.12386358316396695, -7.45358651e-04, 1.72022673e-03, 1.36265841e-06),
        1 << 20, False, 0, 1024, 0.32, 0.159, 1.86e-4, 0.85,
    ),
    # what is published for 192 to 383 tokens falls below 0: a line between its ends stands for it
    "mistral-7b/a6000": Equations(
        ((0, 22, 0), (192, -1.845, 0.12419), (384, 4.209777054806409, 0.10842571)),
        (0, 1.13e-3, 1.75e-3, 2.19e-6),
        1 << 20, True, 0, 1024, 0.32, 0.159, 1.86e-4, 0.9,
    ),
    "llama-3-70b/a100": Equations(
        ((0, 0, 1.82233431e-01),), (28.931389307785594, 0, 4.00365142e-03, 2.55050069e-06),
        decoding=28.931389307785594, slope=4.00365142e-03 + 2.55050069e-06,
    ),
    "llama-3-70b/h100": Equations(
        ((0, 0, 7.98791064e-02),), (18.667307208113755, 0, 2.68531603e-03, 7.44344923e-07),
        decoding=18.667307208113755, slope=2.68531603e-03 + 7.44344923e-07,
    ),
}  # fmt: skip


@register("preble", family="time-model", paper="Srivatsa et al., Preble, ICLR 2025, https://arxiv.org/abs/2407.00023")
class Preble:
    """Equations fitted by Preble's authors to SGLang, as their router uses them, whatever model and GPU are said.

    Llama 3 70B ran on two GPUs (tensor parallel), Mistral 7B on one. They were fitted to prompts. Of several prompts
    together the products of tokens and context are compared with the bound of large ones as a sum. Decodes count as
    their router counts them for Mistral, but contexts of less than 1,024 tokens a request never count half, which would
    make a longer one faster; for Llama, for which nothing is published, as one prompt of as many tokens.
    """

    fit: Annotated[
        Literal["mistral-7b/a100", "mistral-7b/a6000", "llama-3-70b/a100", "llama-3-70b/h100"],
        Param(
            "which model on which GPU",
            source="WukLab/preble, preble/benchmarks/exp_configs/model_equations.py",
        ),
    ]

    def compiled(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> dict[str, NDArray[Any]]:
        """Its coefficients, whatever the model and the GPU."""
        found = FITS[self.fit]
        scale = MILLISECOND / found.share
        each, new, span, area = (number * scale for number in found.prompt)
        made = [found.large, found.both, round(each), round(new), round(span), fine(area)]
        made += [round(found.decoding * scale), found.short, round(found.flat * scale)]
        made += [round(found.first * scale), round(found.slope * scale), len(found.tokens)]
        for start, constant, rate in found.tokens:
            made += [start, round(constant * scale), round(rate * scale)]
        return {"equations": np.array(made, np.int64)}

    def range(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> Limits:
        """Nothing: the authors do not tell."""
        return {}

    @staticmethod
    def step(
        equations: Words, chunks: int, new: int, area: int, squares: int, span: int, decodes: int, context: int
    ) -> int:
        large = chunks > 0 and area >= equations[LARGE]
        time = together(equations, new + decodes)
        if large:
            time += equations[EACH] * chunks + equations[NEW] * new + equations[SPAN] * span
            time += product(equations[AREA], area)
        if decodes > 0:
            time += equations[DECODING]
        seen = context if large and not equations[BOTH] else context + span
        if seen <= equations[SHORT]:
            return max(time + (equations[FLAT] if seen > 0 else 0), 1)
        return max(time + equations[FIRST], 1) + equations[SLOPE] * seen

    @staticmethod
    def line(equations: Words, decodes: int, context: int) -> tuple[int, int, int]:
        time = together(equations, decodes) + (equations[DECODING] if decodes > 0 else 0)
        if context <= 0:
            return max(time, 1), 0, 0
        if context <= equations[SHORT]:
            return max(time + equations[FLAT], 1), 0, equations[SHORT]
        return max(time + equations[FIRST], 1), equations[SLOPE], ALWAYS


def together(equations: Words, tokens: int) -> int:
    """The time of so many tokens but for what they attend to."""
    place = PARTS + 3 * equations[PARTS] - 2
    while equations[place] > tokens:
        place -= 3
    return equations[place + 1] + equations[place + 2] * tokens
