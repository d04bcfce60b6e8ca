"""Benchmarks as modules: they are scripts, which import each other from their own folder."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import tiersim

FOLDER = Path(tiersim.__file__).parents[1] / "benchmarks"


def load_benchmark(name: str) -> Any:
    """The module of one of these scripts."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # at the end: their names hide nobody's
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
