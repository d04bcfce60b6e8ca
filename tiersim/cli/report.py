"""`tiersim report`."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["report_command"]


@click.command("report", short_help="Write the report of a finished study again, and what a paper takes from it.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--bundle", "bundled", is_flag=True, help="Also write bundle.zip, which runs again elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def report_command(folder: Path, bundled: bool, as_json: bool) -> int:
    """Write the report of a study again from its FOLDER, and the folder `paper` in it.

    Nothing is simulated. In `paper` are figures as PDF, SVG and PNG, one column and two columns wide, tables as CSV and
    LaTeX, and citations of what the study used. A bundle holds the study whole, with files of your own that it uses and
    what came out, for `tiersim rerun`.
    """
    from tiersim.experiments.opened import open_result
    from tiersim.experiments.paper.bundle import write_bundle
    from tiersim.experiments.paper.folder import write_paper
    from tiersim.experiments.report import write_report

    result = open_result(folder)
    lines = write_report(result)
    paper = write_paper(result)
    bundle = write_bundle(result) if bundled else None
    if as_json:
        told = {"study": result.study, "folder": str(folder), "paper": paper.to_dict()}
        print(json.dumps(told | ({"bundle": bundle.to_dict()} if bundle else {}), indent=2))
        return 0
    for line in [*lines, *paper.lines(), *(bundle.lines() if bundle else [])]:
        click.echo(line)
    return 0
