"""How the GPUs of an instance share a model."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.models.llm.transformer import Transformer

__all__ = ["Parallel"]


@config
class Parallel:
    """How the GPUs of an instance share a model.

    Layers are dealt out over `pipeline` stages. In each, heads and dense networks are cut in `tensor` parts. With
    `expert` parts, whole experts are dealt out over as many GPUs of a stage: where these are more than `tensor`, the
    rest of the model is there several times, each with requests of its own.
    """

    tensor: Annotated[int, Param("parts of heads and matrices", unit="count", ge=1, le=1024)] = 1
    pipeline: Annotated[int, Param("stages of layers", unit="count", ge=1, le=1024)] = 1
    expert: Annotated[int, Param("GPUs of a stage that whole experts are dealt out over", unit="count", ge=1)] = 1

    @property
    def stage(self) -> int:
        """GPUs of a stage."""
        return max(self.tensor, self.expert)

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.pipeline * self.stage

    def check(self, model: Transformer) -> None:
        """Raises StudyError where a model cannot be shared like this."""
        if model.heads % self.tensor:
            raise StudyError(f"{model.heads} heads cannot be cut in {self.tensor} parts (tensor)")
        if self.pipeline > model.layers:
            raise StudyError(f"{model.layers} layers cannot make {self.pipeline} stages (pipeline)")
        if self.expert > 1 and model.experts is None:
            raise StudyError("a model without experts cannot deal them out (expert)")
        if self.expert > 1 and model.experts is not None and model.experts.count % self.expert:
            raise StudyError(f"{model.experts.count} experts cannot be dealt out over {self.expert} GPUs (expert)")
        if self.expert > 1 and self.expert % self.tensor:
            raise StudyError(f"`expert` ({self.expert}) must be a multiple of `tensor` ({self.tensor}), or 1")

    def layer_counts(self, model: Transformer) -> list[int]:
        """Layers of each stage; the first stages have one more where they are not even."""
        each, more = divmod(model.layers, self.pipeline)
        return [each + (stage < more) for stage in range(self.pipeline)]

    def attention(self, model: Transformer) -> int:
        """Parameters of a layer's attention that one GPU holds; heads of keys are held twice where they are few."""
        kv_heads = -(-model.kv_heads // self.tensor)
        return model.shared_attention + model.heads // self.tensor * model.query_head + kv_heads * model.kv_head

    def experts(self, model: Transformer) -> int:
        """Parameters of a layer's experts that one GPU holds, without the shared ones."""
        return model.experts.count * model.expert // max(self.tensor, self.expert) if model.experts else 0

    def common(self, model: Transformer) -> int:
        """Parameters of a layer with experts that one GPU holds and all tokens pass: router and shared experts."""
        return model.router + (-(-model.experts.shared * model.expert // self.tensor) if model.experts else 0)

    def weight_bytes(self, model: Transformer) -> int:
        """Bytes of the weights on the GPU that has most of them. Raises StudyError where it cannot be shared so."""
        self.check(model)
        most, dense = 0, model.dense_layers
        stages = self.layer_counts(model)
        for stage, layers in enumerate(stages):
            plain = min(layers, dense)
            dense -= plain
            held = layers * self.attention(model) + plain * -(-model.dense // self.tensor)
            held += (layers - plain) * (self.experts(model) + self.common(model))
            ends = (stage == 0) + (stage == len(stages) - 1 and not (model.tied and stage == 0))
            held += ends * -(-model.embedding // self.tensor) + (stage == len(stages) - 1) * model.hidden
            most = max(most, held)
        return model.bytes(most)

    def kv_bytes(self, model: Transformer) -> int:
        """Bytes that all GPUs of an instance together keep of a token in the KV cache.

        Heads of keys that are fewer than the parts, and compressed vectors, are held several times.
        """
        if model.latent is not None:
            return model.kv_bytes * self.tensor
        return model.kv_bytes * (-(-model.kv_heads // self.tensor) * self.tensor) // model.kv_heads
