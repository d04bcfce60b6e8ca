"""Python source as a tree."""

from __future__ import annotations

import ast
from threading import Lock

__all__ = ["parse"]

_one_at_a_time = Lock()


def parse(text: str | bytes) -> ast.Module:
    """What `ast.parse` gives, in any number of threads.

    CPython up to 3.11 counts how deep it is for all threads together, and fails with SystemError where two parse at
    once (github.com/python/cpython issue 106905).
    """
    with _one_at_a_time:
        return ast.parse(text)
