"""A worked example: a tiny trace under one policy, step by step, as the engine or the policy itself has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from inspect import getattr_static, signature
from typing import Any

__all__ = ["Step", "Worked", "asked", "hits", "named"]


@dataclass(frozen=True)
class Step:
    """What was asked for, what became of it, what left for it, and what is held then: a text for each column."""

    asked: str
    outcome: str
    left: str
    holds: tuple[str, ...]


@dataclass(frozen=True)
class Worked:
    """The steps of one policy. `setting` says what it is given, `columns` what the texts of `holds` are.

    `totals` are what policies of the family are compared by.
    """

    family: str
    name: str
    setting: str
    of: str
    columns: tuple[str, ...]
    steps: tuple[Step, ...]
    totals: dict[str, str]

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the columns of `rows`; of those that are empty everywhere there are none."""
        return tuple(head for head, kept in zip(self._heads, self._kept, strict=True) if kept)

    @property
    def rows(self) -> list[list[str]]:
        """A row a step, its number first."""
        return [[cell for cell, kept in zip(row, self._kept, strict=True) if kept] for row in self._rows]

    @property
    def _heads(self) -> tuple[str, ...]:
        return ("step", self.of, "outcome", "leaves", *self.columns)

    @property
    def _rows(self) -> list[list[str]]:
        return [
            [str(number), step.asked, step.outcome, step.left, *step.holds]
            for number, step in enumerate(self.steps, start=1)
        ]

    @property
    def _kept(self) -> list[bool]:
        return [any(row[place] for row in self._rows) for place in range(len(self._heads))]

    def public(self) -> dict[str, Any]:
        """The form of `tiersim explain --json`."""
        rows = [dict(zip(self.heads, row, strict=True)) for row in self.rows]
        return {"setting": self.setting, "steps": rows, "totals": self.totals}


def hits(steps: Sequence[Step]) -> dict[str, str]:
    """How many steps hit, of all."""
    return {"hits": f"{sum(step.outcome == 'hit' for step in steps)} of {len(steps)}"}


def named(number: int) -> str:
    """A letter for a number: A is 0."""
    return chr(ord("A") + number)


def asked(policy: Any, verb: str, given: dict[str, Any], otherwise: Any = None) -> Any:
    """What a verb of a policy answers, called with what it asks for by name; `otherwise` where it has none."""
    held: Callable[..., Any] | None = getattr(policy, verb, None)
    if held is None:
        return otherwise
    known = {field.name: getattr(policy, field.name) for field in fields(policy)} | given
    static = isinstance(getattr_static(policy, verb), staticmethod)
    names: Sequence[str] = list(signature(held).parameters)
    assert static, "verbs are static"
    return held(*(known[name] for name in names))
