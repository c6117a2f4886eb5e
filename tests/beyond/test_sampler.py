"""One endless line of passes, however it is cut."""

import pytest
import torch

from beyond.data.sampler import Sampler
from beyond.streams import Stream

FAULTS = [
    # every pass in the order of the first
    (
        "beyond/data/sampler.py",
        "self.stream.permutation(self.n_examples)], 1)",
        "self.line[:, : self.n_examples]], 1)",
    ),
    ("beyond/data/sampler.py", 'self.stream.restore(state["stream"])', "pass"),
    (
        "beyond/data/sampler.py",
        'self.line, self.position = state["line"], state["position"]',
        'self.line = state["line"]',
    ),
]

SEEDS = [0, 1, 2]
N = 10


def line(batch_size, n_indices, seeds=SEEDS):
    sampler = Sampler(N, batch_size, Stream("data", seeds))
    batches = [sampler.next() for _ in range(-(-n_indices // batch_size))]
    assert all(batch.shape == (len(seeds), batch_size) for batch in batches)
    return torch.cat(batches, 1)[:, :n_indices]


def after(n_batches):
    sampler = Sampler(N, 3, Stream("data", SEEDS))
    for _ in range(n_batches):
        sampler.next()
    return sampler


@pytest.mark.parametrize("batch_size", [1, 3, 5, 7, 10, 23])
def test_the_line_is_the_same_whatever_the_batch_size(batch_size):
    assert torch.equal(line(batch_size, 60), line(60, 60))


def test_each_pass_is_another_permutation():
    passes = line(4, 4 * N).unflatten(1, (4, N))
    assert torch.equal(passes.sort(-1).values, torch.arange(N).expand(3, 4, -1))
    assert len(passes.flatten(0, 1).unique(dim=0)) == 12


def test_a_replicas_line_is_its_seeds_alone():
    assert torch.equal(line(3, 30)[1:2], line(3, 30, [1]))


@pytest.mark.parametrize("n_before", [0, 1, 3, 4, 7])
def test_what_is_ahead_comes_next(n_before):
    sampler = after(n_before)
    ahead = sampler.ahead()
    assert len(ahead) >= 1
    assert all(torch.equal(sampler.next(), batch) for batch in ahead)


@pytest.mark.parametrize("n_before", [0, 1, 3, 4, 7])
def test_restored_mid_line_it_goes_on_where_it_stood(n_before):
    sampler = after(n_before)
    state = sampler.state()
    expected = [sampler.next() for _ in range(8)]
    other = after(0)
    other.restore(state)
    assert all(torch.equal(other.next(), batch) for batch in expected)
