"""Prompts for a language model, as text or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from tiersim._base.errors import CaptureError, Place

__all__ = ["Prompt", "read_prompts"]

Prompt: TypeAlias = str | Sequence[int] | Sequence[Mapping[str, Any]]
"""A text, the numbers of its tokens, or the messages of a chat."""

KEYS: Final = ("prompt", "messages")
MOST: Final = 1 << 32  # of token numbers
REMEDY: Final = 'such as {"prompt": "a text, or a list of token numbers"} or {"messages": [{"role": ..., ...}]}'


def read_prompts(lines: Iterable[str], source: str) -> list[Prompt]:
    """The prompts of a file, one a line; blank lines are none.

    If the first one is a JSON object with ``prompt`` (a text or token numbers) or ``messages`` (a chat), all must be;
    else a line is a prompt as it stands. Raises CaptureError with ``source`` and line, and where there is no prompt.
    """
    made: list[Prompt] = []
    as_json = False
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        held = _asked(text) if as_json or not made else None
        as_json |= held is not None
        if as_json and held is None:
            raise CaptureError("this line has no prompt, and those before it are JSON", Place(source, number), REMEDY)
        made.append(text if held is None else held)
    if not made:
        raise CaptureError(f"{source} holds no prompt", None, "write one a line")
    return made


def _asked(line: str) -> Prompt | None:
    """What a line of JSON asks; None where it is no such line."""
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(held, dict):
        return None
    prompt, messages = (held.get(key) for key in KEYS)
    if isinstance(prompt, str) and prompt:
        return prompt
    if isinstance(prompt, list) and prompt and all(type(token) is int and 0 <= token < MOST for token in prompt):
        return prompt
    if isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages):
        return messages
    return None
