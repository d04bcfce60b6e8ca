"""`tiersim run`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

__all__ = ["run_command"]


@click.command("run", short_help="Run a study from a YAML file.")
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of the file, e.g. system.line=128B."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results. [default: results/STUDY]")
@click.option("--workers", type=click.IntRange(1), help="Processes to use. [default: one for each core]")
@click.option(
    "--dask", metavar="ADDRESS", help="Run on the cluster whose scheduler is there, e.g. tcp://10.0.0.1:8786."
)
@click.option("--fresh", is_flag=True, help="Run again what is stored already.")
@click.option("--dry-run", is_flag=True, help="Check the study and say what it would cost.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.option("--plain", is_flag=True, help="Progress in plain lines on a terminal too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run_command(
    study: Path,
    sets: tuple[str, ...],
    out: Path | None,
    workers: int | None,
    dask: str | None,
    fresh: bool,
    dry_run: bool,
    quiet: bool,
    plain: bool,
    as_json: bool,
) -> int:
    """Run the STUDY, a file or `library/NAME`, print a table and write a report.

    Runs that finished earlier with the same configuration, trace and code are taken from the results folder.
    """
    from tiersim._base.errors import StudyError
    from tiersim.experiments import runner
    from tiersim.experiments.table import show_estimate, show_result

    if dry_run:
        cost = runner.estimate(study, sets, out, workers or os.cpu_count() or 1)
        print(json.dumps(cost.to_dict(), indent=2) if as_json else show_estimate(cost))
        return 0
    if dask is not None and workers is not None:
        raise StudyError("--workers is of this machine, and the workers of a cluster are its own", None, "leave it out")
    result = runner.run(
        study,
        sets,
        out=out,
        workers=workers or os.cpu_count() or 1,
        dask=dask,
        fresh=fresh,
        quiet=quiet,
        plain=plain,
    )
    from tiersim.experiments.report import write_report

    report = write_report(result)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        show_result(result)
        for line in report:
            click.echo(line)
    failed = runner.unfinished(result)
    if failed is not None:
        raise failed
    return 0
