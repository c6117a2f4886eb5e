"""Settings that have a value for each replica, against a loop over the replicas."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.replicas import (
    add,
    add_product,
    add_quotient,
    each,
    family,
    numbers,
    require_replicas,
    stacked,
)
from methods.backprop import Backprop

FAULTS = [
    # rows of other replicas
    (
        "beyond/replicas.py",
        "repeat_interleave(n_rows // len(setting))",
        "repeat(n_rows // len(setting))",
    ),
    ("beyond/replicas.py", "n_rows % len(setting) == 0", "True"),
    ("beyond/replicas.py", "torch.addcdiv(base, each(scale, a) * a, b)", "base + each(scale, a) * a * b"),
    ("beyond/replicas.py", "torch.addcmul(base, each(scale, a) * a, b)", "base + each(scale, a) * b"),
    ("beyond/replicas.py", "torch.addcmul(base, a, b, value=scale)", "torch.addcmul(base, a, b)"),
    ("beyond/replicas.py", "len(value) == n_replicas", "len(value) >= n_replicas"),
    ("beyond/replicas.py", "            yield from _parts(getattr(made, field.name))\n", "            pass\n"),
    # a part's settings are the first program's
    ("beyond/replicas.py", "changes[field.name] = stacked(values, sizes)", "changes[field.name] = values[0]"),
    # rules with the same settings are one
    ("beyond/replicas.py", 'return {"": type(made), **settings}', "return settings"),
]  # fmt: skip
RATES = (0.5, 2.0, 3.0)


@pytest.fixture
def tensors():
    """Return three tensors (3, 4, 2) without zeros."""
    drawn = torch.rand(3, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    return list(drawn + 0.5)


@pytest.mark.parametrize("n_rows", [3, 6])
def test_a_factor_is_that_of_the_replica_whose_row_it_is(n_rows):
    like = torch.ones(n_rows, 2, 5)
    found = each(RATES, like)
    assert found.shape == (n_rows, 1, 1)
    per_replica = (like * found).view(3, -1)
    assert torch.equal(per_replica, torch.tensor(RATES).unsqueeze(1).expand_as(per_replica))
    assert torch.equal(each(numbers(RATES), like), found)
    assert each(0.5, like) == numbers(0.5) == 0.5


def test_values_that_are_no_replicas_are_refused():
    with pytest.raises(InputError, match="one for each of the replicas in 4 rows"):
        each(RATES, torch.ones(4, 2))


@pytest.mark.parametrize("setting", [0.5, RATES])
def test_sums_are_each_replicas(setting, tensors):
    base, a, b = tensors
    rates = RATES if isinstance(setting, tuple) else [setting] * 3
    found = {
        add(base, a, numbers(setting)): lambda r, rate: base[r] + rate * a[r],
        add_product(base, a, b, numbers(setting)): lambda r, rate: base[r] + rate * a[r] * b[r],
        add_quotient(base, a, b, numbers(setting)): lambda r, rate: base[r] + rate * a[r] / b[r],
    }
    for made, of_replica in found.items():
        expected = torch.stack([of_replica(r, rate) for r, rate in enumerate(rates)])
        torch.testing.assert_close(made, expected)


@pytest.mark.parametrize(("n_replicas", "right"), [(1, False), (2, True), (3, False)])
def test_a_part_has_a_value_for_each_replica_or_one_for_all(n_replicas, right):
    require_replicas(Backprop(optimizer=SGD(learning_rate=0.1)), n_replicas)
    made = Backprop(optimizer=SGD(learning_rate=(0.1, 0.2)))
    if right:
        require_replicas(made, n_replicas)
        return
    with pytest.raises(InputError, match=f"learning_rate must .* each of {n_replicas} replicas"):
        require_replicas(made, n_replicas)


def test_programs_become_one_with_each_ones_values_so_often_as_it_has_replicas():
    one = Backprop(optimizer=SGD(learning_rate=0.1, momentum=0.5), batch_size=8)
    other = Backprop(
        optimizer=SGD(learning_rate=(0.2, 0.3), momentum=0.5), batch_size=8, gradient_noise=1.0
    )
    made = stacked([one, other, one], [2, 2, 1])
    assert made.optimizer.learning_rate == (0.1, 0.1, 0.2, 0.3, 0.1)
    assert made.gradient_noise == (0.0, 0.0, 1.0, 1.0, 0.0)
    assert made.optimizer.momentum == 0.5  # which they share
    assert stacked([one, one], [2, 2]) is one


@dataclass(frozen=True)
class Twin:
    """Settings that another class has too."""

    size: int = 3


@dataclass(frozen=True)
class Other(Twin):
    """The other class."""


def test_what_programs_must_share():
    assert family(Backprop(optimizer=SGD(learning_rate=0.1))) == family(
        Backprop(optimizer=SGD(learning_rate=(0.2, 0.3)))
    )
    assert family(Backprop(optimizer=SGD(learning_rate=0.1))) != family(
        Backprop(optimizer=SGD(learning_rate=0.1), batch_size=8)
    )
    assert family(Backprop(gradient_noise=0.1)) != family(Backprop(gradient_noise=0.0))
    assert family(Twin()) == family(Twin()) != family(Other())
    assert family(np.float64) is np.float64
