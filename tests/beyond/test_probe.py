"""The yardstick itself: cosines of known updates, norms by hand."""

from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from beyond import catalog
from beyond.contracts import Batch
from beyond.kits.optimizers import SGD
from beyond.network.wrapped import ModuleNetwork
from beyond.problem import Problem
from beyond.run import probe
from beyond.run.probe import JACOBIAN, SIGNALS, Probe, cosine
from beyond.streams import Stream
from methods.backprop import Backprop
from methods.feedback_alignment import FeedbackAlignment
from methods.genetic import Genetic

FAULTS = [
    ("beyond/run/probe.py", "_loss(problem, params, batch)", "_loss(problem, params, train)"),
    # what a layer of layers hands on is its first block's
    (
        "beyond/run/probe.py",
        "{block.layer: block.depth for block in network.blocks}",
        "{block.layer: block.depth for block in network.blocks[::-1]}",
    ),
    # the training gradient on validation examples; a lost replica takes its group with it
    ("beyond/run/probe.py", "_gradient(problem, params, train)", "self._gradient(params, probe)"),
    ("beyond/run/probe.py", "jacobian.where(finite.unsqueeze(2), 0.0)", "jacobian"),
    # the direction measured where the step ended; ascent
    (
        "beyond/run/probe.py",
        "_gradient(problem, before, probe)[0].neg_()",
        "_gradient(problem, params, probe)[0].neg_()",
    ),
    # carriers of a group are looked for among those of the one before
    ("beyond/run/probe.py", "            carried = {", "            carried = carriers = {"),
    (
        "beyond/run/probe.py",
        "_gradient(problem, before, batch)[0].neg_()",
        "_gradient(problem, before, batch)[0]",
    ),
]

SEEDS = [0, 1, 2]


class Examples:
    """Splits with nothing but 40 random examples to validate on and 60 to train on, unvaried."""

    SIZES: ClassVar = {"validation": 40, "train": 60}

    def __init__(self, spec):
        self.spec = spec

    def size(self, split):
        return self.SIZES[split]

    def batch(self, split, indices):
        stream, size = Stream(split, [0]), self.size(split)
        shape, n_symbols = self.spec.input_shape, self.spec.n_symbols
        inputs = (
            stream.integers(n_symbols, size, *shape) if n_symbols else stream.normal(size, *shape)
        )[0]
        return Batch(inputs[indices], stream.integers(3, size)[0][indices])


@pytest.fixture
def make_probe(make_case):
    """Return what makes a probe of a network, weights, and the true gradient on its batch."""

    def make(name):
        case = make_case(name)
        probe = Probe(Examples(case.spec), case.spec, case.network, SEEDS)
        return SimpleNamespace(
            probe=probe,
            network=case.network,
            params=case.params,
            gradient=probe.problem.gradient(case.params, probe.batch),
        )

    return make


@pytest.fixture(params=["mlp", "mlp with layer norm", "cnn"])
def at(request, make_probe):
    """One after the other."""
    return make_probe(request.param)


@pytest.mark.parametrize(("learning_rate", "expected"), [(0.1, 1.0), (-0.1, -1.0), (1e-4, 1.0)])
def test_a_gradient_step_on_the_probe_batch_has_cosine_one_and_its_opposite_minus_one(
    at, learning_rate, expected, close
):
    rows = at.probe.measure(at.params - learning_rate * at.gradient, at.params)
    for row in rows:
        close(row["update_cosine"], torch.full((3,), expected), rtol=1e-3)


def test_a_random_step_is_no_descent(at):
    noise = torch.randn(at.params.shape, generator=torch.Generator().manual_seed(0))
    rows = at.probe.measure(at.params + noise, at.params)
    assert all((row["update_cosine"].abs() < 0.99).all() for row in rows)


def test_norms_are_those_of_each_block(at, close):
    before = at.params - 0.3
    for row, block in zip(at.probe.measure(at.params, before)[1:], at.network.blocks, strict=True):
        place = slice(block.start, block.stop)
        size = block.stop - block.start
        assert (row["layer"], row["depth"], row["n_weights"]) == (block.name, block.depth, size)
        close(row["weight_norm"], at.params[:, place].square().sum(1).sqrt())
        close(row["gradient_norm"], at.gradient[:, place].square().sum(1).sqrt())
        close(row["update_norm"], torch.full((3,), 0.3 * size**0.5))


def test_the_training_gradient_is_of_as_many_training_examples(at, close):
    assert at.probe.batch.inputs.shape[:2] == at.probe.train_batch.inputs.shape[:2] == (3, 40)
    gradient = at.probe.problem.gradient(at.params, at.probe.train_batch)
    whole, *blocks = at.probe.measure(at.params, None)
    for row, block in zip(blocks, at.network.blocks, strict=True):
        close(row["train_gradient_norm"], gradient[:, block.start : block.stop].norm(dim=1))
    close(whole["train_gradient_norm"], gradient.norm(dim=1))
    assert not torch.allclose(whole["train_gradient_norm"], whole["gradient_norm"])


def test_the_training_gradient_vanishes_where_the_training_examples_are_learnt(make_probe):
    """Descend on them alone: their gradient fades, that on validation examples does not."""
    at = make_probe("linear")
    params = at.params
    for _ in range(1000):
        params = params - 0.5 * at.probe.problem.gradient(params, at.probe.train_batch)
    before, after = at.probe.measure(at.params, None)[0], at.probe.measure(params, None)[0]
    assert (after["train_gradient_norm"] < 0.01 * before["train_gradient_norm"]).all()
    assert (after["gradient_norm"] > 0.1 * before["gradient_norm"]).all()


@pytest.mark.parametrize("name", ["mlp", "mlp with layer norm", "cnn", "linear"])
def test_the_network_comes_first_as_all_blocks_in_one_vector(name, make_probe, close):
    at = make_probe(name)
    rng = Stream("noise", SEEDS)
    before = at.params + 0.1 * rng.normal(at.network.n_weights)
    inputs = rng.normal(8, *at.probe.problem.spec.input_shape)
    batch = Batch(inputs, rng.integers(3, 8))
    whole, *blocks = at.probe.measure(at.params, before, None, batch)
    assert (whole["layer"], whole["depth"], whole["n_weights"]) == (
        "network",
        0,
        at.network.n_weights,
    )
    assert sum(block["n_weights"] for block in blocks) == at.network.n_weights
    for norm in ("gradient_norm", "weight_norm", "update_norm"):
        close(whole[norm].square(), sum(block[norm].square() for block in blocks))
    for column, seen in (("update_cosine", at.probe.batch), ("batch_cosine", batch)):
        gradient = at.probe.problem.gradient(before, seen)
        close(
            whole[column],
            F.cosine_similarity(before - at.params, gradient, dim=1),
            rtol=1e-4,
            atol=1e-6,
        )
    assert whole.keys() == blocks[0].keys()
    assert all(
        whole[column].isnan().all() for column in ("transport_cosine", "dead_fraction", *SIGNALS)
    )


def test_the_fitness_of_the_chosen_is_their_loss_on_the_batch_that_chose_them(close):
    task = catalog.load("task", "image/digits")
    network, seeds = task.spec.network.build(task.spec), [0, 1]
    splits = task.at(seeds)
    batch = splits.batch("train", Stream("data", seeds).integers(splits.size("train"), 16))
    method = Genetic(population_size=16, solution="best")
    problem, rng = Problem(network, task.spec, signal=method.signal), Stream("step", seeds)
    state = method.init(problem, network.init(Stream("init", seeds)), rng)
    after = method.step(state, batch, problem, rng)
    whole, *blocks = Probe(splits, task.spec, network, seeds).measure(
        method.params(after), method.params(state), None, batch
    )
    close(whole["batch_loss"].double(), after["statistics"]["min"])
    assert all(block["batch_loss"].isnan().all() for block in blocks)
    without = Probe(splits, task.spec, network, seeds).measure(method.params(after), None)
    assert without[0]["batch_loss"].isnan().all()


def test_what_a_layer_of_layers_hands_on_is_its_last_blocks(make_probe, close):
    at = make_probe("nested")
    blocks = at.probe.measure(at.params, None)[1:]
    unknown = [bool(block["activation_norm"].isnan().all()) for block in blocks]
    assert unknown == [True, False] * 3
    assert [bool(block["error_norm"].isnan().all()) for block in blocks] == unknown
    outputs = at.network.outputs(at.params, at.probe.batch.inputs)
    close(blocks[-1]["first_activation_norm"], outputs[:, 0].norm(dim=1))
    assert not any(block["gradient_norm"].isnan().any() for block in blocks)


def test_the_direction_is_measured_where_the_step_began(at, close):
    before = at.params + 1.0
    start = at.probe.problem.gradient(before, at.probe.batch)
    for row, block in zip(at.probe.measure(at.params, before)[1:], at.network.blocks, strict=True):
        place = slice(block.start, block.stop)
        close(
            row["update_cosine"],
            start[:, place].sum(1)
            / (start[:, place].norm(dim=1) * start[:, place].shape[1] ** 0.5),
        )


def test_before_the_first_step_updates_are_unknown(at):
    for row in at.probe.measure(at.params, None):
        assert row["update_norm"].isnan().all()
        assert row["update_cosine"].isnan().all()
        assert row["gradient_norm"].isfinite().all()


@pytest.mark.parametrize(
    "name", ["mlp", "mlp on images", "mlp with layer norm", "mlp on symbols", "cnn"]
)
def test_what_travels_through_the_network_is_what_autograd_sees(name, make_probe, close):
    """Each block's output, with activation, and the derivative of every example's loss by it."""
    at = make_probe(name)
    batch, firsts = at.probe.batch, {block.layer for block in at.network.blocks[1:]}
    values, seen = batch.inputs.movedim(1, -1), []
    for index, (layer, weights) in enumerate(
        zip(at.network.layers, at.network.unflatten(at.params), strict=True)
    ):
        if index in firsts:
            values = values if seen else values.requires_grad_()
            values.retain_grad()
            seen.append(values)
        values, _ = layer.forward(weights, values)
    total = F.cross_entropy(values.mT.flatten(0, 1), batch.targets.flatten(), reduction="sum")
    final = torch.autograd.grad(total, values, retain_graph=True)[0]
    total.backward()
    expected = [*((value, value.grad) for value in seen), (values, final)]
    for row, (activation, error) in zip(
        at.probe.measure(at.params, None)[1:], expected, strict=True
    ):
        # (R, B)
        activation, error = (
            value.detach().flatten(1, -2).square().sum(1) for value in (activation, error)
        )
        close(row["activation_norm"], activation.mean(1).sqrt())
        close(row["first_activation_norm"], activation[:, 0].sqrt())
        close(row["error_norm"], error.mean(1).sqrt(), rtol=1e-4)
        close(row["first_error_norm"], error[:, 0].sqrt(), rtol=1e-4)


def test_a_wrapped_module_shows_nothing_of_what_travels_through_it(make_spec):
    network = ModuleNetwork(
        lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), make_spec()
    )
    probe = Probe(Examples(make_spec()), make_spec(), network, SEEDS)
    rows = probe.measure(network.init(Stream("init", SEEDS)), None)
    assert len(rows) == 1 + len(network.blocks)
    assert all(
        row[name].isnan().all() and row[name].shape == (3,) for row in rows for name in SIGNALS
    )


def test_each_replica_has_its_own_fixed_batches(at):
    for batch in (at.probe.batch, at.probe.train_batch):
        assert batch.inputs.shape[:2] == (3, 40)  # at most what there is
        assert not torch.equal(batch.inputs[0], batch.inputs[1])


def test_cosine_of_tiny_vectors_does_not_underflow():
    tiny = torch.full((1, 4), 1e-30)
    assert cosine(tiny, tiny).item() == pytest.approx(1)
    assert cosine(tiny, torch.tensor([[1.0, -1.0, 1.0, -1.0]])).item() == pytest.approx(0)
    assert cosine(tiny, torch.zeros(1, 4)).isnan().all()


def test_on_its_own_batch_gradient_descent_is_steepest_descent():
    task = catalog.load("task", "image/digits")
    network, seeds = task.spec.network.build(task.spec), [0, 1]
    splits = task.at(seeds)
    batch = splits.batch("train", Stream("data", seeds).integers(splits.size("train"), 16))
    found = {}
    for method in (Backprop(SGD(learning_rate=0.1)), FeedbackAlignment(SGD(learning_rate=0.1))):
        problem, rng = Problem(network, task.spec, signal=method.signal), Stream("step", seeds)
        before = network.init(Stream("init", seeds))
        state = method.step(method.init(problem, before, rng), batch, problem, rng)
        yardstick = Probe(splits, task.spec, network, seeds)
        found[method.signal] = yardstick.measure(method.params(state), before, None, batch)
    for part in found["gradient"]:
        assert part["batch_cosine"].tolist() == pytest.approx([1, 1], abs=1e-5)
        assert (part["update_cosine"] < 0.99).all()
    whole, hidden, last = found["error"]
    assert last["batch_cosine"].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (hidden["batch_cosine"].abs() < 0.5).all()
    assert (whole["batch_cosine"] > hidden["batch_cosine"]).all()
    assert (whole["batch_cosine"] < 0.99).all()


def test_singular_values_are_those_of_automatic_differentiations_jacobian(at):
    rows = at.probe.measure(at.params, None)
    for replica in range(len(SEEDS)):
        weights, first = at.params[[replica]].double(), at.probe.batch.inputs[replica, 0].double()
        outputs = partial(at.network.outputs, weights)
        jacobian = (
            torch.autograd.functional.jacobian(outputs, first[None, None]).flatten(0, 2).flatten(1)
        )
        expected = torch.linalg.svdvals(jacobian)
        for name, value in zip(
            JACOBIAN, (expected[0], expected.quantile(0.5), expected[-1]), strict=True
        ):
            assert rows[0][name][replica] == pytest.approx(value.item(), rel=1e-5)
    assert all(row[name].isnan().all() for row in rows[1:] for name in JACOBIAN)


def test_singular_values_are_unknown_where_weights_are_not_finite(make_probe):
    at = make_probe("mlp")
    params = at.params.clone()
    params[1, 0] = float("inf")
    found = at.probe.measure(params, None)[0]["jacobian_largest"]
    assert found.isnan().tolist() == [False, True, False]


def test_a_group_whose_replicas_are_all_lost_is_measured_as_unknown(make_probe, monkeypatch):
    at = make_probe("mlp")
    monkeypatch.setattr(probe, "GROUP", at.network.n_weights)  # one replica at a time
    params = at.params.clone()
    params[2] = float("nan")
    expected, found = at.probe.measure(at.params, None)[0], at.probe.measure(params, None)[0]
    for name in JACOBIAN:
        assert found[name].isnan().tolist() == [False, False, True]
        assert torch.equal(found[name][:2], expected[name][:2])


def test_what_is_measured_does_not_depend_on_how_many_replicas_are_at_once(at, monkeypatch):
    step = at.params - 0.1 * at.gradient
    whole = at.probe.measure(step, at.params, None, at.probe.batch)
    monkeypatch.setattr(probe, "GROUP", 2 * at.params.shape[1])  # two replicas, then one
    for row, expected in zip(
        at.probe.measure(step, at.params, None, at.probe.batch), whole, strict=True
    ):
        for name, value in expected.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(row[name], value, rtol=1e-4, atol=1e-6, equal_nan=True)
            else:
                assert row[name] == value


def test_nor_does_the_alignment_of_what_carries_the_error(make_probe, monkeypatch):
    """From the second group on, carriers were looked for among those of the first."""
    at = make_probe("mlp")
    drawn = at.network.init(Stream("feedback", SEEDS))
    carriers = at.probe.problem.carriers(drawn)
    whole = at.probe.measure(at.params, None, carriers)
    monkeypatch.setattr(probe, "GROUP", at.network.n_weights)  # one replica at a time
    for row, expected in zip(at.probe.measure(at.params, None, carriers), whole, strict=True):
        found, wanted = row["transport_cosine"], expected["transport_cosine"]
        torch.testing.assert_close(found, wanted, equal_nan=True)
    assert not whole[-1]["transport_cosine"].isnan().any()
