"""YAML whose every key and value knows its place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest

__all__ = ["Node", "from_data", "load", "load_text", "merge", "plain", "scalar"]


INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: dict[str, Any] = {"true": True, "True": True, "false": False, "False": False}
WORDS |= {"null": None, "Null": None, "~": None, "": None}


@dataclass(frozen=True)
class Node:
    """A value with its place: a scalar, a dict of nodes by key, or a list of nodes.

    `key_place` is where the key stands that leads here; `text` is a scalar as it was written.
    """

    value: Any
    place: Place
    key_place: Place | None = None
    text: str = ""

    def items(self) -> Iterator[tuple[str, Node]]:
        yield from (self.value.items() if isinstance(self.value, dict) else ())


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(held) for key, held in node.value.items()}
    if isinstance(node.value, list):
        return [plain(held) for held in node.value]
    return node.value


def merge(under: Node, over: Node) -> Node:
    """Two trees as one: mappings key by key, anything else replaced by what `over` says."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    out = dict(under.value)
    for key, held in over.value.items():
        out[key] = merge(out[key], held) if key in out else held
    return Node(out, over.place, over.key_place)


def from_data(data: Any, name: str) -> Node:
    """A tree from plain data of a Python program; places read ``study['system']['caches']``."""
    place = Place(name)
    if isinstance(data, dict):
        out = {}
        for key, held in data.items():
            if not isinstance(key, str):
                raise StudyError(f"the key {key!r} is no text", place)
            out[key] = from_data(held, f"{name}[{key!r}]")
        return Node(out, place, place)
    if isinstance(data, list | tuple):
        return Node([from_data(held, f"{name}[{index}]") for index, held in enumerate(data)], place, place)
    return Node(data, place, place, "" if data is None else str(data))


def load(path: Path) -> Node:
    """The tree of a file. Raises StudyError for a file that is missing, empty, not UTF-8 or no YAML mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [str(other) for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = nearest(str(path), beside)
        raise StudyError(f"there is no file {str(path)!r}", None, hint or "`tiersim new SCENARIO` writes one") from None
    except IsADirectoryError:
        raise StudyError(f"{str(path)!r} is a folder; name a study file") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"byte {error.start} is no UTF-8: this is not a text file", Place(str(path))) from None
    except OSError as error:
        raise StudyError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    return load_text(text, str(path))


def load_text(text: str, file: str) -> Node:
    """The tree of YAML text; the top level must be a mapping."""
    node = _Reader(text, file).tree()
    if node is None:
        raise StudyError("the file is empty", Place(file), "`tiersim new SCENARIO` writes a study to start from")
    if not isinstance(node.value, dict):
        raise StudyError("a study is a mapping of keys to values", node.place)
    return node


def scalar(text: str) -> Any:
    """The value of a plain scalar in YAML 1.2's core schema."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    return text


class _Reader:
    """Turns ruamel's composed nodes, which carry marks, into ours."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines = text.splitlines()

    def tree(self) -> Node | None:
        try:
            composed = YAML(typ="rt").compose(self.text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise StudyError(
                f"this is no YAML: {error.problem or error.context}",
                self._spot(mark.line, mark.column, 1) if mark else None,
            ) from None
        except YAMLError as error:
            raise StudyError(f"this is no YAML: {str(error).splitlines()[0]}", Place(self.file)) from None
        return None if composed is None else self._convert(composed, None)

    def _spot(self, line: int, column: int, width: int) -> Place:
        if line >= len(self.lines):  # a mark behind the end
            line = max(0, len(self.lines) - 1)
        text = self.lines[line] if self.lines else ""
        return Place(self.file, line + 1, column + 1, text, max(1, min(width, len(text) - column)))

    def _place(self, node: Any) -> Place:
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if end.line == start.line else len(self.lines[start.line]) - start.column
        return self._spot(start.line, start.column, width)

    def _convert(self, node: Any, key_place: Place | None) -> Node:
        place = self._place(node)
        if isinstance(node, ScalarNode):
            quoted = node.style in ("'", '"', "|", ">")
            return Node(node.value if quoted else scalar(node.value), place, key_place, node.value)
        if isinstance(node, SequenceNode):
            return Node([self._convert(held, self._place(held)) for held in node.value], place, key_place)
        assert isinstance(node, MappingNode)
        out: dict[str, Node] = {}
        inherited: dict[str, Node] = {}
        for key, held in node.value:
            at = self._place(key)
            if not isinstance(key, ScalarNode):
                raise StudyError("a key must be plain text", at)
            if key.value == "<<":
                merged = self._convert(held, at)
                for source in merged.value if isinstance(merged.value, list) else [merged]:
                    if not isinstance(source.value, dict):
                        raise StudyError("`<<` takes in a mapping", at)
                    inherited |= {name: found for name, found in source.value.items() if name not in inherited}
                continue
            if key.value in out:
                first = out[key.value].key_place
                raise StudyError(
                    f"the key {key.value!r} stands here twice",
                    at,
                    f"it was given first in line {first.line if first else 0}",
                )
            out[key.value] = self._convert(held, at)
        return Node(inherited | out, place, key_place)
