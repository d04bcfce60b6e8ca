"""Mixture-of-experts models in transformers: how they are loaded, and where their experts are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from tiersim._base.errors import CaptureError, DependencyError, StudyError
from tiersim._base.registry import nearest

__all__ = ["RANDOM", "Experts", "experts_of", "libraries", "load_model", "random_model", "said", "silent"]

OLDEST: Final = 5  # of transformers: before it experts were lists of layers, and each family chose them in its own way
NAMES: Final = (("top_k_index", "top_k_weights"), ("router_indices", "routing_weights"))
KNOWN: Final = "Mixtral, OLMoE, Qwen2-MoE, Qwen3-MoE and DeepSeek-V2"
BYTES: Final = 256

SMALL: Final[Mapping[str, Any]] = {
    "vocab_size": BYTES,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
RANDOM: Final[Mapping[str, Mapping[str, Any]]] = {
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "olmoe": {"num_experts": 16, "num_experts_per_tok": 4},
    "qwen2-moe": {
        "num_experts": 12,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64,
    },
    "qwen3-moe": {
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 32,
        "head_dim": 16,
        "norm_topk_prob": True,
    },
    "deepseek-v2": {
        "n_routed_experts": 16,
        "num_experts_per_tok": 4,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 32,
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 16,
        "v_head_dim": 16,
    },
}
"""Small configurations, with the number of experts and their choice in the form of the family."""


@dataclass(frozen=True)
class Experts:
    """The experts of a layer: its number in the model, the module, and under what names it is told which to use."""

    layer: int
    module: Any
    form: inspect.Signature
    chosen: str
    weights: str

    @property
    def count(self) -> int | None:
        """How many there are, where the module says so."""
        held = getattr(self.module, "num_experts", None)
        return held if isinstance(held, int) else None

    def told(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Of a call, the numbers of the experts of each token and their weights: arrays [token, place]."""
        given = self.form.bind(self.module, *args, **kwargs).arguments
        return tuple(given[name].reshape(-1, given[name].shape[-1]) for name in (self.chosen, self.weights))


def libraries() -> tuple[ModuleType, ModuleType]:
    """torch and transformers. Raises DependencyError where one is absent or too old."""
    remedy = "pip install 'tiersim[capture]'"
    try:
        import torch
        import transformers
    except ImportError:
        raise DependencyError("a capture of experts needs torch and transformers", None, remedy) from None
    version = transformers.__version__
    if int(version.partition(".")[0]) < OLDEST:
        raise DependencyError(
            f"a capture of experts needs transformers {OLDEST}, and this is {version}", None, f"{remedy} --upgrade"
        )
    return torch, transformers


def load_model(name: str, device: str) -> Any:
    """A model by its name or folder, as `from_pretrained` takes it, on a device; ``auto`` spreads it over all.

    Raises CaptureError where that cannot be, and where a part of its weights is not there and would be random.
    """
    _, transformers = libraries()
    where = {"device_map": "auto"} if device == "auto" else {}
    try:
        model, told = transformers.AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **where)
    except Exception as error:  # whatever is wrong with files of others, in as many ways as there are families
        remedy = "it takes a language model by its name, or the folder that save_pretrained writes"
        raise CaptureError(f"the model {name} cannot be loaded: {said(error)}", None, remedy) from None
    if missing := sorted(told["missing_keys"]):
        more = f" and {len(missing) - 1:,} more" if missing[1:] else ""
        raise CaptureError(
            f"the model {name} has no weights for {missing[0]}{more}, which would be random",
            None,
            "copy or fetch it again; it must be of the class that its config.json names",
        )
    return model if where else _on(model, device)


def _on(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise CaptureError(
            f"the model cannot be moved to the device {device!r}: {said(error)}", None, "such as cpu, cuda or cuda:1"
        ) from None


def random_model(name: str, seed: int = 0, device: str = "cpu") -> Any:
    """A small model with random weights, whose tokens are bytes: for trying things, and evidence of nothing.

    ``name`` is a key of `RANDOM`. Raises StudyError for another, CaptureError for a device that is not there.
    """
    if name not in RANDOM:
        hint = nearest(name, RANDOM) or f"there are: {', '.join(RANDOM)}"
        raise StudyError(f"there is no random model {name!r}; {hint}")
    torch, transformers = libraries()
    config = transformers.AutoConfig.for_model(name.replace("-", "_"), **SMALL, **RANDOM[name])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.name_or_path = model.config.name_or_path = f"random/{name}"
    return _on(model, device)


def experts_of(model: Any) -> list[Experts]:
    """The experts of each layer that has some, by what their modules are told. Raises CaptureError where none are."""
    made: dict[int, Experts] = {}
    for name, module in model.named_modules():
        form = inspect.signature(type(module).forward)
        names = next((pair for pair in NAMES if set(pair) <= set(form.parameters)), None)
        numbers = re.findall(r"\.(\d+)(?=\.)", name)
        if names is None or not numbers:
            continue
        layer = int(numbers[-1])
        if layer in made:
            raise CaptureError(
                f"{type(model).__name__} has several sets of experts in layer {layer}, and a trace can tell of one",
                None,
                f"capture a model that has one, such as {KNOWN}",
            )
        made[layer] = Experts(layer, module, form, *names)
    if not made:
        raise CaptureError(
            f"no router was found in {type(model).__name__}: it is not a mixture of experts, or one of another form",
            None,
            f"those of transformers whose experts are told {NAMES[0][0]} and {NAMES[0][1]} are, such as {KNOWN}",
        )
    return [made[layer] for layer in sorted(made)]


@contextmanager
def silent(bars: bool) -> Iterator[None]:
    """Let transformers say nothing but errors, and show no bars of its own unless asked for."""
    _, transformers = libraries()
    logging = transformers.utils.logging
    verbosity, active = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if active:
            logging.enable_progress_bar()


def said(error: Exception) -> str:
    """The first line of what an error of others says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
