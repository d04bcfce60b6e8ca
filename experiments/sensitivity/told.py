"""How a sensitivity is told: sentences, tables with intervals, and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tiersim.experiments.sections import Column, Grid, Section, Slot
from tiersim.experiments.sensitivity.drawn import drawings
from tiersim.experiments.table import number
from tiersim.experiments.unfold import as_written
from tiersim.experiments.yaml_tree import plain

if TYPE_CHECKING:
    from tiersim.experiments.sensitivity.crossover import Course
    from tiersim.experiments.sensitivity.methods import Estimate, Indices
    from tiersim.experiments.sensitivity.ranks import Ranks
    from tiersim.experiments.sensitivity.result import Found, SensitivityResult
    from tiersim.experiments.sensitivity.speedups import Faster

__all__ = ["public", "sections"]

TOP = 10  # factors of a variant and output that tables show
PAIRS = 5  # of a variant and output, at most
FAILURES = 3  # that are named
SAME = "the output is the same in all samples"  # a note that a sentence says in other words
SHARES = ("sobol",)  # methods whose indices are shares of the variance
INDICES = {  # method -> name of an index -> its head, and what it means
    "sobol": {
        "first": ("alone", "share of the variance that the factor explains alone (first order)"),
        "total": ("with interactions", "share of the variance that the factor takes part in (total)"),
    },
    "morris": {
        "mu_star": ("moves it by", "mean size of the change over the whole range of the factor"),
        "mu": ("up or down", "mean change over the whole range, with its sign"),
        "sigma": ("spread", "standard deviation of the change: interactions, and what is not linear"),
    },
    "pawn": {
        "median": ("median", "of the distances between the distributions in slices of the factor and of all"),
        "maximum": ("maximum", "of these distances"),
        "dummy": ("of no effect", "the median that a factor without effect would have"),
    },
    "delta": {
        "delta": ("delta", "the part of the density that moves when the factor is known"),
        "dummy": ("of no effect", "the delta that a factor without effect would have"),
        "first": ("alone", "share of the variance that the factor explains alone (first order)"),
    },
}


# sentences


def answers(found: SensitivityResult) -> list[str]:
    """The answer in sentences, the most important first."""
    said = [text for output, held in found.ranks.items() for text in _hinges(output, held)]
    said += [_matters(found, held) for held in found.indices]
    said += _crossings(found)
    said += _worth(found)
    return [text for text in said if text]


def notes(found: SensitivityResult) -> list[str]:
    """What must be said of how it was found: failures, and how they were handled."""
    said = [
        f"{held.output}{_of(found, held.variant)}: {note}"
        for held in found.indices
        for note in (*held.indices.notes, held.indices.why)
        if note and note != SAME
    ]
    said += [note for held in found.ranks.values() for note in held.notes]
    failures = found.failures
    said += [f"failed: {label}: {why}" for label, why in failures[:FAILURES]]
    if len(failures) > FAILURES:
        said.append(f"and {len(failures) - FAILURES} more failed, see samples.csv")
    return list(dict.fromkeys([*said, *found.spec.notes]))


def _of(found: SensitivityResult, variant: str) -> str:
    return f" ({variant})" if len(found.spec.at) > 1 else ""


def _hinges(output: str, held: Ranks) -> Iterator[str]:
    """Whether the conclusion holds over the samples, and on which factor it hinges."""
    if not held.order or not held.used:
        return
    best, won = held.order[0], held.wins[held.order[0]]
    others = sorted((name for name in held.wins if name != best), key=lambda name: -held.wins[name])
    if won == 1:
        yield f"Nothing that varies here changes who wins: {best} has the best {output} in all {held.used:,} samples."
    else:
        rival = others[0]
        text = f"{best} has the best {output} in {number(won, 'ratio')} of {held.used:,} samples, {rival} in"
        text += f" {number(held.wins[rival], 'ratio')}"
        yield f"{text}; it hinges most on {held.decides[rival]}." if rival in held.decides else f"{text}."
    if len(held.order) > 2 and held.held is not None and held.tau is not None:
        yield (
            f"The whole order by {output} is that of the study's own point in {_percent(held.held)} of the samples "
            f"(mean Kendall's tau {held.tau:.2f})."
        )


def _matters(found: SensitivityResult, held: Found) -> str:
    """Which factor matters most for an output."""
    leading, of = held.leading(), _of(found, held.variant)
    if not leading:
        return ""
    name, most = leading[0]
    if not any(its.value for _, its in leading):
        return f"Nothing that varies here changes {held.output}{of}."
    if most.low is not None and most.low <= 0:
        return f"These samples are too few to tell what changes {held.output}{of}."
    method = held.indices.method
    if method in ("pawn", "delta"):
        idle = held.indices.kinds["dummy"][held.indices.names.index(name)]
        if idle is not None and idle.high is not None and most.value <= idle.high:
            return f"Nothing that varies here is seen to shift the distribution of {held.output}{of}."
    if method == "sobol":
        alone = held.indices.kinds["first"][held.indices.names.index(name)]
        assert alone is not None, "of every factor"
        text = f"{name} explains {_percent(alone.value)} of the variance of {held.output}{of}"
        if round(100 * most.value) > round(100 * alone.value):
            text += f", {_percent(most.value)} with its interactions"
    elif method == "morris":
        text = f"{name} moves {held.output}{of} most, by {_amount(found, held.output, most.value)} over its range"
        text += " on average"
    else:
        word = "shifts the distribution of" if method == "pawn" else "tells most of the distribution of"
        text = f"{name} {word} {held.output}{of}{' most' if method == 'pawn' else ''} ({method} {most.value:.2f})"
    if len(leading) > 1:
        other, second = leading[1]
        if second.high is not None and most.low is not None and second.high > most.low:
            text += f"; these samples cannot tell whether {other} matters more"
    return f"{text}."


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.0f} %"


def _unit(found: SensitivityResult, output: str) -> str:
    held = found.metrics.get(output)
    return held.unit if held else ""


def _amount(found: SensitivityResult, output: str, value: float) -> str:
    unit = _unit(found, output)
    text = number(value, unit)
    return text if unit in ("", "ratio", "bytes") or text.endswith("B") else f"{text} {unit}"


def _crossings(found: SensitivityResult) -> Iterator[str]:
    """Where along each factor alone the winner changes, and along which it does not."""
    still: dict[tuple[str, str], list[Course]] = {}
    for held in found.courses:
        names = {name or "nobody" for name in held.winners}
        if len(names) == 1:
            still.setdefault((held.output, names.pop()), []).append(held)
            continue
        wins: list[tuple[str, str, str]] = []  # who, from, to
        for setting, name in zip(held.settings, held.winners, strict=True):
            if wins and wins[-1][0] == (name or "nobody") and held.kind != "categories":
                wins[-1] = (wins[-1][0], wins[-1][1], setting)
            else:
                wins.append((name or "nobody", setting, setting))
        parts = [f"{name} {low if low == high else f'from {low} to {high}'}" for name, low, high in wins]
        yield f"Best {held.output} along {held.factor}: {', '.join(parts)}."
    for (output, name), courses in still.items():
        where = ""
        if len(courses) == 1:
            settings = courses[0].settings
            listed = courses[0].kind == "categories"
            where = f" ({', '.join(settings) if listed else f'{settings[0]} to {settings[-1]}'})"
        along = ", ".join(held.factor for held in courses)
        yield f"No crossover along {along}: {name} has the best {output} throughout{where}."


def _worth(found: SensitivityResult) -> Iterator[str]:
    """Which factor is worth most when it alone is faster, for each variant and output."""
    for at in found.spec.at:
        for output in found.outputs:
            mine = [held for held in found.speedups if held.at == at and math.isfinite(held.elasticity(output))]
            if mine:
                most = max(mine, key=lambda held: abs(held.elasticity(output)))
                told = f"{output} {_change(most.ratios[output][0])}{_of(found, at)}"
                yield f"{most.factor} {100 * (most.steps[0].speed - 1):.3g} % faster: {told}."


def _change(ratio: float) -> str:
    return "+0 %" if ratio == 1 else f"{100 * (ratio - 1):+.3g} %"


# tables


def sections(found: SensitivityResult) -> list[Section]:
    """The section of a sensitivity."""
    grids = [*_ranks(found), *_indices(found), *_pairs(found), *_courses(found), *_map(found), *_speedups(found)]
    return [Section("Sensitivity", (*answers(found), *notes(found)), tuple(grids), tuple(drawings(found)))]


def _heads(found: SensitivityResult) -> tuple[Column, ...]:
    variant = (Column("variant"),) if len(found.spec.at) > 1 else ()
    return (*variant, *((Column("output"),) if len(found.outputs) > 1 else ()))


def _names(found: SensitivityResult, variant: str, output: str) -> tuple[Slot, ...]:
    variants = (Slot(variant),) if len(found.spec.at) > 1 else ()
    return (*variants, *((Slot(output),) if len(found.outputs) > 1 else ()))


def _slot(held: Estimate | None, unit: str = "", method: str = "") -> Slot:
    """An index and how far its interval reaches."""
    if held is None:
        return Slot("-")
    shares = method in SHARES
    text = f"{100 * held.value:.0f} %" if shares else number(held.value, unit)
    if held.low is not None and held.high is not None and held.high > held.low:
        reach = (held.high - held.low) / 2
        text += f" ±{100 * reach:.0f}" if shares else f" ±{100 * reach:.2g}" if unit == "ratio" else f" ±{reach:.2g}"
    return Slot(text, held.value, held.low, held.high)


def _ranks(found: SensitivityResult) -> Iterator[Grid]:
    """How often each variant is the best, and what decides between it and the best."""
    rows = []
    output = (Column("output"),) if len(found.outputs) > 1 else ()
    for name, held in found.ranks.items():
        for place, variant in enumerate(held.order or tuple(held.wins), 1):
            own = Slot(str(place), place) if held.order else Slot("-")
            wins = Slot(number(held.wins[variant], "ratio"), held.wins[variant]) if held.wins else Slot("-")
            named = (Slot(name),) if output else ()
            rows.append((*named, Slot(variant), own, wins, Slot(held.decides.get(variant, "-"))))
    if rows:
        columns = (
            *output,
            *(Column("variant"), Column("rank", "", "at the study's own point")),
            Column("best in", "", "share of the samples"),
            Column("hinges on", "", "the factor that changes its ratio to the best most"),
        )
        yield Grid("ranks", "Who is the best over the samples", columns, tuple(rows))


def _indices(found: SensitivityResult) -> Iterator[Grid]:
    kinds = INDICES[found.spec.method]
    rows = []
    for held in found.indices:
        unit = _unit(found, held.output) if held.indices.method == "morris" else ""
        for name in [name for name, its in held.leading() if its.value][:TOP]:
            place = held.indices.names.index(name)
            slots = [_slot(held.indices.kinds[kind][place], unit, held.indices.method) for kind in kinds]
            rows.append((*_names(found, held.variant, held.output), Slot(name), *slots))
    if rows:
        columns = (*_heads(found), Column("factor"), *(Column(head, "", doc) for head, doc in kinds.values()))
        of = f" of {found.outputs[0]}" if len(found.outputs) == 1 else ""
        each = " of each variant" if len(found.spec.at) > 1 else ""
        if any(sum(bool(its.value) for _, its in held.leading()) > TOP for held in found.indices):
            of += f", the first {TOP}"
        caption = f"What matters{of} ({found.spec.method}, {found.spec.runs:,} samples"
        yield Grid("sensitivity", f"{caption}{each}{_idle(found)})", columns, tuple(rows))


def _idle(found: SensitivityResult) -> str:
    """The factors that no output depends on, which have no line of their own."""
    moved = {name for held in found.indices for name, its in held.leading() if its.value}
    idle = [factor.key for factor in found.factors if factor.key not in moved]
    if not idle:
        return ""
    return f"; nothing depends on {', '.join(idle) if len(idle) <= PAIRS else f'{len(idle)} others'}"


def _pairs(found: SensitivityResult) -> Iterator[Grid]:
    """Pairs with more effect than their parts have, as far as samples tell."""
    rows = []
    for held in found.indices:
        pairs = [(pair, its) for pair, its in held.indices.second.items() if its.low is None or its.low > 0]
        for (a, b), its in sorted(pairs, key=lambda pair: -pair[1].value)[:PAIRS]:
            rows.append((*_names(found, held.variant, held.output), Slot(a), Slot(b), _slot(its, "", "sobol")))
    if rows:
        columns = (*_heads(found), Column("factor"), Column("with"), Column("together", "", "share of the variance"))
        caption = "What two factors do together beyond what each does alone"
        yield Grid("sensitivity-pairs", caption, columns, tuple(rows))


def _courses(found: SensitivityResult) -> Iterator[Grid]:
    rows = [
        (
            *((Slot(held.output),) if len(found.outputs) > 1 else ()),
            *(Slot(held.factor), Slot(change.low), Slot(change.before or "nobody")),
            *(Slot(change.high), Slot(change.after or "nobody")),
        )
        for held in found.courses
        for change in held.changes
    ]
    if rows:
        output = (Column("output"),) if len(found.outputs) > 1 else ()
        columns = (*output, Column("factor"), Column("at"), Column("best"), Column("and at"), Column("best there"))
        yield Grid("crossovers", "Where along one factor alone the best variant changes", columns, tuple(rows))


def _map(found: SensitivityResult) -> Iterator[Grid]:
    held = found.map
    if held is not None:
        first, second = held.factors
        columns = (Column(f"{first} over {second}"), *(Column(setting) for setting in held.settings[1]))
        rows = tuple(
            (Slot(setting), *(Slot(name or "nobody") for name in cells))
            for setting, cells in zip(held.settings[0], held.cells, strict=True)
        )
        yield Grid("winners", f"The variant with the best {held.output}", columns, rows)


def _speedups(found: SensitivityResult) -> Iterator[Grid]:
    rows = []
    for held in found.speedups:
        there = {step.asked: (step, place) for place, step in enumerate(held.steps)}
        for output in found.outputs:
            slots = []
            for share in found.spec.speedups:
                step, place = there.get(share, (None, 0))
                ratio = held.ratios[output][place] if step else math.nan
                slots.append(Slot(_change(ratio), ratio - 1) if math.isfinite(ratio) else Slot("-"))
            elasticity = held.elasticity(output)
            told = Slot(f"{elasticity:.2f}", elasticity) if math.isfinite(elasticity) else Slot("-")
            rows.append((*_names(found, held.at, output), Slot(held.factor), Slot(held.own), *slots, told))
    if rows:
        asked = [Column(f"{100 * float(share):g} % faster") for share in found.spec.speedups]
        doc = "per cent of the output for a per cent of speed, at the smallest step"
        columns = (*_heads(found), Column("factor"), Column("is"), *asked, Column("elasticity", "", doc))
        yield Grid("speedups", "What it is worth to make one thing faster", columns, tuple(rows))


# JSON


def public(found: SensitivityResult) -> dict[str, Any]:
    """The form of `tiersim run --json`."""
    spec = found.spec
    out: dict[str, Any] = {
        "at": list(spec.at),
        "method": spec.method,
        "samples": spec.samples,
        "seed": spec.seed,
        "factors": {factor.key: {"kind": factor.kind, **_values(factor)} for factor in found.factors},
        "outputs": list(found.outputs),
        "runs": len(found.rows),
        "failures": [{"run": label, "why": why} for label, why in found.failures],
        "answers": answers(found),
        "indices": [{"variant": held.variant, "output": held.output, **_told(held.indices)} for held in found.indices],
    }
    if found.ranks:
        out["ranks"] = [{"output": output, **_ranked(held)} for output, held in found.ranks.items()]
    if spec.crossover:
        out["crossovers"] = [
            {
                "output": held.output,
                "factor": held.factor,
                "values": list(held.settings),
                "best": list(held.winners),
                "changes": [vars(change) for change in held.changes],
            }
            for held in found.courses
        ]
    if found.map is not None:
        held = found.map
        out["map"] = {
            "output": held.output,
            "factors": list(held.factors),
            "values": [list(settings) for settings in held.settings],
            "best": [list(cells) for cells in held.cells],
        }
    if spec.speedups:
        out["speedups"] = [_faster(found, item) for item in found.speedups]
    return out


def _values(factor: Any) -> dict[str, Any]:
    if factor.range is None:
        return {"values": [as_written(entry.node) for entry in factor.entries]}
    said: dict[str, Any] = plain(factor.node)
    return said


def _ranked(held: Ranks) -> dict[str, Any]:
    return {
        "wins": held.wins,
        "order": list(held.order),
        "held": held.held,
        "tau": held.tau,
        "used": held.used,
        "failed": held.failed,
        "hinges_on": held.decides,
        "ratios": [{"variant": name, **_told(indices)} for name, indices in held.ratios.items()],
    }


def _told(indices: Indices) -> dict[str, Any]:
    return {
        "used": indices.used,
        "failed": indices.failed,
        "why": indices.why or None,
        "notes": list(indices.notes),
        **{
            kind: {name: _estimate(one) for name, one in zip(indices.names, estimates, strict=True)}
            for kind, estimates in indices.kinds.items()
        },
        "second": [{"factors": list(pair), **(_estimate(one) or {})} for pair, one in indices.second.items()],
    }


def _estimate(held: Estimate | None) -> dict[str, float | None] | None:
    return None if held is None else {"value": held.value, "low": held.low, "high": held.high}


def _faster(found: SensitivityResult, held: Faster) -> dict[str, Any]:
    return {
        "variant": held.at,
        "factor": held.factor,
        "own": held.own,
        "steps": [
            {
                "faster": float(step.asked),
                "speed": step.speed,
                "value": step.setting,
                "ratios": {name: _finite(held.ratios[name][place]) for name in found.outputs},
            }
            for place, step in enumerate(held.steps)
        ],
        "elasticity": {name: _finite(held.elasticity(name)) for name in found.outputs},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
