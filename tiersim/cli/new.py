"""`tiersim new`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tiersim._base.errors import StudyError

__all__ = ["new_command"]


@click.command("new", short_help="Write a commented study to start from.")
@click.argument("scenario")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the file's name as JSON.")
def new_command(scenario: str, file: Path | None, force: bool, as_json: bool) -> None:
    """Write a commented study of a SCENARIO into FILE (by default SCENARIO.yaml)."""
    from tiersim._base.registry import find
    from tiersim.experiments.starter import starter
    from tiersim.experiments.store import write_bytes

    name = find("scenario", scenario).name
    target = file or Path(f"{name}.yaml")
    if target.exists() and not force:
        raise StudyError(f"{target} is there already", None, "name another file, or overwrite it with --force")
    write_bytes(target, starter(name, target.stem).encode())
    print(json.dumps({"file": str(target)}) if as_json else f"{target} is written; try: tiersim run {target}")
