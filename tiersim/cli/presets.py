"""`tiersim presets`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tiersim._base.errors import StudyError

__all__ = ["presets_command"]


@click.group("presets", short_help="Make presets of hardware and models of your own.")
def presets_command() -> None:
    """Make presets of hardware and models of your own; `tiersim list presets` shows those that come along."""


@presets_command.command("new", short_help="Write a preset of a GPU, or of a model from its config.json.")
@click.argument("name")
@click.option(
    "--from",
    "files",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Output of nvidia-smi, nvbandwidth or bandwidthTest, several times if need be; or a config.json.",
)
@click.option("--gpu", type=click.IntRange(0), default=0, show_default=True, help="Which of several, from 0.")
@click.option("--like", default="", metavar="PRESET", help="Where the other numbers are from. [default: the product's]")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def new_command(name: str, files: tuple[Path, ...], gpu: int, like: str, force: bool, as_json: bool) -> None:
    """Write NAME.yaml, a preset for the key `gpu` or `model`, into the working folder.

    Of a GPU, what the files say goes before what the preset of the same product says; each number names its source.
    Measured bandwidths calibrate the PCI Express link, the memory and the NVLinks, and the file says so. The shape of
    a language model is in the config.json that lies beside its weights.
    """
    from tiersim.experiments.preset_from import preset_from
    from tiersim.experiments.store import write_bytes
    from tiersim.experiments.transformer_preset import transformer_preset

    key = "model" if files[0].suffix == ".json" else "gpu"
    if key == "model" and len(files) > 1:
        raise StudyError("the shape of a model is in one file, its config.json", None, "give one file with --from")
    made = transformer_preset(name, files[0]) if key == "model" else preset_from(name, files, gpu=gpu, like=like)
    target = Path(f"{name}.yaml")
    if target.exists() and not force:
        raise StudyError(f"{target} is there already", None, "take another name, or overwrite it with --force")
    write_bytes(target, made.text.encode())
    if as_json:
        print(json.dumps({"file": str(target), "based_on": made.base, "notes": made.notes}))
        return
    click.echo(f"{target} is written: a preset for the key `{key}`, which its path names")
    for note in made.notes:
        click.echo(f"note: {note}")
