"""What the benchmarks of whole studies share: running those of the library, and tables as texts that pages quote."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

import tiersim
from tiersim.experiments.claims.show import show_verdicts
from tiersim.experiments.figures import draw, encode
from tiersim.experiments.results import StudyResult

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "experiments" / "library"
OUTPUTS = ROOT / "docs" / "outputs"
WIDTH = 100


def make(
    prefix: str,
    about: str,
    studies: Sequence[str],
    texts: Callable[[str, StudyResult], Mapping[str, str]],
    figures: Mapping[str, Sequence[str]],
) -> None:
    """Run what the command line asks for, and write the texts and the figures of each study.

    `texts` gives the texts of a study by the names of their files. `figures` names the figures of a study, in order,
    and leaves a name empty where no page shows it; files of figures have the prefix.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, help="instead of those of the studies; without a verdict where it is 1")
    parser.add_argument("--only", nargs="*", choices=studies, default=studies)
    asked = parser.parse_args()
    for study in asked.only:
        sets = [] if asked.seeds is None else [f"repeat={{seeds: {asked.seeds}}}"]
        result = tiersim.run(LIBRARY / f"{study}.yaml", sets, out=asked.out / study, workers=asked.workers, quiet=False)
        for name, text in texts(study, result).items():
            (OUTPUTS / f"{name}.txt").write_text(text, encoding="utf-8")
        for name, spec in zip(figures.get(study, ()), result.figures):
            if name:
                (OUTPUTS / f"{prefix}-{name}.svg").write_bytes(encode(draw(result, spec), "svg"))


def verdicts(result: StudyResult) -> str:
    """What `tiersim verify` prints."""
    sink = io.StringIO()
    show_verdicts(result.verdicts(), Console(file=sink, width=WIDTH))
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()).strip("\n") + "\n"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells under a head, the first column to the left and all others to the right."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    made = [
        "  ".join(
            f"{cell:<{width}}" if not place else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in [made[0], "-" * len(made[0]), *made[1:]]) + "\n"
