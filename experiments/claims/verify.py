"""Runs the studies that make claims, and judges them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiersim._base.errors import AbsentError, DependencyError, StudyError, TiersimError
from tiersim.experiments import runner
from tiersim.experiments.claims.verdicts import Verdict, read_claims, skipped
from tiersim.experiments.studies import LIBRARY
from tiersim.experiments.study import Study, read_study

__all__ = ["verify"]


def verify(
    files: Sequence[Path] = (), *, out: Path | None = None, workers: int = 1, quiet: bool = True
) -> list[Verdict]:
    """The verdicts on all claims of these studies, by default of the library's; see `tiersim verify`.

    Each study has its own folder in `out` (by default ``results``) and resumes there. Raises StudyError where a file is
    wrong or claims nothing, before anything runs.
    """
    verdicts: list[Verdict] = []
    for study in _claiming(files):
        assert study.file is not None
        assert study.claims is not None
        claims = read_claims(study.claims)
        try:
            result = runner.run(study.file, out=out and out / study.name, workers=workers, quiet=quiet)
        except (AbsentError, DependencyError) as error:
            verdicts += skipped(study.name, claims, _in_a_line(error))
        else:
            verdicts += result.verdicts()
    return verdicts


def _claiming(files: Sequence[Path]) -> list[Study]:
    studies = [read_study(file) for file in files or sorted(LIBRARY.glob("*.yaml"))]
    for study in studies if files else []:
        if study.claims is None:
            remedy = "write `claims: {V1: {measure: ...}}`; `tiersim explain claims` tells how"
            raise StudyError(f"{study.file} makes no claims", None, remedy)
    return [study for study in studies if study.claims is not None]


def _in_a_line(error: TiersimError) -> str:
    return "; ".join(filter(None, [error.message, error.remedy]))
