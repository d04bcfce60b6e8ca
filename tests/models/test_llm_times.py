"""Time models: what all of them promise the engine, and what each says, calculated by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiersim._base.errors import StudyError
from tiersim._base.params import dump
from tiersim._base.registry import build, index
from tiersim.experiments import presets
from tiersim.experiments.yaml_tree import from_data, plain
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.times.contract import ALWAYS, FEATURES, fine, pairs, product, slope
from tiersim.models.llm.times.contract import whole as times_whole
from tiersim.models.llm.times.preble import FITS
from tiersim.models.llm.times.roofline import CONTEXT, OUTPUT, OUTPUT_READ, PAIR, SPAN
from tiersim.models.llm.transformer import Transformer
from tiersim.sim.source import borrow, load_module

PROFILES = Path(__file__).parent / "profiles"
MS = 10**9


def preset(cls: type, said: Any) -> Any:
    """What a study names under a key of this class."""
    tree = presets.expand(from_data({"key": said}, "study"), type("Holds", (), {"__annotations__": {"key": cls}}))
    return TypeAdapter(cls).validate_python(plain(tree)["key"])


@dataclass(frozen=True)
class Case:
    """A time model in a setting."""

    said: dict[str, Any]
    model: str = "llama-2-7b"
    gpu: str = "a100-80"
    parallel: Parallel = field(default_factory=Parallel)

    @property
    def made(self) -> Any:
        return build("time-model", self.said)

    @property
    def setting(self) -> tuple[Transformer, Gpu, Parallel]:
        return preset(Transformer, self.model), preset(Gpu, self.gpu), self.parallel

    def __str__(self) -> str:
        parts = [held for held, much in vars(self.parallel).items() if much > 1]
        what = self.said.get("fit") or self.said.get("of") or f"{self.model}-{self.gpu}"
        return "-".join([self.said["use"], what, *parts])


LINEAR = {
    "use": "linear", "prefill": "160 us/token", "iteration": "5 ms", "attention": "17 ns/token",
    "decode": "100 us/request", "cached": "31 ns/token",
}  # fmt: skip
BARE = {"use": "roofline", "layer": "0 us/layer", "iteration": "0 us", "request": "0 us/request"}
CASES = [
    Case({"use": "linear", "prefill": "160 us/token"}),
    Case(LINEAR),
    Case({"use": "roofline"}),
    Case(BARE, "smollm2-135m", "b200"),
    Case({"use": "roofline"}, "llama-3.1-405b", "h100-sxm", Parallel(tensor=8, pipeline=2)),
    Case({"use": "roofline"}, "deepseek-v3", "h200", Parallel(expert=32)),
    Case({"use": "roofline", "imbalance": "150 %"}, "mixtral-8x7b", "l40s", Parallel(tensor=2, expert=4, pipeline=3)),
    Case({"use": "roofline"}, "deepseek-v2-lite", "l4"),
    *(Case({"use": "preble", "fit": fit}) for fit in FITS),
    Case({"use": "table", "profile": str(PROFILES / "whole.csv"), "of": "small"}),
    Case({"use": "table", "profile": str(PROFILES / "parts.csv")}, parallel=Parallel(tensor=2)),
]  # fmt: skip
CASES_OF_TABLES = [case for case in CASES if case.said["use"] == "table"]
every = pytest.mark.parametrize("case", CASES, ids=str)


class Functions:
    """The two functions of a case: in Python with numbers that never overflow, and compiled."""

    def __init__(self, case: Case) -> None:
        made = case.made
        self.cls = type(made)
        self.arrays = made.compiled(*case.setting)
        self.whole = {name: [int(number) for number in held] for name, held in self.arrays.items()}
        self.names = {verb: borrow(self.cls, ("step", "line"), "t").arguments[verb] for verb in ("step", "line")}

    def _call(self, verb: str, arrays: dict[str, Any], features: dict[str, int], function: Any) -> Any:
        return function(*(arrays[name] if name in arrays else features[name] for name in self.names[verb]))

    def step(self, **features: int) -> int:
        said = dict.fromkeys(FEATURES, 0) | features
        return int(self._call("step", self.whole, said, self.cls.step))

    def line(self, decodes: int, context: int) -> tuple[int, int, int]:
        made: tuple[int, int, int] = self._call(
            "line", self.whole, {"decodes": decodes, "context": context}, self.cls.line
        )
        return made

    def compiled(self) -> Callable[..., int]:
        """``step`` in machine words."""
        text = borrow(self.cls, ("step", "line"), "t").text
        given = ", ".join([*self.arrays, *FEATURES])
        bound = "".join(f"    {name} = pointer({name})\n" for name in self.arrays)
        text += f"\n@jit_cached\ndef run({given}):\n{bound}    return t_step({', '.join(self.names['step'])})\n"
        run = load_module(text, compiled=True).run
        return lambda **said: int(run(*self.arrays.values(), *(said.get(name, 0) for name in FEATURES)))


@st.composite
def batches(draw: st.DrawFn, most: int = 1 << 20) -> dict[str, int]:
    """Features of prompts and decodes that there can be."""
    prompts = draw(st.lists(st.tuples(st.integers(1, most), st.integers(0, most)), max_size=4))
    contexts = draw(st.lists(st.integers(1, most), max_size=4))
    return {
        "chunks": len(prompts),
        "new": sum(new for new, _ in prompts),
        "area": sum(new * (new + before) for new, before in prompts),
        "squares": sum(new * new for new, _ in prompts),
        "span": sum(new + before for new, before in prompts),
        "decodes": len(contexts),
        "context": sum(contexts),
    }


# --- what all promise


@every
@given(decodes=st.integers(1, 4096), context=st.integers(0, 1 << 36), further=st.integers(0, 1 << 36), data=st.data())
def test_decodes_have_a_closed_form(case: Case, decodes: int, context: int, further: int, data: st.DataObject) -> None:
    functions = made_once(case)
    constant, rise, until = functions.line(decodes, context)
    assert context <= until <= ALWAYS
    for there in {context, min(context + further, until), min(until, 1 << 36)}:
        if there >= context:
            assert functions.step(decodes=decodes, context=there) == constant + rise * there


@every
@given(batch=batches(), feature=st.sampled_from(["new", "area", "span", "context"]), more=st.integers(1, 1 << 16))
def test_more_work_takes_no_less_time(case: Case, batch: dict[str, int], feature: str, more: int) -> None:
    functions = made_once(case)
    time = functions.step(**batch)
    assert time >= 1
    larger = dict(batch)
    if feature == "new" and batch["new"] + batch["decodes"] < case.parallel.pipeline:
        return  # more tokens are more micro-batches, which share attention among the stages
    if feature == "new":  # a prompt more: it is all of these
        larger |= {"chunks": batch["chunks"] + 1, "new": batch["new"] + more, "area": batch["area"] + more * more}
        larger |= {"squares": batch["squares"] + more * more, "span": batch["span"] + more}
    elif batch["decodes" if feature == "context" else "chunks"]:
        larger[feature] += more
        if feature == "area":  # more tokens before the same new ones
            larger |= {"span": batch["span"] + more, "area": batch["area"] + more * batch["new"]}
    assert functions.step(**larger) >= time


@every
def test_nothing_overflows(case: Case) -> None:
    functions = made_once(case)
    step = functions.compiled()
    new = 1 << 21
    prompt = {"chunks": 1, "new": new, "area": 1 << 42, "squares": 1 << 42, "span": new}
    chunk = {"chunks": 1, "new": 2048, "area": 2048 << 31, "squares": 1 << 22, "span": 1 << 31}
    decodes = {"decodes": 1 << 16, "context": 1 << 36}
    for batch in (prompt, chunk, decodes, chunk | decodes, {"chunks": 1, "new": 1, "area": 1, "squares": 1, "span": 1}):
        assert functions.step(**batch) < ALWAYS
        assert step(**batch) == functions.step(**batch)


@every
@given(batch=batches())
def test_compiled_is_the_same(case: Case, batch: dict[str, int]) -> None:
    assert compiled_once(case)(**batch) == made_once(case).step(**batch)


_made: dict[str, Functions] = {}
_compiled: dict[str, Callable[..., int]] = {}


def made_once(case: Case) -> Functions:
    key = repr(case)
    if key not in _made:
        _made[key] = Functions(case)
    return _made[key]


def compiled_once(case: Case) -> Callable[..., int]:
    key = repr(case)
    if key not in _compiled:
        _compiled[key] = made_once(case).compiled()
    return _compiled[key]


def test_every_model_is_tested_here() -> None:
    assert {case.said["use"] for case in CASES} == {entry.name for entry in index("time-model").values()}


@given(coefficient=st.integers(0, (1 << 41) - 1), count=st.integers(0, 1 << 42))
def test_a_product_is_exact(coefficient: int, count: int) -> None:
    assert product(coefficient, count) == coefficient * count >> 12


@given(prompts=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=4))
def test_pairs_are_counted(prompts: list[tuple[int, int]]) -> None:
    counted = sum(before + place for new, before in prompts for place in range(1, new + 1))
    area = sum(new * (new + before) for new, before in prompts)
    squares, new = sum(new * new for new, _ in prompts), sum(new for new, _ in prompts)
    assert pairs(area, squares, new) == counted


def test_what_is_too_slow_is_refused() -> None:
    with pytest.raises(StudyError, match="a pair of tokens takes 600 us, and more than 537 us is not modelled"):
        fine(6 * 10**8)
    with pytest.raises(StudyError, match="a token takes 2,000,000 us, and more than 1,099,512 us is not modelled"):
        times_whole(2 * 10**12, "a token")
    with pytest.raises(StudyError, match="a token takes 100 us, and more than 67 us is not modelled"):
        slope(10**8, "a token")


# --- linear


def test_linear_by_hand() -> None:
    functions = made_once(CASES[1])
    prompt = {"chunks": 1, "new": 100, "area": 100 * 300, "squares": 100 * 100, "span": 300}
    attended = 200 * 100 + 100 * 101 // 2
    assert functions.step(**prompt) == 5 * MS + 100 * 160_000_000 + attended * 17_000
    assert functions.step(decodes=3, context=1000) == 5 * MS + 3 * 100_000_000 + 1000 * 31_000
    assert made_once(CASES[0]).step(decodes=3, context=1000) == 1  # the router's estimate knows no decodes


def test_bounds_of_a_fit() -> None:
    made = build("time-model", {"use": "linear", "prefill": "1 us/token", "fitted": {"new": [1, 512]}})
    assert made.range(None, None, Parallel()) == {"new": (1, 512)}
    for wrong, message in (
        ({"news": [1, 2]}, "no feature of an iteration is called 'news'; did you mean 'new'"),
        ({"new": [2, 1]}, r"the bounds of new are two numbers, \[least, most\], and not \[2, 1\]"),
        ({"new": [1]}, "the bounds of new are two numbers"),
    ):
        with pytest.raises(StudyError, match=message):
            build("time-model", {"use": "roofline", "fitted": wrong})


# --- roofline


def test_the_roofline_by_hand() -> None:
    """Llama 2 7B on an A100, in floating point and from the shapes of its matrices."""
    functions = made_once(Case(BARE))
    peak, memory = 312e12, 2039e9 * 0.9
    weights = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    norms = 32 * 2 * 4096
    output = 2 * 4096 * 32000

    def seconds(new: int, before: int, decodes: int, context: int) -> float:
        tokens = new + decodes
        sampled = decodes + (new > 0)
        linear = max(2 * (weights + norms + 4096) * tokens / (peak * 0.64), 2 * (weights + norms) / (memory * 0.83))
        last = max(output * sampled / (peak * 0.64), output / (memory * 0.83))
        attended = new * before + new * (new + 1) / 2
        kept = 2 * 32 * 128 * 2 * 32
        prompt = max(4 * 32 * 32 * 128 * attended / (peak * 0.5), kept * (new + before) / (memory * 0.55))
        return linear + last + prompt + kept * context / (memory * 0.55)

    for new, before, decodes, context in ((512, 0, 0, 0), (256, 4000, 7, 5000), (1, 0, 0, 0), (0, 0, 64, 64 * 700)):
        features = {
            "chunks": int(new > 0), "new": new, "area": new * (new + before), "squares": new * new,
            "span": new + before if new else 0, "decodes": decodes, "context": context,
        }  # fmt: skip
        said_time = seconds(new, before, decodes, context)
        assert functions.step(**features) / 1e12 == pytest.approx(said_time, rel=1e-4)


def test_decodes_read_the_experts_that_they_hit() -> None:
    """One token reads 8 of 128 experts, many read all."""
    functions = made_once(Case({"use": "roofline"}, "qwen3-30b-a3b", "h100-sxm"))
    reads = functions.whole["reads"]
    expert = 48 * 3 * 2048 * 768 * 2 / (3350e9 * 0.92 * 0.83) * 1e12
    assert reads[1] - reads[0] == pytest.approx(8 * expert, rel=1e-6)
    assert reads[-1] - reads[0] == pytest.approx(128 * expert, rel=1e-6)
    assert reads[2] - reads[0] == pytest.approx((16 - 8 * 8 / 128) * expert, rel=1e-6)


def test_tensor_parts_share_the_work_and_meet() -> None:
    one, two = (Functions(Case(BARE, parallel=Parallel(tensor=parts))) for parts in (1, 2))
    prompt = {"chunks": 1, "new": 4096, "area": 1 << 24, "squares": 1 << 24, "span": 4096}
    goodput = 300e9 * 256 / 272 * 0.6
    meeting = 64 * (40e-6 + 4096 * 4096 * 2 / goodput)  # a ring of two sends the whole once
    assert two.step(**prompt) / 1e12 == pytest.approx(one.step(**prompt) / 2e12 + meeting, rel=1e-3)
    assert two.step(decodes=1, context=10**6) < 0.6 * one.step(decodes=1, context=10**6)


def test_stages_work_on_micro_batches() -> None:
    one, four = (Functions(Case(BARE, parallel=Parallel(pipeline=stages))) for stages in (1, 4))
    alone = {"decodes": 1, "context": 1000}
    assert four.step(**alone) == pytest.approx(one.step(**alone), rel=0.02)  # nothing overlaps with one request
    prompt = {"chunks": 1, "new": 8192, "area": 1 << 26, "squares": 1 << 26, "span": 8192}
    assert four.step(**prompt) == pytest.approx(7 / 16 * one.step(**prompt), rel=0.02)  # 7 turns of a quarter's quarter


def test_few_decodes_go_through_the_stages_whole() -> None:
    """Reading the weights for each micro-batch takes longer; with long contexts it is worth while."""
    said = BARE | {"meeting": "0 us"}
    one, two = (Functions(Case(said, parallel=Parallel(pipeline=stages))) for stages in (1, 2))
    assert two.step(decodes=2, context=100) == pytest.approx(one.step(decodes=2, context=100), rel=1e-3)
    _, whole, until = two.line(2, 100)
    _, cut, rest = two.line(2, until + 1)
    assert (rest, whole) == (ALWAYS, pytest.approx(cut * 4 / 3, rel=1e-3))
    assert two.step(decodes=2, context=10**7) < 0.8 * one.step(decodes=2, context=10**7)


def test_the_roofline_must_know_its_parts() -> None:
    made = build("time-model", "roofline")
    with pytest.raises(StudyError, match="the roofline needs to know the model and the accelerator"):
        made.compiled(None, preset(Gpu, "a100-80"), Parallel())
    fp8 = build("time-model", {"use": "roofline", "arithmetic": "fp8"})
    with pytest.raises(StudyError, match="this GPU has no figure for 'fp8'; it has: fp64, fp32, tf32"):
        fp8.compiled(*CASES[2].setting)
    # an A100 computes packed weights in bfloat16
    assert Functions(Case({"use": "roofline"}, "deepseek-v3", "a100-80")).whole["costs"][1] > 0


@pytest.mark.parametrize("key", ["matrices", "attention", "weights", "cache", "network", "imbalance"])
def test_every_share_counts(key: str) -> None:
    batch = {"chunks": 1, "new": 4096, "area": 1 << 24, "squares": 1 << 24, "span": 4096, "decodes": 9, "context": 9000}
    if key == "weights":
        batch = {"decodes": 1, "context": 10}
    setting = ("mixtral-8x7b", "a100-80", Parallel(tensor=2, expert=4))
    base = Functions(Case({"use": "roofline"}, *setting)).step(**batch)
    other = Functions(Case({"use": "roofline", key: "150 %" if key == "imbalance" else "30 %"}, *setting)).step(**batch)
    assert other > base


@pytest.mark.parametrize("key", ["meeting", "iteration", "layer", "request"])
def test_every_overhead_counts(key: str) -> None:
    unit = {"layer": "/layer", "request": "/request"}.get(key, "")
    setting = ("mixtral-8x7b", "a100-80", Parallel(tensor=2))
    none, some = (
        Functions(Case({"use": "roofline", key: f"{much}{unit}"}, *setting)).step(decodes=2, context=10)
        for much in ("0 us", "1 ms")
    )
    times = {"meeting": 64, "iteration": 1, "layer": 32, "request": 2}[key]
    assert some - none == times * MS


# --- Preble's equations

PUBLISHED = {
    # (new, context in the end) of one prompt: ms, by the published functions with these numbers
    "mistral-7b/a100": {(512, 512): (0.05031337 * 512 + 5.505996896412796 + 0.32) / 0.85, (100, 900): 10.82 / 0.85},
    "mistral-7b/a6000": {(100, 2000): (22 + 1.86e-4 * 2000 + 0.159) / 0.9},
    "llama-3-70b/a100": {(1000, 3000): 28.931389 + 182.233431 + 12.01095426 + 2.55050069e-06 * 3e6},
    "llama-3-70b/h100": {(1, 1): 18.667307 + 7.98791064e-02 + 2.68531603e-03 + 7.4e-7},
}
PUBLISHED["mistral-7b/a100"][2048, 2048] = (
    0.05031337 * 2048 + 5.505996896412796
    + 0.12386358316396695 - 7.45358651e-04 * 2048 + 1.72022673e-03 * 2048 + 1.36265841e-06 * 2048**2
) / 0.85  # fmt: skip
PUBLISHED["mistral-7b/a6000"][4096, 8192] = (
    0.10842571 * 4096 + 4.209777054806409 + 1.86e-4 * 8192 + 0.159
    + 1.13e-3 * 4096 + 1.75e-3 * 8192 + 2.19e-6 * 4096 * 8192
) / 0.9  # fmt: skip


@pytest.mark.parametrize("fit", FITS)
def test_prebles_equations(fit: str) -> None:
    functions = made_once(Case({"use": "preble", "fit": fit}))
    for (new, end), published in PUBLISHED[fit].items():
        time = functions.step(chunks=1, new=new, area=new * end, squares=new * new, span=end)
        assert time / MS == pytest.approx(published, rel=1e-6)


def test_where_prebles_equations_bend() -> None:
    functions = made_once(Case({"use": "preble", "fit": "mistral-7b/a6000"}))
    assert functions.line(1, 500)[1:] == (0, 1024)
    assert functions.line(1, 1025)[1:] == (round(1.86e-4 * MS / 0.9), ALWAYS)
    ends = [functions.step(decodes=tokens, context=tokens) / MS for tokens in (191, 192, 383, 384)]
    assert ends[1] - ends[0] == pytest.approx(0, abs=0.01)  # the line that stands in meets both ends
    assert ends[3] - ends[2] == pytest.approx(0.124 / 0.9, abs=0.01)


# --- tables


def whole(**more: Any) -> Functions:
    return Functions(Case({"use": "table", "profile": str(PROFILES / "whole.csv"), "of": "small"} | more))


def prompt(new: int, before: int = 0) -> dict[str, int]:
    """The features of one prompt, or of a part of one."""
    end = new + before
    return {"chunks": 1, "new": new, "area": new * end, "squares": new * new, "span": end}


def test_a_table_gives_what_was_measured_and_lines_between() -> None:
    """The median of runs at each size; twice the tokens of the last cost as much more as its last half."""
    functions = whole()
    times = [functions.step(**prompt(new)) / MS for new in (1, 128, 320, 512, 1280, 2048, 4096)]
    assert times == pytest.approx([22, 22, 41, 60, 160, 260, 260 + 200 * 2048 / 1536], rel=1e-6)
    alone = [functions.step(decodes=1, context=context) / MS for context in (10, 178, 370, 562, 2098)]
    assert alone == pytest.approx([10, 10, 10.5, 11, 14], rel=1e-4)


def test_a_table_of_batches() -> None:
    """A batch costs its requests and the context that they have together."""
    functions = whole()
    for requests, measured in ((1, 11), (4, 15.3), (16, 31.5)):
        assert functions.step(decodes=requests, context=requests * 562) / MS == pytest.approx(measured, rel=1e-3)
    both = functions.step(**prompt(508), decodes=4, context=178)
    assert both == functions.step(**prompt(512))
    assert functions.step(**prompt(1), decodes=100, context=178) == functions.step(decodes=100, context=178)


def test_what_stands_before_a_prompt_costs_attention() -> None:
    functions = whole()
    more = functions.step(**prompt(512, before=10_000)) - functions.step(**prompt(512))
    pair = 4 * 32 * 32 * 128 / (312e12 * 0.5) * 1e12
    assert more == pytest.approx(512 * 10_000 * pair, rel=1e-4)


def test_a_falling_curve_is_levelled() -> None:
    """With two devices a batch of two was measured faster than one request: both take their mean."""
    functions = Functions(replace(CASES_OF_TABLES[0], parallel=Parallel(tensor=2)))
    assert functions.step(decodes=1, context=562) / MS == pytest.approx(7.5, rel=1e-3)
    assert functions.step(decodes=2, context=562) / MS == pytest.approx(7.5, rel=1e-3)


def test_a_table_of_parts() -> None:
    """Each of nine parts of 32 layers and the embedding, and of the roofline the rest."""
    said = {"use": "table", "profile": str(PROFILES / "parts.csv"), "rest": BARE}
    functions, roofline = Functions(Case(said)), Functions(Case(BARE))
    parts = 32 * sum(range(2, 11)) + 1
    costs = roofline.whole["costs"]
    output = max(costs[OUTPUT], costs[OUTPUT_READ])
    attention = max(product(costs[PAIR], 256 * 257 // 2), costs[SPAN] * 256)
    assert functions.step(**prompt(256)) == pytest.approx(parts * 0.02 * MS + output + attention, rel=1e-6)
    decode = functions.step(decodes=256, context=10**6)
    assert decode == pytest.approx(
        parts * 0.02 * MS + max(256 * costs[OUTPUT], costs[OUTPUT_READ]) + costs[CONTEXT] * 10**6, rel=1e-6
    )


def test_where_a_table_was_measured() -> None:
    setting = CASES_OF_TABLES[0].setting
    assert CASES_OF_TABLES[0].made.range(*setting) == {
        "new": (128, 2048), "decodes": (1, 16), "context": (178, 8992),
    }  # fmt: skip
    assert CASES_OF_TABLES[1].made.range(*CASES_OF_TABLES[1].setting) == {"new": (1, 1024), "decodes": (1, 1024)}


def test_a_resolved_table_says_its_content() -> None:
    made = CASES_OF_TABLES[0].made
    shown = dump(made)
    assert shown["content"] == made.fingerprint
    assert len(made.fingerprint) == 64
    again = build("time-model", shown)
    assert (again.compiled(*CASES_OF_TABLES[0].setting)["knots"] == made_once(CASES_OF_TABLES[0]).arrays["knots"]).all()
    other = build("time-model", shown | {"content": "0" * 64})
    with pytest.raises(StudyError, match=r"its content is [0-9a-f]+, and must be 0+"):
        other.compiled(*CASES_OF_TABLES[0].setting)


@pytest.mark.parametrize(
    ("said", "parallel", "message"),
    [
        ({"of": None}, Parallel(), "it is of several: say `of`, one of large, small"),
        ({"of": "smal"}, Parallel(), "no model in it is called 'smal'; did you mean 'small'"),
        ({"on": "GPU"}, Parallel(), "no hardware in it is called 'GPU'; there are: card"),
        ({}, Parallel(tensor=4), r"it has no times of 4 devices \(`tensor`\), but of 1, 2"),
        ({}, Parallel(pipeline=2), "a table has times of one stage without expert parts"),
        ({"of": "large"}, Parallel(), "a curve needs times of at least two sizes"),
        ({"rest": {"use": "linear", "prefill": "1 us/token"}}, Parallel(), "`rest` of a table is a roofline"),
        ({"profile": "generated/zipf"}, Parallel(), "generated/zipf is a access trace, and no profile"),
    ],
)
def test_what_no_table_can_be(said: dict[str, Any], parallel: Parallel, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Functions(replace(CASES_OF_TABLES[0], said=CASES_OF_TABLES[0].said | said, parallel=parallel))
