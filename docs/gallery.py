"""Runs the studies of the library and writes docs/gallery/: a page for each, with its figures, and one with all.

    python docs/gallery.py [STUDY ...]           what is not in results/ is run first, at full size: hours for all
    python docs/gallery.py --stored [STUDY ...]  only what is there is shown

A study that is not there, because its traces are not or because nobody has run it, keeps the results on its page; one
without any shows what else of these pages was made from it.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outputs import quoted as quote
from reference import code, table
from rich.console import Console

import tiersim
from tiersim._base.errors import AbsentError, TiersimError
from tiersim.experiments.claims.published import published
from tiersim.experiments.claims.show import counted
from tiersim.experiments.opened import open_result
from tiersim.experiments.results import StudyResult
from tiersim.experiments.runner import estimate
from tiersim.experiments.studies import LIBRARY
from tiersim.experiments.study import read_study
from tiersim.experiments.table import show_result
from tiersim.experiments.yaml_tree import plain

DOCS = Path(__file__).parent
FOLDER = DOCS / "gallery"
RESULTS = DOCS.parent / "results"
MADE = "<!-- made by docs/gallery.py -->"
NOT_RUN = "It was not run for this page."
TOLD = {  # studies -> the page that tells of them
    "dualmap": "explanation/dualmap.md",
    "victima": "explanation/victima.md",
    "moe-consistency": "explanation/expert-routing.md",
    "moe-offload": "how-to/offload-experts.md",
    "kv-tiers": "how-to/tiers.md",
    "disaggregation": "how-to/tiers.md",
    "translation": "translation-tutorial.md",
    "shared-memory": "how-to/contention.md",
    "object-policies": "how-to/replay-objects.md",
    "bigger-l2": "tutorial.md",
}
ELSEWHERE = """Tables and figures below were made of it for the page above, by the command at the top of each or by
`benchmarks/dualmap.py` and `benchmarks/victima.py` at full size."""
WIDTH = 200  # characters of a table: a page scrolls
MOST = 60  # rows of a table that a page shows


def main(arguments: Sequence[str]) -> None:
    """Run what is asked for and not there yet, and write the pages."""
    parser = argparse.ArgumentParser(description="Run the studies of the library and write the pages of the gallery.")
    parser.add_argument("study", nargs="*", metavar="STUDY", help="of the library; all unless said")
    parser.add_argument("--stored", action="store_true", help="run nothing: show what is in results/")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.study if name not in studies()]:
        parser.error(f"the library has no study {unknown[0]!r}; `tiersim list studies` shows them all")
    FOLDER.mkdir(exist_ok=True)
    for study in asked.study or studies():
        why = "" if asked.stored else _run(study)
        if why:
            print(f"{study}: {why}", file=sys.stderr)
        write(study)
    (FOLDER / "index.md").write_text(overview(), encoding="utf-8")


def studies() -> list[str]:
    """The names of the library's files."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def _run(study: str) -> str:
    """Run a study as far as it is not there; why that is not possible."""
    file, folder = LIBRARY / f"{study}.yaml", RESULTS / study
    try:
        told = estimate(file, out=folder)
        if told.stored < told.runs or not (folder / "study.json").exists():
            tiersim.run(file, out=folder, quiet=False)
    except AbsentError as error:
        return f"{error.message}; {error.remedy}"
    except TiersimError as error:
        return str(error)
    return ""


def write(study: str) -> None:
    """The page of a study; results that stand on it stay if there are no others."""
    page = FOLDER / f"{study}.md"
    result = open_result(RESULTS / study) if (RESULTS / study / "study.json").exists() else None
    if result is not None and result.complete:
        page.write_text(measured(study, result), encoding="utf-8")
    elif not page.exists() or NOT_RUN in page.read_text(encoding="utf-8"):
        page.write_text(unmeasured(study), encoding="utf-8")


def head(study: str) -> list[str]:
    """What is known of a study without running it."""
    file = LIBRARY / f"{study}.yaml"
    tree = plain(read_study(file).tree)
    told = next((page for name, page in TOLD.items() if study.startswith(name)), None)
    more = f" [More about it](../{told})." if told else ""
    question = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    return [
        f"# {study}",
        MADE,
        question,
        f"A study of the scenario [{tree['scenario']}](../reference/{tree['scenario']}.md).{more}",
    ]


def foot(study: str) -> list[str]:
    """Its file, and how to run it."""
    text = (LIBRARY / f"{study}.yaml").read_text(encoding="utf-8").strip()
    return [
        "## The study",
        f"```yaml\n{text}\n```",
        f"```console\ntiersim run experiments/library/{study}.yaml\n```",
        *fetching(study),
    ]


def fetching(study: str) -> list[str]:
    """The commands that bring its traces, where others publish them."""
    tree = plain(read_study(LIBRARY / f"{study}.yaml").tree)
    names = sorted({word for word in _words(tree) if word.startswith("public/")})
    if not names:
        return []
    lines = "\n".join(f"tiersim traces fetch {name}" for name in names)
    return ["Its traces are public, and fetched once:", f"```console\n{lines}\n```"]


def _words(tree: Any) -> Iterable[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for held in tree.values() if isinstance(tree, dict) else tree:
            yield from _words(held)


def measured(study: str, result: StudyResult) -> str:
    """The page of a study whose results are there."""
    folder = RESULTS / study
    figures = sorted((folder / "figures").glob("*.svg"))
    for old in FOLDER.glob(f"{study}--*.svg"):
        old.unlink()
    parts = [*head(study), size(result, folder), "## What came out", f"```text\n{shown(result)}\n```"]
    for figure in figures:
        copy = FOLDER / f"{study}--{figure.stem}.svg"
        shutil.copyfile(figure, copy)
        parts.append(f"![{figure.stem.replace('-', ' ')}]({copy.name})")
    parts += claims(result)
    rows = [(code(name), _brief(held)) for name, held in result.provenance.items()]
    parts += [*foot(study), "## Where its trace is from", table(("", ""), rows)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def size(result: StudyResult, folder: Path) -> str:
    """How large the run was, when it was made, and how long it took."""
    log = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    day = datetime.fromtimestamp((folder / "log.json").stat().st_mtime, UTC).date().isoformat()
    took = f" in {log['seconds']:,.0f} s with {_many(log['workers'], 'worker')}" if log["simulations"] else ""
    done = sum(row.status == "done" for row in result.rows)
    failed = f", {_many(len(result.rows) - done, 'run')} without a result" if done < len(result.rows) else ""
    return f"Measured on {day} at full size: {_many(done, 'run')}{took}{failed}."


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _brief(held: Any) -> str:
    text = ", ".join(f"{name}: {value}" for name, value in held.items()) if isinstance(held, dict) else str(held)
    return text.strip()


def shown(result: StudyResult) -> str:
    """The table of the terminal, or its beginning."""
    out = io.StringIO()
    claims, result.claims = result.claims, None  # they have a table of their own
    show_result(result, Console(file=out, width=WIDTH))
    result.claims = claims
    lines = [line.rstrip() for line in out.getvalue().strip("\n").splitlines()]
    lines = [line for line in lines if not line.startswith(("report:", "figures:")) and line != result.question]
    if len(lines) > MOST:
        lines[MOST:] = ["...", f"{len(lines) - MOST} more lines, which `tiersim run` prints"]
    return "\n".join(lines).strip("\n")


def claims(result: StudyResult) -> list[str]:
    """Its claims with their verdicts and the reasons."""
    verdicts = result.verdicts()
    if not verdicts:
        return []
    rows = [
        (
            f"{code(one.figure.claim)} {one.figure.what}",
            one.figure.published,
            one.measured(),
            one.figure.tolerance,
            one.verdict,
        )
        for one in verdicts
    ]
    why = "\n".join(f"- {code(one.figure.claim)} {one.verdict}: {one.why}" for one in verdicts if one.why)
    return [f"## {counted(verdicts)}", table(("claim", "published", "measured", "allowed", "verdict"), rows), why]


def unmeasured(study: str) -> str:
    """The page of a study that was not run for it: what else was made from it."""
    texts, figures = elsewhere(study)
    parts = [*head(study), NOT_RUN]
    if texts or figures:
        day = max(map(_changed, (*texts, *figures)))
        kept = f" They were kept on {day}." if day else ""
        parts.append(f"{ELSEWHERE}{kept}")
    parts += [f"![{figure.stem.replace('-', ' ')}](../outputs/{figure.name})" for figure in figures]
    parts += [quote(f"<!-- quote: outputs/{text.name} -->\n<!-- end -->") for text in texts]
    tree = plain(read_study(LIBRARY / f"{study}.yaml").tree)
    claimed = [str(held["claim"]) for held in tree.get("claims") or [] if isinstance(held, dict) and "claim" in held]
    if claimed:
        known = published()
        rows = [
            (code(name), known[name].what, known[name].published, known[name].tolerance)
            for name in claimed
            if name in known
        ]
        parts += [
            "## What it claims",
            "These are not judged here.",
            table(("claim", "what", "published", "allowed"), rows),
        ]
    return "\n\n".join(part.strip() for part in [*parts, *foot(study)]) + "\n"


def elsewhere(study: str) -> tuple[list[Path], list[Path]]:
    """Texts and figures of docs/outputs/ that were made from a study: those that begin with its name."""

    def owner(path: Path) -> str:
        return max((name for name in studies() if path.stem.startswith(name)), key=len, default="")

    found = [path for path in sorted((DOCS / "outputs").iterdir()) if owner(path) == study]
    return [path for path in found if path.suffix == ".txt"], [path for path in found if path.suffix == ".svg"]


ABOUT = """The studies of the library, each with its question, figures and claims. `make gallery` runs what is not in
`results/` yet and writes these pages again; each says when it was measured."""


def _changed(file: Path) -> str:
    """The day on which a file was changed last, where git knows it."""
    asked = ["git", "log", "-1", "--format=%cs", "--", str(file)]
    return subprocess.run(asked, cwd=DOCS, capture_output=True, text=True, check=False).stdout.strip()


def overview() -> str:
    """All studies by scenario: question, one figure, and what became of their claims."""
    parts = ["# Gallery", MADE, ABOUT]
    kinds: dict[str, list[str]] = {}
    for study in studies():
        kinds.setdefault(str(plain(read_study(LIBRARY / f"{study}.yaml").tree)["scenario"]), []).append(study)
    for scenario, held in kinds.items():
        parts.append(f"## {scenario}")
        for study in held:
            text = (FOLDER / f"{study}.md").read_text(encoding="utf-8")
            lines = text.splitlines()
            facts = [line for line in lines if line.startswith(("Measured on ", NOT_RUN))]
            facts += [
                f"{line.removeprefix('## ')}."
                for line in lines
                if line.startswith("## ") and " claim" in line and ":" in line
            ]
            figure = next((line for line in lines if line.startswith("![")), "")
            parts += [f"### [{study}]({study}.md)", lines[4], " ".join(facts), *([figure] if figure else [])]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
