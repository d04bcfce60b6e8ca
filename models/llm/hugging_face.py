"""Reads the shape of a transformer out of a config.json as Hugging Face has them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tiersim._base.errors import Place, StudyError

__all__ = ["Found", "read"]

TYPES: Final = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
NORMS: Final = {"qwen3": "head", "qwen3_moe": "head", "olmoe": "all"}
BIASED: Final = ("qwen2", "qwen2_moe")  # queries, keys and values, whatever the file says
LATENT: Final = ("deepseek_v2", "deepseek_v3")
# the keys that say how many experts there are and how large one is
EXPERTS: Final = {
    "mixtral": ("num_local_experts", "intermediate_size"),
    "qwen2_moe": ("num_experts", "moe_intermediate_size"),
    "qwen3_moe": ("num_experts", "moe_intermediate_size"),
    "olmoe": ("num_experts", "intermediate_size"),
    "deepseek_v2": ("n_routed_experts", "moe_intermediate_size"),
    "deepseek_v3": ("n_routed_experts", "moe_intermediate_size"),
}
KNOWN: Final = ("llama", "mistral", "qwen2", "qwen3", *EXPERTS)
EVERY: Final = {"decoder_sparse_step": 1, "moe_layer_freq": 1, "mlp_only_layers": []}


@dataclass
class Found:
    """A shape as the keys of `Transformer`, and what is to be known about it."""

    values: dict[str, Any]
    notes: list[str] = field(default_factory=list)


class _File:
    """A config.json whose keys are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.held = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StudyError(f"{str(path)!r} cannot be read: {error.strerror}") from None
        except json.JSONDecodeError as error:
            place = Place(str(path), error.lineno, error.colno)
            raise StudyError(f"this is no JSON: {error.msg}", place) from None
        except UnicodeDecodeError:
            raise self.wrong("it is no text in UTF-8") from None
        if not isinstance(self.held, dict) or "model_type" not in self.held:
            raise self.wrong("it has no `model_type`", "take the config.json that lies beside the weights of a model")

    def wrong(self, what: str, remedy: str = "") -> StudyError:
        return StudyError(what, Place(str(self.path)), remedy)

    def number(self, key: str, default: int | None = None) -> int:
        held = self.held.get(key)
        if held is None and default is not None:
            return default
        if isinstance(held, bool) or not isinstance(held, int) or held < 1:
            what = "is missing" if held is None else f"is {held!r}"
            raise self.wrong(f"`{key}` {what}, and must be a whole number of at least 1")
        return held


def read(path: Path) -> Found:
    """The shape that a config.json tells.

    Raises StudyError for a file that is none, a kind of model that is not known, and keys that are missing.
    """
    file = _File(path)
    kind = file.held["model_type"]
    if kind not in KNOWN:
        remedy = "write a preset by hand, like those that `tiersim list presets` shows"
        raise file.wrong(f"a model of type {kind!r} is not known; there are: {', '.join(KNOWN)}", remedy)
    if file.held.get("mlp_bias"):
        raise file.wrong("feed-forward networks with a bias (`mlp_bias`) are not modelled")
    heads, hidden = file.number("num_attention_heads"), file.number("hidden_size")
    head = file.number("qk_nope_head_dim") if kind in LATENT else file.number("head_dim", hidden // heads)
    values: dict[str, Any] = {
        "layers": file.number("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": file.number("num_key_value_heads", heads),
        "head": head,
        "feed_forward": file.number("intermediate_size"),
        "vocabulary": file.number("vocab_size"),
        "tied": bool(file.held.get("tie_word_embeddings", False)),
        "bias": "qkv" if kind in BIASED else "all" if file.held.get("attention_bias") else "none",
        "query_key_norm": NORMS.get(kind, "none"),
    }
    if kind in EXPERTS:
        values["experts"] = _experts(file, kind)
    if kind in LATENT:
        values["latent"] = _latent(file)
    found = Found(values)
    _types(file, found)
    if file.held.get("sliding_window") and file.held.get("use_sliding_window", True):
        found.notes.append(f"its sliding window of {file.held['sliding_window']:,} tokens is not modelled")
    if more := file.held.get("num_nextn_predict_layers"):
        found.notes.append(f"its {more} layers that predict further tokens are left out")
    return found


def _experts(file: _File, kind: str) -> dict[str, Any]:
    for key, only in EVERY.items():
        if file.held.get(key, only) != only:
            raise file.wrong(f"`{key}` is {file.held[key]!r}: only models whose first layers are dense are modelled")
    count, size = EXPERTS[kind]
    made: dict[str, Any] = {
        "count": file.number(count),
        "active": file.number("num_experts_per_tok"),
        "size": file.number(size),
    }
    if kind in LATENT:
        made["shared"] = file.held.get("n_shared_experts") or 0
        made["dense"] = file.held.get("first_k_dense_replace") or 0
        made["corrected"] = file.held.get("topk_method") == "noaux_tc"
    if kind == "qwen2_moe":
        whole = file.number("shared_expert_intermediate_size")
        if whole % made["size"]:
            raise file.wrong(f"a shared expert of {whole} is no multiple of `moe_intermediate_size`, {made['size']}")
        made |= {"shared": whole // made["size"], "gated": True}
    return made


def _latent(file: _File) -> dict[str, Any]:
    made = {"rank": file.number("kv_lora_rank"), "rope": file.number("qk_rope_head_dim")}
    made["value_head"] = file.number("v_head_dim")
    if file.held.get("q_lora_rank") is not None:
        made["query"] = file.number("q_lora_rank")
    return made


def _types(file: _File, found: Found) -> None:
    """The types of weights and cache."""
    said = file.held.get("torch_dtype", file.held.get("dtype", "bfloat16"))
    if said not in TYPES:
        raise file.wrong(f"weights of type {said!r} are not known; there are: {', '.join(TYPES)}")
    found.values["cache"] = found.values["weights"] = TYPES[said]
    how = file.held.get("quantization_config")
    if not how:
        return
    method, bits = how.get("quant_method"), how.get("bits")
    packed = {("fp8", None): "fp8", ("awq", 4): "int4", ("gptq", 4): "int4", ("gptq", 8): "int8"}.get((method, bits))
    if packed is None:
        raise file.wrong(f"weights packed by {method!r} with {bits} bits are not known", "say `weights` in a preset")
    found.values["weights"] = packed
    found.notes.append(f"all weights are taken to be {packed}; the few that are not packed are larger")
