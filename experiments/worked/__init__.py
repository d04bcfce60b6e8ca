"""Worked examples of policies: what each does with a tiny trace, step by step, as it is when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tiersim._base.registry import build, find
from tiersim.experiments.worked.steps import Step, Worked

__all__ = ["FAMILIES", "GIVEN", "Step", "Worked", "worked"]

FAMILIES = {  # family -> module here and its function
    "way-replacement": ("ways", "ways"),
    "object-replacement": ("objects", "replacement"),
    "admission": ("objects", "admission"),
    "expert-replacement": ("experts", "replacement"),
    "experts": ("offloading", "system"),
    "translation": ("translations", "translation"),
    "walk-cost-predictor": ("predictors", "predictor"),
    "routing": ("routers", "router"),
}
GIVEN: dict[tuple[str, str], dict[str, Any]] = {  # parameters without which a trace so short would show nothing
    ("translation", "victima"): {"predictor": "always"},
    ("experts", "ktransformers"): {"placed": "popular", "immediate": 1},
}


def worked(family: str, name: str) -> Worked:
    """The worked example of a registered policy, with its defaults but for `GIVEN`.

    Raises StudyError where nothing has that name, and KeyError for a family of which there are no examples.
    """
    module, function = FAMILIES[family]
    name = find(family, name).name
    make: Callable[[Any], Worked] = getattr(import_module(f"tiersim.experiments.worked.{module}"), function)
    return make(build(family, {"use": name, **GIVEN.get((family, name), {})}))
