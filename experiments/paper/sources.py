"""What a study used and where it is from: tiersim, traces, presets and policies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from typing import Any, get_args

from tiersim._base.errors import TiersimError
from tiersim._base.params import params
from tiersim._base.registry import Entry, find, load
from tiersim.experiments.paper.references import ARXIV, DOI, URL, Reference, read_references
from tiersim.experiments.report.settings import Setting, settings
from tiersim.experiments.results import StudyResult
from tiersim.experiments.trace_use import TraceParam
from tiersim.traces.catalogue import bundled
from tiersim.traces.fetch import public

__all__ = ["Sources", "Used", "sources", "used"]

UNSURE = re.compile(r"assum|unchecked|from memory|guess|estimat|not measured|unmeasured", re.IGNORECASE)
OF_STUDY = ("study", "default", "varies")  # origins of a setting that are no preset


@dataclass(frozen=True)
class Used:
    """Something with a name that runs used: `family` is ``trace`` or one of the register, `use` as in the study."""

    family: str
    use: str
    options: str = field(default="", compare=False)


@dataclass
class Sources:
    """All sources of a study. Traces have a few facts each; settings come with source and uncertainty."""

    study: str
    version: str
    traces: dict[str, dict[str, str]]
    presets: list[Setting]
    defaults: list[Setting]
    policies: dict[Used, Entry | None]
    references: list[Reference]

    def markdown(self) -> str:
        """The page `sources.md`."""
        lines = [f"# Sources of {self.study}", "", f"tiersim {self.version}, Apache-2.0.", "", "## Traces", ""]
        for name, facts in self.traces.items():
            lines += [f"- `{name}`", *(f"  - {key}: {held}" for key, held in facts.items() if held)]
        lines += ["", "## Policies and models", ""]
        for item, entry in self.policies.items():
            said = "a class of the user's own" if entry is None else entry.paper or "tiersim's own: no paper is stated"
            lines.append(f"- {item.family} `{item.use}`: {said}")
        lines += _table("Presets", self.presets) + _table("Defaults of tiersim", self.defaults)
        unsure = [held for held in (*self.presets, *self.defaults) if held.uncertainty or UNSURE.search(held.source)]
        if unsure:
            lines += ["", "## Assumed or uncertain", "", "A conclusion may hinge on these numbers:", ""]
            lines += [f"- `{held.key}` = {held.value}: {_cell(held.uncertainty or held.source)}" for held in unsure]
        return "\n".join(lines) + "\n"


def _table(title: str, held: list[Setting]) -> list[str]:
    if not held:
        return []
    lines = ["", f"## {title}", "", "| key | value | preset | source | uncertainty |", "|---|---|---|---|---|"]
    for one in held:
        cells = (f"`{one.key}`", one.value, one.origin, one.source, one.uncertainty)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def sources(result: StudyResult) -> Sources:
    """Everything that a study used, out of what is stored of it."""
    version = import_module("tiersim").__version__
    found = list(used(result))
    told = settings(result)
    presets = [one for one in told if one.source and one.origin not in ("study", "default")]
    defaults = [one for one in told if one.source and one.origin == "default"]
    policies = {one: _entry(one) for one in found if one.family != "trace"}
    named = [one for one in found if one.family == "trace"]
    traces = {one.use: _trace(result, one, one == named[0]) for one in named}
    tiersim = Reference(
        "tiersim", {"key": "tiersim", "title": "tiersim", "note": f"version {version}"}, ["the simulator"]
    )
    references = [tiersim]
    for name, facts in traces.items():
        if facts.get("citation") or facts.get("url"):
            said = read_references(facts.get("citation") or facts["url"], f"the trace {name}")
            if facts.get("url"):
                said[0].fields.setdefault("url", facts["url"])
            references += said
        elif facts.get("paper"):
            references += read_references(facts["paper"], f"the trace {name}")
    for one, entry in policies.items():
        references += read_references(entry.paper, f"{one.family} {one.use}") if entry and entry.paper else []
    for held in (*presets, *defaults):
        references += _linked(held)
    return Sources(result.study, version, traces, presets, defaults, policies, references)


def _linked(held: Setting) -> list[Reference]:
    """The works that a source of a number links to; other sources stand in `sources.md` only."""
    out = []
    for name, pattern in (("doi", DOI), ("eprint", ARXIV), ("url", URL)):
        for match in pattern.finditer(held.source):
            value = f"https://{match[1]}" if name == "url" else match[1]
            fields = {name: value, "note": held.source}
            out.append(Reference(held.source, fields, [f"{held.origin}: {held.key}"]))
    return out


def _entry(one: Used) -> Entry | None:
    try:
        return None if ".py:" in one.use else find(one.family, one.use)
    except TiersimError:  # a plug-in that is not installed here
        return None


def _trace(result: StudyResult, one: Used, first: bool) -> dict[str, str]:
    """What is known of a trace without opening it."""
    name = one.use
    # what is kept of where the content is from is that of the first run
    sha = str(result.provenance.get("sha256", "")) if first else ""
    if name in public():
        item = public()[name]
        return {
            "what": item.about,
            "citation": item.citation,
            "url": item.url,
            "licence": item.licence,
            "sha256 of the file": item.sha256,
            "recipe": item.recipe,
            "sha256 of the records": sha,
        }
    if name in bundled():
        held = bundled()[name]
        return {"what": held.about, "licence": held.licence, "recipe": held.recipe, "sha256 of the file": held.sha256}
    if name.startswith("generated/"):
        try:
            paper = find("generator", name.removeprefix("generated/")).paper
        except TiersimError:
            paper = ""
        return {"what": f"generated by tiersim: {one.options}", "paper": paper, "sha256 of the records": sha}
    return {"what": "a file of the user's own", "sha256 of the records": sha}


def used(result: StudyResult) -> Iterator[Used]:
    """What the runs used, each once, in the order of the study."""
    seen: set[Used] = set()
    cls = load("scenario", result.scenario)
    configs = {repr(row.config): row.config for row in result.rows if row.config}
    for config in configs.values():
        for one in _used(cls, config):
            if one not in seen:
                seen.add(one)
                yield one


def _used(cls: Any, data: Any) -> Iterator[Used]:
    """The named things in the plain data of a config class."""
    if not isinstance(data, dict) or not is_dataclass(cls):
        return
    for item, hint, param in params(cls):
        held = data.get(item.name)
        if held is None:
            continue
        if isinstance(param, TraceParam):
            for one in held if isinstance(held, list) else [held]:
                yield from _used_trace(one)
        elif param is not None and param.family:
            yield from _named(param.family, held)
        else:
            yield from _inside(hint, held)


def _used_trace(held: Any) -> Iterator[Used]:
    if isinstance(held, dict) and "use" in held:
        options = ", ".join(f"{key} {value}" for key, value in held.items() if key != "use")
        yield Used("trace", str(held["use"]), options)


def _named(family: str, held: Any) -> Iterator[Used]:
    if not isinstance(held, dict) or not isinstance(held.get("use"), str):
        return
    yield Used(family, held["use"])
    try:
        cls = load(family, held["use"])
    except TiersimError:
        return
    yield from _used(cls, held)


def _inside(hint: Any, held: Any) -> Iterator[Used]:
    """Through the types of a field: a config class, or several of them in a list or by name."""
    arguments = get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        yield from _used(hint, held)
    elif isinstance(held, dict) and arguments and getattr(hint, "__origin__", None) is dict:
        for one in held.values():
            yield from _inside_each(arguments[-1], one)
    elif isinstance(held, list) and arguments and getattr(hint, "__origin__", None) is list:
        for one in held:
            yield from _inside_each(arguments[0], one)
    else:
        for form in arguments:
            if isinstance(form, type) or get_args(form):
                yield from _inside(form, held)


def _inside_each(hint: Any, held: Any) -> Iterator[Used]:
    notes = getattr(hint, "__metadata__", ())
    family = next((note.family for note in notes if getattr(note, "family", None)), None)
    if any(isinstance(note, TraceParam) for note in notes):
        yield from _used_trace(held)
    elif family:
        yield from _named(family, held)
    else:
        yield from _inside(hint, held)
