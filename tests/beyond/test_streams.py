"""What one seed draws, it draws always, whoever else draws."""

import random

import numpy as np
import pytest
import torch

from beyond.streams import Stream, derive_seed, global_generators

FAULTS = [
    # all streams of a seed draw the same
    ("beyond/streams.py", 'f"{name}:{seed}"', 'f"{seed}"'),
    # all replicas draw the same
    ("beyond/streams.py", "derive_seed(name, seed)) for", "derive_seed(name, seeds[0])) for"),
    ("beyond/streams.py", "random.setstate(python_state)", "pass"),
]

SEEDS = [4, 0, 9]
DRAWS = {
    "normal": lambda stream: stream.normal(2, 5),
    "uniform": lambda stream: stream.uniform(7),
    "one number": lambda stream: stream.uniform(),
    "integers": lambda stream: stream.integers(1000, 3, 2),
    "permutation": lambda stream: stream.permutation(11),
}


def everywhere():
    """Where the global generators stand."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.fixture(params=DRAWS)
def draw(request):
    return DRAWS[request.param]


def test_same_seed_same_draws(draw):
    first, second = Stream("step", SEEDS), Stream("step", SEEDS)
    for _ in range(3):
        assert torch.equal(draw(first), draw(second))


def test_a_replica_draws_in_the_stack_what_its_seed_draws_alone(draw):
    stream, singles = Stream("step", SEEDS), [Stream("step", [seed]) for seed in SEEDS]
    for _ in range(3):
        assert torch.equal(draw(stream), torch.cat([draw(single) for single in singles]))


def test_seeds_and_names_draw_apart():
    draws = torch.cat([Stream(name, SEEDS).normal(4) for name in ("init", "data", "step", "probe")])
    assert len(draws.unique()) == draws.numel()


def test_drawing_from_one_stream_does_not_shift_another():
    init, step = Stream("init", SEEDS), Stream("step", SEEDS)
    init.normal(100)
    assert torch.equal(step.normal(5), Stream("step", SEEDS).normal(5))


def test_derived_seeds_never_change():
    """They decide every recorded result: a new derivation changes them all."""
    assert derive_seed("init", 0) == 1171178459717116466
    assert derive_seed("step", 7) == 3869740073138350374


def test_restored_it_goes_on_where_it_stood(draw):
    stream = Stream("step", SEEDS)
    draw(stream)
    state = stream.state()
    expected = [draw(stream) for _ in range(3)]
    for other in (stream, Stream("step", SEEDS)):
        other.restore(state)
        assert all(torch.equal(draw(other), one) for one in expected)


def test_draws_have_the_distribution_they_say():
    stream = Stream("step", SEEDS)
    normal, uniform, integers = (
        stream.normal(10_000),
        stream.uniform(10_000),
        stream.integers(3, 9000),
    )
    assert normal.mean(1).abs().max() < 0.05
    assert (normal.var(1) - 1).abs().max() < 0.08
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert (uniform.mean(1) - 0.5).abs().max() < 0.02
    assert all((replica.bincount() - 3000).abs().max() < 250 for replica in integers)
    assert torch.equal(stream.permutation(50).sort(1).values, torch.arange(50).expand(3, -1))


def test_the_global_generators_are_neither_read_nor_changed(draw):
    before = everywhere()
    first = draw(Stream("step", SEEDS))
    assert everywhere() == before
    with global_generators(1):
        assert torch.equal(draw(Stream("step", SEEDS)), first)


def test_global_generators_are_seeded_inside_and_restored_after():
    def draws():
        with global_generators(2**40 + 3):
            return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002

    before = everywhere()
    first = draws()
    assert everywhere() == before
    torch.rand(random.randrange(5))
    assert draws() == first


def test_global_generators_are_restored_after_a_fault():
    def draw_and_fail():
        random.random()
        raise RuntimeError("boom")

    before = everywhere()
    with pytest.raises(RuntimeError, match="boom"), global_generators(1):
        draw_and_fail()
    assert everywhere() == before
