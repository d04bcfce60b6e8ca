"""`tiersim list`, `explain` and `schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tiersim._base.errors import StudyError
from tiersim.cli.tables import cell, print_table

if TYPE_CHECKING:
    from tiersim.experiments.catalogue import Answer
    from tiersim.experiments.worked import Worked

__all__ = ["explain_command", "list_command", "schema_command"]


@click.command("list", short_help="List what exists: policies, presets, traces, metrics, claims ...")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List everything of a KIND; without one, the kinds."""
    from tiersim.experiments.catalogue import kinds, listing

    rows: list[dict[str, Any]] = [{"kind": name} for name in ["policies", *kinds()]] if kind is None else listing(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if _tells(name, rows)]
    print_table(columns, [[cell(row.get(name)) for name in columns] for row in rows])


def _tells(column: str, rows: list[dict[str, Any]]) -> bool:
    """Whether a column holds anything, and a family more than one."""
    held = {str(row.get(column)) for row in rows if row.get(column)}
    return len(held) > (column == "family")


@click.command("explain", short_help="Explain a key, policy, preset, metric or claim: unit, default, source.")
@click.argument("key")
@click.option("--steps", is_flag=True, help="Show what a policy does with a tiny trace, step by step.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def explain_command(key: str, steps: bool, as_json: bool) -> None:
    """Explain a KEY of a study (system.caches.l2.policy), a policy, preset, trace, generator, metric or claim."""
    from tiersim.experiments.catalogue import explain

    answer = explain(key)
    example = _example(key, answer) if steps else None
    if as_json:
        print(json.dumps(answer.to_dict() | ({"example": example.public()} if example else {}), indent=2))
        return
    click.secho(answer.title, bold=True)
    if answer.text:
        click.echo(answer.text)
    if answer.paper:
        click.echo(f"Source: {answer.paper}")
    if answer.keys:
        rows = [
            [item.key, item.doc, item.form, "required" if item.required else cell(item.default), item.source]
            for item in answer.keys
        ]
        print_table(["key", "meaning", "form", "default", "source"], rows)
    for name, values in answer.presets.items():
        click.secho(f"preset {name}", bold=True)
        print_table(
            ["key", "value", "source", "uncertainty"],
            [[item["key"], str(item["value"]), item["source"], item["uncertainty"]] for item in values],
        )
    if example:
        click.echo(f"\n{example.setting}")
        print_table(list(example.heads), example.rows)
        click.echo(", ".join(f"{name}: {held}" for name, held in example.totals.items()))


def _example(key: str, answer: Answer) -> Worked:
    """The worked example of a policy. Raises StudyError for what has none."""
    from tiersim.experiments.worked import FAMILIES, worked

    if answer.entry is None or answer.entry[0] not in FAMILIES:
        raise StudyError(
            f"{key!r} is no policy that is shown by steps", None, f"there are steps of: {', '.join(FAMILIES)}"
        )
    return worked(*answer.entry)


@click.command("schema", short_help="Print the JSON Schema of a study, for editors.")
@click.argument("scenario", default="memory-hierarchy")
@click.option("--json", "as_json", is_flag=True, help="The schema is JSON with or without this.")
def schema_command(scenario: str, as_json: bool) -> None:
    """Print the JSON Schema of a study file of this SCENARIO."""
    from tiersim.experiments.catalogue import schema

    print(json.dumps(schema(scenario), indent=2))
