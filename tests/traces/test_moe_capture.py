"""Captures of small models with random weights: what the routers of each family choose, and what cannot be captured."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import CaptureError, DependencyError, StudyError
from tiersim.cli import main
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.traces import capture_moe, load_trace
from tiersim.traces.moe_capture import _best_first
from tiersim.traces.moe_models import RANDOM, SMALL, random_model
from tiersim.traces.prompts import read_prompts
from tiersim.traces.trace import Trace

PROMPTS = ["a fox", "the dog sleeps"]
TOKENS = 3
BIASED = {"num_local_experts": 6, "num_experts_per_tok": 2, "head_dim": 16}  # of gpt-oss
needs_torch = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("transformers")),
    reason="torch or transformers is not installed: pip install 'tiersim[capture]'",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    """Small models gain nothing by threads, and other tests run beside these."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


def as_bytes(text: str) -> list[int]:
    return list(text.encode())


def capture(model: Any, out: Path, prompts: Sequence[Any] = PROMPTS, **options: Any) -> Trace:
    return capture_moe(model, prompts, out, tokenizer=as_bytes, **options)


def rows(trace: Trace) -> list[dict[str, Any]]:
    (chunk,) = trace.chunks()
    names = list(chunk)
    return [
        dict(zip(names, row, strict=True))
        for row in zip(*([np.asarray(each).tolist() for each in chunk[name]] for name in names), strict=True)
    ]


def made(family: str, **options: Any) -> Any:
    """A model of any family with random weights."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(family, **{**SMALL, "num_hidden_layers": 3, **options})
    torch.manual_seed(5)
    return transformers.AutoModelForCausalLM.from_config(config)


# what the routers choose


def plain_choice(logits: Sequence[float], count: int, shares: bool) -> list[tuple[int, float]]:
    """The experts of the largest probabilities and their weights, by the definition of a softmax router."""
    exponents = [math.exp(each - max(logits)) for each in logits]
    probabilities = [each / sum(exponents) for each in exponents]
    best = sorted(range(len(logits)), key=lambda expert: -probabilities[expert])[:count]
    total = sum(probabilities[expert] for expert in best) if shares else 1.0
    return [(expert, probabilities[expert] / total) for expert in best]


@needs_torch
@pytest.mark.parametrize("name", RANDOM)
def test_it_is_what_follows_from_what_the_routers_see(tmp_path: Path, name: str) -> None:
    """The states that come into each layer of experts are heard, in the same passes; all else is computed here."""
    model = random_model(name, seed=3)
    config, heard = model.config, []  # type: ignore[var-annotated]

    def hear(layer: int, router: Any) -> Callable[..., None]:
        def heard_at(_: Any, args: tuple[Any, ...]) -> None:
            states = args[0].detach().double().reshape(-1, config.hidden_size)
            heard.append((layer, (states @ router.weight.detach().double().T).tolist()))

        return heard_at

    for layer, block in enumerate(model.model.layers):
        if hasattr(block.mlp, "experts"):
            block.mlp.register_forward_pre_hook(hear(layer, block.mlp.gate))
    found = rows(capture(model, tmp_path / "t.parquet", tokens=TOKENS))
    wanted = [(layer, each) for layer, passed in heard for each in passed]
    assert len(found) == len(wanted) == sum(len(text) + TOKENS for text in PROMPTS) * (3 if "v2" in name else 4)
    shares = name == "mixtral" or bool(config.norm_topk_prob)
    assert shares == (name in ("mixtral", "qwen3-moe"))
    for row, (layer, logits) in zip(found, wanted, strict=True):
        choice = plain_choice(logits, config.num_experts_per_tok, shares)
        assert row["layer"] == layer
        assert row["experts"] == [expert for expert, _ in choice]
        assert row["weights"] == pytest.approx([weight for _, weight in choice], rel=1e-5)
    assert {row["layer"] for row in found} == ({1, 2, 3} if "v2" in name else {0, 1, 2, 3})


@needs_torch
@pytest.mark.parametrize("name", [*RANDOM, "gpt_oss"])
def test_generated_tokens_are_routed_as_if_they_had_been_asked(tmp_path: Path, name: str) -> None:
    """The likeliest tokens are found by whole passes without a cache, and are then prompts themselves."""
    import torch

    model = random_model(name, seed=1) if name in RANDOM else made(name, **BIASED)
    one = rows(capture(model, tmp_path / "one.parquet", tokens=TOKENS))
    whole = []
    model.eval()
    for text in PROMPTS:
        ids = as_bytes(text)
        for _ in range(TOKENS):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        whole.append(ids)
    two = rows(capture(model, tmp_path / "two.parquet", whole))
    assert len(one) == len(two)

    def key(row: dict[str, Any]) -> tuple[int, ...]:
        return row["sequence"], row["layer"], row["token"]

    for mine, theirs in zip(sorted(one, key=key), sorted(two, key=key), strict=True):
        assert key(mine) == key(theirs)
        assert mine["experts"] == theirs["experts"]
        assert mine["weights"] == pytest.approx(theirs["weights"], rel=1e-3)


@needs_torch
def test_the_order_of_records(tmp_path: Path) -> None:
    """Passes one after the other, in each the layers, in each the tokens."""
    trace = capture(random_model("mixtral"), tmp_path / "t.parquet", ["abc", [7, 8]], tokens=1)
    found = [(row["sequence"], row["step"], row["layer"], row["token"]) for row in rows(trace)]
    passes = [(0, 0, (0, 1, 2)), (0, 1, (3,)), (1, 2, (0, 1)), (1, 3, (2,))]
    wanted = [
        (sequence, step, layer, token)
        for sequence, step, tokens in passes
        for layer, token in product(range(4), tokens)
    ]
    assert found == wanted
    said = trace.provenance
    assert (said["prompts"], said["prompt_tokens"], said["generated_tokens"]) == (2, 5, 2)
    assert (said["model"], said["family"], said["layers"], said["experts"]) == (
        "random/mixtral",
        "mixtral",
        [0, 1, 2, 3],
        8,
    )
    assert (said["tokens"], said["seed"], said["stopped_by"], said["dtype"]) == (1, 0, "end", "float32")
    assert "first step" in said["prompt"]


@needs_torch
def test_layers_without_a_router_are_left_out(tmp_path: Path) -> None:
    options = {**RANDOM["qwen2-moe"], "num_hidden_layers": 5, "mlp_only_layers": [1], "decoder_sparse_step": 1}
    made("qwen2_moe", **options).save_pretrained(tmp_path / "model")
    trace = capture_moe(tmp_path / "model", [[1, 2, 3]], tmp_path / "t.parquet")
    assert [row["layer"] for row in rows(trace)] == [0] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert trace.provenance["model"] == str(tmp_path / "model")
    again = made("qwen2_moe", **options)
    assert rows(capture(again, tmp_path / "u.parquet", [[1, 2, 3]])) == rows(trace)


@needs_torch
def test_a_model_in_half_precision(tmp_path: Path) -> None:
    import torch

    model = random_model("qwen3-moe").to(torch.bfloat16)
    trace = capture(model, tmp_path / "t.parquet")
    assert trace.provenance["dtype"] == "bfloat16"
    for row in rows(trace):
        assert sum(row["weights"]) == pytest.approx(1, abs=0.02)


@needs_torch
def test_the_seed_decides(tmp_path: Path) -> None:
    def held(number: int, **options: Any) -> bytes:
        weights = options.pop("weights", 0)
        out = tmp_path / f"{number}.parquet"
        capture(random_model("olmoe", seed=weights), out, tokens=8, **options)
        return out.read_bytes()

    assert held(0) == held(1)
    assert held(0) != held(2, weights=1)
    hot = held(3, temperature=1.5, seed=4)
    assert hot == held(4, temperature=1.5, seed=4)
    others = {held(5 + seed, temperature=1.5, seed=seed) for seed in range(3)}
    assert len({hot, *others}) == 4


@needs_torch
def test_a_cold_draw_is_the_likeliest(tmp_path: Path) -> None:
    cold = rows(capture(random_model("mixtral"), tmp_path / "cold.parquet", tokens=6, temperature=1e-6, seed=9))
    assert cold == rows(capture(random_model("mixtral"), tmp_path / "t.parquet", tokens=6))


@needs_torch
def test_the_model_ends_an_answer(tmp_path: Path) -> None:
    import torch

    model = random_model("mixtral").eval()
    first = int(model(torch.tensor([as_bytes(PROMPTS[0])])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = first
    trace = capture(model, tmp_path / "t.parquet", PROMPTS[:1], tokens=5)
    assert (trace.provenance["generated_tokens"], trace.provenance["tokens"]) == (0, 5)
    model.generation_config.eos_token_id = None
    assert capture(model, tmp_path / "u.parquet", PROMPTS[:1], tokens=5).provenance["generated_tokens"] == 5


@needs_torch
def test_what_a_model_comes_with_beside_its_weights_changes_no_token(tmp_path: Path) -> None:
    plain = rows(capture(random_model("mixtral"), tmp_path / "t.parquet", tokens=6))
    model = random_model("mixtral")
    model.generation_config.update(do_sample=True, temperature=9.0, repetition_penalty=9.0, min_new_tokens=1)
    assert rows(capture(model, tmp_path / "u.parquet", tokens=6)) == plain


@needs_torch
def test_a_model_that_is_handed_over_stays_as_it_is(tmp_path: Path) -> None:
    import torch

    model = random_model("mixtral").train()
    config, state = model.generation_config, torch.random.get_rng_state()
    capture(model, tmp_path / "t.parquet", tokens=2, temperature=1.0)
    assert model.training
    assert model.generation_config is config
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_pre_hooks for module in model.modules())


@needs_torch
def test_texts_and_chats_by_the_tokenizer_of_the_model(tmp_path: Path) -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"?": 0, "<u>": 1, "<a>": 2, "a": 3, "fox": 4}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'nobody' %}{{ raise_exception('who is nobody?') }}{% endif %}<u> "
        "{{ m.content }} {% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
    )
    folder = tmp_path / "model"
    random_model("mixtral", seed=2).save_pretrained(folder)
    with pytest.raises(CaptureError, match=r"the tokenizer of .*model cannot be loaded: "):
        capture_moe(folder, ["a fox"], tmp_path / "t.parquet")
    tokenizer.save_pretrained(folder)
    chat = [{"role": "user", "content": "a fox"}]
    trace = capture_moe(folder, ["a fox", chat], tmp_path / "t.parquet")
    wanted = capture_moe(folder, [[3, 4], [1, 3, 4, 2]], tmp_path / "u.parquet")
    assert rows(trace) == rows(wanted)
    with pytest.raises(CaptureError, match="prompt 2 cannot be made tokens: who is nobody"):
        capture_moe(folder, ["a", [{"role": "nobody", "content": "a"}]], tmp_path / "v.parquet")
    with pytest.raises(CaptureError, match="prompt 1 is a chat, and the tokenizer has no form"):
        capture(folder, tmp_path / "v.parquet", [chat])


@given(st.lists(st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5]), min_size=3, max_size=3), max_size=5))
def test_best_first(weights: list[list[float]]) -> None:
    held = np.array(weights, np.float32).reshape(-1, 3)
    chosen = np.arange(held.size).reshape(-1, 3)[:, ::-1]
    experts, falling = _best_first(chosen, held)
    for row, mine in enumerate(weights):
        order = sorted(range(3), key=lambda place: -mine[place])  # which keeps equal ones in order
        assert experts[row].tolist() == [chosen[row, place] for place in order]
        assert falling[row].tolist() == [mine[place] for place in order]


def test_experts_beyond_what_a_trace_holds() -> None:
    with pytest.raises(CaptureError, match="expert 65,536"):
        _best_first(np.array([[1 << 16]]), np.ones((1, 1), np.float32))


# what the doctor says


@needs_torch
def test_the_doctor_on_a_captured_trace(tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    found = rows(capture(random_model("qwen3-moe"), out, tokens=TOKENS))
    check, info = check_trace(out), trace_info(out)
    assert (check.errors, check.warnings, check.records) == ([], [], len(found))
    told = info.to_dict()
    assert (told["sequences"], told["steps"]) == (2, 2 * (1 + TOKENS))
    assert told["most_expert"] == max(max(row["experts"]) for row in found)
    for layer in told["layers"]:
        mine = [row["experts"] for row in found if row["layer"] == layer["layer"]]
        assert layer["rows"] == len(mine)
        assert layer["experts"] == len({expert for experts in mine for expert in experts})
    capture(random_model("olmoe"), tmp_path / "u.parquet")
    (warning,) = check_trace(tmp_path / "u.parquet").warnings
    assert "not to 1" in warning  # OLMoE weighs by probabilities among all experts
    capture(random_model("mixtral"), tmp_path / "v.parquet", caution="mind this")
    assert check_trace(tmp_path / "v.parquet").warnings == ["mind this"]


# how it ends


@needs_torch
@pytest.mark.parametrize("generated", [0, 2, 4])
def test_ctrl_c_keeps_what_is_whole(tmp_path: Path, generated: int) -> None:
    before = signal.getsignal(signal.SIGINT)

    def stop(done: int, *_: Any) -> None:
        if done == len(PROMPTS[0]) + generated:
            os.kill(os.getpid(), signal.SIGINT)

    trace = capture(random_model("mixtral"), tmp_path / "t.parquet", tokens=4, progress=stop)
    said = trace.provenance
    assert (said["stopped_by"], said["prompts"], said["generated_tokens"]) == ("signal", 1, generated)
    whole = rows(capture(random_model("mixtral"), tmp_path / "u.parquet", tokens=4))
    assert rows(trace) == whole[: 4 * (len(PROMPTS[0]) + generated)]
    assert signal.getsignal(signal.SIGINT) is before


@needs_torch
def test_ctrl_c_twice_leaves_nothing(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def stop(done: int, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        capture(random_model("mixtral"), tmp_path / "t.parquet", tokens=4, progress=stop)
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGINT) is before


@needs_torch
def test_told_to_end_before_anything_ran(tmp_path: Path) -> None:
    def early(text: str) -> list[int]:
        return as_bytes(text)

    model = random_model("mixtral")
    model.register_forward_pre_hook(lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # comes before the capture's own
    with pytest.raises(CaptureError, match="before the first forward pass"):
        capture_moe(model, PROMPTS, tmp_path / "t.parquet", tokenizer=early)
    assert not list(tmp_path.iterdir())


@needs_torch
def test_progress_counts_tokens(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    capture(random_model("mixtral"), tmp_path / "t.parquet", tokens=2, progress=lambda *said: seen.append(said))
    total = sum(map(len, PROMPTS)) + 4
    assert [done for done, _, _ in seen] == [5, 6, 7, 21, 22, 23]
    assert {(of, unit) for _, of, unit in seen} == {(total, "tokens")}


@needs_torch
def test_how_much_is_stored_at_once_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = capture(random_model("mixtral"), tmp_path / "one.parquet", tokens=TOKENS)
    monkeypatch.setattr("tiersim.traces.moe_capture.ROWS", 1)
    two = capture(random_model("mixtral"), tmp_path / "two.parquet", tokens=TOKENS)
    assert one.path is not None
    assert two.path is not None
    assert one.path.read_bytes() == two.path.read_bytes()


@needs_torch
def test_memory_does_not_grow_with_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiersim.traces.store.ROW_GROUP", 1 << 15)  # a group of 512 records
    monkeypatch.setattr("tiersim.traces.moe_capture.ROWS", 300)
    model = random_model("mixtral")

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            capture(model, tmp_path / f"{count}.parquet", [[1, 2, 3, 4] * 16] * count)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(4)  # what is imported and kept
    few, many = peak(8), peak(64)
    assert load_trace(tmp_path / "64.parquet").records == 64 * 64 * 4
    assert many < 2 * few


# what cannot be captured


@needs_torch
def test_a_model_without_experts(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no router was found in LlamaForCausalLM") as caught:
        capture(made("llama"), tmp_path / "t.parquet")
    for name in ("Mixtral", "OLMoE", "Qwen2-MoE", "Qwen3-MoE", "DeepSeek-V2"):
        assert name in caught.value.remedy


@needs_torch
def test_models_that_cannot_be_loaded(tmp_path: Path) -> None:
    folder, out = tmp_path / "model", tmp_path / "t.parquet"
    folder.mkdir()
    with pytest.raises(CaptureError, match=r"the model .*model cannot be loaded: .*config"):
        capture_moe(folder, PROMPTS, out)
    random_model("mixtral").save_pretrained(folder)
    with pytest.raises(CaptureError, match="cannot be moved to the device 'nowhere'"):
        capture_moe(folder, PROMPTS, out, device="nowhere")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(CaptureError, match="cannot be loaded: "):
        capture_moe(folder, PROMPTS, out)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    weights.write_bytes(whole)
    with pytest.raises(CaptureError, match=r"has no weights for model\.layers\.4\.\S+ and \d more, which would be"):
        capture_moe(folder, PROMPTS, out)
    assert not out.exists()


@needs_torch
@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ([], "there is no prompt"),
        (["a", ""], "prompt 2 has no token"),
        (["a", [1, 256]], "prompt 2 has the token 256, and the model knows 0 to 255"),
        ([[-1]], "prompt 1 has the token -1"),
        ([[1] * 4095], r"prompt 1 has 4,095 tokens, and with 2 more they are over the 4,096 places"),
    ],
)
def test_prompts_that_do_not_fit(tmp_path: Path, prompts: list[Any], said: str) -> None:
    with pytest.raises(CaptureError, match=said):
        capture(random_model("mixtral"), tmp_path / "t.parquet", prompts, tokens=2)
    assert not list(tmp_path.iterdir())


@needs_torch
def test_a_model_that_fails_in_the_middle(tmp_path: Path) -> None:
    model = random_model("mixtral")

    def full(_: Any, args: tuple[Any, ...]) -> None:
        if args[0].shape[1] > 5:
            raise RuntimeError("out of memory\nTried to allocate more than there is")

    model.model.layers[2].self_attn.o_proj.register_forward_pre_hook(full)
    with pytest.raises(CaptureError, match="the model failed at prompt 2, which has 14 tokens: out of memory\n"):
        capture(model, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def twice(mlp: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    return lambda hidden: plain(hidden) + plain(hidden)


def half(mlp: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    return lambda hidden: plain(hidden[:, :1])


def never(mlp: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    return lambda hidden: hidden


@needs_torch
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (twice, "layer 1 are told of 5 tokens in a pass of 5, and once more"),
        (half, "layer 1 are told of 1 tokens in a pass of 5"),
        (never, "layer 1 were not told of the 5 tokens"),
    ],
)
def test_models_that_route_otherwise(tmp_path: Path, wrong: Callable[..., Any], said: str) -> None:
    model = random_model("mixtral")
    mlp = model.model.layers[1].mlp
    mlp.forward = wrong(mlp, mlp.forward)
    with pytest.raises(CaptureError, match=said):
        capture(model, tmp_path / "t.parquet", PROMPTS[:1])
    assert not list(tmp_path.iterdir())


@needs_torch
def test_a_folder_that_is_not_there_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be written: its folder is not there"):
        capture_moe(tmp_path / "no-model", PROMPTS, tmp_path / "no" / "t.parquet")


@needs_torch
def test_two_sets_of_experts_in_a_layer(tmp_path: Path) -> None:
    model = random_model("mixtral")
    model.model.layers[2].mlp.others = random_model("mixtral").model.layers[0].mlp.experts
    with pytest.raises(CaptureError, match="several sets of experts in layer 2"):
        capture(model, tmp_path / "t.parquet")


@pytest.mark.parametrize("absent", ["torch", "transformers"])
def test_without_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], absent: str
) -> None:
    if absent == "transformers":
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(DependencyError, match="needs torch and transformers"):
        capture_moe("model", PROMPTS, tmp_path / "t.parquet")
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a\n")
    for name in (["model"], ["--random", "mixtral"]):
        with pytest.raises(SystemExit) as ended:
            main(["capture", "moe", *name, "--prompts", "prompts.txt"])
        assert ended.value.code == 2
        assert "pip install 'tiersim[capture]'" in capsys.readouterr().err


def test_transformers_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("transformers")
    old.__version__ = "4.57.6"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "transformers", old)
    with pytest.raises(DependencyError, match=r"needs transformers 5, and this is 4\.57\.6"):
        capture_moe("model", PROMPTS, tmp_path / "t.parquet")


def test_no_random_model_of_this_name() -> None:
    with pytest.raises(StudyError, match="no random model 'mixtrel'; did you mean 'mixtral'"):
        random_model("mixtrel")
    with pytest.raises(StudyError, match="there are: mixtral, olmoe, qwen2-moe, qwen3-moe, deepseek-v2"):
        random_model("xyz")


# prompts


def test_prompts_as_text() -> None:
    lines = ["one {prompt}\n", "\n", "  two \r\n", '{"prompt": "three"}\n', "four"]
    assert read_prompts(lines, "p") == ["one {prompt}", "  two ", '{"prompt": "three"}', "four"]


def test_prompts_as_json_lines() -> None:
    chat = [{"role": "user", "content": "hi"}]
    lines = ["\n", '{"prompt": "one", "id": 7}', '{"prompt": [1, 2]}', json.dumps({"messages": chat})]
    assert read_prompts(lines, "p") == ["one", [1, 2], chat]


@pytest.mark.parametrize(
    "line",
    [
        "two",
        '{"prompt": ""}',
        '{"prompt": []}',
        '{"prompt": [1.5]}',
        '{"prompt": [true]}',
        '{"prompt": [-1]}',
        '{"prompt": [4294967296]}',
        '{"messages": []}',
        '{"messages": ["hi"]}',
        '{"text": "x"}',
        "[1]",
        "[" * 100_000,
    ],
)
def test_a_line_without_a_prompt(line: str) -> None:
    with pytest.raises(CaptureError, match="p:3: this line has no prompt, and those before it are JSON"):
        read_prompts(['{"prompt": "one"}', "", line], "p")


def test_no_prompt() -> None:
    with pytest.raises(CaptureError, match="p holds no prompt"):
        read_prompts(["\n", "  \n"], "p")


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_text_is_a_prompt(texts: list[str]) -> None:
    lines = [json.dumps({"prompt": text}) for text in texts]
    assert read_prompts(lines, "p") == texts
    wanted = ["first", *(text for text in texts if text.strip())]
    assert read_prompts([f"{text}\n" for text in ["first", *texts]], "p") == wanted


# the command


@needs_torch
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_bytes(b"\xef\xbb\xbfa fox\n\nthe dog sleeps\n")
    asked = ["capture", "moe", "--random", "mixtral", "--seed", "3", "--prompts", "prompts.txt", "--tokens", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--quiet", "--json"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == ""
    assert (told["file"], told["model"], told["layers"]) == ("experts.parquet", "random/mixtral", [0, 1, 2, 3])
    assert (told["records"], told["prompt_tokens"], told["generated_tokens"]) == (4 * 23, 19, 4)
    assert told["info"]["sequences"] == 2
    assert told["bytes"] == Path("experts.parquet").stat().st_size
    (warning,) = told["warnings"]
    assert "no evidence" in warning
    assert check_trace("experts.parquet").warnings == [warning]  # it stays with the trace
    by_hand = capture(random_model("mixtral", seed=3), tmp_path / "t.parquet", tokens=2, seed=3)
    assert rows(load_trace("experts.parquet")) == rows(by_hand)
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code == 2
    assert "experts.parquet is there already" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--force"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert "warning: the weights are random" in out
    assert "92 routed tokens (19 tokens of 2 prompts, 4 generated)" in out
    assert err.startswith("capturing: 23 tokens\n")


@needs_torch
def test_the_command_on_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random_model("qwen3-moe").save_pretrained("model")
    capsys.readouterr()
    Path("prompts.jsonl").write_text('{"prompt": [1, 2, 3]}\n')
    with pytest.raises(SystemExit) as ended:
        main(["capture", "moe", "model", "--prompts", "prompts.jsonl", "--quiet", "--json"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (err, told["model"], told["records"], told["warnings"]) == ("", "model", 12, [])
    shutil.rmtree("model")
    Path("model").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["capture", "moe", "model", "--prompts", "prompts.jsonl", "--force"])
    assert ended.value.code == 2
    assert "the model model cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompts", "p"], "name one model to capture"),
        (["model", "--random", "mixtral", "--prompts", "p"], "name one model to capture"),
        (["model", "--prompts", "nothing"], "the prompts of nothing cannot be read: No such file"),
        (["model", "--prompts", "."], "the prompts of . cannot be read: Is a directory"),
        (["model", "--prompts", "latin"], "the prompts of latin cannot be read: it is not UTF-8"),
        (["model", "--prompts", "empty"], "empty holds no prompt"),
        (["model", "--prompts", "mixed"], "mixed:2: this line has no prompt"),
        (["model"], "Missing option '--prompts'"),
        (["model", "--prompts", "p", "--tokens", "-1"], "-1 is not in the range"),
        (["--random", "mixtrel", "--prompts", "p"], "did you mean 'mixtral'?"),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, held in {"p": b"a\n", "latin": b"caf\xe9\n", "empty": b"\n", "mixed": b'{"prompt": "a"}\nb\n'}.items():
        Path(name).write_bytes(held)
    with pytest.raises(SystemExit) as ended:
        main(["capture", "moe", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not Path("experts.parquet").exists()
