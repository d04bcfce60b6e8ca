"""Routing logs of vLLM, with the passes that only warm it up marked."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import groupby
from typing import Annotated, Any, ClassVar, Final

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.experts import chosen, named, place, weighted
from tiersim.traces.readers.requests import Row, gathered, lines, object_of
from tiersim.traces.readers.text import first_lines
from tiersim.traces.schema import ROUTING, TOKEN, WARM_UP, Chunk

META: Final = ("layers_logged", "top_k")
EXPECTED: Final = (
    'expected {"type": "route", "token_idx": number, "layer": number, "topk_ids": [experts, each once], '
    '"topk_weights": [as many numbers, none below 0]}, or {"type": "meta"} where a log begins'
)


@register("moe-vllm", family="reader", paper="https://github.com/weiran0129/vLLM-MoE-Logger")
class MoeVllm:
    """vLLM-MoE-Logger's JSON lines: a line of ``meta``, then a ``route`` for each token and layer of a forward pass.

    A pass logs its layers one after the other, each with all its tokens; ``token_idx`` is the place in the pass, and
    falls back to 0 at each layer. Where the layer was there before, the next pass begins, and so it does after a line
    of ``meta``. Passes are numbered in ``step``. A pass is warm-up, on dummy tokens, where each layer has ``warm_up``
    rows or more and all of a layer have the same experts and weights, which no real text of that length has. Its
    records are marked, and none is left out. ``req_id``, which the logger makes the same for all, is not kept.
    """

    schema: ClassVar[str] = ROUTING.name

    warm_up: Annotated[int, Param("rows, all the same, from which on a forward pass is taken for warm-up", ge=2)] = 256

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 is the logger's ``meta``, or a ``route`` where that was cut off."""
        held = object_of(first_lines(head)[0])
        return _row(held) is not None or (held.get("type") == "meta" and all(key in held for key in META))

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every routed token. Raises TraceError with line, byte offset and text."""
        yield from gathered(_marked(_rows(stream, source), self.warm_up), ROUTING)
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    """Every routed token with the number of its pass."""
    step = layer = -1
    following = 0
    seen: set[int] | None = None  # layers of the pass; none before its first line
    for line in lines(stream, source):
        held = object_of(line.text)
        if held.get("type") == "meta":
            seen, layer = None, -1
            continue
        row = _row(held)
        if row is None:
            raise line.wrong("the route of a token", f"{EXPECTED}; cut the file before this line")
        if row["token"] == 0:
            layer, following = row["layer"], 0
            if seen is None or layer in seen:
                step, seen = step + 1, set()
            seen.add(layer)
        if (row["layer"], row["token"]) != (layer, following):
            raise line.wrong(
                f"token_idx {following} of layer {layer}" if layer >= 0 else "token_idx 0 of a layer",
                "expected the tokens of a layer one after the other, from 0 on; cut the file before this line",
            )
        following += 1
        yield row | {"step": step}


def _marked(rows: Iterable[Row], least: int) -> Iterator[Row]:
    """The same, those of warm-up marked. A pass is held as long as all its rows are the same, each layer as one."""
    for _, group in groupby(rows, key=lambda row: row["step"]):
        routed = iter(group)
        alike: list[tuple[Row, int]] = []  # for each layer the row that all are, and how many
        other: Row | None = None
        for row in routed:
            if row["token"] == 0:
                alike.append((row, 1))
            elif all(row[name] == alike[-1][0][name] for name in ("experts", "weights")):
                alike[-1] = (alike[-1][0], alike[-1][1] + 1)
            else:
                other = row
                break
        warm = other is None and all(count >= least for _, count in alike)
        for row, count in alike:
            for token in range(count):
                yield row | {"token": token, "phase": WARM_UP if warm else TOKEN}
        if other is not None:
            yield other
        yield from routed


def _row(held: dict[str, Any]) -> Row | None:
    token, layer, experts, weights = (held.get(key) for key in ("token_idx", "layer", "topk_ids", "topk_weights"))
    if held.get("type") != "route" or not (place(token) and named(layer) and chosen(experts)):
        return None
    if not weighted(weights, len(experts)):
        return None
    return {"layer": layer, "token": token, "experts": experts, "weights": weights, "phase": TOKEN}
