"""`tiersim calibrate`."""

from __future__ import annotations

import json

import click

__all__ = ["calibrate_command"]


@click.command("calibrate", short_help="Fit a time model of language models to measured times.")
@click.argument("measured", nargs=-1, required=True)
@click.option(
    "--time-model",
    "form",
    metavar="NAME",
    help="linear or roofline.  [default: roofline; linear for captures without a model]",
)
@click.option("--model", metavar="PRESET", help="The model that ran: a preset, or its config.json.")
@click.option("--gpu", metavar="PRESET", help="The GPU that it ran on.")
@click.option("--tensor", type=click.IntRange(1), default=1, show_default=True, help="GPUs that share it.")
@click.option("--of", metavar="NAME", help="Its name in the profile, where that has several models.")
@click.option("--on", metavar="NAME", help="The GPU's name in the profile, where that has several.")
@click.option(
    "--hold-out", default="50 %", show_default=True, metavar="SHARE", help="Left out of the fit, to judge it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def calibrate_command(
    measured: tuple[str, ...],
    form: str | None,
    model: str | None,
    gpu: str | None,
    tensor: int,
    of: str | None,
    on: str | None,
    hold_out: str,
    as_json: bool,
) -> None:
    """Fit a time model to MEASURED times, and say how far off it is where it was not fitted.

    MEASURED is a profile, the name of a public trace (public/splitwise-perf-model) or a file of one's own in a form
    that `tiersim traces check` knows; or what `tiersim capture serving` made in front of a server, whose iterations are
    read off the answers. Captures of several loads may be named together: some loads are then held out, and of one
    capture the last requests. What is printed is YAML for a study.

    As JSON: `profile` (what was named), `time_model` (the keys of a study), `fitted` and `held_out` (of configurations
    or iterations, as `seen` says: how many, and median, p95 and bias of relative errors), `notes`, and `snippet`, the
    YAML.
    """
    from tiersim._base.units import parse
    from tiersim.experiments import presets
    from tiersim.experiments.calibration import calibrate
    from tiersim.models.gpu import Gpu
    from tiersim.models.llm.transformer import Transformer

    made = calibrate(
        measured,
        form,
        model=presets.built(model, Transformer) if model else None,
        gpu=presets.built(gpu, Gpu) if gpu else None,
        tensor=tensor,
        of=of,
        on=on,
        hold_out=parse(hold_out, "ratio").amount / 10**9,
    )
    print(json.dumps(made.to_dict(), indent=2) if as_json else made.snippet, end="\n" if as_json else "")
