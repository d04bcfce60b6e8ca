"""The study file: what is asked, and the variants that it unfolds into.

Precedence is extends < file (edited by ``--set``) < what_if < sweep, or sensitivity in its place. It knows no scenario:
what the keys mean is checked when each variant is built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.sensitivity.spec import Point, Sensitivity, read_sensitivity
from tiersim.experiments.studies import study_file
from tiersim.experiments.unfold import (
    RESERVED,
    Setting,
    Variant,
    applied,
    body_of,
    drawn_by,
    read_seeds,
    tidied,
    unfold,
)
from tiersim.experiments.yaml_tree import Node, from_data, get, load, load_value, merge, put

__all__ = ["RESERVED", "Study", "Variant", "place_of", "problem", "question_of", "read_study"]


@dataclass
class Study:
    """A study as read: its name, its question and its variants, what_if by what_if, swept points in file order."""

    name: str
    scenario: str
    question: str
    file: Path | None
    tree: Node
    report: Node | None
    claims: Node | None
    variants: list[Variant]
    seeds: list[int]
    notes: list[str]
    drawn: dict[str, str | list[Any]]
    what_ifs: dict[str, list[Setting]]
    swept: frozenset[str]
    sensitivity: Sensitivity | None = None

    def at(self, point: Point) -> Node:
        """The scenario's tree at a point of the sensitivity."""
        return applied(body_of(self.tree), [*self.what_ifs[point.at], *point.settings])


def place_of(tree: Node, path: Sequence[Any]) -> Place:
    """The deepest place known for a path, which may lead to something missing."""
    found = (get(tree, path[:length]) for length in range(len(path), 0, -1))
    return next((node.place for node in found if node is not None), tree.place)


def problem(tree: Node, path: Sequence[Any], message: str) -> StudyError:
    """An error at a path of a tree: an unknown key points to the key, all else to the value or the nearest above."""
    node = get(tree, path)
    if node is not None and node.key_place is not None and message.startswith("unknown key"):
        return StudyError(message, node.key_place, _where(path))
    return StudyError(message, place_of(tree, path), _where(path))


def _where(path: Sequence[Any]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return f"`tiersim explain {path[0]}` tells what may stand in {text}" if path and isinstance(path[0], str) else ""


def read_study(source: Path | str | dict[str, Any], sets: Sequence[str] = ()) -> Study:
    """Read a study from a file, `library/NAME` or a dict; `sets` are edits such as ``system.line=128 B``.

    Raises StudyError with the place of what is wrong.
    """
    file = None if isinstance(source, dict) else Path(source)
    if isinstance(source, dict):
        tree = _extended(tidied(from_data(source, "study")), Path(), ())
    else:
        file = study_file(source)
        tree = _extended(tidied(load(file)), file.parent, (file.resolve(),))
    edits = [_edit(text) for text in sets]
    for path, node in sorted(edits, key=lambda edit: len(edit[0])):
        tree = put(tree, path, node)
    tree = tidied(tree)
    known = {key: held for key, held in tree.items() if held.value is not None or not held.text}
    name = _name(tree)
    scenario = _text(tree, "scenario", "say what it is about: `scenario: memory-hierarchy`")
    seeds = read_seeds(known.get("repeat"), known.get("seed"))
    made = unfold(tree, known.get("what_if"), known.get("sweep"), seeds)
    block, sensitivity = known.get("sensitivity"), None
    if block is not None:
        sensitivity = read_sensitivity(block, made.what_ifs, made.swept, len(seeds))
    question = "" if file is None else question_of(file)
    report, claims, drawn = known.get("report"), known.get("claims"), drawn_by(known.get("sweep"))
    return Study(
        name,
        scenario,
        question,
        file,
        tree,
        report,
        claims,
        made.variants,
        seeds,
        made.notes,
        drawn,
        made.what_ifs,
        frozenset(made.swept),
        sensitivity,
    )


def question_of(file: Path) -> str:
    """The comment that a file begins with, without what editors read in it."""
    lines = []
    for line in file.read_text(encoding="utf-8-sig").lstrip().splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        if not text.startswith("yaml-language-server:"):
            lines.append(text)
    return "\n".join(lines).strip()


def _text(tree: Node, key: str, remedy: str) -> str:
    node: Node | None = tree.value.get(key)
    if node is None or node.value is None:
        wrong = [other for other in tree.value if other not in RESERVED and nearest(other, [key, "extends"])]
        if wrong and node is None:
            meant = nearest(wrong[0], [key, "extends"])
            raise StudyError(
                f"the key `{key}` is missing; {wrong[0]!r}: {meant}", tree.value[wrong[0]].key_place, remedy
            )
        raise StudyError(f"the key `{key}` is missing", node.place if node else tree.place, remedy)
    if isinstance(node.value, dict | list):
        raise StudyError(f"`{key}` must be a name", node.place, remedy)
    return node.text


def _name(tree: Node) -> str:
    name = _text(tree, "study", "give it a name: `study: my-question`")
    if not re.fullmatch(r"\w[\w .+-]*", name):
        raise StudyError(
            f"a study's name becomes a folder, which {name!r} cannot be",
            tree.value["study"].place,
            "take letters, digits, spaces and . _ + -",
        )
    return name


def _extended(tree: Node, folder: Path, seen: tuple[Path, ...]) -> Node:
    """The tree over the one that it extends, and so on. `seen` are the files on the way."""
    said = tree.value.get("extends")
    if said is None:
        return tree
    if not isinstance(said.value, str) or not said.value:
        raise StudyError("`extends` names one study file", said.place, "such as `extends: other.yaml`")
    try:
        other = folder / study_file(said.value)  # a study of the library has a whole path
    except StudyError as error:
        raise StudyError(error.message, said.place, error.remedy) from None
    if other.resolve() in seen:
        round_trip = " -> ".join(path.name for path in (*seen, other.resolve()))
        raise StudyError(
            f"these files extend each other in a circle: {round_trip}", said.place, "leave out one `extends`"
        )
    try:
        below = load(other)
    except StudyError as error:
        raise StudyError(error.message, error.place or said.place, error.remedy) from None
    under = _extended(tidied(below), other.parent, (*seen, other.resolve()))
    rest = {key: held for key, held in tree.value.items() if key != "extends"}
    return merge(under, Node(rest, tree.place, tree.key_place))


# --set


STEP = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^."'=]+?))\s*(?=[.=]|$)""")


def _edit(text: str) -> tuple[list[str], Node]:
    """The path and the value of ``a.b=c``; places point into the argument."""
    shown = f"--set {text}"
    steps: list[str] = []
    at = len("--set ")
    more = True
    while more and (match := STEP.match(shown, at)):
        steps.append(next(part for part in match.groups() if part is not None))
        at = match.end()
        more = shown.startswith(".", at)
        at += more
    if more or not shown.startswith("=", at):
        wrong = "a key" if more else "`=`"
        raise StudyError(
            f"--set takes KEY=VALUE: {wrong} is missing here", Place("command line", 0, at + 1, shown), EXAMPLE
        )
    key_place = Place("command line", 0, 7, shown, at - 6)
    at += 1
    # blanks in front keep the columns
    node = load_value(" " * at + shown[at:], "command line", [shown], numbered=False)
    if node is None:
        place = Place("command line", 0, at + 1, shown)
        raise StudyError("--set takes KEY=VALUE: a value is missing here", place, EXAMPLE)
    if steps[0] == "extends":
        raise StudyError("`extends` cannot be set: it is followed before", key_place, "write it into a study file")
    if steps[0] in ("what_if", "sweep", "sensitivity"):  # their keys have dots in them
        whole = 2 if steps[0] == "what_if" else {"zip": 2, "factors": 2, "list": 3}.get("".join(steps[1:2]), 1)
        steps = [*steps[:whole], *([".".join(steps[whole:])] if steps[whole:] else [])]
    return steps, replace(node, key_place=key_place)


EXAMPLE = "such as --set system.memory.latency='90 ns'"
