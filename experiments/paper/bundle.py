"""A study as one file that runs again elsewhere, with what came out of it here.

    bundle.zip
        README.md           what it is and the two commands
        study/study.yaml    the study whole, without `extends`
        study/...           policies, presets and traces that are files of the user's own
        expected.json       each run with the checksum of all that came out, and its metrics
        environment.json    versions of tiersim, Python and packages
        references.bib, sources.md

Its bytes are the same whenever it is made of the same results in the same environment.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import platform
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from tiersim._base.errors import StudyError
from tiersim._base.registry import load
from tiersim.experiments.code import code_hash
from tiersim.experiments.paper.references import bibtex, merged
from tiersim.experiments.paper.sources import Sources, sources
from tiersim.experiments.paper.written import to_yaml
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.store import content, write_bytes
from tiersim.experiments.yaml_tree import Node
from tiersim.traces.fetch import public

__all__ = ["EXPECTED", "FORMAT", "MOST_BYTES", "STUDY", "Bundle", "checksum", "code_of", "every_run", "write_bundle"]

FORMAT = 1
STUDY, EXPECTED = "study/study.yaml", "expected.json"
MOST_BYTES = 64 << 20  # a larger file stays where it is
CODE = re.compile(r"(.+\.py):(\w+)")
PACKAGES = ("numpy", "numba", "pyarrow", "pydantic", "ruamel.yaml", "click", "rich", "simpy", "SALib", "scipy")


@dataclass
class Bundle:
    """What was put into a bundle: `files` of the user's own with their sha256, and `absent` ones with what to do."""

    path: Path
    runs: int = 0
    files: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}

    def lines(self) -> list[str]:
        """What was written, as a person reads it."""
        own = f", with {', '.join(self.files)}" if self.files else ""
        lines = [
            f"bundle: {self.path} ({self.runs} runs{own})",
            *(f"  without {n}: {w}" for n, w in self.absent.items()),
        ]
        return [*lines, f"  elsewhere: tiersim rerun {self.path.name}"]


def write_bundle(result: StudyResult) -> Bundle:
    """Write ``bundle.zip`` into the folder of a study.

    Paths in the study are looked up from the folder that one works in, as `tiersim run` does. Raises StudyError for a
    study with runs that wait, or with a policy whose file is not there.
    """
    assert result.folder is not None, "only a study in a folder can be bundled"
    if result.tree is None:
        raise StudyError(f"{result.folder} does not hold the study as it was read", None, "run the study again")
    if not result.complete:
        raise StudyError(f"{result.study} is not complete", None, "run it to its end first")
    bundle = Bundle(result.folder / "bundle.zip")
    found = sources(result)
    collected = _Files(bundle)
    tree = collected.moved(result.tree)
    for name, facts in found.traces.items():
        if name in public() and facts["recipe"]:
            bundle.absent[name] = f"it was cut or repacked, and no address has it as it is: {facts['recipe']}"
    rows = [_expected(row) for row in every_run(result)]
    bundle.runs = len(rows)
    expected = {
        "format": FORMAT,
        "study": result.study,
        "scenario": result.scenario,
        "version": found.version,
        "code": code_of(result.scenario),
        "traces": found.traces,
        "files": bundle.files,
        "absent": bundle.absent,
        "runs": rows,
    }
    files = collected.contents | {
        STUDY: to_yaml(tree, result.question).encode(),
        EXPECTED: _json(expected),
        "environment.json": _json(_environment(found.version)),
        "references.bib": bibtex(merged(found.references)).encode(),
        "sources.md": found.markdown().encode(),
        "README.md": _readme(result, bundle, found).encode(),
    }
    write_bytes(bundle.path, _zipped(files))
    return bundle


def every_run(result: StudyResult) -> list[Row]:
    """All runs that have an outcome: those of the study, and the samples of its sensitivity."""
    samples = result.sensitivity.rows if result.sensitivity is not None else []
    return [row for row in (*result.rows, *samples) if row.part is not None]


def code_of(scenario: str) -> str:
    """What tells this version of a scenario from another one."""
    return code_hash([load("scenario", scenario).__module__])


def checksum(part: Path) -> str:
    """The sha256 of all that came out of a run: not of its configuration, in which paths may differ."""
    return hashlib.sha256(json.dumps(content(part), sort_keys=True).encode()).hexdigest()


def _expected(row: Row) -> dict[str, Any]:
    assert row.part is not None, "it has an outcome"
    told = {"label": row.label, "factors": row.factors, "seed": row.seed, "status": row.status, "error": row.error}
    return {**told, "part": row.part.stem, "checksum": checksum(row.part), "metrics": row.metrics}


def _json(held: Any) -> bytes:
    return (json.dumps(held, indent=1, ensure_ascii=False) + "\n").encode()


def _environment(version: str) -> dict[str, Any]:
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"tiersim": version, "python": platform.python_version(), "packages": packages}


def _zipped(files: dict[str, bytes]) -> bytes:
    """The files, in order of their names and without dates."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, held in sorted(files.items()):
            info = zipfile.ZipInfo(name)  # of 1980
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(info, held)
    return sink.getvalue()


class _Files:
    """The user's own files of a study. One inside the folder that one works in keeps its path, others are moved."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.contents: dict[str, bytes] = {}

    def moved(self, node: Node) -> Node:
        """The tree with the paths that files have in the bundle."""
        inside = node.value
        if isinstance(inside, dict):
            return replace(node, value={key: self.moved(held) for key, held in inside.items()})
        if isinstance(inside, list):
            return replace(node, value=[self.moved(held) for held in inside])
        text = self._moved(inside) if isinstance(inside, str) else inside
        return node if text == inside else replace(node, value=text, text=text)

    def _moved(self, text: str) -> str:
        if match := CODE.fullmatch(text):
            path = Path(match[1])
            if not path.is_file():
                raise StudyError(
                    f"the study uses {text}, and there is no file {match[1]!r} here",
                    None,
                    "work in the folder that the study was run in: paths in a study begin there",
                )
            for helper in _helpers(path, set()):
                self._take(str(helper))
            return f"{self._take(match[1])}:{match[2]}"
        if "\n" in text or not re.search(r"[./]", text) or len(text) > 1000 or not Path(text).is_file():
            return text
        return self._take(text)

    def _take(self, text: str) -> str:
        path = Path(text)
        name = str(PurePosixPath(path))
        if path.is_absolute() or ".." in path.parts or name == "study.yaml":
            name = f"files/{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}-{path.name}"
        if f"study/{name}" in self.contents or name in self.bundle.absent:
            return name
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
        if data is None:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
            self.bundle.absent[name] = f"{size:,} bytes are too many; put it to study/{name} (sha256 {digest})"
        else:
            self.contents[f"study/{name}"] = data
            self.bundle.files[name] = hashlib.sha256(data).hexdigest()
        return name


def _helpers(path: Path, seen: set[Path]) -> Iterator[Path]:
    """The modules beside a file, or in the folder that one works in, that it imports."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            for folder in (path.parent, Path()):
                helper = folder / f"{name.replace('.', '/')}.py"
                if helper.is_file() and helper not in seen:
                    seen.add(helper)
                    yield helper
                    yield from _helpers(helper, seen)


def _readme(result: StudyResult, bundle: Bundle, found: Sources) -> str:
    lines = [
        f"# {result.study}",
        "",
        *([result.question, ""] if result.question else []),
        f"A study of tiersim {found.version}: {bundle.runs} runs, to be run again and compared.",
        "",
        "    pip install tiersim",
        f"    tiersim rerun {bundle.path.name}",
        "",
        "The second makes each run again and compares the checksum of all that comes out with that in `expected.json`.",
        "Without it: unpack this file, and call `tiersim run study.yaml` in the folder `study`.",
        "`environment.json` tells the versions that it was made with, `sources.md` where each number is from.",
        "",
        "## Traces",
        "",
    ]
    for name, facts in found.traces.items():
        what = "here" if name in bundle.files else "bundled with tiersim" if name.startswith("captured/") else ""
        if name in public():
            what = f"`tiersim traces fetch {name}`, from {facts['url']}, sha256 {facts['sha256 of the file']}"
        lines.append(f"- `{name}`: {what or facts['what']}")
    if bundle.absent:
        lines += ["", "## To be put here", "", *(f"- `{name}`: {why}" for name, why in bundle.absent.items())]
    if code := [name for name in bundle.files if name.endswith(".py")]:
        lines += ["", "## Code of the authors, which is run", "", *(f"- `study/{name}`" for name in code)]
    return "\n".join(lines) + "\n"
