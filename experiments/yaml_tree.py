"""YAML whose every key and value knows its place, and trees of it laid over one another.

Reading stops at ruamel's composed nodes, which carry marks; what a scalar means is decided here (YAML 1.2's core
schema, and ``1_000``), so that ``on`` stays a word and a date stays a text.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from tiersim._base import units
from tiersim._base.errors import Place, StudyError, UnitError

__all__ = ["Node", "from_data", "get", "load", "load_text", "load_value", "merge", "plain", "put", "scalar"]

INTEGER = re.compile(r"[-+]?[0-9]+(_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
LINE_END = re.compile(r"\r\n|\r|\n")
WORDS: dict[str, Any] = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WORDS |= {"null": None, "Null": None, "NULL": None, "~": None, "": None}


@dataclass(frozen=True)
class Node:
    """A value with its place: a scalar, a dict of nodes by key, or a list of nodes.

    `key_place` is where the key stands that leads here; `text` is a scalar as it was written, empty for none. What has
    no text of its own on the line of its key, a block or nothing at all, has the key's place.
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


def get(tree: Node, path: Sequence[str | int]) -> Node | None:
    """The node at a path of keys and list positions, or None."""
    node = tree
    for step in path:
        inside = node.value
        if isinstance(inside, dict) and step in inside:
            node = inside[step]
        elif isinstance(inside, list) and (at := _position(step, inside)) is not None:
            node = inside[at]
        else:
            return None
    return node


def merge(under: Node, over: Node) -> Node:
    """Two trees as one: mappings key by key, anything else replaced by what `over` says.

    A bare name means ``{use: name}``, so that a mapping over it adds to it; a mapping that uses another name replaces.
    """
    if not isinstance(over.value, dict):
        return over
    out = _opened(under)
    if out is None or ("use" in out and "use" in over.value and plain(out["use"]) != plain(over.value["use"])):
        return over
    for key, held in over.value.items():
        out[key] = merge(out[key], held) if key in out else held
    return Node(out, over.place, over.key_place)


def put(tree: Node, path: Sequence[str], node: Node) -> Node:
    """The tree with a node merged in at a path. Raises StudyError at the node's key where the path leads nowhere."""
    return _put(tree, tuple(path), node, ())


def _put(tree: Node, path: tuple[str, ...], node: Node, above: tuple[str, ...]) -> Node:
    if not path:
        return merge(tree, node)
    step, rest, at = path[0], path[1:], node.key_place or node.place
    if isinstance(tree.value, list):
        position = _position(step, tree.value)
        if position is None:
            said = f"{'.'.join(above)} is a list of length {len(tree.value)}"
            raise StudyError(f"{said}: it has no item {step!r}", at, "items count from 0")
        items = list(tree.value)
        items[position] = _put(items[position], rest, node, (*above, step))
        return Node(items, tree.place, tree.key_place)
    inside = _opened(tree)
    if inside is None:
        said = f"{'.'.join(above)} is {tree.text or tree.value!r}"
        raise StudyError(f"{said}, which has no key {step!r} in it", at, f"that value stands at {tree.place}")
    if step in inside:
        inside[step] = _put(inside[step], rest, node, (*above, step))
    else:
        for key in reversed(rest):
            node = Node({key: node}, at, at)
        inside[step] = node
    return Node(inside, tree.place, tree.key_place)


def _position(step: str | int, items: list[Node]) -> int | None:
    """A step as a position in a list; negative ones do not count from the end."""
    at = int(step) if re.fullmatch(r"[0-9]{1,9}", str(step)) else len(items)
    return at if at < len(items) else None


def _opened(node: Node) -> dict[str, Node] | None:
    """A mapping's keys, ``{use: name}`` for a bare name, no keys for nothing; None for other values."""
    if isinstance(node.value, dict):
        return dict(node.value)
    if node.value is None:
        return {}
    if isinstance(node.value, str) and _is_name(node.value):
        return {"use": Node(node.value, node.place, node.key_place, node.text)}
    return None


def _is_name(text: str) -> bool:
    """Whether a text can be a name: not ``5 ns``, though ``2q`` is one."""
    try:
        units.parse(text, *units.DIMENSIONS)
    except UnitError:
        return bool(text.strip()) and not re.match(r"[-+.]?[0-9].*\s", text)
    return False


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
    if isinstance(data, os.PathLike):
        data = os.fspath(data)
    elif type(data).__module__ == "numpy" and hasattr(data, "item"):
        data = data.item()
    return Node(data, place, place, "null" if data is None else str(data))


def load(path: Path) -> Node:
    """The tree of a file. Raises StudyError for a file that is missing, empty, not UTF-8 or no YAML mapping."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        beside = {other.name: other for other in path.parent.glob("*.y*ml")} if path.parent.is_dir() else {}
        near = difflib.get_close_matches(path.name, beside, n=1)
        hint = (
            f"did you mean {str(beside[near[0]])!r}?" if near else "`tiersim new SCENARIO` writes a study to start from"
        )
        raise StudyError(f"there is no file {str(path)!r}", None, hint) from None
    except IsADirectoryError:
        raise StudyError(f"{str(path)!r} is a folder", None, "name a study file in it") from None
    except OSError as error:
        raise StudyError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")  # utf-8-sig counts bytes of errors from behind the mark
    except UnicodeDecodeError as error:
        raise StudyError("this is not UTF-8 text", _byte_place(data, error.start, str(path))) from None
    return load_text(text, str(path))


def _byte_place(data: bytes, at: int, file: str) -> Place:
    *before, last = LINE_END.split(data[:at].decode("utf-8-sig"))
    line = last + LINE_END.split(data[at:].decode("utf-8", "replace"), maxsplit=1)[0]
    return Place(file, len(before) + 1, len(last) + 1, _printable(line))


def load_text(text: str, file: str) -> Node:
    """The tree of YAML text; the top level must be a mapping. Raises StudyError with the place of what is wrong."""
    node = load_value(text, file, LINE_END.split(text))
    if node is None or (node.value is None and not node.text):
        raise StudyError(
            "there is no study in this file", Place(file, 1, 1), "`tiersim new SCENARIO` writes a study to start from"
        )
    if not isinstance(node.value, dict):
        raise StudyError("a study is a mapping of keys to values", node.place, "begin with `study: my-question`")
    return node


def load_value(text: str, file: str, lines: Sequence[str], *, numbered: bool = True) -> Node | None:
    """The tree of YAML text of any kind, None for no text; `lines` are shown in messages, with numbers or without."""
    return _Reader(file, lines, numbered).tree(text)


def scalar(text: str) -> Any:
    """The value of a plain scalar in YAML 1.2's core schema, ``1_000`` too; no NaN and nothing infinite."""
    if text in WORDS:
        return WORDS[text]
    try:
        if INTEGER.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
    except ValueError:  # thousands of digits
        pass
    return text


class _Reader:
    """Turns ruamel's composed nodes into ours."""

    def __init__(self, file: str, lines: Sequence[str], numbered: bool) -> None:
        self.file, self.lines, self.numbered = file, lines, numbered
        self.done: dict[int, Node] = {}
        self.open: set[int] = set()

    def tree(self, text: str) -> Node | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an anchor's name may be used again
                composed = YAML(typ="safe", pure=True).compose(text)
            return None if composed is None else self._convert(composed, None)
        except MarkedYAMLError as error:
            message, mark = self._in_words(error)
            raise StudyError(message, self._spot(mark.line, mark.column, 1)) from None
        except ReaderError as error:
            *before, last = LINE_END.split(text[: error.position])
            place = self._spot(len(before), len(last), 1)
            raise StudyError(f"the character {chr(error.character)!r} cannot stand in YAML", place) from None
        except YAMLError as error:
            raise StudyError(f"this is no YAML: {str(error).splitlines()[0]}", self._spot(0, 0, 1)) from None
        except RecursionError:
            raise StudyError("this is nested too deeply", self._spot(0, 0, 1)) from None

    def _in_words(self, error: MarkedYAMLError) -> tuple[str, Any]:
        """What a person would say of a syntax error, and where."""
        problem = error.problem or error.context or "it cannot be read"
        here, began = error.problem_mark or error.context_mark, error.context_mark or error.problem_mark
        line = self.lines[here.line] if here.line < len(self.lines) else ""
        ends = "stream" in problem
        if "\t" in line[: len(line) - len(line.lstrip())]:
            here.column = line.index("\t")
            return "a tab stands before this line; YAML is indented with spaces", here
        if found := re.search(r"found character '(.+)' that cannot start", problem):
            tab = found[1] == r"\t"
            return "a tab stands here" if tab else f"a text that begins with {found[1]} needs quotes", here
        if "undefined alias" in problem:
            return f"no anchor is called {problem.split()[-1]}", here
        if ends and "quoted scalar" in (error.context or ""):
            return "this quote is never closed", began
        if ends and re.search("flow (sequence|mapping)", error.context or ""):
            return "this bracket is never closed", began
        if ends and "flow" in (error.context or ""):
            return "the text ends inside a bracket", here
        for said, words, mark in (
            ("mapping values are not allowed", "a colon cannot stand here: quote the text, or indent keys alike", here),
            ("could not find expected ':'", "a key without a colon", began),
            ("found another document", "a second document begins here; one file holds one study", here),
            ("expected ',' or", "a comma or a closing bracket is missing before this", here),
            ("sequence entries are not allowed", "an item of a list begins a line of its own", here),
            ("expected <block end>", "this fits none of the lines above it: look at indentation and quotes", here),
            ("expected the node content", "a value is missing here", here),
            ("expected alphabetic", "a text that begins with & or * needs quotes", began),
            ("expected chomping", "a text that begins with | or > needs quotes", began),
            ("expected a comment or a line break", "a text that begins with | or > needs quotes", began),
        ):
            if said in problem:
                return words, mark
        return f"this is no YAML: {problem}", here

    def _spot(self, line: int, column: int, width: int) -> Place:
        if line >= len(self.lines):  # a mark behind the end
            line = max(0, len(self.lines) - 1)
            column = len(self.lines[line]) if self.lines else 0
        text = _printable(self.lines[line]) if self.lines else ""
        column = min(column, len(text))  # the parser breaks lines at some characters that Python does not
        width = max(1, min(width, len(text) - column))
        return Place(self.file, line + 1 if self.numbered else 0, column + 1, text, width)

    def _place(self, node: Any) -> Place:
        start, end = node.start_mark, node.end_mark
        if isinstance(node, MappingNode) and not node.flow_style and node.value:
            return self._place(node.value[0][0])
        if isinstance(node, SequenceNode) and not node.flow_style:
            return self._spot(start.line, start.column, 1)
        return self._spot(start.line, start.column, end.column - start.column if end.line == start.line else 10**6)

    def _convert(self, node: Any, key_place: Place | None) -> Node:
        made = self.done.get(id(node))  # an alias is the node of its anchor
        if made is None:
            if id(node) in self.open:
                raise StudyError("this holds itself", key_place or self._place(node), "leave out the alias")
            self.open.add(id(node))
            made = self.done[id(node)] = self._made(node, key_place)
            self.open.remove(id(node))
        return replace(made, key_place=key_place)

    def _made(self, node: Any, key_place: Place | None) -> Node:
        place = self._place(node)
        tag = str(node.tag)
        if not tag.startswith("tag:yaml.org,2002:"):
            raise StudyError(f"the tag {tag} means nothing here", place, "leave it out")
        if isinstance(node, ScalarNode):
            if node.style in ("'", '"', "|", ">") or (tag.endswith(":str") and node.value != ""):
                return Node(node.value, place, key_place, node.value)
            return Node(scalar(node.value), place if node.value else key_place or place, key_place, node.value)
        if not node.flow_style and key_place is not None:
            place = key_place
        if isinstance(node, SequenceNode):
            items = [self._convert(held, None) for held in node.value]
            # the mark of nothing lies on whatever comes next
            items = [held if held.text or held.value is not None else replace(held, place=place) for held in items]
            return Node(items, place, key_place)
        assert isinstance(node, MappingNode)
        return Node(self._keys(node), place, key_place)

    def _keys(self, node: MappingNode) -> dict[str, Node]:
        out: dict[str, Node] = {}
        inherited: dict[str, Node] = {}
        for key, held in node.value:
            at = self._place(key)
            if not isinstance(key, ScalarNode):
                raise StudyError("a key must be plain text", at, "quote it")
            name = key.value
            if name == "" and key.style is None:
                raise StudyError("a key is missing before the colon", self._place(node))
            if str(key.tag).endswith(":merge"):
                inherited = self._inherited(self._convert(held, at), at) | inherited
                continue
            if name in out:
                first = out[name].key_place
                raise StudyError(f"the key {name!r} stands here twice", at, f"it was given first at {first}")
            out[name] = self._convert(held, at)
        return inherited | out

    @staticmethod
    def _inherited(node: Node, at: Place) -> dict[str, Node]:
        """What ``<<`` brings in: of several mappings the earlier goes before the later."""
        out: dict[str, Node] = {}
        for source in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(source.value, dict):
                raise StudyError("`<<` takes in a mapping, or a list of them", at)
            out = source.value | out
        return out


def _printable(line: str) -> str:
    """A line that is printed character by character, so that a caret under it finds its column."""
    return "".join(char if char.isprintable() else " " for char in line)
