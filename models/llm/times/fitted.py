"""The bounds between which a time model was fitted."""

from __future__ import annotations

from typing import Final

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import nearest
from tiersim.models.llm.times.contract import FEATURES, Limits

__all__ = ["FITTED", "limits"]

FITTED: Final = Param("where it was fitted: [least, most] of features such as `new` and `decodes`; runs tell of others")


def limits(fitted: dict[str, list[int]] | None) -> Limits:
    """Bounds as a study says them. Raises StudyError for what is no feature, and what are no two numbers."""
    for name, held in (fitted or {}).items():
        if name not in FEATURES:
            hint = nearest(name, FEATURES) or f"there are: {', '.join(FEATURES)}"
            raise StudyError(f"no feature of an iteration is called {name!r}; {hint}")
        if len(held) != 2 or held[0] > held[1]:
            raise StudyError(f"the bounds of {name} are two numbers, [least, most], and not {held}")
    return {name: (held[0], held[1]) for name, held in (fitted or {}).items()}
