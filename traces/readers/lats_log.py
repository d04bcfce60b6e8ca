"""Logs of the depth-first search in LATS."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.keys import key_of
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Line, Row, gathered
from tiersim.traces.readers.text import blocks, first_lines
from tiersim.traces.readers.trees import CHARACTERS, estimated
from tiersim.traces.schema import TREE, Chunk

LONGEST: Final = 8 << 20  # bytes of a message, or up to twice as many
BEGIN: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [A-Z]+ - ")
VISIT: Final = re.compile(r"DFS at node depth (\d{1,9})\.\.\.\s*")
PROMPT: Final = "PROMPT: "
NEW: Final = "NEW NODE: "
NODE: Final = re.compile(
    r"NEW NODE: Node\(depth=(\d{1,9}), value=[^,]*, visits=\d+, thought=(.*?), action=(.*?), observation=(.*)\)\s*",
    re.DOTALL,
)
EXPECTED: Final = (
    "expected the log of LATS' depth-first search: date, time, level and message, and among the messages 'DFS at node "
    "depth N...', 'PROMPT: ' that ends with 'Thought N+1:', and 'NEW NODE: Node(depth=N+1, ...)'; cut it before this"
)


@register("lats-log", family="reader", paper="https://doi.org/10.48550/arXiv.2310.04406")
class LatsLog:
    """LATS' log of a depth-first search, as Python's logging writes it: ``date time,ms - LEVEL - message``.

    A node is a ``NEW NODE``, and its text the lines of thought, action and observation that the prompts have of it. The
    root of a tree, number 0, is the first prompt of a search, without the words that ask for the next thought. The log
    does not name parents: a visit (``DFS at node``) goes on from the first child of the node before, or from the last
    one left over, and the nodes after it are its children. Depth and prompt of each visit must agree with that.
    ``step`` is the number of the visit that made a node, 0 for the root; ``time`` is when it was logged. A visit that
    made no node leaves no trace; which nodes would have been visited later and what they are worth is not known.
    Trees are numbered from 0. Tokens are an estimate: characters over ``characters_per_token``, rounded up.
    """

    schema: ClassVar[str] = TREE.name

    characters_per_token: Annotated[float, CHARACTERS] = 4.0

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether a log begins here that has a visit."""
        return BEGIN.match(first_lines(head)[0]) is not None and b" - DFS at node depth " in head

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every node. Raises TraceError with line, byte offset and text."""
        yield from gathered(self._rows(stream, source), TREE)
        return 0

    def _rows(self, stream: ByteStream, source: str) -> Iterator[Row]:
        search = _Search()
        for message in _messages(stream, source):
            row = search.take(message)
            if row is not None:
                yield row | {"tokens": estimated(row["text"], self.characters_per_token)}


@dataclass(frozen=True)
class Message:
    """What was logged at a time; ``line`` is where it begins."""

    text: str
    time: datetime
    line: Line


@dataclass(frozen=True)
class Node:
    """A node that can be visited; ``key`` stands for its text and all before it."""

    number: int
    depth: int
    key: int


class _Search:
    """A search as far as its messages tell of it."""

    def __init__(self) -> None:
        self._tree = -1
        self._step = 0  # visits of the tree
        self._made = 0  # nodes of the tree
        self._first: datetime | None = None  # time of the first node of all
        self._node = Node(0, 0, 0)  # that is visited
        self._prompt: str | None = None  # of the visit, without its cue
        self._children: list[Node] = []
        self._waiting: list[Node] = []  # the one to be visited next is the last

    def take(self, message: Message) -> Row | None:
        """The node that a message makes, if it does."""
        if visit := VISIT.fullmatch(message.text):
            self._visit(message, int(visit[1]))
        elif message.text.startswith(PROMPT):
            return self._ask(message)
        elif message.text.startswith(NEW):
            return self._grow(message)
        return None

    def _visit(self, message: Message, depth: int) -> None:
        self._prompt = None
        if depth == 0:
            self._tree, self._step, self._made = self._tree + 1, 0, 0
            self._node, self._waiting, self._children = Node(0, 0, 0), [], []
        else:
            self._waiting += reversed(self._children)
            self._children = []
            if not self._waiting or self._waiting[-1].depth != depth:
                raise message.line.wrong("a visit of the node that is next in depth-first order", EXPECTED)
            self._node = self._waiting.pop()
        self._step += 1

    def _ask(self, message: Message) -> Row | None:
        text = message.text.removeprefix(PROMPT).rstrip()
        cue = f"Thought {self._node.depth + 1}:"
        if self._tree < 0 or self._prompt is not None or not text.endswith(cue):
            raise message.line.wrong(f"the prompt of a visit, which ends with {cue!r}", EXPECTED)
        self._prompt = text.removesuffix(cue)
        if self._node.depth == 0:
            return self._row(message, -1, 0, self._prompt)
        if key_of(self._prompt) != self._node.key:
            raise message.line.wrong("the prompt of the node that is next in depth-first order", EXPECTED)
        return None

    def _grow(self, message: Message) -> Row:
        found = NODE.fullmatch(message.text)
        depth = self._node.depth + 1
        if self._prompt is None or found is None or int(found[1]) != depth:
            raise message.line.wrong(f"a new node of depth {depth:,} after the prompt of a visit", EXPECTED)
        parts = zip(("Thought", "Action", "Observation"), found.groups()[1:], strict=True)
        text = "\n" + "\n".join(f"{name} {depth}: {part}" for name, part in parts if part)
        self._children.append(Node(self._made, depth, key_of(self._prompt + text)))
        return self._row(message, self._node.number, self._step, text)

    def _row(self, message: Message, parent: int, step: int, text: str) -> Row:
        self._first = self._first or message.time
        time = (message.time - self._first) // timedelta(microseconds=1) * 1000
        if time < 0:
            raise message.line.wrong(
                "later than the first node", "the clock was set back: cut the file before this line"
            )
        made = {"tree": self._tree, "node": self._made, "parent": parent, "step": step, "time": time, "text": text}
        self._made += 1
        return made


def _messages(stream: ByteStream, source: str) -> Iterator[Message]:
    """Every message with all its lines."""
    first: Line | None = None
    held: list[bytes] = []  # its lines, the first without what comes before the message
    size = 0
    for line in _lines(stream, source):
        if begin := BEGIN.match(line.text):
            if first is not None:
                yield _message(first, held)
            first, held, size = line, [], 0
        elif first is None:
            raise line.wrong("the beginning of a message", EXPECTED)
        held.append(line.text[begin.end() if begin else 0 :].removesuffix(b"\r"))
        size += len(line.text) + 1
        if size > LONGEST:
            raise first.wrong(f"the beginning of a message of at most {LONGEST:,} bytes", EXPECTED)
    if first is not None:
        yield _message(first, held)


def _message(line: Line, held: list[bytes]) -> Message:
    stamp = line.text.partition(b" - ")[0]
    try:
        return Message(b"\n".join(held).decode(), datetime.fromisoformat(stamp.decode()), line)
    except ValueError:  # as the error of a text is that is no UTF-8
        raise line.wrong("a message in UTF-8 with a date and a time", EXPECTED) from None


def _lines(stream: ByteStream, source: str) -> Iterator[Line]:
    """Every line, those without a character too, since they are part of a prompt."""
    for block in blocks(stream, source, LONGEST):
        offset = block.offset
        texts = block.text.removesuffix(b"\n").split(b"\n")
        for place, text in enumerate(texts):
            yield Line(text, block.lines + place + 1, offset, block.cut and place == len(texts) - 1, source)
            offset += len(text) + 1
