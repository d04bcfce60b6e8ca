"""Traces of the experts that the routers of a mixture-of-experts model choose, while transformers runs it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import CaptureError
from tiersim.traces.moe_models import Experts, experts_of, libraries, load_model, said, silent
from tiersim.traces.progress import Progress
from tiersim.traces.prompts import Prompt
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import ROUTING, Chunk
from tiersim.traces.store import LEVEL, StoredTrace, Writer
from tiersim.traces.trace import Trace

__all__ = ["capture_moe"]

MOST: Final = 1 << 16  # experts of a layer, and layers
ROWS: Final = 1 << 13  # that are stored at once: a pass of one token has few


def capture_moe(
    model: str | PathLike[str] | Any,
    prompts: Sequence[Prompt],
    out: Path | str,
    *,
    tokenizer: Any = None,
    tokens: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "cpu",
    caution: str = "",
    level: int = LEVEL,
    progress: Progress | None = None,
) -> Trace:
    """Run a model of transformers on prompts, and store which experts its routers choose as a trace of routing.

    ``model`` is a name or a folder as `from_pretrained` takes it, put on a ``device`` (``auto``: spread over all), or
    one that is loaded. A prompt is a text, a list of token numbers, or the messages of a chat; each is run alone, and
    its number, from 0 on, is the ``sequence``. ``tokens`` more are generated and run after each, fewer where the model
    ends: the likeliest ones, or with a ``temperature`` above 0 drawn, from a generator with this ``seed``. The
    ``tokenizer`` is that of the model, or any function from a text to numbers. A ``caution`` stays in the trace, and
    its checks warn of it.

    A record is a token at a layer that has experts, in the order in which they run: ``step`` is the forward pass, of
    which the first of a sequence takes the whole prompt and each further one a token. ``layer`` is the model's number;
    ``experts`` and ``weights`` are what the layer's experts are told, the greatest weight first. Experts shared by all
    tokens are none.

    SIGINT or SIGTERM ends it behind the pass that is under way, and the trace is what was recorded until then. In
    memory are the prompts and what a pass routes. Raises DependencyError without torch and transformers, CaptureError
    when the model cannot be had or has no experts, a prompt does not fit it, it fails, or the file has no folder.
    """
    torch, transformers = libraries()
    if not Path(out).parent.is_dir():
        raise CaptureError(f"{out} cannot be written: its folder is not there", None, "make it, or name another")
    with silent(bars=progress is not None):
        if isinstance(model, str | PathLike):
            model = load_model(fspath(model), device)
        layers = experts_of(model)
        asked = [_numbers(number, prompt) for number, prompt in enumerate(_encoded(model, prompts, tokenizer), 1)]
        _fitting(model, asked, tokens)
        about: dict[str, Any] = {
            "captured": "from a model in transformers",
            "model": model.name_or_path or type(model).__name__,
            "commit": getattr(model.config, "_commit_hash", None),
            "family": model.config.model_type,
            "layers": [held.layer for held in layers],
            "experts": layers[0].count,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokens": tokens,
            "temperature": temperature,
            "seed": seed,
            "prompt": "the tokens of the first step of each sequence",
            **({"caution": caution} if caution else {}),
        }
        with Writer(out, schema=ROUTING, provenance=about, level=level) as store, _asked_to_end() as ending:
            recorder = _Recorder(store, layers, ending, progress, sum(len(ids) + tokens for ids in asked))
            with _generating(model, tokens, temperature, seed) as generate, recorder.attached(model):
                stop = _run(asked, generate, recorder)
            recorder.store()
            store.provenance |= {
                "prompts": recorder.prompts,
                "prompt_tokens": recorder.prompt_tokens,
                "generated_tokens": recorder.tokens - recorder.prompt_tokens,
                "stopped_by": stop,
            }
    return StoredTrace(out)


class _Ended(Exception):  # noqa: N818 - no fault
    """The capture was told to end."""


def _run(asked: Sequence[NDArray[np.int64]], generate: Callable[[Any], Any], recorder: _Recorder) -> str:
    """Run each prompt. What ended the capture."""
    try:
        for number, ids in enumerate(asked):
            recorder.begin(number)
            try:
                generate(ids)
            except (RuntimeError, NotImplementedError) as error:  # such as a device without memory
                raise CaptureError(
                    f"the model failed at prompt {number + 1:,}, which has {len(ids):,} tokens: {said(error)}",
                    None,
                    "if it is short of memory, shorten the prompt, or take a device with more",
                ) from None
            recorder.ended()
    except _Ended:
        if not recorder.tokens:
            raise CaptureError("it was told to end before the first forward pass", None, "let it run longer") from None
        return "signal"
    return "end"


class _Recorder:
    """Hears what the experts of each layer are told, and stores it by whole passes."""

    def __init__(
        self, store: Writer, layers: Sequence[Experts], ending: threading.Event, progress: Progress | None, total: int
    ) -> None:
        self.prompts = self.tokens = self.prompt_tokens = 0
        self._store, self._layers, self._ending = store, layers, ending
        self._progress, self._total = progress, total
        self._sequence = self._step = 0
        self._place = self._width = 0  # of the first token of the pass in its sequence, and its tokens
        self._held: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._passes: list[Chunk] = []
        self._rows = 0

    @contextmanager
    def attached(self, model: Any) -> Iterator[None]:
        """Hear what this model does."""
        with ExitStack() as stack:
            heard = [(model, self._begins), *((held.module, self._hears(held)) for held in self._layers)]
            for module, hear in heard:
                stack.callback(module.register_forward_pre_hook(hear, with_kwargs=True).remove)
            yield

    def begin(self, sequence: int) -> None:
        """What comes now is of this sequence, from its first token on."""
        self._sequence = sequence
        self._place = self._width = 0

    def _begins(self, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.ended()
        if self._ending.is_set():
            raise _Ended
        self._place += self._width
        self._width = (args[0] if args else kwargs["input_ids"]).shape[-1]

    def _hears(self, of: Experts) -> Callable[[Any, tuple[Any, ...], Mapping[str, Any]], None]:
        def hear(_: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            chosen, weights = (held.detach().cpu() for held in of.told(args, kwargs))
            if of.layer in self._held or len(chosen) != self._width:
                raise CaptureError(
                    f"the experts of layer {of.layer} are told of {len(chosen):,} tokens in a pass of {self._width:,}"
                    + (", and once more" if of.layer in self._held else ""),
                    None,
                    "a trace cannot tell whose they are; capture a model that routes each token once at each layer",
                )
            self._held[of.layer] = _best_first(chosen.numpy(), weights.float().numpy())

        return hear

    def ended(self) -> None:
        """Take what the pass that has ended routed."""
        if not self._held:
            return
        if len(self._held) != len(self._layers):
            quiet = next(held.layer for held in self._layers if held.layer not in self._held)
            raise CaptureError(
                f"the experts of layer {quiet} were not told of the {self._width:,} tokens of a pass",
                None,
                "capture a model that routes each token once at each layer",
            )
        layers = np.fromiter(self._held, np.uint16)
        chosen, weights = zip(*self._held.values(), strict=True)
        counts = np.repeat([held.shape[1] for held in chosen], self._width)
        rows = len(counts)
        self._passes.append(
            {
                "layer": np.repeat(layers, self._width),
                "token": np.tile(np.arange(self._place, self._place + self._width, dtype=np.uint32), len(layers)),
                "experts": Ragged.counted(np.concatenate([held.ravel() for held in chosen]), counts),
                "sequence": np.full(rows, self._sequence, np.uint64),
                "step": np.full(rows, self._step, np.uint32),
                "weights": Ragged.counted(np.concatenate([held.ravel() for held in weights]), counts),
            }
        )
        self._rows += rows
        if self._rows >= ROWS:
            self.store()
        self._held = {}
        self._step += 1
        self.tokens += self._width
        if not self._place:
            self.prompts += 1
            self.prompt_tokens += self._width
        if self._progress is not None:
            self._progress(self.tokens, self._total, "tokens")

    def store(self) -> None:
        """Store the passes that are whole."""
        if self._passes:
            self._store.append({name: joined([each[name] for each in self._passes]) for name in self._passes[0]})
        self._passes, self._rows = [], 0


def _best_first(chosen: NDArray[Any], weights: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Experts and weights [token, place] by falling weight; equal ones stay as they are."""
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < MOST:
        raise CaptureError(f"there is an expert {chosen.max():,}, and a trace holds those below {MOST:,}")
    order = np.argsort(-weights, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, 1).astype(np.uint16), np.take_along_axis(weights, order, 1)


def _encoded(model: Any, prompts: Sequence[Prompt], tokenizer: Any) -> Iterator[Sequence[int]]:
    """The token numbers of each prompt. Raises CaptureError where they cannot be had."""
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt, str) and not any(isinstance(each, Mapping) for each in prompt):
            yield prompt  # type: ignore[misc]  # numbers already
            continue
        tokenizer = tokenizer or _tokenizer_of(model)
        if not isinstance(prompt, str) and not hasattr(tokenizer, "apply_chat_template"):
            raise CaptureError(
                f"prompt {number:,} is a chat, and the tokenizer has no form for chats", None, "give it as a text"
            )
        try:
            if isinstance(prompt, str):
                made = tokenizer(prompt)
            else:
                made = tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, tokenize=True)
        except Exception as error:  # a template raises what it likes
            raise CaptureError(
                f"prompt {number:,} cannot be made tokens: {said(error)}", None, "give its token numbers instead"
            ) from None
        yield made["input_ids"] if isinstance(made, Mapping) else made


def _tokenizer_of(model: Any) -> Any:
    _, transformers = libraries()
    try:
        return transformers.AutoTokenizer.from_pretrained(model.name_or_path)
    except Exception as error:
        raise CaptureError(
            f"the tokenizer of {model.name_or_path or 'the model'} cannot be loaded: {said(error)}",
            None,
            "give prompts as token numbers, in JSON lines",
        ) from None


def _numbers(number: int, ids: Sequence[int]) -> NDArray[np.int64]:
    if not len(ids):
        raise CaptureError(f"prompt {number:,} has no token", None, "leave it out")
    return np.array(ids, np.int64)


def _fitting(model: Any, asked: Sequence[NDArray[np.int64]], tokens: int) -> None:
    """Raises CaptureError for the first prompt that the model cannot take."""
    if not asked:
        raise CaptureError("there is no prompt", None, "give one at least")
    known = model.get_input_embeddings().weight.shape[0]
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for number, ids in enumerate(asked, 1):
        if ids.min() < 0 or ids.max() >= known:
            wrong = ids[(ids < 0) | (ids >= known)][0]
            raise CaptureError(
                f"prompt {number:,} has the token {wrong}, and the model knows 0 to {known - 1:,}",
                None,
                "take the tokenizer of this model",
            )
        if room is not None and len(ids) + tokens > room:
            raise CaptureError(
                f"prompt {number:,} has {len(ids):,} tokens, and with {tokens:,} more they are over the {room:,} "
                "places of the model",
                None,
                "shorten it, leave it out, or generate fewer",
            )


@contextmanager
def _generating(model: Any, tokens: int, temperature: float, seed: int) -> Iterator[Callable[[Any], Any]]:
    """What runs a prompt and so many tokens after it; afterwards the model and torch are as they were."""
    torch, transformers = libraries()
    held, training = model.generation_config, model.training
    ends = held.eos_token_id
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    # none of what else a model comes with, such as penalties: tokens are as likely as the model says
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=0, use_cache=True, **drawn)
    model.eval()

    def generate(ids: NDArray[np.int64]) -> Any:
        given = torch.from_numpy(ids)[None].to(model.device)
        # one more than asked for, since the last token that is made is not run
        return model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=tokens + 1)

    try:
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield generate
    finally:
        model.generation_config = held
        model.train(training)


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; a second one interrupts as ever. Elsewhere than in the main thread, never."""
    ending = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(*_: Any) -> None:
        ending.set()
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, end)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
