"""A study's tree as a YAML file that is read as the same tree, value by value and text by text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tiersim.experiments.yaml_tree import Node, scalar

__all__ = ["to_yaml"]

PLAIN = re.compile(r"[A-Za-z0-9_/][\w ./+%()-]*", re.ASCII)
UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a1-\u167f\u3001-\ud7ff]")


def to_yaml(tree: Node, question: str = "") -> str:
    """The file, with the question as the comment that it begins with."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in question.splitlines())
    return comment + "\n".join(_lines(tree, "")) + "\n"


def _lines(node: Node, indent: str) -> Iterator[str]:
    """A mapping or a list, one line an item."""
    inside = node.value
    pairs = [(f"{_text(key)}:", held) for key, held in inside.items()] if isinstance(inside, dict) else []
    pairs = pairs or [("-", held) for held in inside]
    for head, held in pairs:
        if isinstance(held.value, dict | list) and held.value:
            yield f"{indent}{head}"
            yield from _lines(held, f"{indent}  ")
        else:
            yield f"{indent}{head} {_scalar(held)}".rstrip()


def _scalar(node: Node) -> str:
    if isinstance(node.value, dict | list):
        return "{}" if isinstance(node.value, dict) else "[]"
    return _text(node.value) if isinstance(node.value, str) else node.text


def _text(text: str) -> str:
    """A text as it is where it can be nothing else, and in quotes elsewhere."""
    plain = PLAIN.fullmatch(text) and not text.endswith(" ") and isinstance(scalar(text), str)
    return text if plain else UNPRINTABLE.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    return f"\\U{ord(match[0]):08x}"
