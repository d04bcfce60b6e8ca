"""Writes docs/reference/*.md from the register, the catalogue and the commands: what exists cannot be left out."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import click

import tiersim
from tiersim._base.errors import TiersimError
from tiersim._base.registry import Entry, index, load
from tiersim.cli import COMMANDS
from tiersim.experiments import presets
from tiersim.experiments.catalogue import STUDY_KEYS, Key, claim_keys, keys_of, listing, sensitivity_keys
from tiersim.experiments.claims.published import published
from tiersim.experiments.plan import ReportSpec
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.sensitivity.result import SensitivityResult
from tiersim.traces import Trace, Writer, load_trace
from tiersim.traces.catalogue import bundled
from tiersim.traces.fetch import public
from tiersim.traces.readers.contract import schema_of
from tiersim.traces.schema import SCHEMAS, Column, Schema

FOLDER = Path(__file__).parent / "reference"
DOI = re.compile(r"doi:(10\.\d+/[^\s)]+)")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
FEW = 3  # keys that are rather told again
MADE = "<!-- made by docs/reference.py -->\n\n"


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / f"{name}.md").write_text(MADE + page().strip() + "\n", encoding="utf-8")


SPECIFIED = {  # scenario -> the page that specifies it, and its title
    "memory-hierarchy": ("hierarchy", "What the hierarchy does"),
    "object-cache": ("object-caches", "What an object cache does"),
    "translation": ("translation", "What address translation does"),
    "serving": ("serving", "What a server of language models does"),
    "expert-routing": ("expert-routing", "How local the routing of experts is"),
    "expert-offload": ("expert-offloading", "Experts that do not fit"),
}
NAMES_IN_METRICS = {
    "memory-hierarchy": "NAME is a cache of the study. Metrics over instructions are absent where the trace has none.",
    "object-cache": "NAME is a tenant, by its number. Tenants are absent where the trace has none.",
    "translation": "NAME is a TLB or a cache of the study. Without counted instructions each reference is one.",
    "serving": "Of the requests behind `warm_up`, unless the whole run is said. Percentiles are values that occurred. "
    "NAME is a link or a tier of the study.",
    "expert-routing": "Of the sequences behind `warm_up`.",
    "expert-offload": "Of the steps behind `warm_up`, unless the whole run is said. Percentiles have occurred.",
}
RECORDS = {  # schema -> what its records are
    "access": "memory accesses",
    "object": "requests for objects",
    "request": "requests to language models",
    "routing": "tokens routed to experts",
    "tree": "nodes of tree searches",
    "query": "questions",
    "profile": "measured times",
    "edge": "edges of graphs",
    "popularity": "popularity of rows",
}

EVERY_COMMAND = """Every command has `--help`. The exit status is 0; 2 with one message on standard error when what was
asked for cannot be done; 130 when interrupted. Progress goes to standard error, results to standard output, and with
`--json` nothing else does.
"""


# what pages are made of


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; columns that are empty everywhere are left out."""
    cells = [[_cell(value) for value in row] for row in rows]
    kept = [place for place in range(len(heads)) if any(row[place] for row in cells)]
    lines = [[heads[place] for place in kept], ["---"] * len(kept), *([row[place] for place in kept] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value or "")
    return text.replace("|", "\\|").replace("\n", " ")


def code(text: Any) -> str:
    """Text as it would be typed."""
    return f"`{text}`" if text not in (None, "") else ""


def keys(found: Iterable[Key]) -> str:
    """A table of keys."""
    heads = ("key", "meaning", "form", "default", "source")
    return table(
        heads,
        [
            (code(key.key), key.doc, key.form, "required" if key.required else code(_default(key.default)), key.source)
            for key in found
        ],
    )


def in_brief(found: Sequence[Key]) -> Iterator[Key]:
    """The keys without those inside something that looks the same elsewhere: it says where."""
    seen: dict[tuple[Any, ...], str] = {}
    told = ""
    for key in found:
        path = f"{key.key}."
        if told and path.startswith(told):
            continue
        below = (item for item in found if item.key.startswith(path))
        inside = tuple((item.key.removeprefix(path), item.doc, item.form, str(item.default)) for item in below)
        first = seen.setdefault(inside, key.key) if len(inside) > FEW else key.key
        told = path if first != key.key else ""
        yield dataclasses.replace(key, doc=f"{key.doc}; inside are the keys of {code(first)}") if told else key


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def doc(thing: Any) -> str:
    """A docstring as Markdown: double backticks are the same there."""
    return inspect.getdoc(thing) or ""


def paper(text: str) -> str:
    """A publication, its DOI, number at arXiv or address as a link."""
    if text.startswith("https://"):
        return f"<{text}>"
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", DOI.sub(r"[doi:\1](https://doi.org/\1)", text))


def entries(family: str) -> list[Entry]:
    """Everything of a family once, by name."""
    return sorted({item.name: item for item in index(family).values()}.values(), key=lambda item: item.name)


def described(family: str, depth: str = "##", prefix: str = "") -> str:
    """A section for everything of a family: docstring, what it declares, publication, parameters."""
    parts = []
    for item in entries(family):
        cls = load(family, item.name)
        parts.append(f"{depth} `{prefix}{item.name}`\n")
        if item.aliases:
            parts.append(f"Also called {', '.join(map(code, item.aliases))}.\n")
        parts.append(doc(cls) + "\n")
        if said := declared(family, cls):
            parts.append(said + "\n")
        if item.paper:
            parts.append(f"Source: {paper(item.paper)}\n")
        own = keys_of(cls)
        if own:
            parts.append(keys(own))
    return "\n".join(parts)


def declared(family: str, cls: Any) -> str:
    """What users need to know of the attributes of a class."""
    if family in ("reader", "generator"):
        return f"Gives {RECORDS[schema_of(cls).name]}."
    said = []
    if hasattr(cls, "unit_only"):
        said.append(f"Takes objects of one size only: {cls.unit_only}.")
    if getattr(cls, "random", False):
        said.append("Draws random numbers: the seed matters.")
    if hasattr(cls, "places"):
        said.append(f"Places that `--why` tells: {', '.join(map(code, cls.places))}.")
    return " ".join(said)


def in_short(family: str) -> str:
    """A table of everything of a family with a line about each."""
    rows = [(f"[`{item.name}`](#{item.name})", item.summary) for item in entries(family)]
    return table(("name", "in short"), rows)


def columns(schema: Schema) -> str:
    """A section for a schema: what its records are, and a table of its columns."""
    rows = [(code(column.name), _type(column), _unit(column), column.doc) for column in schema.columns]
    *others, last = (code(column.name) for column in schema.columns if not column.optional)
    required = f"{', '.join(others)} and {last}" if others else last
    optional = f" Only {required} must be there." if schema.columns[-1].optional else ""
    return f"""### {RECORDS[schema.name].capitalize()}

The schema `{schema.name}`. {schema.doc}{optional}

{table(("column", "type", "unit", "meaning"), rows)}"""


def _type(column: Column) -> str:
    if column.text:
        return "text"
    return f"list of {column.dtype}" if column.ragged else column.dtype


def _unit(column: Column) -> str:
    return "" if column.text or column.unit == "1" else column.unit


# the pages


def study() -> str:
    rows = [(code(name), text) for name, text in STUDY_KEYS.items()]
    return f"""# Study file

A study is a YAML file. The comment on top is the question, and the title of its report. These keys are of every study:

{table(("key", "meaning"), rows)}
All others are of its scenario: {", ".join(f"[{name}]({name}.md)" for name in SPECIFIED)}.

## What goes before what

`extends` < the file < `what_if` < `sweep`, or `sensitivity` in its place. `--set` edits the file, before variants are
made of it. No two of `what_if`, `sweep` and `sensitivity` may set the same key; each may override the file. A key
inside another applies after that one is replaced.

`policy: lru` and `policy: {{use: lru}}` are the same. `null` takes away what a file that is extended says.

## Values

Sizes, times and frequencies carry their unit: `32 KiB`, `90 ns`, `12 cycles`, `4.5 GHz`, `10 %`, `2M` records. `k`, `M`
and `G` are powers of 1000, `Ki`, `Mi` and `Gi` powers of 1024. Nothing is rounded: what has no exact value in the base
unit is refused.

## `report`

{keys(keys_of(ReportSpec))}
## `sensitivity`

[How to find what matters](../how-to/find-what-matters.md).

{keys(sensitivity_keys())}
`tiersim schema` prints the JSON Schema of a study, for editors that complete and check while one types.
"""


def scenario(name: str) -> str:
    cls = load("scenario", name)
    own = " NAME stands for a name of your own, such as `l2`." if any("NAME" in key.key for key in keys_of(cls)) else ""
    return f"""# Scenario {name}

{doc(cls)}

[{SPECIFIED[name][1]}](../explanation/{SPECIFIED[name][0]}.md) specifies it.{own}

{keys(in_brief(keys_of(cls)))}"""


def metrics() -> str:
    parts = [
        "# Metrics\n",
        "In JSON, CSV and Python these are the names; ratios are shares, shown as per cent in tables.\n",
    ]
    rows = listing("metrics")
    for name in SPECIFIED:
        own = [(code(row["name"]), row["unit"], row["about"]) for row in rows if row["scenario"] == name]
        parts += [f"## {name}\n", NAMES_IN_METRICS[name] + "\n", table(("metric", "unit", "meaning"), own)]
    return "\n".join(parts)


def policies() -> str:
    return f"""# Way policies

Which line of a set gives up its place. [How to write one](../how-to/own-policy.md), and
[each of them step by step](../policies/way-replacement/index.md).

{in_short("way-replacement")}
{described("way-replacement")}"""


def object_policies() -> str:
    return f"""# Object policies

Which object of a cache makes room for another. [How to use them](../how-to/replay-objects.md),
[how to write one](../how-to/own-object-policy.md), and
[each of them step by step](../policies/object-replacement/index.md).

{in_short("object-replacement")}
{described("object-replacement")}"""


def expert_policies() -> str:
    return f"""# Expert policies

Which expert of a mixture-of-experts model leaves the fast memory for another: `cache.policy` of the
[scenario expert-routing](expert-routing.md). [What caches of experts do](../explanation/expert-routing.md). One of your
own is a class in a file, `path/to/file.py:Name`; what it must have stands in `policies/expert_replacement/contract.py`.
[Each of them step by step](../policies/expert-replacement/index.md).

{in_short("expert-replacement")}
{described("expert-replacement")}"""


def admissions() -> str:
    return f"""# Admissions

Whether an object that was missed may enter, in front of any object policy: `tinylfu+lru` on the command line,
`cache.admission` in a study. [Each of them step by step](../policies/admission/index.md).

{in_short("admission")}
{described("admission")}"""


def translations() -> str:
    return f"""# Translation policies

What happens to a translation that no TLB has: `policy` of the [scenario translation](translation.md).
[What each does exactly](../explanation/translation.md), and
[step by step](../policies/translation/index.md).

{in_short("translation")}
{described("translation")}
## Predictors of costly walks

Which pages are worth a TLB block: `policy.predictor` of `victima`.
[Each of them step by step](../policies/walk-cost-predictor/index.md).

{in_short("walk-cost-predictor")}
{described("walk-cost-predictor", "###")}"""


def routers() -> str:
    return f"""# Routers

Which instance takes a request: `policy` of the [scenario serving](serving.md). [How to write one](
../how-to/write-a-router.md), how to compare them, and [each of them step by step](../policies/routing/index.md).

{in_short("routing")}
{described("routing")}"""


def expert_systems() -> str:
    return f"""# Systems that offload experts

What is loaded, what leaves and what the processor runs: `policy` of the [scenario expert-offload](expert-offload.md).
[How to compare them](../how-to/offload-experts.md), [what each step does](../explanation/expert-offloading.md), and
[each of them on a tiny trace](../policies/experts/index.md). Who leaves for another is said by
[an expert policy](expert-policies.md), the `policy.replacement` of most.

{in_short("experts")}
{described("experts")}
## Predictions

What is known beforehand of the experts that rows need, for systems that load ahead: `predictions`.

{in_short("expert-prediction")}
{described("expert-prediction", "###")}"""


def time_models() -> str:
    return f"""# Time models

How long an iteration of a server of language models takes. [What they say, and how far they are off](
../explanation/time-models.md), and [how to fit one](../how-to/own-model.md).

{in_short("time-model")}
{described("time-model")}"""


def preset_pages() -> str:
    parts = [
        "# Presets\n",
        "Hardware and models as data, with sources. A study overrides what it likes.\n",
    ]
    for row in listing("presets"):
        preset = presets.find(row["name"])
        values = [(code(v.key), v.value, v.source, v.uncertainty) for v in preset.values]
        parts += [
            f"## `{preset.name}`\n",
            f"For the key `{preset.kind}`. {preset.about}\n",
            table(("key", "value", "source", "uncertainty"), values),
        ]
    return "\n".join(parts)


def traces() -> str:
    captures = [
        (code(item.name), item.records, item.instructions, item.about, item.recipe, item.licence)
        for item in bundled().values()
    ]
    published = [
        (f"[`{item.name}`]({item.url})", item.kind, item.about, item.licence, item.citation)
        for item in public().values()
    ]
    return f"""# Traces

How to make one [of memory accesses](../how-to/own-trace.md), how to [check one](../how-to/check-a-trace.md), and how to
use one [of requests for objects](../how-to/replay-objects.md).

## Bundled captures

{table(("name", "records", "instructions", "what", "recipe", "licence"), captures)}
## Public traces

Made and published by others, each under its licence; `tiersim traces fetch NAME` brings one and checks it, and then it
is known by its name. What was cut or put together out of many files has no address: of that `fetch` says where it is
from and how it is made, and takes it from the folder that `TIERSIM_TRACE_MIRROR` names if it is there.

{table(("name", "of", "what", "licence", "cite"), published)}
## Columns

What is read, generated and stored is of one of these schemas. [What a file holds](../formats/tiersim.md).

{chr(10).join(map(columns, SCHEMAS.values()))}
## Generators

Traces that are made while they are used. [How to generate traces](../how-to/generate-traces.md).

{described("generator", "###", "generated/")}
## Readers

Most are recognised by content, packed (gzip, bzip2, xz, zstd) or not; `--format` and `format:` name one, and its
options stand beside it. [A page for each](../formats/index.md): what a record holds, how to make a file, its traps.

{in_short("reader")}
{described("reader", "###")}"""


def claims() -> str:
    parts = [
        "# Published figures\n",
        "What studies may claim, and the range that counts as reproducing it, fixed before any run.",
        "[How to claim and verify](../how-to/verify-claims.md).\n",
        "## What a claim says\n",
        keys(claim_keys()),
    ]
    for source, held in groupby(published().values(), lambda item: item.source):
        items = list(held)
        if items[0].calibration:
            parts.append(f"## Used for calibration: {source}\n")
            rows = [(code(item.claim), item.what, item.published, item.known, item.calibration) for item in items]
            parts.append(table(("id", "figure", "published", "known by", "may not be claimed:"), rows))
            continue
        parts += [f"## {source}\n", f"{items[0].setup}\n"]
        rows = [(code(item.claim), item.what, item.published, item.tolerance, item.known) for item in items]
        parts.append(table(("id", "figure", "published", "allowed", "known by"), rows))
    return "\n".join(parts)


def command_line() -> str:
    from importlib import import_module

    parts = [
        "# Command line\n",
        EVERY_COMMAND,
    ]
    for name, (module, text) in COMMANDS.items():
        command: click.Command = getattr(import_module(module), f"{name}_command")
        parts.append(f"## `tiersim {name}`\n\n{text}\n")
        inner = command.commands.items() if isinstance(command, click.Group) else [(None, command)]
        for inside, one in inner:
            path = f"tiersim {name}" + (f" {inside}" if inside else "")
            with click.Context(one, info_name=path, help_option_names=["-h", "--help"]) as context:
                parts.append(f"```text\n{one.get_help(context)}\n```\n")
    return "\n".join(parts)


def python() -> str:
    from tiersim.experiments import miss_ratio_curve, replays
    from tiersim.experiments.diff import Diff, diff
    from tiersim.experiments.diff.changes import Changes
    from tiersim.experiments.opened import open_result
    from tiersim.experiments.runner import run
    from tiersim.sim import requests

    parts = [
        "# Python\n",
        f"`import tiersim` gives {', '.join(map(code, tiersim.__all__))}; each is imported when it is used.\n",
    ]
    shown: list[tuple[str, Any]] = [
        ("tiersim.run", run),
        ("tiersim.open_result", open_result),
        ("tiersim.diff", diff),
        ("tiersim.load_trace", load_trace),
        ("tiersim.replay", replays.replay),
        ("tiersim.miss_ratio_curve", miss_ratio_curve.miss_ratio_curve),
        ("StudyResult", StudyResult),
        ("Row", Row),
        ("Diff", Diff),
        ("Changes of a Diff", Changes),
        ("SensitivityResult", SensitivityResult),
        ("ReplayResult", replays.ReplayResult),
        ("Row of a ReplayResult", replays.Row),
        ("Curve", miss_ratio_curve.Curve),
        ("tiersim.experiments.replays.read_requests", replays.read_requests),
        ("tiersim.sim.requests.requests_from", requests.requests_from),
        ("Requests", requests.Requests),
        ("tiersim.Trace", Trace),
        ("tiersim.traces.Writer", Writer),
        ("tiersim.TiersimError", TiersimError),
    ]
    for name, thing in shown:
        parts.append(f"## `{name}`\n")
        if not inspect.isclass(thing):
            parts.append(f"```python\n{_signature(name, thing)}\n```\n")
        parts.append(doc(thing) + "\n")
        if dataclasses.is_dataclass(thing):
            rows = [(code(item.name), code(item.type)) for item in dataclasses.fields(thing) if item.repr]
            parts.append(table(("attribute", "type"), rows))
        if inspect.isclass(thing):
            parts += [
                f"- `{name}`: {' '.join(doc(held).split())}\n"
                for name, held in vars(thing).items()
                if not name.startswith("_") and isinstance(held, property | cached_property) and doc(held)
            ]
            parts += [
                f"- `{verb}{_arguments(held)}`: {' '.join(doc(held).split())}\n"
                for verb, held in vars(thing).items()
                if not verb.startswith("_") and inspect.isfunction(held) and doc(held)
            ]
    parts.append("## Failures\n")
    parts.append(table(("class", "meaning"), [(code(cls.__name__), doc(cls)) for cls in _kinds(TiersimError)]))
    return "\n".join(parts)


def _signature(name: str, function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    lines = []
    starred = False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            lines.append("    *,")
            starred = True
        lines.append(f"    {_parameter(parameter)},")
    returns = inspect.signature(function).return_annotation
    return "\n".join([f"{name}(", *lines, f") -> {returns}"])


def _arguments(function: Callable[..., Any]) -> str:
    found = [_parameter(item) for name, item in inspect.signature(function).parameters.items() if name != "self"]
    return f"({', '.join(found)})"


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter as it stands in the source; annotations are text there, which Python shows in quotes."""
    return str(parameter).replace(repr(parameter.annotation), str(parameter.annotation))


def _kinds(cls: type[TiersimError]) -> list[type[TiersimError]]:
    """The failures that tiersim itself raises by name, parents first."""
    own = [kind for kind in cls.__subclasses__() if kind.__module__ == cls.__module__]
    return [found for kind in own for found in (kind, *_kinds(kind))]


PAGES: dict[str, Callable[[], str]] = {
    "study": study,
    **{item.name: partial(scenario, item.name) for item in entries("scenario")},
    "metrics": metrics,
    "policies": policies,
    "object-policies": object_policies,
    "admissions": admissions,
    "expert-policies": expert_policies,
    "translation-policies": translations,
    "routers": routers,
    "expert-systems": expert_systems,
    "time-models": time_models,
    "presets": preset_pages,
    "traces": traces,
    "claims": claims,
    "command-line": command_line,
    "python": python,
}

if __name__ == "__main__":
    main()
