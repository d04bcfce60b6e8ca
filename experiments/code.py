"""Which code a result depends on: a hash over the modules that a run uses and all that they import.

What comes with Python or from an installed package is left out: versions of numpy are not part of a result's name.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

from tiersim._base.syntax import parse

__all__ = ["code_hash", "counts"]

SHOWN = frozenset({"tiersim.experiments.progress"})  # tells how far a run is, and decides nothing


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


def _statements(within: ast.AST) -> Iterator[ast.stmt]:
    """All statements, at any depth: an expression has no import, and most of a module is expressions."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(within, part, ()):
            if isinstance(node, ast.stmt):
                yield node
            yield from _statements(node)


@cache
def _imports(module: str) -> frozenset[str]:
    source = _source(module)
    found: set[str] = set()
    for node in _statements(parse(source)) if source else ():
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(name for name in found - SHOWN if counts(name) and _source(name) is not None)


INSTALLED = tuple({str(Path(get_path(kind)).resolve()) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})


@cache
def counts(module: str) -> bool:
    """Whether a module is tiersim's, or a helper beside a user's own file."""
    if module.startswith("tiersim."):
        return True
    if module.partition(".")[0] in sys.stdlib_module_names:
        return False
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a name inside a module, or a module without a spec
        return False
    if spec is None or spec.origin is None:
        return False
    return not str(Path(spec.origin).resolve()).startswith(INSTALLED)


def code_hash(modules: Iterable[str]) -> str:
    """A short sha256 over the sources of these modules and of all that they import and that counts, in any order."""
    return _hash(frozenset(modules))


@cache  # the runs of a study use the same few
def _hash(modules: frozenset[str]) -> str:
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
