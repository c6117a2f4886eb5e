"""Every layer against torch's function, its chain rule against that one's derivative."""

from functools import partial, reduce

import pytest
import torch
import torch.nn.functional as F

from beyond.errors import InputError
from beyond.network.activation_layers import (
    ACTIVATIONS,
    GELU,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Step,
    Tanh,
)
from beyond.network.attention_layers import Attention, Positions
from beyond.network.composite_layers import Chain, Concatenation, Sum, residual
from beyond.network.image_layers import AvgPool2d, Conv2d, MaxPool2d, MeanOverImage
from beyond.network.normalisation_layers import GroupNorm, LayerNorm
from beyond.network.recurrent_layers import GRU, LSTM, RNN
from beyond.network.sequence_layers import (
    Channels,
    Conv1d,
    LastTime,
    MaxOverTime,
    MeanOverTime,
    Places,
    Transposed,
)
from beyond.network.vector_layers import Dropout, Embedding, Flatten, Linear, Residual
from beyond.streams import Stream

FAULTS = [
    ("beyond/network/activation_layers.py", "dy * (1 - cache.square())", "dy * (1 - cache)"),
    (
        "beyond/network/activation_layers.py",
        "(cache > 0, dy, self.slope * dy)",
        "(cache > 0, dy, 0.01 * dy)",
    ),
    ("beyond/network/activation_layers.py", "+ cache * density", "+ density"),
    (
        "beyond/network/activation_layers.py",
        "gate * (1 + cache * (1 - gate))",
        "gate * (1 - cache * (1 - gate))",
    ),
    # on too late, and a derivative where there is none
    (
        "beyond/network/activation_layers.py",
        "(x > 0).to(x.dtype), None",
        "(x > 0.1).to(x.dtype), None",
    ),
    ("beyond/network/activation_layers.py", "return torch.zeros_like(dy)", "return dy"),
    # dropout that shrinks the mean
    ("beyond/network/vector_layers.py", "/ each(1 - numbers(self.rate), drawn)", "* 1.0"),
    # the first replica's rate for all
    (
        "beyond/network/vector_layers.py",
        "drawn >= each(self.rate, drawn)",
        "drawn >= each(self.rate, drawn)[0]",
    ),
    # nothing goes past a residual connection's layer
    ("beyond/network/vector_layers.py", "return dy + self.inner.carry", "return self.inner.carry"),
    (
        "beyond/network/normalisation_layers.py",
        "- dn.mean(self.axis, keepdim=True) - along",
        "- along",
    ),
    (
        "beyond/network/normalisation_layers.py",
        "keepdim=True) - along",
        "keepdim=True)",
    ),
    # one group of all channels
    (
        "beyond/network/normalisation_layers.py",
        "x.shape[-1], self.n_groups, -1",
        "x.shape[-1], 1, -1",
    ),
    # all copies of a shared input have what the first has
    ("beyond/network/image_layers.py", "range(len(kernels) // len(x))", "range(1)"),
    # what replaces the kernels on the way back is lost, where gradients are wanted as well
    (
        "beyond/network/image_layers.py",
        'kernels = _channels_together(weights["weight"])\n        dx, *learnt',
        "kernels = cache[1]\n        dx, *learnt",
    ),
    # normalised in half precision, and the error; an error left in single
    ("beyond/network/normalisation_layers.py", "self.together(single(x))", "self.together(x)"),
    ("beyond/network/normalisation_layers.py", "dn = single(dy) * _along", "dn = dy * _along"),
    (
        "beyond/network/normalisation_layers.py",
        "self.undone(dx, dy).to(dy.dtype)",
        "self.undone(dx, dy)",
    ),
    # an error that every time has as a whole
    ("beyond/network/sequence_layers.py", "(dy / cache)", "dy"),
    # the memory cell forgets nothing, and what it forgets has no error
    (
        "beyond/network/recurrent_layers.py",
        "torch.addcmul(keep * cells[-1]",
        "torch.addcmul(cells[-1]",
    ),
    ("beyond/network/recurrent_layers.py", "cell = cell * keep[time]", "cell = cell * 1"),
    ("beyond/network/recurrent_layers.py", "errors[time, :, 3] *= error", "pass"),
    # the error of a time goes back as it came
    (
        "beyond/network/recurrent_layers.py",
        "at_sums.append(slope[time] * error)",
        "at_sums.append(error)",
    ),
    # every time has the error of the largest; the second direction ends at the last time
    (
        "beyond/network/sequence_layers.py",
        "dy.new_zeros(shape).scatter_(2, times, dy.unsqueeze(2))",
        "dy.unsqueeze(2).expand(shape)",
    ),
    ("beyond/network/sequence_layers.py", "x[:, n_ahead:, 0]], 1)", "x[:, n_ahead:, -1]], 1)"),
    # a composite layer: what goes past the branch is lost, weights of another layer, a branch's error
    ("beyond/network/composite_layers.py", "total = total + term", "total = term"),
    ("beyond/network/composite_layers.py", "parts[int(index)][rest]", "parts[0][rest]"),
    (
        "beyond/network/composite_layers.py",
        "[dy] * len(self.layers)",
        "[dy / 2] * len(self.layers)",
    ),
    # a time sees the next one; the shares' sum of one is forgotten, and the heads' width
    ("beyond/network/attention_layers.py", ".triu(1)", ".triu(2)"),
    ("beyond/network/attention_layers.py", "(at_shares - common)", "at_shares"),
    ("beyond/network/attention_layers.py", "at_scores.mT @ queries", "at_scores @ queries"),
    # images of one channel as torch has them: everything behind is slower
    (
        "beyond/network/image_layers.py",
        "places.flatten(2).unflatten(2, places.shape[2:]).movedim(-1, 2)",
        "x",
    ),
    # as if all symbols of a sequence fed one unit
    (
        "beyond/network/vector_layers.py",
        "return 1, self.n_features",
        "return shape[0], self.n_features",
    ),
]

R, P, B = 3, 5, 4
TOLERANCE = {
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
    torch.float64: {"rtol": 1e-12, "atol": 1e-13},
}


def torch_recurrence(layer, weights, x):
    """torch.nn.GRU on sequences (B, channels, length), with our weights, cut into directions."""
    more = {"nonlinearity": layer.activation} if isinstance(layer, RNN) else {}
    module = getattr(torch.nn, type(layer).__name__)(
        x.shape[1], layer.n_hidden, batch_first=True, bidirectional=layer.bidirectional, **more
    )
    names = {
        "weight": "weight_ih",
        "weight_hidden": "weight_hh",
        "bias": "bias_ih",
        "bias_hidden": "bias_hh",
    }
    named = {
        f"{theirs}_l0{suffix}": part
        for name, theirs in names.items()
        for suffix, part in zip(
            ("", "_reverse"), weights[name].chunk(layer.n_directions), strict=False
        )
    }
    return torch.func.functional_call(module, named, (x.transpose(1, 2),))[0].transpose(1, 2)


def torch_attention(layer, _, x):
    """Torch's attention on sequences (B, channels, length)."""
    heads = x.unflatten(1, (3, layer.n_heads, -1)).mT.unbind(1)  # (B, n_heads, length, features)
    answers = F.scaled_dot_product_attention(*heads, is_causal=layer.causal)
    return answers.mT.flatten(1, 2)


def within(layer, weights):
    """Torch's functions of the layers in a composite one."""
    for index, inner in enumerate(layer.layers):
        prefix = f"{index}."
        own = {
            name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)
        }
        yield partial(TORCH[type(inner)], inner, own)


# One replica's layer on examples (B, *shape), as torch has it.
TORCH = {
    Linear: lambda _, w, x: F.linear(x, w["weight"], w["bias"]),
    Embedding: lambda _, w, x: F.embedding(x, w["weight"]).flatten(1),
    Residual: lambda layer, w, x: (
        x
        + TORCH[type(layer.activation)](
            layer.activation, {}, TORCH[type(layer.inner)](layer.inner, w, x)
        )
    ),
    Chain: lambda layer, w, x: reduce(lambda y, run: run(y), within(layer, w), x),
    Sum: lambda layer, w, x: sum(run(x) for run in within(layer, w)),
    Concatenation: lambda layer, w, x: torch.cat([run(x) for run in within(layer, w)], 1),
    Conv1d: lambda layer, w, x: F.conv1d(
        x, w["weight"], w.get("bias"), layer.stride, layer.padding
    ),
    **dict.fromkeys((RNN, GRU, LSTM), torch_recurrence),
    Channels: lambda layer, _, x: x.view(len(x), -1, layer.n_channels).mT,
    Attention: torch_attention,
    Positions: lambda _, w, x: x + w["bias"],
    Transposed: lambda _, __, x: x.mT,
    Places: lambda _, __, x: x.flatten(2),
    MeanOverImage: lambda _, __, x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    MeanOverTime: lambda _, __, x: F.adaptive_avg_pool1d(x, 1).squeeze(2),
    MaxOverTime: lambda _, __, x: F.adaptive_max_pool1d(x, 1).squeeze(2),
    LastTime: lambda layer, _, x: (
        torch.cat([x[:, : x.shape[1] // 2, -1], x[:, x.shape[1] // 2 :, 0]], 1)
        if layer.bidirectional
        else x[:, :, -1]
    ),
    Conv2d: lambda layer, w, x: F.conv2d(
        x, w["weight"], w.get("bias"), layer.stride, layer.padding
    ),
    MaxPool2d: lambda layer, _, x: F.max_pool2d(x, layer.size),
    AvgPool2d: lambda layer, _, x: F.avg_pool2d(x, layer.size),
    LayerNorm: lambda layer, w, x: F.layer_norm(
        x.movedim(1, -1), x.shape[1:2], w["weight"], w["bias"], layer.epsilon
    ).movedim(-1, 1),
    GroupNorm: lambda layer, w, x: F.group_norm(
        x, layer.n_groups, w["weight"], w["bias"], layer.epsilon
    ),
    Flatten: lambda _, __, x: x.flatten(1),
    ReLU: lambda _, __, x: F.relu(x),
    Identity: lambda _, __, x: x,
    Tanh: lambda _, __, x: F.tanh(x),
    Sigmoid: lambda _, __, x: F.sigmoid(x),
    LeakyReLU: lambda layer, __, x: F.leaky_relu(x, layer.slope),
    GELU: lambda _, __, x: F.gelu(x),
    SiLU: lambda _, __, x: F.silu(x),
    Step: lambda _, __, x: x.sign().clamp(min=0),
}
WEIGHTED = [
    (Linear(4), (5,)),
    (Linear(1), (1,)),
    (LayerNorm(), (7,)),
    (LayerNorm(0.5), (2,)),
    (LayerNorm(), (8, 3)),
    (LayerNorm(), (8, 2, 2)),
    (GroupNorm(2, 0.5), (4, 5)),
    (GroupNorm(1), (3, 2, 4)),
    (GroupNorm(2), (4, 3, 2)),
    (GroupNorm(2), (6,)),
    (Conv2d(4), (2, 7, 5)),
    (Conv2d(3, 3, padding=1), (2, 5, 8)),
    (Conv2d(1, 1), (3, 2, 3)),
    (Conv2d(3, 2, stride=2), (2, 5, 7)),
    (Conv2d(2, 3, stride=2, padding=1), (1, 6, 9)),
    (Conv2d(2, 4, stride=3, padding=2), (2, 9, 5)),
    (Conv2d(3, 3, padding=1, bias=False), (2, 5, 4)),
    (Conv1d(3, 3, bias=False), (2, 7)),
    (Conv1d(4), (2, 7)),
    (Conv1d(3, 5, stride=2, padding=1), (1, 8)),
    (Conv1d(1, 1), (3, 2)),
    (Conv1d(2, 2, stride=3), (2, 9)),
    (Conv1d(2, 4, stride=3, padding=2), (2, 9)),
]
BENT = [  # their weights decide where the error passes, not only how much
    (Residual(Linear(5), ReLU()), (5,)),
    (Residual(Linear(1), Tanh()), (1,)),
    (Residual(Conv1d(2, 3, padding=1), Sigmoid()), (2, 6)),
    (GRU(3), (2, 5)),
    (GRU(1), (1, 1)),
    (GRU(2, bidirectional=True), (3, 4)),
    (Positions(), (3, 4)),
    (RNN(3), (2, 5)),
    (RNN(1, activation="relu"), (1, 1)),
    (RNN(2, bidirectional=True, activation="relu"), (3, 4)),
    (LSTM(3), (2, 5)),
    (LSTM(1), (1, 1)),
    (LSTM(2, bidirectional=True), (3, 4)),
    (Chain((Linear(3), Tanh(), Linear(2))), (5,)),
    (Chain((Tanh(), Linear(3), Flatten(), Linear(4), Sigmoid())), (5,)),
    (Concatenation((Linear(3), Chain((Linear(2), Tanh())))), (4,)),
    (Concatenation((Identity(), Chain((Tanh(), Conv1d(3, padding=1))))), (2, 4)),
    (residual(LayerNorm(), Linear(4), Tanh(), Linear(5)), (5,)),
    (residual(Conv2d(3, padding=1), ReLU(), Conv2d(2, padding=1)), (2, 4, 5)),
    (residual(Conv2d(3, stride=2, padding=1), shortcut=Conv2d(3, 1, 2)), (2, 5, 6)),
    (Chain((residual(Linear(3), Tanh()), residual(residual(Linear(3), Tanh())))), (3,)),
]
WEIGHTLESS = [
    (MaxPool2d(), (2, 4, 6)),
    (MaxPool2d(), (2, 5, 6)),
    (MaxPool2d(3), (1, 8, 7)),
    (AvgPool2d(), (2, 4, 6)),
    (AvgPool2d(), (2, 5, 6)),
    (AvgPool2d(3), (1, 8, 7)),
    (MeanOverTime(), (3, 5)),
    (MeanOverTime(), (1, 1)),
    (MeanOverImage(), (2, 3, 4)),
    (Attention(2), (12, 5)),
    (Attention(2, causal=True), (6, 4)),
    (Attention(1), (3, 1)),
    (Transposed(), (3, 5)),
    (Places(), (2, 3, 4)),
    (MaxOverTime(), (3, 5)),
    (LastTime(), (3, 5)),
    (LastTime(bidirectional=True), (4, 3)),
    (Flatten(), (2, 3, 4)),
    (Channels(), (4,)),
    (Channels(3), (12,)),
    *((activation(), shape) for activation in ACTIVATIONS.values() for shape in ((6,), (2, 3, 4))),
    (LeakyReLU(0.3), (6,)),
]
SYMBOLS = [(Embedding(6, 3), (4,)), (Embedding(5, 1), (1,))]


def draw(layer, shape, n_copies=R, dtype=torch.float64):
    """Weights of `n_copies`, and R inputs."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(n_copies, *size, generator=generator, dtype=dtype)
        for name, size in layer.parameters(shape).items()
    }
    if isinstance(layer, Embedding):
        return weights, torch.randint(layer.n_symbols, (R, *shape, B), generator=generator)
    return weights, torch.randn(R, *shape, B, generator=generator, dtype=dtype)


def reference(layer, weights, x):
    """Torch's function on each replica, in the layers' axes."""
    outputs = [
        TORCH[type(layer)](
            layer,
            {name: weight[replica] for name, weight in weights.items()},
            inputs.movedim(-1, 0),
        )
        for replica, inputs in enumerate(x)
    ]
    return torch.stack(outputs).movedim(1, -1)


def pull_back(layer, weights, x, dy):
    """Torch's derivatives at the input (None for symbols) and at each weight."""
    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    x = x.clone().requires_grad_(x.is_floating_point())
    at = [*([x] if x.requires_grad else []), *leaves.values()]
    found = list(torch.autograd.grad(reference(layer, leaves, x), at, dy))
    return found.pop(0) if x.requires_grad else None, dict(zip(leaves, found, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("layer", "shape"), [*WEIGHTED, *BENT, *WEIGHTLESS, *SYMBOLS])
def test_forward_is_torchs_function_and_has_the_shape_it_says(layer, shape, dtype):
    weights, x = draw(layer, shape, dtype=dtype)
    y, _ = layer.forward(weights, x)
    assert y.shape == (R, *layer.output_shape(shape), B)
    torch.testing.assert_close(y, reference(layer, weights, x), **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("layer", "shape"), [*WEIGHTED, *BENT, *WEIGHTLESS, *SYMBOLS])
def test_the_chain_rule_is_automatic_differentiation(layer, shape, dtype):
    weights, x = draw(layer, shape, dtype=dtype)
    y, cache = layer.forward(weights, x)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    dx, gradients = pull_back(layer, weights, x, dy)
    if dx is not None:
        torch.testing.assert_close(layer.carry(weights, cache, dy), dx, **TOLERANCE[dtype])
    torch.testing.assert_close(layer.gradients(cache, dy), gradients, **TOLERANCE[dtype])


@pytest.mark.parametrize("n_in", [1, 3])
def test_images_of_each_copy_have_the_channels_of_a_place_together(n_in):
    layer = Conv2d(4)
    weights, x = draw(layer, (n_in, 6, 5))
    y, cache = layer.forward(weights, x)
    dx, _ = layer.backward(weights, cache, y)
    for images in (y, dx) if n_in > 1 else (y,):
        for copy in images.movedim(-1, 1):
            assert copy.is_contiguous(memory_format=torch.channels_last)


def test_symbols_carry_no_error():
    layer = Embedding(6, 3)
    weights, x = draw(layer, (4,))
    y, cache = layer.forward(weights, x)
    with pytest.raises(TypeError, match="symbols carry no error"):
        layer.carry(weights, cache, y)


@pytest.mark.parametrize(("layer", "shape"), [*WEIGHTED, *BENT, *SYMBOLS])
def test_candidates_that_share_an_input_are_evaluated_as_one_by_one(layer, shape):
    weights, x = draw(layer, shape, n_copies=R * P)
    together, _ = layer.forward(weights, x)
    for candidate in range(P):
        single = {name: weight[candidate::P] for name, weight in weights.items()}
        torch.testing.assert_close(
            together[candidate::P], layer.forward(single, x)[0], rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize(("layer", "shape"), WEIGHTLESS)
def test_without_weights_a_shared_input_stays_shared(layer, shape):
    _, x = draw(layer, shape)
    assert len(layer.forward({}, x)[0]) == R


@pytest.mark.parametrize(("layer", "shape"), WEIGHTED)
def test_transport_replaces_the_matrix_that_carries_the_error(layer, shape):
    weights, x = draw(layer, shape)
    y, cache = layer.forward(weights, x)
    generator = torch.Generator().manual_seed(2)
    dy = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    other = torch.randn(weights["weight"].shape, generator=generator, dtype=y.dtype)
    carried = layer.carry(weights, cache, dy, carrier=weights["weight"])
    torch.testing.assert_close(carried, layer.carry(weights, cache, dy), rtol=0, atol=0)
    expected, _ = pull_back(layer, {**weights, "weight": other}, x, dy)
    torch.testing.assert_close(
        layer.carry(weights, cache, dy, carrier=other), expected, rtol=1e-12, atol=1e-13
    )
    carried, gradients = layer.backward({**weights, "weight": other}, cache, dy)
    torch.testing.assert_close(carried, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradients, layer.gradients(cache, dy), rtol=0, atol=0)


@pytest.mark.parametrize("layer", [LayerNorm(), GroupNorm(2)])
def test_half_precision_is_normalised_in_single_and_rounded_once(layer):
    weights, x = draw(layer, (4, 3, 5), dtype=torch.bfloat16)
    dy = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    y, cache = layer.forward(weights, x)
    wide = {name: weight.float() for name, weight in weights.items()}
    answer, known = layer.forward(wide, x.float())
    assert torch.equal(y, answer.bfloat16())
    assert torch.equal(
        layer.carry(weights, cache, dy), layer.carry(wide, known, dy.float()).bfloat16()
    )


def test_a_linear_layer_carries_with_the_transposed_transport():
    layer = Linear(4)
    weights, x = draw(layer, (5,))
    _, cache = layer.forward(weights, x)
    other, dy = torch.rand(R, 4, 5, dtype=x.dtype), torch.rand(R, 4, B, dtype=x.dtype)
    by_hand = torch.stack([other[replica].T @ dy[replica] for replica in range(R)])
    torch.testing.assert_close(layer.carry(weights, cache, dy, other), by_hand)


def test_a_residual_connection_carries_the_error_past_the_transport():
    layer = Residual(Linear(5), ReLU())
    weights, x = draw(layer, (5,))
    y, cache = layer.forward(weights, x)
    other, dy = torch.rand(R, 5, 5, dtype=x.dtype), torch.rand(y.shape, dtype=x.dtype)
    by_hand = dy + other.mT @ (dy * (y - x > 0))
    torch.testing.assert_close(layer.carry(weights, cache, dy, other), by_hand)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_a_recurrence_carries_with_the_transposed_transport(kind, bidirectional):
    layer = kind(2, bidirectional)
    n_rows = 2 * layer.n_gates * layer.n_directions
    weights, x = draw(layer, (n_rows, 4))
    y, cache = layer.forward(weights, x)
    dy = torch.rand(y.shape, dtype=x.dtype)
    plain = layer.carry(weights, cache, dy, torch.eye(n_rows, dtype=x.dtype).expand(R, -1, -1))
    other = torch.rand(R, n_rows, n_rows, dtype=x.dtype)
    by_hand = torch.einsum("goi,gotb->gitb", other, plain)
    torch.testing.assert_close(layer.carry(weights, cache, dy, other), by_hand)
    carried = layer.carry(weights, cache, dy, weights["weight"])
    torch.testing.assert_close(carried, layer.carry(weights, cache, dy), rtol=0, atol=0)


def test_what_two_directions_end_with_is_torchs():
    layer = LSTM(2, bidirectional=True)
    weights, x = draw(layer, (3, 4), dtype=torch.float32)
    states, _ = layer.forward(weights, x)
    ends, _ = LastTime(bidirectional=True).forward({}, states)
    module = torch.nn.LSTM(3, 2, bidirectional=True)
    with torch.no_grad():
        for name, values in module.named_parameters():
            ours = weights[name.split("_")[0] + ("_hidden" if "_hh" in name else "")][0]
            values.copy_(ours[8:] if name.endswith("reverse") else ours[:8])
        _, (final, _) = module(x[0].permute(1, 2, 0))  # (D, B, n_hidden)
    torch.testing.assert_close(ends[0], final.transpose(1, 2).flatten(0, 1))


def test_of_equal_times_one_passes_the_error_on():
    layer, x = MaxOverTime(), torch.zeros(1, 1, 3, 1)
    y, cache = layer.forward({}, x)
    assert layer.carry({}, cache, torch.ones_like(y)).sum() == 1


def test_embedded_letters_become_a_sequence():
    weight = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    letters, _ = Embedding(3, 2).forward({"weight": weight}, torch.tensor([[[2], [0]]]))
    sequence, _ = Channels(2).forward({}, letters)
    assert sequence[0, :, :, 0].tolist() == [[5.0, 1.0], [6.0, 2.0]]  # channels, times


def test_embedded_letters_lie_end_to_end():
    weight = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    y, _ = Embedding(3, 2).forward({"weight": weight}, torch.tensor([[[2], [0]]]))
    assert y[0, :, 0].tolist() == [5.0, 6.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(Linear(4), (5,)), (Conv2d(6, 3), (2, 9, 9)), (Conv1d(6, stride=1), (2, 9))],
)
def test_fans_are_torchs(layer, shape):
    weight = torch.empty(layer.parameters(shape)["weight"])
    assert layer.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(weight)


def test_one_symbol_at_a_time_feeds_an_embedding():
    assert Embedding(27, 3).fans((12,)) == (1, 3)


def test_dropout_without_a_stream_is_the_identity():
    x = torch.randn(R, 6, B)
    y, cache = Dropout(0.5).forward({}, x)
    assert y is x
    assert Dropout(0.5).carry({}, cache, x) is x


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7])
def test_dropout_keeps_the_mean_and_carries_through_what_it_kept(rate):
    layer, x = Dropout(rate), torch.ones(R, 100, 200)
    y, cache = layer.forward({}, x, Stream("step", range(R)))
    kept = y > 0
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - rate)))
    spread = (rate / (1 - rate) / y[0].numel()) ** 0.5  # of a replica's mean
    assert ((y.mean((1, 2)) - 1).abs() <= 4 * spread + 1e-6).all()
    dy = torch.randn_like(y)
    torch.testing.assert_close(layer.carry({}, cache, dy), dy * y)


def test_dropout_draws_for_each_replica_what_it_draws_alone():
    x = torch.ones(R, 20, B)
    together, _ = Dropout(0.5).forward({}, x, Stream("step", [4, 5, 6]))
    alone, _ = Dropout(0.5).forward({}, x[:1], Stream("step", [5]))
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])


def test_dropout_has_the_rate_of_each_replica():
    x, seeds = torch.rand(R, 20, B), [4, 5, 6]
    together, _ = Dropout((0.0, 0.2, 0.7)).forward({}, x, Stream("step", seeds))
    for replica, rate in enumerate((0.0, 0.2, 0.7)):
        rows = slice(replica, replica + 1)
        alone, _ = Dropout(rate).forward({}, x[rows], Stream("step", seeds[rows]))
        torch.testing.assert_close(together[rows], alone)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0), "n_out must be >= 1, got 0"),
        (lambda: Embedding(0, 2), "n_symbols must be >= 1, got 0"),
        (lambda: Embedding(2, -1), "n_features must be >= 1, got -1"),
        (lambda: Conv2d(0), "n_out must be >= 1, got 0"),
        (lambda: Conv2d(1, kernel=0), "kernel must be >= 1, got 0"),
        (lambda: Conv2d(1, stride=0), "stride must be >= 1, got 0"),
        (lambda: Conv2d(1, padding=-1), "padding must be >= 0, got -1"),
        (lambda: MaxPool2d(0), "size must be >= 1, got 0"),
        (lambda: Conv1d(0), "n_out must be >= 1, got 0"),
        (lambda: Conv1d(1, kernel=0), "kernel must be >= 1, got 0"),
        (lambda: Conv1d(1, stride=0), "stride must be >= 1, got 0"),
        (lambda: Conv1d(1, padding=-1), "padding must be >= 0, got -1"),
        (lambda: Channels(0), "n_channels must be >= 1, got 0"),
        (lambda: GRU(0), "n_hidden must be >= 1, got 0"),
        (lambda: Attention(0), "n_heads must be >= 1, got 0"),
        (
            lambda: Attention(2).output_shape((9, 4)),
            r"Attention input must be a multiple of 3 n_heads \(6\) channels .*, got \(9, 4\)",
        ),
        (lambda: Places().output_shape((2, 3)), r"Places input must be an image .*, got \(2, 3\)"),
        (lambda: Chain(()), r"layers must be one at least, got \(\)"),
        (
            lambda: residual(Linear(2)).output_shape((3,)),
            r"Sum of layers must be of outputs of one shape, \(2,\), got \(3,\)",
        ),
        (
            lambda: Concatenation((Conv1d(2), Identity())).output_shape((1, 5)),
            r"Concatenation of layers must be of .* but for the channels, \(2, 3\), got \(1, 5\)",
        ),
        (lambda: LSTM(0), "n_hidden must be >= 1, got 0"),
        (lambda: RNN(1, activation="gelu"), "activation must be one of tanh, relu; got 'gelu'"),
        (
            lambda: LastTime(bidirectional=True).output_shape((3, 2)),
            r"LastTime input must be an even number of channels .*, got \(3, 2\)",
        ),
        (
            lambda: Conv1d(1, 5).output_shape((1, 4)),
            "kernel must be small enough for a sequence of 4, got 5",
        ),
        (lambda: Conv1d(1).parameters((4,)), r"Conv1d input must be a sequence .*, got \(4,\)"),
        (
            lambda: GRU(1).output_shape((1, 2, 3)),
            r"GRU input must be a sequence .*, got \(1, 2, 3\)",
        ),
        (
            lambda: Channels(3).output_shape((7,)),
            r"Channels input must be one axis, a multiple of 3 .*, got \(7,\)",
        ),
        (
            lambda: Residual(Linear(2), ReLU()).output_shape((3,)),
            r"Residual output must be \(3,\), .*, got \(2,\)",
        ),
        (lambda: AvgPool2d(0), "size must be >= 1, got 0"),
        (lambda: LeakyReLU(1.0), r"slope must be in \[0, 1\), got 1.0"),
        (lambda: Dropout(1.0), r"rate must be in \[0, 1\), got 1.0"),
        (lambda: Dropout((0.1, 1.0)), r"rate must be in \[0, 1\), got \(0.1, 1.0\)"),
        (lambda: Dropout(-0.1), r"rate must be in \[0, 1\), got -0.1"),
        (lambda: Dropout(float("nan")), r"rate must be in \[0, 1\), got nan"),
        (lambda: LayerNorm(0.0), "epsilon must be > 0, got 0.0"),
        (
            lambda: Conv2d(1, 5).output_shape((1, 4, 9)),
            "kernel must be small enough for a 4x9 image, got 5",
        ),
        (
            lambda: MaxPool2d(3).output_shape((1, 9, 2)),
            "size must be at most 2, the image's side, got 3",
        ),
        (
            lambda: AvgPool2d(3).output_shape((1, 2, 9)),
            "size must be at most 2, the image's side, got 3",
        ),
        (lambda: Conv2d(1).output_shape((4,)), r"Conv2d input must be an image .*, got \(4,\)"),
        (lambda: Linear(1).parameters((2, 3)), r"Linear input must be one axis .*, got \(2, 3\)"),
        (lambda: GroupNorm(0), "n_groups must be >= 1, got 0"),
        (
            lambda: GroupNorm(2).parameters((3, 4)),
            r"GroupNorm input must be channels, a multiple of n_groups \(2\), .*, got \(3, 4\)",
        ),
        (
            lambda: Embedding(2, 2).output_shape((2, 3)),
            r"Embedding input must be one axis .*, got \(2, 3\)",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name_range_and_value(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()
