"""Transformers in numbers: what a model weighs, computes and keeps for each token."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config

__all__ = ["BITS", "Experts", "Latent", "Number", "Transformer"]

Number: TypeAlias = Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4"]
BITS: Final = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "int4": 4}
"""Bits of a number of each type."""


@config
class Experts:
    """The feed-forward networks of a layer of which each token passes a few."""

    count: Annotated[int, Param("experts of a layer that a router picks from", unit="count", ge=1)]
    active: Annotated[int, Param("of those, how many a token passes", unit="count", ge=1)]
    size: Annotated[int, Param("feed-forward size of one expert", unit="count", ge=1)]
    shared: Annotated[int, Param("experts of this size that all tokens pass", unit="count", ge=0)] = 0
    gated: Annotated[bool, Param("whether a gate weighs what the shared experts give")] = False
    corrected: Annotated[bool, Param("whether the router has a number for each expert that evens their use")] = False
    dense: Annotated[int, Param("first layers that have one dense network instead", unit="count", ge=0)] = 0


@config
class Latent:
    """Multi-head latent attention: of a token one compressed vector is kept for all heads.

    `head` of the transformer is then the part of a query or key without positions. Reference: DeepSeek-AI,
    DeepSeek-V2, 2024, arXiv 2405.04434.
    """

    rank: Annotated[int, Param("size of the compressed keys and values (kv_lora_rank)", unit="count", ge=1)]
    rope: Annotated[int, Param("size of a key's part with positions, one for all heads", unit="count", ge=1)]
    value_head: Annotated[int, Param("size of a head's value", unit="count", ge=1)]
    query: Annotated[int | None, Param("size of compressed queries (q_lora_rank)", unit="count", ge=1)] = None


@config
class Transformer:
    """The shape of a decoder with rotary positions, RMSNorm and gated feed-forward networks (three matrices).

    Attention is taken to be over the whole context: sliding windows are not modelled.
    """

    layers: Annotated[int, Param("layers", unit="count", ge=1)]
    hidden: Annotated[int, Param("size of a token between layers", unit="count", ge=1)]
    heads: Annotated[int, Param("heads of queries", unit="count", ge=1)]
    kv_heads: Annotated[int, Param("heads of keys and values", unit="count", ge=1)]
    head: Annotated[int, Param("size of a head", unit="count", ge=1)]
    feed_forward: Annotated[int, Param("feed-forward size of a dense layer", unit="count", ge=1)]
    vocabulary: Annotated[int, Param("tokens that there are", unit="count", ge=1)]
    tied: Annotated[bool, Param("whether the output uses the matrix of the input embedding")] = False
    bias: Annotated[Literal["none", "qkv", "all"], Param("which matrices of the attention have a bias")] = "none"
    query_key_norm: Annotated[
        Literal["none", "head", "all"], Param("whether queries and keys are normed, a head or all heads together")
    ] = "none"
    experts: Annotated[Experts | None, Param("experts; unless said, all layers are dense")] = None
    latent: Annotated[Latent | None, Param("latent attention; unless said, keys and values of heads are kept")] = None
    weights: Annotated[Number, Param("type of a weight")] = "bf16"
    cache: Annotated[Number, Param("type of a number in the KV cache")] = "bf16"

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise StudyError(f"{self.heads} heads of queries cannot share {self.kv_heads} heads of keys evenly")
        if self.experts is not None:
            if self.experts.active > self.experts.count:
                raise StudyError(f"a token passes {self.experts.active} experts, and there are {self.experts.count}")
            if self.experts.dense > self.layers:
                raise StudyError(f"{self.experts.dense} dense layers are first, and there are {self.layers}")

    # --- parameters

    @property
    def key(self) -> int:
        """Size of a head's query and key."""
        return self.head + (self.latent.rope if self.latent else 0)

    @property
    def value(self) -> int:
        """Size of a head's value."""
        return self.latent.value_head if self.latent else self.head

    @property
    def shared_attention(self) -> int:
        """Parameters of a layer's attention that belong to no head: norms, and what compresses."""
        norms = 2 * self.hidden + (2 * self.head if self.query_key_norm == "head" else 0)
        if self.latent is None:
            return norms + (self.hidden if self.bias == "all" else 0)
        query = self.latent.query
        down = 0 if query is None else (self.hidden + 1) * query
        return norms + down + self.hidden * (self.latent.rank + self.latent.rope) + self.latent.rank

    @property
    def query_head(self) -> int:
        """Parameters of a layer's attention that belong to one head of queries."""
        output = self.value * self.hidden
        if self.latent is None:
            biases = self.head if self.bias != "none" else 0
            norms = self.head if self.query_key_norm == "all" else 0
            return self.hidden * self.head + biases + norms + output
        return (self.latent.query or self.hidden) * self.key + self.latent.rank * (self.head + self.value) + output

    @property
    def kv_head(self) -> int:
        """Parameters of a layer's attention that belong to one head of keys and values."""
        if self.latent is not None:
            return 0
        norms = self.head if self.query_key_norm == "all" else 0
        return 2 * (self.hidden + (self.bias != "none")) * self.head + norms

    @property
    def attention(self) -> int:
        """Parameters of a layer's attention, and of its two norms."""
        return self.shared_attention + self.heads * self.query_head + self.kv_heads * self.kv_head

    @property
    def dense(self) -> int:
        """Parameters of the feed-forward network of a dense layer."""
        return 3 * self.hidden * self.feed_forward

    @property
    def dense_layers(self) -> int:
        """Layers without experts."""
        return self.layers if self.experts is None else self.experts.dense

    @property
    def expert(self) -> int:
        """Parameters of one expert; 0 where there are none."""
        return 3 * self.hidden * self.experts.size if self.experts else 0

    @property
    def router(self) -> int:
        """Parameters of a layer that pick experts, and weigh the shared ones."""
        if self.experts is None:
            return 0
        return self.hidden * (self.experts.count + self.experts.gated) + self.experts.corrected * self.experts.count

    @property
    def embedding(self) -> int:
        """Parameters of the input embedding, and of the output if it has a matrix of its own."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """Parameters in all."""
        return self._parameters(self.experts.count if self.experts else 0)

    @property
    def active_parameters(self) -> int:
        """Parameters that work on a token."""
        return self._parameters(self.experts.active if self.experts else 0)

    def _parameters(self, routed: int) -> int:
        sparse = self.router + (routed + self.experts.shared) * self.expert if self.experts else 0
        feed_forward = self.dense_layers * self.dense + (self.layers - self.dense_layers) * sparse
        ends = self.embedding * (1 if self.tied else 2) + self.hidden
        return self.layers * self.attention + feed_forward + ends

    # --- bytes

    def bytes(self, parameters: int) -> int:
        """Bytes of so many weights."""
        return -(-parameters * BITS[self.weights] // 8)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return self.bytes(self.parameters)

    @property
    def kv_layer_bytes(self) -> int:
        """Bytes that a layer keeps of a token."""
        kept = 2 * self.kv_heads * self.head if self.latent is None else self.latent.rank + self.latent.rope
        return -(-kept * BITS[self.cache] // 8)

    @property
    def kv_bytes(self) -> int:
        """Bytes that all layers keep of a token in the KV cache, on one GPU."""
        return self.layers * self.kv_layer_bytes

    # --- operations; a multiplication and an addition are two

    @property
    def token_operations(self) -> int:
        """Operations of a token outside of attention and output: two for each active weight but the embeddings'."""
        return 2 * (self.active_parameters - self.embedding * (1 if self.tied else 2))

    @property
    def output_operations(self) -> int:
        """Operations that tell the next token, of one that is sampled."""
        return 2 * self.embedding

    @property
    def prefill_operations(self) -> int:
        """Operations of attention for each pair of a prompt's token and one at or before it."""
        return 2 * self.layers * self.heads * (self.key + self.value)

    @property
    def decode_operations(self) -> int:
        """Operations of attention of one that decodes for each token of its context.

        Latent attention then works on the compressed vectors themselves.
        """
        if self.latent is None:
            return self.prefill_operations
        return 2 * self.layers * self.heads * (2 * self.latent.rank + self.latent.rope)
