"""A finished study opened again from its folder, without its trace, its file or a simulation.

`study.json` holds what a result needs beside the parts of its runs: the study as it was read (after `extends` and
``--set``), its rows in order, and what the plan knew. It is under the byte contract: no times, no host, and no warnings
of the one run that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from tiersim._base.errors import Place, StudyError
from tiersim._base.params import dump
from tiersim.experiments.claims.verdicts import Claims, read_claims
from tiersim.experiments.results import Row, StudyResult, speed_up
from tiersim.experiments.scenario import Metric
from tiersim.experiments.sensitivity.result import restored
from tiersim.experiments.store import AGAIN, Parts
from tiersim.experiments.yaml_tree import Node, from_data, get, plain

__all__ = ["FILE", "open_result", "stored"]

FILE = "study.json"
FORMAT = 1
ROW = ("label", "factors", "seed", "key", "status", "error")
PLAIN = (
    *("scenario", "question", "shown", "baseline", "figures", "correction", "confidence", "blocks", "drawn"),
    *("skipped", "provenance", "notes"),
)


def stored(result: StudyResult) -> bytes:
    """The content of ``study.json``; the same for the same result."""
    out: dict[str, Any] = {"format": FORMAT, "study": result.study}
    out |= {name: getattr(result, name) for name in PLAIN}
    out["metrics"] = [asdict(metric) for metric in result.metrics.values()]
    if result.tree is not None:
        out |= {"tree": plain(result.tree), "texts": list(_texts(result.tree, []))}
    if result.claims is not None:
        held = result.claims
        out["claims"] = {
            "skipped": [_row(row) for row in held.skipped],
            "chance": sorted(held.chance),
            "metrics": sorted(held.metrics),
        }
    if result.sensitivity is not None:
        out["sensitivity"] = result.sensitivity.stored()
        out["samples"] = [_row(row) for row in result.sensitivity.rows]
    out["rows"] = [_row(row) for row in result.rows]
    return _lines(out).encode()


def _row(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ROW}


def _read(held: dict[str, Any]) -> Row:
    return Row(**{name: held[name] for name in ROW})


def _lines(document: dict[str, Any]) -> str:
    """JSON with a line for each key, and for each of many rows."""
    lines = []
    for name, held in document.items():
        if name in ("rows", "samples"):
            rows = ",\n".join(f"  {_json(row)}" for row in held)
            lines.append(f'"{name}": [\n{rows}\n]')
        else:
            lines.append(f"{_json(name)}: {_json(held)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(held: Any) -> str:
    # a study from Python may hold a policy as an object
    return json.dumps(
        held, ensure_ascii=False, default=lambda value: dump(value) if is_dataclass(value) else str(value)
    )


def _texts(node: Node, path: list[str | int]) -> Iterator[list[Any]]:
    """Where a scalar was written otherwise than its value is shown, such as 0.10: a path, and how."""
    inside = node.value
    if isinstance(inside, dict | list):
        for step, held in inside.items() if isinstance(inside, dict) else enumerate(inside):
            yield from _texts(held, [*path, step])
    elif node.text != from_data(inside, "").text:
        yield [path, node.text]


def open_result(folder: str | Path) -> StudyResult:
    """The result that `tiersim run` left in a folder, with every run as it is stored there.

    Raises StudyError where the folder holds no study, is of another version of tiersim, or misses a part.
    """
    folder = Path(folder)
    document = _document(folder / FILE)
    try:
        if document["format"] != FORMAT:
            raise _damaged(folder, f"it is of another version of tiersim (format {document['format']}, not {FORMAT})")
        rows = [_read(held) for held in document["rows"]]
        samples = [_read(held) for held in document.get("samples", ())]
        metrics = [Metric(**held) for held in document["metrics"]]
        rest = {name: document[name] for name in PLAIN}
        tree = _tree(document)
        claims = document.get("claims")
        result = StudyResult(
            study=document["study"],
            rows=rows,
            metrics={metric.name: metric for metric in metrics},
            folder=folder,
            tree=tree,
            claims=None if claims is None or tree is None else _claims(document["study"], claims, tree),
            **rest,
        )
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise _damaged(folder, f"what stands in it is no study ({type(error).__name__}: {error})") from None
    parts = Parts(folder)
    for row in [*rows, *samples]:
        if row.status != "waiting" and row.key:  # a sample that cannot be run has none
            outcome, row.config = parts.held(row.key, row.status)
            row.take(outcome)
    speed_up(rows, result.baseline)
    if "sensitivity" in document and tree is not None:
        try:
            sensitivity = restored(tree, document["sensitivity"], samples, result.baseline, result.confidence)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _damaged(folder, f"its sensitivity is none ({type(error).__name__}: {error})") from None
        result.sensitivity = sensitivity
    return result


def _document(path: Path) -> dict[str, Any]:
    folder = path.parent
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            raise StudyError(
                f"there is no folder {str(folder)!r}", None, "name a folder that `tiersim run` wrote"
            ) from None
        if (folder / "resolved.yaml").exists():
            raise StudyError(f"{folder} holds no {FILE}: an earlier version of tiersim wrote it", None, AGAIN) from None
        inside = sorted(held.parent.name for held in folder.glob(f"*/{FILE}"))
        hint = f"there are studies in it: {', '.join(inside[:6])}" if inside else ""
        raise StudyError(f"{folder} holds no study: {FILE} is missing", None, hint or AGAIN) from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise _damaged(folder, f"it is no JSON ({error.msg})", error.lineno, error.colno) from None
    except (UnicodeDecodeError, RecursionError):
        raise _damaged(folder, "it is no JSON") from None
    if not isinstance(found, dict):
        raise _damaged(folder, "it holds no study")
    return found


def _damaged(folder: Path, why: str, line: int = 0, column: int = 0) -> StudyError:
    return StudyError(f"this cannot be opened: {why}", Place(str(folder / FILE), line, column), AGAIN)


def _tree(document: dict[str, Any]) -> Node | None:
    if "tree" not in document:
        return None
    return _written(from_data(document["tree"], "study"), {tuple(path): text for path, text in document["texts"]}, ())


def _written(node: Node, texts: dict[tuple[Any, ...], str], path: tuple[Any, ...]) -> Node:
    """The tree with the texts of its scalars."""
    inside = node.value
    if isinstance(inside, dict):
        return replace(node, value={step: _written(held, texts, (*path, step)) for step, held in inside.items()})
    if isinstance(inside, list):
        return replace(node, value=[_written(held, texts, (*path, step)) for step, held in enumerate(inside)])
    return replace(node, text=texts.get(path, node.text))


def _claims(study: str, held: dict[str, Any], tree: Node) -> Claims:
    """The claims as they were checked when the study was planned, to be judged again."""
    node = get(tree, ["claims"])
    if node is None:
        raise KeyError("claims")
    skipped = [Row(**row) for row in held["skipped"]]
    return Claims(study, read_claims(node), skipped, set(held["chance"]), set(held["metrics"]))
