"""Worked examples of way policies: one set of four ways, filled and emptied by the policy's own verbs."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import signature
from typing import Any

from tiersim.experiments.worked.steps import Step, Worked, asked, hits, named
from tiersim.policies.way.contract import DATA, NEVER, TLB

__all__ = ["BLOCKS", "TRACE", "WAYS", "ways"]

WAYS = 4
TRACE = "ABACDBECAFCGHGBA"
BLOCKS = "BE"  # lines that hold translations, where the policy asks what a line holds


def ways(policy: Any) -> Worked:
    """A policy of the family ``way-replacement``."""
    name = type(policy).registered.name
    lines = [ord(letter) - ord("A") for letter in TRACE]
    state = policy.state(1, WAYS, 0)[0].tolist()
    held: list[int | None] = [None] * WAYS
    told = _asks(policy, "kind")
    steps = []
    for number, line in enumerate(lines):
        given = {"s": state, "at": 0, "ways": WAYS, "allowed": -1, "pressure": 1, "next_use": _next(lines, number)}
        given["kind"] = TLB if told and named(line) in BLOCKS else DATA
        left = ""
        if line in held:
            verb, way = "hit", held.index(line)
        else:
            verb, way = "fill", held.index(None) if None in held else int(asked(policy, "victim", given))
            left = _text(held[way], told)
            held[way] = line
        asked(policy, verb, given | {"way": way})
        cells = [*(_text(item, told) for item in held), _order(policy, given, held, told)]
        if name in READ:
            cells.append(READ[name][1](policy, state))
        steps.append(Step(_text(line, told), verb if verb == "hit" else "miss", left, tuple(cells)))
    blocks = " A line with a star holds translations, and translation is under pressure." if told else ""
    setting = f"One set of {WAYS} ways; a letter is a line. `next` is who would leave, one after another.{blocks}"
    columns = (*(f"way {k}" for k in range(WAYS)), "next", *([READ[name][0]] if name in READ else []))
    return Worked("way-replacement", name, setting, "line", columns, tuple(steps), hits(steps))


def _asks(policy: Any, word: str) -> bool:
    """Whether a verb of the policy asks for something."""
    return any(word in signature(getattr(policy, verb)).parameters for verb in ("hit", "fill", "victim"))


def _next(lines: list[int], number: int) -> int:
    """The position at which the line at this one is asked for again."""
    return next((k for k in range(number + 1, len(lines)) if lines[k] == lines[number]), NEVER)


def _text(line: int | None, told: bool) -> str:
    return "" if line is None else named(line) + ("*" if told and named(line) in BLOCKS else "")


def _order(policy: Any, given: dict[str, Any], held: list[int | None], told: bool) -> str:
    """Who would leave, one after another, were way after way to be given up: the policy says it of a copy."""
    given = given | {"s": deepcopy(given["s"])}
    allowed = (1 << WAYS) - 1
    order = []
    for _ in range(WAYS if None not in held else 0):  # no policy is asked while there is an empty way
        way = int(asked(policy, "victim", given | {"allowed": allowed}))
        allowed &= ~(1 << way)
        order.append(_text(held[way], told))
    return " ".join(order)


def _bits(policy: Any, state: list[int]) -> str:
    """The predictions of SRRIP, way by way."""
    return " ".join(str(state[0] >> way * policy.bits & (1 << policy.bits) - 1) for way in range(WAYS))


def _aware(policy: Any, state: list[int]) -> str:
    """The predictions of TLB-aware SRRIP, of which each has a field with a bit for each way."""
    return " ".join(str(next(value for value in range(4) if state[0] >> 16 * value + way & 1)) for way in range(WAYS))


READ: dict[str, tuple[str, Callable[[Any, list[int]], str]]] = {  # what words of a set say to a reader
    "srrip": ("predictions of ways 0 to 3", _bits),
    "tlb-aware-srrip": ("predictions of ways 0 to 3", _aware),
    "tree-plru": ("bits of nodes 1 to 3", lambda policy, state: " ".join(map(str, state[1:WAYS]))),
}
