"""What exists and what it means: the answers of `tiersim list`, `explain` and `schema`, and of the reference pages."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, is_dataclass
from inspect import getdoc
from typing import Any, get_args

from tiersim._base import units
from tiersim._base.errors import StudyError
from tiersim._base.params import Param, default, dump, forms, params
from tiersim._base.registry import Entry, families, index, load, nearest
from tiersim.experiments import presets, studies
from tiersim.experiments.claims import expressions
from tiersim.experiments.claims.published import Published, published
from tiersim.experiments.designs import NAMES
from tiersim.experiments.plan import ReportSpec
from tiersim.experiments.results import SPEEDUP, TIME
from tiersim.experiments.scenario import Metric
from tiersim.experiments.sensitivity.methods import FAILED, METHODS
from tiersim.experiments.sensitivity.spec import DEFAULT, KINDS
from tiersim.experiments.study import question_of
from tiersim.traces.catalogue import bundled
from tiersim.traces.fetch import public

__all__ = ["Answer", "Key", "claim_keys", "explain", "keys_of", "kinds", "listing", "schema", "sensitivity_keys"]

STUDY_KEYS = {
    "study": "name of the study and of its folder",
    "scenario": "what it is about; see `tiersim list scenarios`",
    "extends": "another study file that this one changes, or `library/NAME`; see `tiersim list studies`",
    "what_if": "label -> the dotted keys that this variant changes; `base` is the study without changes",
    "sweep": "dotted key -> list of values, as a product; under `zip` in step; under `list` point by point, each a "
    "mapping of keys to values. Or drawn points: `design` (random, latin-hypercube or sobol), `points` (how many), "
    "`seed` (default 0; of sobol the published sequence, which a seed scrambles) and `factors`: key -> list of values "
    "or {range: [low, high], scale: linear or log, step: what values are multiples of}",
    "sensitivity": "how the answer depends on numbers that are not sure: `factors` (as of a design; {levels: [...]} "
    "have an order, {categories: [...]} none; or `auto`, all that carry an uncertainty), sampled on top of the "
    "variants `at`, without the sweep. `sensitivity: auto` asks for a Morris screening of all",
    "repeat": "{seeds: 5} or a list of seeds; runs that nothing random reaches run once",
    "seed": "the root of all random streams (default 0)",
    "report": "what is shown: baseline, metrics, figures",
    "claims": "id of a published figure -> {measure: an expression}; see `tiersim list claims`",
}


@dataclass
class Key:
    """One key of a study: what it means, in which unit, what it is when not said, and where that is from."""

    key: str
    doc: str
    form: str = ""
    default: Any = None
    source: str = ""
    required: bool = False


@dataclass
class Answer:
    """What `explain` says: a title, a text, a table of keys, and the values of presets."""

    title: str
    text: str = ""
    paper: str = ""
    keys: list[Key] = field(default_factory=list)
    presets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    entry: tuple[str, str] | None = None
    """Family and name of what is registered."""

    def to_dict(self) -> dict[str, Any]:
        return {key: held for key, held in asdict(self).items() if key != "entry"}


def kinds() -> list[str]:
    """What can be listed."""
    return [*(plural(family) for family in families()), "presets", "traces", "studies", "metrics", "claims"]


def plural(family: str) -> str:
    """A family's name as `tiersim list` takes it."""
    return family if family.endswith(("replacement", "s")) else f"{family}s"


def listing(kind: str) -> list[dict[str, Any]]:
    """Every thing of a kind with one line about it. Raises StudyError for a kind that is not known."""
    if kind in ("policies", "policy"):
        return [
            row | {"family": family} for family in families() if "replacement" in family for row in _entries(family)
        ]
    if kind in ("presets", "preset"):
        found = [presets.find(path.stem) for path in sorted(presets.FOLDER.glob("*.yaml"))]
        return [{"name": preset.name, "kind": preset.kind, "about": preset.about} for preset in found]
    if kind in ("traces", "trace"):
        rows: list[dict[str, Any]] = [
            {"name": item.name, "records": item.records, "instructions": item.instructions, "about": item.about}
            for item in bundled().values()
        ]
        rows += [{"name": f"generated/{row['name']}", "about": row["about"]} for row in _entries("generator")]
        return rows + [{"name": item.name, "about": item.about} for item in public().values()]
    if kind in ("studies", "study"):
        return [{"name": name, "about": _asks(name)} for name in studies.names()]
    if kind in ("metrics", "metric"):
        return [
            {"name": found.name, "unit": found.unit, "about": found.doc, "scenario": scenario}
            for scenario, found in _metrics()
        ]
    if kind in ("claims", "claim"):
        return [
            {"name": item.claim, "about": item.what, "published": item.published, "range": item.tolerance or "-"}
            for item in published().values()
        ]
    for family in families():
        if kind in (family, plural(family)):
            return _entries(family)
    hint = nearest(kind, ["policies", *kinds()]) or f"there are: policies, {', '.join(kinds())}"
    raise StudyError(f"there is no kind {kind!r}; {hint}")


def _asks(study: str) -> str:
    """The question of a study, its first paragraph."""
    return " ".join(question_of(studies.study_file(study)).split("\n\n")[0].split())


def _entries(family: str) -> list[dict[str, Any]]:
    found: dict[str, Entry] = {item.name: item for name, item in index(family).items() if name == item.name}
    return [
        {"name": item.name, "about": item.summary, "aliases": list(item.aliases), "paper": item.paper}
        for item in found.values()
    ]


def keys_of(cls: type, path: str = "") -> list[Key]:
    """Every key of a config class, the ones inside it as dotted keys."""
    out = []
    for item, hint, param in params(cls):
        if not item.init:
            continue
        key = f"{path}.{item.name}" if path else item.name
        said = default(item)
        shown = None if said is MISSING or said is None else dump(said)
        if isinstance(shown, dict) and "use" in shown:
            shown = shown["use"] if len(shown) == 1 else shown
        elif param and param.unit and isinstance(said, int):
            shown = units.show(said, param.unit)
        out.append(
            Key(
                key,
                param.doc if param else "",
                _form(hint, param),
                shown,
                _source(param) if param else "",
                said is MISSING,
            )
        )
        inner = _config_inside(hint)
        if inner is not None:
            many = "dict[" in str(hint)
            out += keys_of(inner, f"{key}.NAME" if many else key)
    return out


def _source(param: Param) -> str:
    return f"{param.source}; uncertainty: {param.uncertainty}" if param.uncertainty else param.source


def _config_inside(hint: Any) -> type | None:
    if is_dataclass(hint) and isinstance(hint, type) and hasattr(hint, "__pydantic_config__"):
        return hint
    for arg in get_args(hint):
        if (found := _config_inside(arg)) is not None:
            return found
    return None


def _form(hint: Any, param: Param | None) -> str:
    if param is not None and param.unit:
        return units.describe(*param.unit.split("|"))
    if param is not None and param.family:
        names = [row["name"] for row in _entries(param.family)]
        return " | ".join([*names, "FILE.py:CLASS", "{use: one of these, ...}"])
    return " | ".join(forms(hint))


def _scenarios() -> list[str]:
    return [row["name"] for row in _entries("scenario")]


def _metrics() -> list[tuple[str, Metric]]:
    """Every metric with the scenario that gives it."""
    out = []
    for name in _scenarios():
        held = load("scenario", name).metrics()
        derived = [SPEEDUP] if any(found.name == TIME for found in held) else []
        out += [(name, found) for found in [*held, *derived]]
    return out


def explain(word: str) -> Answer:
    """What a key, policy, scenario, preset, trace, metric or published figure is.

    A name that several families have is the first one's, and says so; ``FAMILY/NAME`` names one. Raises StudyError with
    the nearest right spelling.
    """
    if word in STUDY_KEYS:
        return _of_study(word)
    held = [key for name in _scenarios() for key in keys_of(load("scenario", name))]
    everything = [*{key.key: key for key in reversed(held)}.values()][::-1] + keys_of(ReportSpec, "report")
    generic = _generic(word, everything)
    exact = [key for key in everything if key.key == generic]
    inside = [key for key in everything if key.key.startswith(f"{generic}.")]
    if exact or inside:
        values = {
            preset: [asdict(value) for value in presets.find(preset).values if _under(f"{kind}.{value.key}", word)]
            for kind in (word.split(".")[0],)
            for preset in presets.names(kind)
        }
        return Answer(
            word,
            exact[0].doc if exact else "",
            keys=exact + inside,
            presets={name: held for name, held in values.items() if held},
        )
    named, _, rest = word.partition("/")
    owners = [family for family in families() if word in index(family)] or [
        family for family in families() if family == named and rest in index(family)
    ]
    if owners:
        name = word if word in index(owners[0]) else rest
        item = index(owners[0])[name]
        made = load(owners[0], name)
        also = "".join(f"\n\nThere is another of this name: {other}/{name}." for other in owners[1:])
        text = (getdoc(made) or "") + also
        return Answer(f"{item.name} ({owners[0]})", text, item.paper, keys_of(made), entry=(owners[0], item.name))
    if word.startswith("generated/") and word.removeprefix("generated/") in index("generator"):
        made = load("generator", word.removeprefix("generated/"))
        return Answer(word, getdoc(made) or "", keys=keys_of(made))
    if (presets.FOLDER / f"{word}.yaml").exists():
        preset = presets.find(word)
        return Answer(
            f"{word} (a preset for {preset.kind})", preset.about, presets={word: [asdict(v) for v in preset.values]}
        )
    if word in bundled():
        item_ = bundled()[word]
        return Answer(word, f"{item_.about}\n{item_.records:,} records. Made by: {item_.recipe}. {item_.licence}.")
    if word in public():
        given = public()[word]
        made_by = f" Made from it: {given.recipe}." if given.recipe else ""
        text = f"{given.about}.\nFrom {given.url}.{made_by}\nCite: {given.citation}. Licence: {given.licence}."
        return Answer(word, text)
    found = [(scenario, metric) for scenario, metric in _metrics() if metric.name == _with_name(word)]
    if not found and word:
        found = [(scenario, metric) for scenario, metric in _metrics() if metric.name.split(".")[-1] == word]
    if found:
        text = "\n".join(f"{metric.doc} (scenario {scenario})" for scenario, metric in found)
        return Answer(word, text, keys=[Key(metric.name, metric.doc, metric.unit) for _, metric in found])
    if word in published():
        return _of_claim(published()[word])
    known = [key.key for key in everything] + [name for family in families() for name in index(family)]
    known += [
        *STUDY_KEYS,
        *(found.name for _, found in _metrics()),
        *bundled(),
        *public(),
        *(path.stem for path in presets.FOLDER.glob("*.yaml")),
        *published(),
    ]
    hint = nearest(word, known) or "see `tiersim list policies`, `list presets`, `list metrics`, `list traces`"
    raise StudyError(f"nothing is called {word!r}; {hint}")


def _of_study(word: str) -> Answer:
    """A key that every study has."""
    if word == "sensitivity":
        return Answer(word, STUDY_KEYS[word], keys=sensitivity_keys())
    if word == "claims":
        return Answer(word, f"{STUDY_KEYS[word]}\n\n{getdoc(expressions)}", keys=claim_keys())
    return Answer(word, STUDY_KEYS[word], keys=keys_of(ReportSpec, "report") if word == "report" else [])


def _of_claim(item: Published) -> Answer:
    """A published figure: what it is, how it is known, and what counts as reproducing it."""
    said = [f"{item.what[0].upper()}{item.what[1:]}.", f"Published: {item.published} ({item.known})."]
    if item.calibration:
        said.append(f"It may not be claimed: {item.calibration}.")
    else:
        said.append(f"Reproduced where it is measured as: {item.tolerance}.")
    said += [f"From {count} {what}." for count, what in ((item.average, "workloads"), (item.seeds, "seeds")) if count]
    return Answer(f"{item.claim} (a published figure)", "\n".join([*said, f"Set-up: {item.setup}"]), item.source)


def sensitivity_keys() -> list[Key]:
    """What a sensitivity says."""
    samples = ", ".join(f"{count} for {name}" for name, count in DEFAULT.items())
    own = "of a list of two or more variants"
    found = {
        "at": (
            "the variants that are sampled; the sweep is not applied",
            "base, a label of what_if, a list, or all",
            "base",
        ),
        "method": ("how factors are sampled and told", " | ".join(METHODS), "sobol"),
        "samples": (
            "base samples of sobol, 2k + 2 runs each for k factors; trajectories of morris, k + 1 runs each; else runs",
            "a count such as 64",
            samples,
        ),
        "seed": ("of the samples; runs have seeds of their own", "a whole number", "0"),
        "second_order": ("whether sobol tells pairs; without, k + 2 runs each", "true | false", "true"),
        "factors": (
            "what varies; auto: all numbers with an uncertainty that the study uses and does not set itself",
            "key -> {range: [low, high], scale: log, step: 1 ns}, {levels: [...]} or {categories: [...]} | auto",
            "",
        ),
        "outputs": ("the metrics that are told", "a list of metrics", "those of the report that have a direction"),
        "failed": (
            "with failed samples: no indices, their base samples or trajectories are left out, or they are the median",
            " | ".join(FAILED),
            "refuse",
        ),
        "crossover": ("whether it is looked for where along each factor alone the winner changes", "true | false", own),
        "map": ("two factors over which the winner is told; true: those that matter most", "[key, key] | true", ""),
        "speedups": ("each factor that is a rate or a time so much faster, alone", "a list such as [10 %, 20 %]", ""),
    }
    return [
        Key(f"sensitivity.{name}", doc, form, said or None, required=name == "factors")
        for name, (doc, form, said) in found.items()
    ]


def claim_keys() -> list[Key]:
    """What a claim says, a published one and one of a study's own."""
    own = "of a claim of your own; that of a published one is fixed"
    return [
        Key("claims.ID.measure", "what is compared with the figure", "an expression", required=True),
        Key("claims.ID.and", "what must hold besides", "a comparison"),
        Key("claims.ID.not-reproduced", "why it is outside its range; fails when it no longer is", "a sentence"),
        Key("claims.ID.what", f"in words, {own}", "text"),
        Key("claims.ID.published", f"the figure, {own}", "text"),
        Key("claims.ID.figure", f"the number in it, {own}", "a number, a share or a size"),
        Key("claims.ID.range", f"the ends of what is allowed, {own}", "[4 %, 12 %]"),
        Key("claims.ID.below", f"as a range without a lower end, {own}", "a number, a share or a size"),
        Key("claims.ID.source", f"where it is published, {own}", "text"),
    ]


def _with_name(word: str) -> str:
    """A metric with a user's own name in the middle (caches.l2.misses) as it is listed (caches.NAME.misses)."""
    first, *inside, last = word.split(".") if word.count(".") == 2 else (word, "")
    return f"{first}.NAME.{last}" if inside else word


def _generic(word: str, keys: list[Key]) -> str:
    """A dotted key with the user's own names (such as l2) as they stand in the schema (NAME)."""
    for key in keys:
        mine, theirs = word.split("."), key.key.split(".")
        if len(mine) <= len(theirs) and all(b in (a, "NAME") for a, b in zip(mine, theirs, strict=False)):
            return ".".join(theirs[: len(mine)])
    return word


def _under(key: str, word: str) -> bool:
    return key == word or key.startswith(f"{word}.")


def _partial(rule: Any) -> Any:
    """A schema in which only `use` is required, and of what it refers to as well."""
    if isinstance(rule, list):
        return [_partial(held) for held in rule]
    if not isinstance(rule, dict):
        return rule
    out = {key: _partial(held) for key, held in rule.items() if key != "required" or held == ["use"]}
    if isinstance(out.get("$ref"), str):
        out["$ref"] = f"{out['$ref'].removesuffix('Part')}Part"
    return out


def _with_presets(rule: Any, parts: dict[str, Any]) -> Any:
    """A schema in which the name of a preset, or the file of one, may stand for a config that there are presets for."""
    if isinstance(rule, list):
        return [_with_presets(held, parts) for held in rule]
    if not isinstance(rule, dict):
        return rule
    made = {key: _with_presets(held, parts) for key, held in rule.items()}
    # what is there once stands where it is used, under the name of its class
    name = str(rule.get("$ref") or (rule.get("title", "") if "properties" in rule else ""))
    name = name.removeprefix("#/$defs/").removesuffix("Part")
    if not (known := presets.names(name.lower())):
        return made
    partial = {key: _with_presets(held, parts) for key, held in _partial(rule).items()}
    part = parts[f"{name}Part"] if "$ref" in rule else partial
    return {"anyOf": [{"enum": known}, {"type": "string", "pattern": r"\.(ya?ml|json)$"}, _use(known, part), made]}


def _use(known: list[str], part: dict[str, Any]) -> dict[str, Any]:
    """``use`` and what else is said; what a preset sets need not be."""
    name = {"anyOf": [{"enum": known}, {"type": "string", "pattern": r"\.(ya?ml|json)$"}]}
    return part | {"properties": {"use": name, **part["properties"]}, "required": ["use"]}


NUMBER: dict[str, Any] = {"type": ["number", "string"]}
RANGED = {
    "type": "object",
    "properties": {
        "range": {"type": "array", "items": NUMBER},
        "scale": {"enum": ["linear", "log"]},
        "step": NUMBER,
    },
    "required": ["range"],
    "additionalProperties": False,
}


def _sweep() -> dict[str, Any]:
    """The schema of a sweep: a product of lists, or a design."""
    values, ranged = {"type": "array"}, RANGED
    product = {
        "type": "object",
        "properties": {
            "zip": {"type": "object", "additionalProperties": values},
            "list": {"type": "array", "items": {"type": "object"}},
        },
        "additionalProperties": values,
    }
    design = {
        "type": "object",
        "properties": {
            "design": {"enum": list(NAMES)},
            "points": {"type": ["integer", "string"]},
            "seed": {"type": "integer", "minimum": 0},
            "factors": {"type": "object", "additionalProperties": {"anyOf": [values, ranged]}},
        },
        "required": ["design", "points", "factors"],
        "additionalProperties": False,
    }
    return {"anyOf": [product, design, {"type": "null"}]}


def _sensitivity() -> dict[str, Any]:
    """The schema of a sensitivity."""
    values, words = {"type": "array"}, {"type": "array", "items": {"type": "string"}}
    listed = [
        {"type": "object", "properties": {kind: values}, "required": [kind], "additionalProperties": False}
        for kind in KINDS
    ]
    factors = {"type": "object", "additionalProperties": {"anyOf": [values, RANGED, *listed]}}
    forms: dict[str, dict[str, Any]] = {
        "at": {"anyOf": [{"type": "string"}, words]},
        "method": {"enum": list(METHODS)},
        "samples": {"type": ["integer", "string"]},
        "seed": {"type": "integer", "minimum": 0},
        "second_order": {"type": "boolean"},
        "factors": {"anyOf": [{"const": "auto"}, factors]},
        "outputs": {"anyOf": [{"type": "string"}, words]},
        "failed": {"enum": list(FAILED)},
        "crossover": {"type": "boolean"},
        "map": {"anyOf": [{"type": "boolean"}, words]},
        "speedups": {"anyOf": [NUMBER, {"type": "array", "items": NUMBER}]},
    }
    told = {key.key.rpartition(".")[2]: key.doc for key in sensitivity_keys()}
    properties = {name: form | {"description": told[name]} for name, form in forms.items()}
    block = {"type": "object", "properties": properties, "required": ["factors"], "additionalProperties": False}
    return {"anyOf": [{"const": "auto"}, block, {"type": "null"}]}


def _claim() -> dict[str, Any]:
    """The schema of a claim."""
    number = NUMBER
    several = {"anyOf": [number, {"type": "array", "items": number}]}
    ranges = {"type": "array", "items": {"anyOf": [number, {"type": "array", "items": number}]}}
    forms: dict[str, dict[str, Any]] = {"measure": number, "figure": several, "range": ranges, "below": number}
    properties = {}
    for key in claim_keys():
        name = key.key.rpartition(".")[2]
        properties[name] = forms.get(name, {"type": "string"}) | {"description": key.doc}
    return {"type": "object", "properties": properties, "required": ["measure"], "additionalProperties": False}


def schema(scenario: str = "memory-hierarchy") -> dict[str, Any]:
    """The JSON Schema of a study file of this scenario."""
    from pydantic import TypeAdapter

    made = TypeAdapter(load("scenario", scenario)).json_schema()
    own = made.pop("properties")
    whole = made.pop("$defs", {})
    parts = {f"{key}Part": _partial(held) for key, held in whole.items()}
    plain, own = parts, _with_presets(own, parts)
    whole, parts = _with_presets(whole, plain), _with_presets(plain, plain)
    report = TypeAdapter(ReportSpec).json_schema()
    definitions = whole | parts | report.pop("$defs", {})
    seeds = {
        "oneOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer", "minimum": 0}}]
    }
    properties: dict[str, Any] = {
        "study": {"type": "string"},
        "scenario": {"const": scenario},
        "extends": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0},
        # null takes back what an extended file says
        "what_if": {"type": ["object", "null"], "additionalProperties": {"type": "object"}},
        "sweep": _sweep(),
        "sensitivity": _sensitivity(),
        "repeat": {"type": "object", "properties": {"seeds": seeds}, "additionalProperties": False},
        "report": report,
        "claims": {"type": "object", "additionalProperties": _claim()},
    }
    for name, text in STUDY_KEYS.items():
        properties[name]["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"tiersim study: {scenario}",
        "type": "object",
        "properties": properties | own,
        "required": ["study", "scenario"],
        "additionalProperties": False,
        "$defs": definitions,
    }
