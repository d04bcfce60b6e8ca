"""The figures that a sensitivity has, each with its name and caption."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tiersim.experiments.figures.words import words
from tiersim.experiments.sections import Drawing
from tiersim.experiments.sensitivity import figures
from tiersim.experiments.sensitivity.ranks import LEADING
from tiersim.experiments.unfold import as_written

if TYPE_CHECKING:
    from tiersim.experiments.sensitivity.result import SensitivityResult
    from tiersim.experiments.sensitivity.spec import Varied

__all__ = ["drawings"]

AT = (0.0, 0.5, 1.0)  # shares of a range that an axis names


def drawings(found: SensitivityResult) -> Iterator[Drawing]:
    """Indices of each variant and output, winners over the two factors that decide, and what speed is worth."""
    taken: set[str] = set()
    for one in _drawings(found):
        tries = (one.name if count == 1 else f"{one.name}-{count}" for count in range(1, len(taken) + 2))
        taken.add(name := next(name for name in tries if name not in taken))
        yield replace(one, name=name)


def _drawings(found: SensitivityResult) -> Iterator[Drawing]:
    for held in found.indices:
        indices = held.indices
        leading = indices.kinds.get(LEADING[indices.method], ())
        matter = sum(one is not None and one.value > 0 for one in leading)
        if not matter:
            continue
        what = f"{words(held.output)}{f' ({held.variant})' if len(found.spec.at) > 1 else ''}"
        name = _name(held.output, held.variant if len(found.spec.at) > 1 else "")
        unit = found.metrics[held.output].unit if held.output in found.metrics else ""
        most = ", the greatest" if matter > figures.MOST else ""
        said = f"What matters for {what}: {indices.method}, {indices.used:,} samples{most}"
        yield Drawing(f"sensitivity{name}", said, partial(figures.draw_indices, indices, said, unit))
        if any(one.low is not None and one.low > 0 for one in indices.second.values()):
            said = f"What two factors do together for {what}, beyond what each does alone"
            yield Drawing(f"pairs{name}", said, partial(figures.draw_pairs, indices, said))
        if indices.method == "morris":
            said = f"Size and spread of the changes of {what}"
            yield Drawing(f"spread{name}", said, partial(figures.draw_plane, indices, said, unit))
    factors = {factor.key: factor for factor in found.factors}
    for output, ranks in found.ranks.items():
        scatter = ranks.scatter
        if scatter is not None and any(0 < won < 1 for won in ranks.wins.values()):
            said = f"The best {words(output)} at each sample, over the two factors that decide most"
            x, y = (_ticks(factors[key]) for key in (scatter.x, scatter.y))
            draw = partial(figures.draw_scatter, scatter, list(ranks.wins), x, y, said)
            yield Drawing(f"winners{_name(output)}", said, draw)
    if (cells := found.map) is not None:
        said = f"The variant with the best {words(cells.output)}"
        draw = partial(figures.draw_cells, cells.factors, cells.settings, cells.cells, list(found.spec.at), said)
        yield Drawing(f"map{_name(cells.output)}", said, draw)
    for at in found.spec.at:
        faster = [one for one in found.speedups if one.at == at]
        for output in found.outputs:
            curves = {
                one.factor: [(step.speed, ratio) for step, ratio in zip(one.steps, one.ratios[output], strict=True)]
                for one in faster
                if any(math.isfinite(ratio) for ratio in one.ratios[output])
            }
            if curves:
                several = len(found.spec.at) > 1
                said = f"What speed is worth for {words(output)}{f' ({at})' if several else ''}"
                draw = partial(figures.draw_speedups, curves, output, said)
                yield Drawing(f"speedups{_name(output, at if several else '')}", said, draw)


def _ticks(factor: Varied) -> list[tuple[float, str]]:
    """Where values of a factor stand: ends and middle of a range, the middle of each part of a list."""
    if factor.range is None:
        count = len(factor.entries)
        return [((at + 0.5) / count, str(as_written(entry.node))) for at, entry in enumerate(factor.entries)]
    return [(share, _short(str(as_written(factor.at(share).node)))) for share in AT]


def _short(text: str) -> str:
    """A quantity with three digits."""
    return re.sub(r"^[0-9.]+", lambda match: f"{float(match[0]):.3g}" if float(match[0]) < 1000 else match[0], text)


def _name(*parts: str) -> str:
    """What tells the files of figures apart, mostly."""
    return "".join(f"-{text}" for part in parts if (text := re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.")))
