"""The traces that have names: those bundled with tiersim, and the generators."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tiersim._base.registry import index

__all__ = ["BUNDLED", "Bundled", "bundled", "trace_names"]

BUNDLED = Path(__file__).parent / "captured"


@dataclass(frozen=True)
class Bundled:
    """A capture that comes with tiersim: where it is, what it holds, how it was made, who may use it."""

    name: str
    file: str
    sha256: str
    records: int
    instructions: int
    about: str
    recipe: str
    licence: str

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return BUNDLED / self.file


@cache
def bundled() -> dict[str, Bundled]:
    """The bundled captures by name."""
    listed = json.loads((BUNDLED / "catalog.json").read_text(encoding="utf-8"))
    return {item["name"]: Bundled(**item) for item in listed}


def trace_names() -> list[str]:
    """Every name that `load_trace` knows without a file: ``captured/...`` and ``generated/...``."""
    return [*bundled(), *(f"generated/{name}" for name in index("generator"))]
