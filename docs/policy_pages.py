"""Writes docs/policies/FAMILY/*.md from the register: a page for each policy, and one that compares those of a family.

What a page says of a policy is in its class; its worked example is simulated here (`tiersim.experiments.worked`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from reference import code, declared, doc, entries, paper, table

from tiersim._base import units
from tiersim._base.params import Param, params
from tiersim._base.registry import Entry, load
from tiersim.experiments.catalogue import keys_of
from tiersim.experiments.worked import FAMILIES, GIVEN, Worked, worked
from tiersim.sim.object_loop import asked_by

FOLDER = Path(__file__).parent / "policies"
ROOT = Path(__file__).parents[1]
MADE = "\n<!-- made by docs/policy_pages.py -->\n"  # at the end: a page that begins with a heading is called by it
ZIPF = {"use": "generated/zipf", "records": "100k", "footprint": "4 MiB"}
OBJECTS = {"use": "generated/zipf-objects", "requests": "100k", "objects": "5k"}
ROUTING = {"use": "my-routing.parquet"}
# family -> its title, the reference page that has all of it on one page, and a study with POLICY where it is named
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "way-replacement": (
        "Way policies",
        "policies",
        {
            "scenario": "memory-hierarchy",
            "trace": ZIPF,
            "system": {"use": "desktop-cpu", "caches": {"l2": {"policy": "POLICY", "inclusion": "non-inclusive"}}},
        },
    ),
    "object-replacement": (
        "Object policies",
        "object-policies",
        {"scenario": "object-cache", "trace": OBJECTS, "cache": {"capacity": "5 %", "policy": "POLICY"}},
    ),
    "admission": (
        "Admissions",
        "admissions",
        {
            "scenario": "object-cache",
            "trace": OBJECTS,
            "cache": {"capacity": "5 %", "policy": "lru", "admission": "POLICY"},
        },
    ),
    "expert-replacement": (
        "Expert policies",
        "expert-policies",
        {"scenario": "expert-routing", "trace": ROUTING, "cache": {"policy": "POLICY", "size": 2}},
    ),
    "experts": (
        "Systems that offload experts",
        "expert-systems",
        {
            "scenario": "expert-offload",
            "trace": ROUTING,
            "system": {
                "model": "deepseek-v2-lite",
                "accelerator": "rtx-4090",
                "expert_slots": "12 per layer",
                "link": "pcie-4-x16",
                "host": "desktop-ddr5",
            },
            "policy": "POLICY",
        },
    ),
    "translation": (
        "Translation policies",
        "translation-policies",
        {"scenario": "translation", "trace": ZIPF, "system": "victima-paper", "policy": "POLICY"},
    ),
    "walk-cost-predictor": (
        "Predictors of costly walks",
        "translation-policies",
        {
            "scenario": "translation",
            "trace": ZIPF,
            "system": "victima-paper",
            "policy": {"use": "victima", "predictor": "POLICY"},
        },
    ),
    "routing": (
        "Routers",
        "routers",
        {
            "scenario": "serving",
            "trace": {"use": "generated/conversations", "requests": "1k"},
            "system": {
                "cluster": {"instances": 4},
                "instance": {"model": "llama-3.1-8b", "accelerator": "h100-sxm", "time_model": "roofline"},
            },
            "policy": "POLICY",
        },
    ),
}
LEARNS = ("fiddler", "ktransformers", "static-placement")  # of a share of the trace, which is not replayed
AHEAD = ("hobbit", "mixtral-offloading", "pre-gated")  # by predictions, which the trace or a predictor must give


def main() -> None:
    """Write every page anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for family in FAMILIES:
        (FOLDER / family).mkdir(parents=True)
        examples = {item.name: worked(family, item.name) for item in entries(family)}
        for item in entries(family):
            text = page(family, item, examples[item.name])
            (FOLDER / family / f"{item.name}.md").write_text(text + MADE, encoding="utf-8")
        (FOLDER / family / "index.md").write_text(overview(family, examples) + MADE, encoding="utf-8")


def page(family: str, item: Entry, example: Worked) -> str:
    """All that is known of a policy."""
    title, reference, _ = KINDS[family]
    cls = load(family, item.name)
    file = Path(item.file).resolve()
    lines = len(file.read_text(encoding="utf-8").splitlines())
    also = f" Also called {', '.join(map(code, item.aliases))}." if item.aliases else ""
    more = doc(cls).partition("\n\n")[2]
    given = GIVEN.get((family, item.name), {})
    but = (
        f" Not the default here: {', '.join(code(f'{name}: {held}') for name, held in given.items())}." if given else ""
    )
    where = f"`{file.relative_to(ROOT.resolve())}`, has {lines} lines"
    everything = f"[All {title.lower()} on one page](../../reference/{reference}.md)"
    parts = [
        f"# {item.name}",
        item.summary,
        f"One of the [{title.lower()}](index.md), family `{family}`.{also} Its file, {where}.",
        *(["## What it does exactly", more] if more else []),
        *([f"Source: {paper(item.paper)}"] if item.paper else []),
        "## Parameters",
        parameters(cls),
        "## What it needs",
        needs(family, cls),
        "## In a study",
        f"```yaml\n{study(family, item.name)}```",
        f"`tiersim explain {family}/{item.name} --steps` says in a terminal what stands here. {everything}.",
        "## Worked example",
        example.setting + but,
        table(example.heads, example.rows),
        f"In all: {', '.join(f'{name} {held}' for name, held in example.totals.items())}.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def parameters(cls: Any) -> str:
    """A table of the parameters, with the range of each."""
    held = {field.name: param for field, _, param in params(cls)}
    rows = [
        (code(key.key), key.doc, key.form, limits(held.get(key.key)), code(_default(key.default)), key.source)
        for key in keys_of(cls)
    ]
    return table(("name", "meaning", "form", "range", "default", "source"), rows) if rows else "It has none."


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def limits(param: Param | None) -> str:
    """The least and the most that a parameter may be."""
    if param is None or (param.ge is None and param.le is None):
        return ""
    least, most = (
        "" if bound is None else units.show(int(bound), param.unit) if param.unit else f"{bound:,}"
        for bound in (param.ge, param.le)
    )
    return f"{least} to {most}" if least and most else f"from {least} on" if least else f"up to {most}"


COMPARED = """Each has a page with its source, its parameters and a worked example. Here all are on the same tiny
traces, which show how they differ and not which is better: that is a question for a study."""


def overview(family: str, examples: dict[str, Worked]) -> str:
    """The policies of a family on the same tiny trace."""
    title, reference, _ = KINDS[family]
    kept: dict[str, list[Worked]] = {}
    for example in examples.values():  # one table for each setting: what saw another trace is not compared
        kept.setdefault(example.setting, []).append(example)
    parts = [f"# {title}, step by step\n", f"{COMPARED} [What each does in words](../../reference/{reference}.md).\n"]
    for setting, held in kept.items():
        heads = ("policy", *held[0].totals, "at the end")
        rows = [
            (f"[`{one.name}`]({one.name}.md)", *one.totals.values(), at_the_end(one))
            for one in sorted(held, key=lambda one: one.name)
        ]
        parts += [f"{setting}\n", f"Asked for: {requests(held[0])}.\n", table(heads, rows)]
    return "\n".join(parts)


def requests(example: Worked) -> str:
    """What the trace asks for, in short."""
    joint = " " if all(len(step.asked) < 5 for step in example.steps) else "; "
    return joint.join(step.asked for step in example.steps)


def at_the_end(example: Worked) -> str:
    """What is held after the last step, place by place."""
    last = zip(example.columns, example.steps[-1].holds, strict=True)
    kept = {name: held for name, held in last if held and name not in OF_A_STEP}
    return next(iter(kept.values())) if len(kept) == 1 else "; ".join(f"{name}: {held}" for name, held in kept.items())


OF_A_STEP = (
    "walks",
    "that read memory",
    "waits",
    "ends at",
    "first token after",
    "to compute",
    "cached",
    "reads",
    "background walk",
    "next",
)


def needs(family: str, cls: Any) -> str:
    """What a policy must be given besides requests."""
    said = [text for text in (declared(family, cls),) if text]
    if getattr(cls, "needs_future", False):
        said.append("Knows the future: a bound, which no real cache can be.")
    if getattr(cls, "profile", False):
        said.append("Must know how often experts are used: a study counts that in a part of the trace that it names.")
    if hasattr(cls, "place"):
        said.append("Places experts for good, learnt of a share of the trace that is not replayed: `learn`.")
    if getattr(cls, "bypass", False):
        said.append("Lets nothing in but what it holds anyway.")
    if family == "object-replacement":
        wants = asked_by(cls())
        said += [text for name, text in COLUMNS.items() if name in wants]
    if family == "routing" and hasattr(cls, "dispatch"):
        said.append("Holds requests and sends them later.")
    if hasattr(cls, "wish") and "predicted_e" in getattr(cls.wish, "__code__", cls).co_varnames:
        said.append("Loads ahead what is predicted: without `predictions` it loads on demand.")
    return " ".join(said) or "Nothing but the requests themselves."


COLUMNS = {  # what a verb asks for -> what that is to a reader
    "cost": "Weighs what a miss costs, where the trace says so.",
    "time": "Looks at times, where the trace has them.",
}


def study(family: str, name: str) -> str:
    """A study that names a policy; it can be planned as it stands."""
    made = {"study": f"with-{name}", **_put(KINDS[family][2], name)}
    if name in LEARNS and family == "experts":
        made["learn"] = "10 %"
    if name in AHEAD and family == "experts":
        made["predictions"] = {"use": "accuracy", "right": "80 %"}
    text: str = yaml.safe_dump(made, sort_keys=False, default_flow_style=None, width=110)
    return text


def _put(tree: Any, name: str) -> Any:
    if isinstance(tree, dict):
        return {key: _put(held, name) for key, held in tree.items()}
    return name if tree == "POLICY" else tree


def pages() -> Iterable[str]:
    """The pages, from the folder of the documentation."""
    for family in FAMILIES:
        yield f"policies/{family}/index.md"
        yield from (f"policies/{family}/{item.name}.md" for item in entries(family))


if __name__ == "__main__":
    main()
