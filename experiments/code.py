"""Which code a result depends on: a hash over the modules that a run uses and all that they import of tiersim."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["code_hash"]


@cache
def _source(module: str) -> bytes | None:
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        try:
            spec = find_spec(module)
        except ModuleNotFoundError:
            return None
        file = spec.origin if spec else None
    return Path(file).read_bytes() if file else None


@cache
def _imports(module: str) -> frozenset[str]:
    source = _source(module)
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)) if source else ():
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(name for name in found if name.startswith("tiersim.") and _source(name) is not None)


def code_hash(modules: Iterable[str]) -> str:
    """A short sha256 over the sources of these modules and of every tiersim module they import, in any order."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and _source(module) is not None:
            seen.add(module)
            waiting += _imports(module)
    digest = hashlib.sha256()
    # a plug-in from a file has a name that means nothing elsewhere: its source alone counts
    for source in sorted(_source(module) or b"" for module in seen):
        digest.update(hashlib.sha256(source).digest())
    return digest.hexdigest()[:16]
