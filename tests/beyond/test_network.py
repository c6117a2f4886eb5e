"""Stacked networks against single ones, automatic differentiation and torch's counts."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from beyond import catalog, losses
from beyond.architectures.bag import Bag
from beyond.architectures.cnn import CNN
from beyond.architectures.cnn1d import CNN1d
from beyond.architectures.gru import Recurrent
from beyond.architectures.lenet import LeNet
from beyond.architectures.lstm import LongShortTerm
from beyond.architectures.mixer import Mixer
from beyond.architectures.mlp import MLP
from beyond.architectures.resnet import ResNet
from beyond.architectures.rnn import Elman
from beyond.architectures.text_cnn import TextCNN
from beyond.architectures.transformer import Transformer
from beyond.contracts import TargetKind
from beyond.errors import InputError
from beyond.network.activation_layers import ReLU, Tanh
from beyond.network.image_layers import Conv2d, MaxPool2d
from beyond.network.initialisations import INITIALISATIONS, he
from beyond.network.layered import LayeredNetwork
from beyond.network.parts import Layered
from beyond.network.recurrent_layers import GRU, LSTM, RNN
from beyond.network.vector_layers import Flatten, Linear
from beyond.problem import Problem
from beyond.streams import Stream
from tests.beyond.conftest import NETWORKS

FAULTS = [
    ("beyond/architectures/bag.py", "ACTIVATIONS[self.activation]()", 'ACTIVATIONS["relu"]()'),
    ("beyond/architectures/cnn.py", 'MaxPool2d if self.pool == "max" else AvgPool2d', "MaxPool2d"),
    # weights of another block go back, or each block of a layer of layers has a stage
    (
        "beyond/network/layered.py",
        "{**weights[block.layer], **named}",
        "weights[block.layer]",
    ),
    (
        "beyond/network/layered.py",
        "dict.fromkeys(block.layer for block in self.blocks if block.drawn)",
        "[block.layer for block in self.blocks if block.drawn]",
    ),
    # the chain within a layer is paid for twice
    ("beyond/network/composite_layers.py", "carry + gradients - both)", "0)"),
    # what is read is whole
    ("beyond/network/parts.py", "[left[of], *dropping(dropout), ", "[left[of], "),
    ("beyond/architectures/lenet.py", "Flatten(), *dropping(self.dropout)", "Flatten()"),
]
SEEDS = [3, 8, 5]


def as_float64(case):
    inputs = case.inputs.double() if case.inputs.is_floating_point() else case.inputs
    return case.params.double(), inputs


def gradients(case):
    """The gradient of the loss by the chain rule and by automatic differentiation, in float64."""
    params, inputs = as_float64(case)
    outputs, tape = case.network.forward(params, inputs)
    chain_rule = case.network.backward(tape, losses.cross_entropy_error(outputs, case.targets))
    weights = params.clone().requires_grad_()
    loss = losses.cross_entropy(case.network.outputs(weights, inputs), case.targets).sum()
    return chain_rule, torch.autograd.grad(loss, weights)[0]


def count(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return result, counter.get_total_flops()


def test_the_gradient_is_automatic_differentiation(case, close):
    chain_rule, automatic = gradients(case)
    close(chain_rule, automatic, rtol=1e-10, atol=1e-14)


def test_a_replica_of_the_stack_is_the_single_network(case, close):
    outputs, tape = case.network.forward(case.params, case.inputs)
    gradient = case.network.backward(tape, torch.ones_like(outputs))
    for replica in range(3):
        row = slice(replica, replica + 1)
        alone, tape_alone = case.network.forward(case.params[row], case.inputs[row])
        close(outputs[row], alone)
        close(gradient[row], case.network.backward(tape_alone, torch.ones_like(alone)))


def test_a_population_on_its_replicas_inputs_is_the_loop_over_candidates(case, close):
    population = case.params.unsqueeze(1) + torch.linspace(-1, 1, 5).view(1, -1, 1)
    together = case.network.outputs(population.flatten(0, 1), case.inputs).unflatten(0, (3, 5))
    for candidate in range(5):
        close(together[:, candidate], case.network.outputs(population[:, candidate], case.inputs))


def test_weightless_layers_in_front_leave_the_inputs_shared(close):
    network = LayeredNetwork([Tanh(), MaxPool2d(), Flatten(), Linear(2)], (1, 4, 5), he)
    population, inputs = (
        network.init(Stream("init", [0, 1]), 3),
        Stream("data", [0, 1]).normal(4, 1, 4, 5),
    )
    together = network.outputs(population, inputs)
    for copy in range(6):
        replica = copy // 3
        close(
            together[copy],
            network.outputs(population[copy : copy + 1], inputs[replica : replica + 1])[0],
        )


def test_forward_flops_are_those_torch_counts(case):
    (outputs, _), counted = count(lambda: case.network.forward(case.params, case.inputs))
    assert counted == outputs.shape[0] * outputs.shape[1] * case.network.forward_flops


def test_backward_flops_are_those_torch_counts_from_every_start(case):
    convolutions = any(block.name.startswith("conv2d") for block in case.network.blocks)
    # torch counts the kernels' gradient G times over when there are G groups
    n_replicas = 1 if convolutions else 3
    params, inputs = case.params[:n_replicas], case.inputs[:n_replicas]
    for block in case.network.blocks:
        outputs, tape = case.network.forward(params, inputs)
        _, counted = count(
            lambda outputs=outputs, tape=tape, start=block.start: case.network.backward(
                tape, outputs, start=start
            )
        )
        assert counted == n_replicas * outputs.shape[1] * case.network.backward_flops(block.start)


def test_an_mlps_flops_by_hand(make_spec):
    network = MLP((5, 4)).build(make_spec((6,), 3))
    assert network.forward_flops == 2 * (6 * 5 + 5 * 4 + 4 * 3)
    assert network.backward_flops() == 2 * (6 * 5 + 2 * (5 * 4 + 4 * 3))
    assert network.backward_flops(network.suffix(1)) == 2 * 4 * 3


def test_blocks_cover_the_flat_vector_in_order_without_a_gap(case):
    edges = [(block.start, block.stop) for block in case.network.blocks]
    assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
    assert edges[-1][1] == case.network.n_weights
    assert [block.depth for block in case.network.blocks] == list(range(1, len(edges) + 1))
    for n_blocks in range(1, len(edges) + 1):
        assert case.network.suffix(n_blocks) == edges[-n_blocks][0]


def test_unflattened_views_are_the_flat_vector_itself(case):
    params = torch.arange(2.0 * case.network.n_weights).view(2, -1)
    views = [weight for layer in case.network.unflatten(params) for weight in layer.values()]
    assert torch.equal(torch.cat([view.flatten(1) for view in views], 1), params)
    assert all(
        view.untyped_storage().data_ptr() == params.untyped_storage().data_ptr() for view in views
    )


def test_backward_from_a_start_is_the_suffix_of_the_whole(case):
    outputs, tape = case.network.forward(case.params, case.inputs)
    whole = case.network.backward(tape, outputs)
    for block in case.network.blocks:
        part = case.network.backward(tape, outputs, start=block.start)
        assert torch.equal(part, whole[:, block.start :])


def test_transport_by_depth_replaces_the_matrices_of_the_way_back(make_case, close):
    case = make_case("mlp")  # 6 -> 5 -> 4 -> 3, ReLU between
    network = case.network
    _, tape = network.forward(case.params, case.inputs)
    rng = Stream("transport", SEEDS)
    error = rng.normal(4, 3)
    unchanged = {block.depth: tape.weights[block.layer]["weight"] for block in network.blocks}
    close(
        network.backward(tape, error, carriers=unchanged),
        network.backward(tape, error),
        rtol=0,
        atol=0,
    )

    b2, b3 = rng.normal(4, 5), rng.normal(3, 4)
    views = network.unflatten(network.backward(tape, error, carriers={2: b2, 3: b3}))
    # each block's input, (R, features, B)
    hidden = [case.inputs.mT, tape.caches[1], tape.caches[3]]
    delta3 = error.mT
    delta2 = (b3.mT @ delta3) * (hidden[2] > 0)
    delta1 = (b2.mT @ delta2) * (hidden[1] > 0)
    for delta, block, below in zip((delta1, delta2, delta3), network.blocks, hidden, strict=True):
        close(views[block.layer]["weight"], delta @ below.mT)
        close(views[block.layer]["bias"], delta.sum(-1))


def test_transport_reaches_matrices_within_layers(make_case, close):
    case = make_case("nested")
    network, rng = case.network, Stream("transport", SEEDS)
    outputs, tape = case.network.forward(case.params, case.inputs)
    error = rng.normal(*outputs.shape[1:])
    same = network.carriers(case.params)
    assert list(same) == [2, 3, 4, 5, 6]
    close(
        network.backward(tape, error, carriers=same),
        network.backward(tape, error),
        rtol=0,
        atol=0,
    )
    other = {depth: rng.normal(*carrier.shape[1:]) for depth, carrier in same.items()}
    found = network.unflatten(network.backward(tape, error, carriers=other))
    # the last layer's branch and shortcut, and the first of the nested branch below
    below = tape.weights[2]["0.0.weight"], tape.caches[2].caches[0].caches[1]
    active = other[5].mT @ ((1 - below[1].square()) * error.mT) + other[6].mT @ error.mT
    inner = tape.caches[1].caches[0]  # of a chain: a residual layer, tanh
    active = active * (1 - inner.caches[1].square())
    branch = inner.caches[0].caches[0]  # linear, tanh, linear
    hidden = (other[4].mT @ active) * (1 - branch.caches[1].square())
    close(found[1]["0.0.0.0.weight"], hidden @ branch.caches[0].mT)


def test_layers_within_a_layer_are_blocks_of_their_own(make_case):
    network = make_case("nested").network
    assert [block.layer for block in network.blocks] == [0, 0, 1, 1, 2, 2]
    assert [block.fans for block in network.blocks[:3]] == [(6, 5), (5, 4), (4, 3)]
    assert [len(stage.layers) for stage in network.stages] == [1, 1, 1]
    assert "1.0.0.0.2.weight" in network.state_dict(torch.zeros(network.n_weights))


def test_a_recipe_that_declares_no_initialisation_has_hes(make_spec):
    class Plain(Layered):
        name = "plain"

        def stack(self, spec):
            return [Linear(spec.n_outputs)]

    assert Plain().build(make_spec()).initialisation is he


def test_dropout_draws_only_in_training(make_spec):
    network = MLP((50,), dropout=0.5).build(make_spec())
    params, inputs = network.init(Stream("init", SEEDS)), Stream("data", SEEDS).normal(4, 6)
    calm = network.outputs(params, inputs)
    assert torch.equal(network.forward(params, inputs)[0], calm)
    assert not torch.equal(network.forward(params, inputs, Stream("step", SEEDS))[0], calm)


@pytest.mark.parametrize("kind", [Elman, Recurrent, LongShortTerm])
@pytest.mark.parametrize("readout", ["all", "last", "mean", "max"])
def test_dropout_of_a_recurrent_network_is_of_what_is_read(kind, readout, make_spec, close):
    """A linear read-out of masked features, whose mask is what the stream draws."""
    spec, rate = make_spec(), 0.4
    network = kind(3, readout=readout, dropout=rate).build(spec)
    params, inputs = network.init(Stream("init", SEEDS)), Stream("data", SEEDS).normal(4, 6)
    features = inputs
    for segment in Problem(network, spec).layers[:-2]:
        features, _ = segment.forward(params, features)
    drawn = Stream("step", SEEDS).uniform(features.shape[2], 4)  # (R, n_features, B)
    masked = features.mT * (drawn >= rate) / (1 - rate)
    head = network.unflatten(params)[-1]
    expected = head["weight"] @ masked + head["bias"].unsqueeze(2)
    close(network.forward(params, inputs, Stream("step", SEEDS))[0], expected.mT)
    plain = kind(3, readout=readout).build(spec)
    assert torch.equal(network.outputs(params, inputs), plain.outputs(params, inputs))


def test_dropout_of_lenet_is_before_each_fully_connected_layer(make_spec):
    spec = make_spec((1, 28, 28))
    of = [type(layer).__name__ for layer in LeNet(dropout=0.5).build(spec).layers]
    assert [place for place, name in enumerate(of) if name == "Dropout"] == [9, 12]
    assert [of[place + 1] for place in (9, 12)] == ["Linear", "Linear"]
    assert len(LeNet().build(spec).layers) == len(of) - 2


def test_a_seeds_weights_are_the_same_stacked_or_alone(case):
    stacked = case.network.init(Stream("init", SEEDS), 2).unflatten(0, (3, 2))
    for replica, seed in enumerate(SEEDS):
        assert torch.equal(case.network.init(Stream("init", [seed]), 2), stacked[replica])
    assert len(stacked.flatten(0, 1).unique(dim=0)) == 6


def test_biases_start_at_zero_and_gains_at_one(make_spec):
    network = MLP((50,), layer_norm=True).build(make_spec())
    linear, norm, _, read_out = network.unflatten(network.init(Stream("init", SEEDS), 2))
    for layer in (linear, norm, read_out):
        assert not layer["bias"].any()
    assert (norm["weight"] == 1).all()
    assert linear["weight"].std() == pytest.approx(math.sqrt(2 / 6), rel=0.1)


def test_biases_are_drawn_as_weights_where_the_initialisation_draws_them(make_spec):
    network = MLP((50,), layer_norm=True, initialisation="uniform").build(make_spec())
    linear, norm, _, read_out = network.unflatten(network.init(Stream("init", SEEDS), 2))
    for layer, fan_in in ((linear, 6), (read_out, 50)):
        for values in layer.values():
            assert values.abs().max() <= 1 / math.sqrt(fan_in)
        assert layer["bias"].std() == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.3)
    assert (norm["weight"] == 1).all()
    assert not norm["bias"].any()


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_a_recurrent_layer_starts_as_torchs(kind):
    network = LayeredNetwork([kind(36, bidirectional=True)], (2, 3), INITIALISATIONS["uniform"])
    (ours,) = network.unflatten(network.init(Stream("init", SEEDS)))
    theirs = getattr(torch.nn, kind.__name__)(2, 36, bidirectional=True)
    assert network.n_weights == sum(weight.numel() for weight in theirs.parameters())
    for values in (*ours.values(), *theirs.parameters()):
        assert 0.12 < values.abs().max() <= 1 / 6


def test_hidden_layers_of_one_width_have_residual_connections(make_spec):
    layers = MLP((5, 5, 4, 4), residual=True, dropout=0.1).build(make_spec((5,))).layers
    kinds = [type(layer).__name__ for layer in layers]
    drop = "Dropout"
    half = ["Linear", "ReLU", drop, "Residual", drop]
    assert kinds == [*half, *half, "Linear"]


@pytest.mark.parametrize(
    ("architecture", "n_weights"),
    [
        (MLP(()), 410),
        (MLP((100, 100), residual=True), 15_210),
        (CNN1d(), 5_210),
        (Recurrent(6), 5_134),
    ],
)
def test_networks_for_signals_have_as_many_weights_as_published(architecture, n_weights, make_spec):
    """Greydanus & Kobak (2024), notebooks/mnist1d-classification.ipynb."""
    assert architecture.build(make_spec((40,), 10)).n_weights == n_weights


def test_dead_fraction_by_hand(make_spec):
    network = MLP((4, 2)).build(make_spec((1,), 1))
    params = torch.zeros(2, network.n_weights)
    first, _, second, _, _ = network.unflatten(params)
    first["weight"][:, :, 0] = torch.tensor([1.0, -1.0, 1.0, 1.0])
    first["bias"][0] = torch.tensor([0.0, 0.0, -9.0, -9.0])  # on for x > 0, for x < 0, never, never
    first["bias"][1] = torch.tensor([0.0, 0.0, 0.0, -9.0])
    second["bias"][:] = torch.tensor([[-1.0, -1.0], [1.0, -1.0]])
    inputs = torch.tensor([[-1.0], [2.0]]).expand(2, 2, 1)
    _, tape = network.forward(params, inputs)
    one, two, read_out = network.dead_fraction(tape)
    assert one.tolist() == [0.5, 0.25]
    assert two.tolist() == [1.0, 0.5]
    assert math.isnan(read_out)


def test_dead_fraction_of_a_convolution_counts_every_place_of_every_channel():
    network = LayeredNetwork(
        [Conv2d(4, 1), MaxPool2d(), ReLU(), Flatten(), Linear(1)], (1, 4, 4), he
    )
    params, inputs = torch.zeros(1, network.n_weights), torch.zeros(1, 3, 1, 4, 4)
    first = network.unflatten(params)[0]
    first["bias"][0] = torch.tensor([-1.0, -1.0, -1.0, 1.0])
    first["weight"][0, 0] = 2.0
    inputs[0, 1, 0, 3, 0] = 1.0  # channel 0 is on in one corner of one example
    _, tape = network.forward(params, inputs)
    assert network.dead_fraction(tape)[0].tolist() == [(0.75 + 1 + 1 + 0) / 4]


def test_without_relu_dead_units_are_unknown(make_case):
    case = make_case("deep")
    _, tape = case.network.forward(case.params, case.inputs)
    assert all(math.isnan(value) for value in case.network.dead_fraction(tape))


def test_a_bag_sees_what_there_is_and_not_where(make_case):
    case = make_case("bag")
    other = case.inputs.flip(2)
    assert not torch.equal(other, case.inputs)
    answers = [case.network.forward(case.params, inputs)[0] for inputs in (case.inputs, other)]
    torch.testing.assert_close(*answers)


def test_chunks_are_smaller_the_larger_the_batch(case):
    sizes = [case.network.chunk_size(batch_size) for batch_size in (1, 16, 256, 10**9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


@pytest.mark.parametrize(
    "name", ["bag", "cnn", "cnn1d", "deep", "gru", "linear", "lstm", "mlp", "rnn"]
)
def test_settings_equal_the_fields_and_the_namesakes_their_defaults(name):
    architecture = catalog.load("network", name)
    assert set(catalog.read("network", name)) - {"_target_"} == {
        field.name for field in fields(architecture)
    }
    if name not in ("deep", "linear"):
        assert architecture == type(architecture)()


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        (MLP(()), "linear"),
        (MLP((64, 32)), "mlp-64-32"),
        (MLP((64,) * 3), "mlp-64-64-64"),
        (MLP((64, *(32,) * 10, 64)), "mlp-64-32x10-64"),
        (MLP((64, 64), residual=True), "mlp-64-64-residual"),
        (CNN((16, 32)), "cnn-16-32"),
        (CNN1d((4,), (3,)), "cnn1d-4"),
        (Recurrent(7), "gru-7"),
        (LongShortTerm(7), "lstm-7"),
        (Elman(7), "rnn-7"),
        (ResNet(blocks=3), "resnet-20"),
        (Transformer(), "transformer-2x32"),
        (Transformer(causal=True), "transformer-causal-2x32"),
        (Mixer(), "mixer-2x32"),
        (TextCNN((3, 4), 7), "text_cnn-2x7"),
        (Bag((8,)), "bag-8"),
    ],
)
def test_names_tell_the_widths(architecture, name):
    assert architecture.name == name


NAMED = [
    (name, setting, others)
    for name, (architecture, *_) in NETWORKS.items()
    for setting, others in (("activation", ("tanh", "relu")), ("pool", ("max", "average")))
    if hasattr(architecture, setting) and getattr(architecture, "hidden", True)
]


@pytest.mark.parametrize(("name", "setting", "others"), NAMED)
def test_a_setting_that_is_named_is_used(name, setting, others, make_case):
    case = make_case(name)
    shown = [
        replace(NETWORKS[name][0], **{setting: other})
        .build(case.spec)
        .forward(case.params, case.inputs)[0]
        for other in others
    ]
    assert not torch.equal(*shown)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((4, 0)), r"hidden must be a list, each an integer >= 1, got \(4, 0\)"),
        (lambda: MLP(activation="swish"), "activation must be one of relu, .*; got 'swish'"),
        (lambda: MLP(embedding=0), "embedding must be an integer >= 1, got 0"),
        (lambda: MLP(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: MLP(initialisation="zero"), "initialisation must be one of he, .*; got 'zero'"),
        (lambda: MLP(init_std=0.0), "init_std must be > 0, got 0.0"),
        (
            lambda: MLP(residual=True, layer_norm=True),
            "residual must be false with layer_norm, got True",
        ),
        (
            lambda: CNN1d((0, 1, 1)),
            r"channels must be a list, each an integer >= 1, got \(0, 1, 1\)",
        ),
        (
            lambda: CNN1d(kernels=(5, 0, 3)),
            r"kernels must be a list, each an integer >= 1, got \(5, 0, 3\)",
        ),
        (lambda: CNN1d(kernels=(5, 3)), r"kernels must be as many as channels, got \(5, 3\)"),
        (lambda: CNN1d(stride=0), "stride must be an integer >= 1, got 0"),
        (lambda: CNN1d(padding=-1), "padding must be an integer >= 0, got -1"),
        (lambda: CNN1d(activation="swish"), "activation must be one of relu, .*; got 'swish'"),
        (lambda: CNN1d(embedding=0), "embedding must be an integer >= 1, got 0"),
        (lambda: CNN1d(initialisation="zero"), "initialisation must be one of he, .*; got 'zero'"),
        (lambda: Recurrent(0), "hidden must be an integer >= 1, got 0"),
        (lambda: LongShortTerm(0), "hidden must be an integer >= 1, got 0"),
        (lambda: TextCNN(()), r"kernels must be one at least, got \(\)"),
        (lambda: TextCNN(maps=0), "maps must be an integer >= 1, got 0"),
        (lambda: TextCNN(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: Elman(0), "hidden must be an integer >= 1, got 0"),
        (lambda: Elman(activation="gelu"), "activation must be one of tanh, relu; got 'gelu'"),
        (
            lambda: Recurrent(readout="first"),
            "readout must be one of all, last, mean, max; got 'first'",
        ),
        (lambda: Recurrent(embedding=0), "embedding must be an integer >= 1, got 0"),
        (lambda: Recurrent(init_std=0.0), "init_std must be > 0, got 0.0"),
        (lambda: CNN((0,)), r"channels must be a list, each an integer >= 1, got \(0,\)"),
        (lambda: CNN(norm="layer"), "norm must be one of none, group, batch; got 'layer'"),
        (lambda: CNN(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: Mixer(place_units=0), "place_units must be an integer >= 1, got 0"),
        (
            lambda: Transformer(readout="max"),
            "readout must be one of last, mean; got 'max'",
        ),
        (lambda: ResNet(()), r"widths must be one at least, got \(\)"),
        (lambda: ResNet(blocks=0), "blocks must be an integer >= 1, got 0"),
        (lambda: ResNet(n_groups=0), "n_groups must be an integer >= 1, got 0"),
        (lambda: CNN(pool="sum"), "pool must be one of max, average; got 'sum'"),
        (lambda: CNN(activation="swish"), "activation must be one of relu, .*; got 'swish'"),
        (lambda: CNN(init_std=-1.0), "init_std must be > 0, got -1.0"),
    ],
)
def test_bad_parameters_are_refused_by_name_range_and_value(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [(CNN1d(), "Conv1d"), (Recurrent(), "GRU"), (LongShortTerm(), "LSTM"), (Elman(), "RNN")],
)
def test_networks_for_sequences_refuse_images(architecture, layer, make_spec):
    with pytest.raises(
        InputError, match=rf"^{layer} input must be a sequence .*, got \(1, 8, 8\)$"
    ):
        architecture.build(make_spec((1, 8, 8)))


def test_a_cnn_needs_images(make_spec):
    with pytest.raises(InputError, match=r"^Conv2d input must be an image .*, got \(6,\)$"):
        CNN().build(make_spec((6,), target_kind=TargetKind.VALUES))


@pytest.mark.parametrize("causal", [False, True])
def test_a_transformer_is_torchs_encoder(causal, make_spec):
    network = Transformer(8, 2, 1, 3, causal=causal, initialisation="uniform").build(
        make_spec((8, 5))
    )
    params = network.init(Stream("init", [0])) + 0.1 * Stream("more", [0]).normal(network.n_weights)
    block = torch.nn.TransformerEncoderLayer(
        8, 2, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    entry, norm, last = torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    positions = torch.zeros(8, 5)
    attention = block.self_attn
    assert attention.in_proj_weight is not None
    ours = [
        *(entry.weight, entry.bias, positions, block.norm1.weight, block.norm1.bias),
        *(attention.in_proj_weight, attention.in_proj_bias),
        *(attention.out_proj.weight, attention.out_proj.bias),
        *(block.norm2.weight, block.norm2.bias, *block.linear1.parameters()),
        *(*block.linear2.parameters(), *norm.parameters(), *last.parameters()),
    ]
    torch.nn.utils.vector_to_parameters(params[0], ours)
    x = Stream("data", [0]).normal(4, 8, 5)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    with torch.no_grad():
        h = block(entry(x[0].mT) + ours[2].mT, src_mask=mask)
        theirs = last(norm(h).mean(1))
    torch.testing.assert_close(network.outputs(params, x)[0], theirs, rtol=1e-4, atol=1e-5)


def test_a_mixer_is_the_formulas_of_its_source(make_spec):
    """Tolstikhin et al., 2021, equation 1, on places (S) by channels (C)."""
    network = Mixer(4, 1, 3, 5, initialisation="uniform").build(make_spec((2, 6)))
    params = network.init(Stream("init", [0])) + 0.1 * Stream("more", [0]).normal(network.n_weights)
    w = {
        name: value.squeeze(-1) if value.dim() == 3 else value
        for name, value in network.state_dict(params[0]).items()
    }
    x = Stream("data", [0]).normal(4, 2, 6)

    def norm(at, values):
        return torch.nn.functional.layer_norm(values, (4,), w[f"{at}.weight"], w[f"{at}.bias"])

    gelu = torch.nn.functional.gelu
    table = x[0].mT @ w["0.weight"].mT + w["0.bias"]  # (B, S, C)
    u = norm("1.0.0", table)
    hidden = gelu(w["1.0.2.weight"] @ u + w["1.0.2.bias"][:, None])
    u = table + w["1.0.4.weight"] @ hidden + w["1.0.4.bias"][:, None]
    hidden = gelu(norm("2.0.0", u) @ w["2.0.1.weight"].mT + w["2.0.1.bias"])
    y = u + hidden @ w["2.0.3.weight"].mT + w["2.0.3.bias"]
    theirs = norm("3", y).mean(1) @ w["5.weight"].mT + w["5.bias"]
    torch.testing.assert_close(network.outputs(params, x)[0], theirs, rtol=1e-4, atol=1e-5)
