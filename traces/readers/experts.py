"""What the readers of routed experts share: whether layers, tokens and lists of experts can be such."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

__all__ = ["MOST", "chosen", "named", "place", "weighted"]

MOST: Final = 1 << 16  # the numbers of layers and experts are below
HEAVIEST: Final = 3.4e38  # that a float32 holds


def named(held: Any) -> bool:
    """Whether this can be the number of a layer or an expert."""
    return type(held) is int and 0 <= held < MOST


def place(held: Any) -> bool:
    """Whether this can be a token's place."""
    return type(held) is int and 0 <= held < 1 << 32


def chosen(held: Any, least: int = 1) -> TypeGuard[list[int]]:
    """Whether this is a list of so many experts or more, each once."""
    return isinstance(held, list) and len(held) >= least and all(map(named, held)) and len(set(held)) == len(held)


def weighted(held: Any, count: int) -> bool:
    """Whether this is a list of so many weights."""
    return (
        isinstance(held, list)
        and len(held) == count
        and all(type(each) in (int, float) and 0 <= each <= HEAVIEST for each in held)  # and no NaN
    )
