"""Costs in every currency, and what a budget accepts."""

import pytest

from beyond.errors import InputError
from beyond.ledger import COST_NAMES, CURRENCIES, Budget, Ledger

FAULTS = [
    # a backward pass costs twice a forward pass
    (
        "beyond/ledger.py",
        "ledger.forward + 2 * ledger.backward",
        "ledger.forward + ledger.backward",
    ),
    ("beyond/ledger.py", "return Ledger(**vars(self))", "return self"),
    # a step that is not taken leaves its passes behind
    ("beyond/ledger.py", "vars(self).update(vars(earlier))", "self.flops = earlier.flops"),
]


def test_one_pass_of_backpropagation_is_one_epoch(make_case):
    network = make_case("mlp").network
    n_train, ledger = 50, Ledger()
    for size in (32, 18):
        ledger.charge(forward=size, flops=size * network.forward_flops)
        ledger.charge(backward=size, flops=size * network.backward_flops())
    epoch_flops = n_train * (network.forward_flops + network.backward_flops())
    assert ledger.costs(epoch_flops)["epochs"] == 1
    assert Budget("epochs", 4).spent(ledger, epoch_flops) == 0.25


@pytest.mark.parametrize(
    ("currency", "spent"),
    [("epochs", 5.0), ("examples", 16), ("flops", 500), ("steps", 7), ("seconds", 1.5)],
)
def test_a_budget_counts_its_own_currency(currency, spent):
    ledger = Ledger(forward=10, backward=3, flops=500, steps=7, seconds=1.5)
    assert Budget(currency, 20).spent(ledger, epoch_flops=100) == spent / 20


def test_charges_add_up_and_a_copy_is_apart():
    ledger = Ledger()
    ledger.charge(forward=3, flops=10)
    before = ledger.copy()
    ledger.charge(backward=2, flops=5, bytes_moved=7)
    assert ledger == Ledger(forward=3, backward=2, flops=15, bytes_moved=7)
    assert before == Ledger(forward=3, flops=10)
    ledger.seconds, ledger.steps = 1.5, 2
    ledger.charge(rewards=4)
    ledger.restore(before)
    assert ledger == before is not ledger


def test_every_currency_is_in_the_costs():
    assert tuple(Ledger().costs(1)) == COST_NAMES
    assert set(CURRENCIES) - {"examples"} <= set(COST_NAMES)


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf"), "many", True])
@pytest.mark.parametrize("currency", CURRENCIES)
def test_amounts_that_are_no_budget_are_refused(currency, amount):
    with pytest.raises(
        InputError,
        match=rf"^budget.{currency} must be (a number |finite and )?> 0, got {amount!r}$",
    ):
        Budget.of({currency: amount})


def test_unknown_currencies_are_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"^budget must be one of epochs, examples, .*, seconds; got 'dollars'$"
    ):
        Budget.of({"dollars": 3})


def test_the_one_amount_that_is_set_is_the_budget():
    assert Budget.of({"epochs": None, "steps": 12, "flops": None}) == Budget("steps", 12)


@pytest.mark.parametrize("amounts", [{}, {"epochs": None}, {"epochs": 1, "steps": 2}])
def test_none_or_two_amounts_are_refused(amounts):
    with pytest.raises(
        InputError, match=r"^budget must be set in exactly one of epochs, .*; got [^\n]*$"
    ):
        Budget.of(amounts)
