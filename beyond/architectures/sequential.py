"""A network written out: network=sequential 'network.layers=[conv 16 3, relu, flatten, linear]'."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from beyond.contracts import TaskSpec
from beyond.errors import InputError, UnsupportedError, require, require_one_of
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.image_layers import AvgPool2d, Conv2d, MaxPool2d, MeanOverImage
from beyond.network.layers import Layer
from beyond.network.normalisation_layers import BatchNorm, GroupNorm, LayerNorm
from beyond.network.parts import InitialisationName, Layered, trial
from beyond.network.recurrent_layers import GRU, LSTM, RNN
from beyond.network.sequence_layers import (
    Channels,
    Conv1d,
    LastTime,
    MaxOverTime,
    MeanOverTime,
)
from beyond.network.vector_layers import Dropout, Embedding, Flatten, Linear
from beyond.settings import Positive, Text, settings

WORDS: dict[str, Any] = {  # of classes of layers, each a dataclass
    "linear": Linear,
    "conv": Conv2d,
    "pool": MaxPool2d,
    "avgpool": AvgPool2d,
    "imagemean": MeanOverImage,
    "flatten": Flatten,
    "embedding": Embedding,
    "channels": Channels,
    "conv1d": Conv1d,
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "timemean": MeanOverTime,
    "timemax": MaxOverTime,
    "last": LastTime,
    "layernorm": LayerNorm,
    "groupnorm": GroupNorm,
    "batchnorm": BatchNorm,
    "dropout": Dropout,
    **ACTIVATIONS,
}
OF_THE_TASK: dict[Any, tuple[str, ...]] = {Embedding: ("n_symbols",)}
TRUTHS = {"true": True, "false": False}


@settings
class Sequential(Layered):
    """Layers one after the other, each a word and its numbers.

    `linear 64` has 64 units, `linear` as many as the task has outputs; `conv 16 3 1 1` has 16
    channels, a kernel of 3, a stride of 1 and a padding of 1, and so has `conv1d` along time, with
    `false` behind these no bias;
    `pool 2` and `avgpool 2` take squares of 2, `imagemean` all of an image; `embedding 8` makes 8
    features of a symbol, which `channels 8` lays along time for `conv1d`, `rnn 32`, `gru 32` and
    `lstm 32`, whose times `timemean`, `timemax` and `last` make one; then `dropout 0.5`,
    `layernorm`, `groupnorm 8`, `batchnorm`, `flatten`, and the activations `relu`,
    `leaky_relu 0.01`, `gelu`, `silu`, `tanh`, `sigmoid`, `step` and `identity`.

    Parameters
    ----------
    layers : tuple of str
        From the inputs to the outputs.
    """

    layers: tuple[Text, ...] = ("flatten", "linear 64", "relu", "linear")
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    def __post_init__(self) -> None:
        for index, written in enumerate(self.layers):
            _parsed(written, f"network.layers[{index}]")

    @property
    def name(self) -> str:
        return "sequential"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        shape, stack = spec.input_shape, []
        for index, written in enumerate(self.layers):
            place = f"network.layers[{index}]"
            try:
                stack.append(_made(written, place, spec))
                stack[-1].parameters(shape)  # refuses inputs of another shape
                shape = stack[-1].output_shape(shape)
            except (InputError, UnsupportedError) as error:
                raise InputError(f"{place}, {written!r}: {error}") from None
        allowed = f"layers that end in {spec.n_outputs} outputs"
        require("network.layers", allowed, shape, shape == (spec.n_outputs,))
        return stack


def _parsed(written: str, place: str) -> tuple[Any, dict[str, Any]]:
    """Return a layer's class and its fields; raise `InputError` for what is no layer."""
    word, *texts = written.split() or [""]
    require_one_of(f"the first word of {place}", WORDS, word)
    cls = WORDS[word]
    known = [field for field in fields(cls) if field.name not in OF_THE_TASK.get(cls, ())]
    least = sum(field.default is MISSING for field in known) if cls is not Linear else 0
    form = [field.name if field.default is MISSING else f"[{field.name}]" for field in known]
    values = [_value(text, field.type) for field, text in zip(known, texts, strict=False)]
    right = least <= len(texts) <= len(known) and None not in values
    require(place, f"as `{' '.join([word, *form])}`", written, right)
    return cls, {field.name: value for field, value in zip(known, values, strict=False)}


def _made(written: str, place: str, spec: TaskSpec) -> Layer:
    """Make a layer for a task."""
    cls, given = _parsed(written, place)
    if cls is Embedding:
        given["n_symbols"] = spec.n_symbols
    if cls is Linear:
        given.setdefault("n_out", spec.n_outputs)
    return cls(**given)


def _value(text: str, kind: Any) -> Any:
    """Read a number or a truth as the type, or first of the types, that a field has.

    None for what is neither.
    """
    first = str(kind).partition(" | ")[0]
    try:
        return {"int": int, "float": float, "bool": TRUTHS.get, "str": str}[first](text)
    except ValueError:
        return None


TRIALS = {
    "written out": trial(
        Sequential(("avgpool 2", "flatten", "linear 5", "tanh", "linear")),
        (1, 4, 4),
    ),
}
