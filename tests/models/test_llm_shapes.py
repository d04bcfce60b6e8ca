"""Shapes of transformers: counted by hand, against what is published, and out of a config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiersim._base.errors import StudyError
from tiersim.cli import main
from tiersim.experiments import presets
from tiersim.experiments.transformer_preset import transformer_preset
from tiersim.experiments.yaml_tree import from_data, plain
from tiersim.models.llm.hugging_face import read
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.transformer import Experts, Latent, Transformer

HOLDER = type("Holds", (), {"__annotations__": {"model": Transformer}})


def shape(said: Any) -> Transformer:
    """The transformer that a study names under `model`."""
    tree = presets.expand(from_data({"model": said}, "study"), HOLDER)
    made: Transformer = TypeAdapter(Transformer).validate_python(plain(tree)["model"])
    return made


# parameters as the tensors of the published weights add up to, on the Hub (from memory), and as the makers round them
PUBLISHED = [
    ("llama-2-7b", 6_738_415_616, 6.7, None),
    ("llama-2-13b", 13_015_864_320, 13.0, None),
    ("llama-2-70b", 68_976_648_192, 69.0, None),
    ("llama-3-8b", 8_030_261_248, 8.0, None),
    ("llama-3-70b", 70_553_706_496, 70.6, None),
    ("llama-3.1-8b", 8_030_261_248, 8.0, None),
    ("llama-3.1-70b", 70_553_706_496, 70.6, None),
    ("llama-3.1-405b", 405_853_388_800, 405.9, None),
    ("qwen1.5-moe-a2.7b", 14_315_784_192, 14.3, 2.7),
    ("qwen2.5-7b", 7_615_616_512, 7.6, None),
    ("qwen2.5-14b", 14_770_033_664, 14.8, None),
    ("qwen2.5-32b", 32_763_876_352, 32.8, None),
    ("qwen2.5-72b", 72_706_203_648, 72.7, None),
    ("qwen3-8b", 8_190_735_360, 8.2, None),
    ("qwen3-32b", 32_762_123_264, 32.8, None),
    ("qwen3-30b-a3b", 30_532_122_624, 30.5, 3.3),
    ("qwen3-235b-a22b", 235_093_634_560, 235.1, 22),
    ("mixtral-8x7b", 46_702_792_704, 46.7, 12.9),
    ("mixtral-8x22b", 140_620_634_112, 140.6, 39),
    ("deepseek-v2-lite", 15_706_484_224, 15.7, None),
    ("deepseek-v3", 671_026_419_200, 671.0, 37),
    ("olmoe-1b-7b", 6_919_161_856, 6.9, 1.3),
    ("mistral-7b", 7_241_732_096, 7.2, None),
    ("smollm2-135m", 134_515_008, 0.1, None),
]


@pytest.mark.parametrize(("name", "exact", "billions", "active"), PUBLISHED)
def test_parameters_are_those_that_are_published(name: str, exact: int, billions: float, active: float | None) -> None:
    model = shape(name)
    assert model.parameters == exact
    assert round(model.parameters / 1e9, 1) == billions
    if active is None:
        assert model.experts is not None or model.active_parameters == exact
    else:
        assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.03)


def test_every_preset_is_checked_here() -> None:
    assert sorted(name for name, *_ in PUBLISHED) == presets.names("transformer")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("qwen2.5-7b", 57_344),  # 28 layers, keys and values, 4 heads, 128 numbers of 2 bytes
        ("qwen2.5-14b", 196_608),
        ("llama-3.1-8b", 131_072),
        ("llama-2-70b", 327_680),
        ("deepseek-v3", 61 * 576 * 2),  # 512 + 64 numbers a layer
    ],
)
def test_bytes_of_a_token_in_the_cache(name: str, kept: int) -> None:
    assert shape(name).kv_bytes == kept


def test_a_small_model_by_hand() -> None:
    """Two layers, one of them with experts; each matrix is written out."""
    model = Transformer(
        layers=2, hidden=8, heads=4, kv_heads=2, head=3, feed_forward=10, vocabulary=20, bias="qkv",
        query_key_norm="head", experts=Experts(count=4, active=2, size=5, shared=1, gated=True, dense=1),
    )  # fmt: skip
    queries, keys, output = 8 * 12 + 12, 8 * 6 + 6, 12 * 8
    attention = queries + 2 * keys + output + 3 + 3 + 8 + 8  # the norms of a head, and two of the layer
    expert = 3 * 8 * 5
    sparse = 4 * 8 + 8 + 4 * expert + expert
    assert model.parameters == 2 * attention + 3 * 8 * 10 + sparse + 2 * 20 * 8 + 8
    assert model.active_parameters == model.parameters - 2 * expert
    assert model.weight_bytes == 2 * model.parameters
    assert model.prefill_operations == model.decode_operations == 2 * 4 * (2 * 3 + 2 * 3)
    assert model.token_operations == 2 * (model.active_parameters - 2 * 20 * 8)
    assert model.output_operations == 2 * 20 * 8


def test_latent_attention_by_hand() -> None:
    model = Transformer(
        layers=1, hidden=16, heads=2, kv_heads=2, head=4, feed_forward=8, vocabulary=10,
        latent=Latent(rank=6, rope=2, value_head=3, query=5), cache="fp8",
    )  # fmt: skip
    queries = 16 * 5 + 5 + 5 * 2 * 6
    keys = 16 * (6 + 2) + 6 + 6 * 2 * (4 + 3)
    assert model.attention == queries + keys + 2 * 3 * 16 + 2 * 16
    assert model.kv_bytes == 8
    assert model.prefill_operations == 2 * 2 * (6 + 3)
    assert model.decode_operations == 2 * 2 * (8 + 6)  # on the compressed vectors: keys of 8, values of 6


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kv_heads", 3, "32 heads of queries cannot share 3 heads of keys evenly"),
        ("experts", {"count": 8, "active": 9, "size": 5}, "a token passes 9 experts, and there are 8"),
        ("experts", {"count": 8, "active": 2, "size": 5, "dense": 40}, "40 dense layers are first, and there are 32"),
    ],
)
def test_what_no_model_can_be(key: str, value: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        shape({"use": "llama-2-7b", key: value})


# --- shared by GPUs


def test_one_gpu_holds_all() -> None:
    for name in presets.names("transformer"):
        model = shape(name)
        assert Parallel().weight_bytes(model) == model.weight_bytes
        assert Parallel().kv_bytes(model) == model.kv_bytes


def test_parts_of_a_dense_model() -> None:
    model = shape("llama-2-70b")
    eight = Parallel(tensor=8)
    norms = (2 * 80 + 1) * 8192
    assert eight.weight_bytes(model) == 2 * ((model.parameters - norms) // 8 + norms)
    assert eight.kv_bytes(model) == model.kv_bytes
    assert Parallel(tensor=16).kv_bytes(model) == 2 * model.kv_bytes  # 8 heads of keys on 16 GPUs
    two = Parallel(pipeline=2)
    assert two.weight_bytes(model) == 2 * (40 * (model.attention + model.dense) + model.embedding + 8192)
    assert (two.gpus, eight.gpus, Parallel(tensor=2, pipeline=3).gpus) == (2, 8, 6)


def test_experts_are_dealt_out_whole() -> None:
    model = shape("deepseek-v3")
    spread = Parallel(tensor=1, expert=64)
    assert spread.gpus == 64
    assert spread.experts(model) == 4 * model.expert
    assert spread.kv_bytes(model) == model.kv_bytes
    assert Parallel(tensor=8).kv_bytes(model) == 8 * model.kv_bytes  # the compressed vectors are on every GPU
    assert Parallel(tensor=8, expert=8).weight_bytes(model) == Parallel(tensor=8).weight_bytes(model)


@given(
    tensor=st.sampled_from([1, 2, 4, 8]), pipeline=st.integers(1, 9), name=st.sampled_from(["llama-2-13b", "qwen3-8b"])
)
def test_no_weight_is_lost(tensor: int, pipeline: int, name: str) -> None:
    """The fullest GPU holds at least its share, and at most one layer and both embeddings more."""
    model, parallel = shape(name), Parallel(tensor=tensor, pipeline=pipeline)
    held = parallel.weight_bytes(model)
    assert held * parallel.gpus >= model.weight_bytes
    most = model.attention + model.dense + 2 * model.embedding + model.layers * model.shared_attention + model.hidden
    assert held <= model.weight_bytes / parallel.gpus + model.bytes(most)


@pytest.mark.parametrize(
    ("parallel", "name", "message"),
    [
        (Parallel(tensor=3), "llama-2-7b", r"32 heads cannot be cut in 3 parts \(tensor\)"),
        (Parallel(pipeline=33), "llama-2-7b", "32 layers cannot make 33 stages"),
        (Parallel(expert=2), "llama-2-7b", "a model without experts cannot deal them out"),
        (Parallel(expert=3), "mixtral-8x7b", "8 experts cannot be dealt out over 3 GPUs"),
        (Parallel(tensor=4, expert=2), "mixtral-8x7b", r"`expert` \(2\) must be a multiple of `tensor` \(4\), or 1"),
    ],
)
def test_what_cannot_be_shared(parallel: Parallel, name: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        parallel.weight_bytes(shape(name))


# --- config.json

QWEN3 = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "vocab_size": 151936,
    "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1,
    "mlp_only_layers": [], "tie_word_embeddings": False, "torch_dtype": "bfloat16", "sliding_window": None,
}  # fmt: skip
DEEPSEEK = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "intermediate_size": 18432, "vocab_size": 129280, "n_routed_experts": 256,
    "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "first_k_dense_replace": 3,
    "moe_layer_freq": 1, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
    "v_head_dim": 128, "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "num_nextn_predict_layers": 1,
    "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
QWEN15 = {
    "model_type": "qwen2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
    "num_key_value_heads": 16, "intermediate_size": 5632, "vocab_size": 151936, "num_experts": 60,
    "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
}  # fmt: skip
OLMOE = {
    "model_type": "olmoe", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 16,
    "intermediate_size": 1024, "vocab_size": 50304, "num_experts": 64, "num_experts_per_tok": 8, "dtype": "float32",
}  # fmt: skip
SMOL = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


def write(folder: Path, said: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(said))
    presets.find.cache_clear()
    return path


@pytest.mark.parametrize(
    ("said", "name"), [(QWEN3, "qwen3-30b-a3b"), (DEEPSEEK, "deepseek-v3"), (SMOL, "smollm2-135m")]
)
def test_a_config_is_the_preset(tmp_path: Path, said: dict[str, Any], name: str) -> None:
    assert shape(str(write(tmp_path, said))) == shape(name)


def test_a_config_of_shared_experts(tmp_path: Path) -> None:
    model = shape(str(write(tmp_path, QWEN15)))
    assert model == shape("qwen1.5-moe-a2.7b")
    assert model.bias == "qkv"
    assert model.experts == Experts(count=60, active=4, size=1408, shared=4, gated=True)


def test_types_of_numbers(tmp_path: Path) -> None:
    assert shape(str(write(tmp_path, OLMOE))).weights == "fp32"
    packed = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    model = shape(str(write(tmp_path, SMOL | packed)))
    assert (model.weights, model.cache) == ("int4", "bf16")
    assert model.weight_bytes == 134_515_008 // 2


def test_what_is_not_modelled_is_told(tmp_path: Path) -> None:
    assert read(write(tmp_path, DEEPSEEK)).notes == [
        "all weights are taken to be fp8; the few that are not packed are larger",
        "its 1 layers that predict further tokens are left out",
    ]
    mistral = SMOL | {"model_type": "mistral", "sliding_window": 4096}
    assert read(write(tmp_path, mistral)).notes == ["its sliding window of 4,096 tokens is not modelled"]
    assert read(write(tmp_path, mistral | {"use_sliding_window": False})).notes == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "a model of type 'mamba' is not known; there are: llama, mistral, qwen2"),
        ({"model_type": None}, "a model of type None is not known"),
        ({"hidden_size": None}, "`hidden_size` is missing, and must be a whole number of at least 1"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` is 0, and must be a whole number"),
        ({"num_hidden_layers": True}, "`num_hidden_layers` is True, and must be a whole number"),
        ({"vocab_size": "many"}, "`vocab_size` is 'many'"),
        ({"num_key_value_heads": 5}, "9 heads of queries cannot share 5 heads of keys evenly"),
        ({"torch_dtype": "float8"}, "weights of type 'float8' are not known"),
        ({"mlp_bias": True}, "feed-forward networks with a bias"),
        ({"quantization_config": {"quant_method": "hqq", "bits": 3}}, "weights packed by 'hqq' with 3 bits"),
        (QWEN3 | {"decoder_sparse_step": 2}, "`decoder_sparse_step` is 2: only models whose first layers are dense"),
        (QWEN15 | {"shared_expert_intermediate_size": 100}, "a shared expert of 100 is no multiple of"),
    ],
)
def test_a_config_that_cannot_be(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        shape(str(write(tmp_path, SMOL | change)))
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"{", "this is no JSON"), (b"[1]", "it has no `model_type`"), (b"\xff", "it is no text in UTF-8")],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(StudyError, match=message):
        read(path)
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read(tmp_path / "absent.json")


def test_a_preset_from_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, DEEPSEEK)
    with pytest.raises(SystemExit) as stopped:
        main(["presets", "new", "mine", "--from", "config.json"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "mine.yaml is written: a preset for the key `model`, which its path names"
    )
    presets.find.cache_clear()
    assert shape("mine.yaml") == shape("deepseek-v3")
    assert {value.source for value in presets.find("mine.yaml").values} == {"config.json"}
    with pytest.raises(SystemExit) as stopped:
        main(["presets", "new", "mine", "--from", "config.json", "--from", "config.json", "--force"])
    assert stopped.value.code == 2
    assert "the shape of a model is in one file" in capsys.readouterr().err
    with pytest.raises(StudyError, match="a preset called 'llama-2-7b' comes along already"):
        transformer_preset("llama-2-7b", tmp_path / "config.json")


# --- against the library that runs these models


@pytest.mark.parametrize("said", [SMOL, QWEN3, DEEPSEEK, QWEN15, OLMOE], ids=lambda said: str(said["model_type"]))
def test_parameters_as_transformers_counts_them(tmp_path: Path, said: dict[str, Any]) -> None:
    """Each model is built without memory for its weights."""
    torch = pytest.importorskip("torch", reason="torch, of the extra `capture`, is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    plain_config = {key: value for key, value in said.items() if key not in ("quantization_config", "torch_dtype")}
    with torch.device("meta"):
        config = transformers.AutoConfig.for_model(**plain_config)
        model = transformers.AutoModelForCausalLM.from_config(config)
    biases = sum(held.numel() for name, held in model.named_buffers() if name.endswith("e_score_correction_bias"))
    assert shape(str(write(tmp_path, said))).parameters == model.num_parameters() + biases
