"""What a time model is.

A time model is a class of the family ``time-model``. ``compiled`` gives its numbers for a model on a GPU as arrays of
64-bit integers by name, and two static functions work on them in numba's subset, so that the loop of the server can
borrow them as it borrows the verbs of a policy:

``step`` is the time of an iteration in picoseconds, at least 1, of seven whole numbers (docs/explanation/serving.md,
Time models). ``line`` says of iterations with these decodes and nothing else that, for every whole context from the one
given on to `until`, `step` is exactly ``constant + slope * context``.

No number overflows 64 bits with an `area` of up to 2**42 and a `context` of up to 2**36, unless the time itself is
beyond 2**62 picoseconds, which is 53 days.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias

from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.transformer import Transformer

__all__ = ["ALWAYS", "FEATURES", "Limits", "TimeModel", "Words", "fine", "pairs", "product", "slope", "whole"]

Words: TypeAlias = MutableSequence[int]
"""A flat array that the functions work on."""
Limits: TypeAlias = dict[str, tuple[int, int]]
"""By feature the least and the most that a model was measured or fitted with; 0 is never outside."""

FEATURES: Final = ("chunks", "new", "area", "squares", "span", "decodes", "context")
ALWAYS = 1 << 62
FINE = 12  # a coefficient counts 2**-12 picoseconds
LOW = (1 << 21) - 1


class TimeModel(Protocol):
    """What all time models can; see above for ``step`` and ``line``, whose first arguments are arrays by name."""

    def compiled(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> dict[str, NDArray[Any]]:
        """The arrays for a model on GPUs. Raises StudyError where it needs to know them and they are not said."""

    def range(self, model: Transformer | None, gpu: Gpu | None, parallel: Parallel) -> Limits:
        """Where it was measured or fitted; empty where it has no such bounds."""


def product(coefficient: int, count: int) -> int:
    """A coefficient in 2**-12 picoseconds times a count of up to 2**42, rounded down, without overflow on the way."""
    return ((count >> 21) * coefficient << 9) + ((count & LOW) * coefficient >> FINE)


def pairs(area: int, squares: int, new: int) -> int:
    """Pairs of a token of a prompt and one at or before it: of x tokens at the end of s, x s - x (x - 1) / 2."""
    return area - (squares - new >> 1)


def fine(time: Fraction | float, what: str = "a pair of tokens") -> int:
    """The coefficient for `product` of so many picoseconds. Raises StudyError where it could overflow."""
    return _bounded(time, 1 << FINE, 41, what)


def whole(time: Fraction | float, what: str) -> int:
    """Whole picoseconds of a token or request, of which there are up to 2**22. Raises StudyError as `fine`."""
    return _bounded(time, 1, 40, what)


def slope(time: Fraction | float, what: str) -> int:
    """Whole picoseconds of a token of a context, which has up to 2**36. Raises StudyError as `fine`."""
    return _bounded(time, 1, 26, what)


def _bounded(time: Fraction | float, parts: int, bits: int, what: str) -> int:
    made = round(time * parts)
    if made >= 1 << bits:
        most = (1 << bits) / parts / 1e6
        raise StudyError(f"{what} takes {float(time) / 1e6:,.0f} us, and more than {most:,.0f} us is not modelled")
    return made
