"""The yardstick itself: cosines of known updates, norms by hand."""

from types import SimpleNamespace

import pytest
import torch

from beyond.contracts import Batch
from beyond.probe import Probe, cosine
from beyond.streams import Stream

SEEDS = [0, 1, 2]


@pytest.fixture(params=["mlp", "mlp with layer norm", "cnn"])
def at(request, make_case):
    """A probe, weights, and the true gradient on its batch."""
    case = make_case(request.param)

    class Validation:
        spec = case.spec

        def size(self, split):
            assert split == "validation"
            return 40

        def batch(self, split, indices):
            rng = Stream(split, [0])
            inputs, targets = rng.normal(40, *case.spec.input_shape)[0], rng.integers(3, 40)[0]
            return Batch(inputs[indices], targets[indices])

    probe = Probe(Validation(), case.network, SEEDS)
    return SimpleNamespace(
        probe=probe,
        network=case.network,
        params=case.params,
        gradient=probe.problem.gradient(case.params, probe.batch),
    )


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


def test_norms_are_each_blocks_own(at, close):
    before = at.params - 0.3
    for row, block in zip(at.probe.measure(at.params, before), at.network.blocks, strict=True):
        own = slice(block.start, block.stop)
        size = block.stop - block.start
        assert (row["layer"], row["depth"], row["n_weights"]) == (block.name, block.depth, size)
        close(row["weight_norm"], at.params[:, own].square().sum(1).sqrt())
        close(row["gradient_norm"], at.gradient[:, own].square().sum(1).sqrt())
        close(row["update_norm"], torch.full((3,), 0.3 * size**0.5))


def test_the_direction_is_measured_where_the_step_began(at, close):
    before = at.params + 1.0
    start = at.probe.problem.gradient(before, at.probe.batch)
    for row, block in zip(at.probe.measure(at.params, before), at.network.blocks, strict=True):
        own = slice(block.start, block.stop)
        close(row["update_cosine"], start[:, own].sum(1) / (start[:, own].norm(dim=1) * start[:, own].shape[1] ** 0.5))


def test_before_the_first_step_updates_are_unknown(at):
    for row in at.probe.measure(at.params, None):
        assert row["update_norm"].isnan().all()
        assert row["update_cosine"].isnan().all()
        assert row["gradient_norm"].isfinite().all()


def test_each_replica_has_its_own_fixed_batch(at):
    inputs = at.probe.batch.inputs
    assert inputs.shape[:2] == (3, 40)  # at most what there is
    assert not torch.equal(inputs[0], inputs[1])


def test_cosine_of_tiny_vectors_does_not_underflow():
    tiny = torch.full((1, 4), 1e-30)
    assert cosine(tiny, tiny).item() == pytest.approx(1)
    assert cosine(tiny, torch.tensor([[1.0, -1.0, 1.0, -1.0]])).item() == pytest.approx(0)
    assert cosine(tiny, torch.zeros(1, 4)).isnan().all()
