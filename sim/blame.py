"""Says which policy is at fault when a loop does not compile or fails, in words that its author can use."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.sim.cache_loop import HEADER, WRONG, WRONG_WAY, Level, identifier, prefixes

__all__ = ["blame", "check_ways"]

WATCH = "a class with `compiled = False` can be stopped in a debugger"
NOTHING = "TypeError: expected int64, got None"  # what numba says of a verb that sometimes returns nothing
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def check_ways(levels: Sequence[Level], words: NDArray[np.int64]) -> None:
    """Raise PolicyError where a policy chose a way outside the set; the loop took way 0 and went on."""
    for k, level in enumerate(levels):
        header = words[k * HEADER :]
        if header[WRONG]:
            who = type(level.policy).__name__
            raise PolicyError(
                f"{who} in {level.name} chose way {header[WRONG_WAY]} of {level.ways} ways",
                None,
                f"let {who}.victim give a way from 0 to {level.ways - 1}; {WATCH}",
            )


def blame(error: Exception, levels: Sequence[Level], loop: ModuleType) -> Exception:
    """The PolicyError that says what a loop's exception means, or the exception itself where no policy caused it."""
    compiling = type(error).__module__.startswith("numba")
    text = COLOURS.sub("", str(error))
    lines = linecache.getlines(str(loop.__file__))
    number = _place(text, loop) if compiling else _last_line(error, loop)
    statement = lines[number - 1].strip() if number else ""
    function = next((line for line in reversed(lines[:number]) if line.startswith("def ")), "")
    reason = _reason(text) if compiling else f"{type(error).__name__}: {text}".rstrip(": ")
    hint = f"mend it; {WATCH}"
    who = _who(function, statement, levels)
    for level in levels:
        if not who and function.startswith(f"def insert_{identifier(level)}("):  # all that can be wrong there
            victim = f"{type(level.policy).__name__}.victim in {level.name}"
            return PolicyError(f"{victim} must give a whole number: {reason}", None, hint)
    if reason == NOTHING:
        return PolicyError(f"{_any(levels)} must give a whole number and gave None", None, hint)
    if not (who or compiling):
        return error
    if compiling:
        hint = "keep its verbs to numbers, loops and the array s, or set `compiled = False` in the class"
    for prefix in prefixes(levels).values():
        statement = statement.replace(f"{prefix}_", "")
    message = f"{who or _any(levels)} {'cannot be compiled' if compiling else 'fails'}: {reason}"
    return PolicyError(f"{message}, in `{statement}`" if statement else message, None, hint)


def _any(levels: Sequence[Level]) -> str:
    return "a policy among " + ", ".join(sorted({type(level.policy).__name__ for level in levels}))


def _who(function: str, statement: str, levels: Sequence[Level]) -> str:
    """The verb whose code this is, or that is called here, and the caches that have the policy."""
    for text in (function, statement):
        for cls, prefix in prefixes(levels).items():
            if found := re.search(rf"\b{prefix}_(\w+)", text):
                caches = ", ".join(level.name for level in levels if type(level.policy) is cls)
                return f"{cls.__name__}.{found[1]} in {caches}"
    return ""


def _place(text: str, loop: ModuleType) -> int:
    """The innermost line of the loop that a message of numba points to, or 0."""
    name = re.escape(Path(str(loop.__file__)).name)
    found = re.search(rf'{name}(?:", line | \()(\d+)', text)
    return int(found[1]) if found else 0


def _last_line(error: Exception, loop: ModuleType) -> int:
    """The innermost line of the loop that an exception went through, or 0."""
    went = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == loop.__file__]
    return (went[-1] if went else 0) or 0


def _reason(text: str) -> str:
    """The line of numba's message that says why: the first that is no frame of it."""
    lines = [line.strip() for line in text.splitlines()]
    reason = next((line for line in lines if line and not line.startswith("Failed in nopython mode")), "")
    signature = next((line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")), "")
    if reason.endswith("found for signature:"):
        return f"numba has no {signature}"
    return reason.split(" Raised from ")[0].rstrip(".")
