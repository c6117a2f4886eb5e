"""Oracle: the package `arch`, on the same days."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from beyond import catalog, losses
from beyond.contracts import TargetKind
from beyond.network.volatility_layers import LOG_OMEGA, LOGIT_PERSISTENCE, LOGIT_SHARE
from tasks.volatility import _returns, first_variance, told

FAULTS = [
    ("tasks/volatility.py", "(returns - returns.mean())[:N_START]", "returns[:N_START]"),
    # a day before the series is a day without a return
    ("tasks/volatility.py", "np.full(n_lags, start), np", "np.zeros(n_lags), np"),
    # a return is told on its day
    ("tasks/volatility.py", "returns[:, None]", "np.roll(returns, 1)[:, None]"),
]
OPTIMUM = {"mu": 0.0563, "omega": 0.0175, "alpha[1]": 0.1022, "beta[1]": 0.8852}


def fitted(returns):
    from arch import arch_model

    return arch_model(returns, mean="Constant", vol="GARCH", rescale=False).fit(disp="off")


@pytest.fixture(scope="module")
def returns():
    return _returns("sp500")


@pytest.fixture(scope="module")
def whole():
    """All days of the S&P 500: inputs and targets as the network takes them, in double precision."""
    task = catalog.load("task", "finance/volatility", held_out="nasdaq")
    splits = task.at([0])
    assert [splits.size(split) for split in ("train", "validation", "test")] == [5030, 2515, 2515]
    raw = task.examples()
    return (
        task,
        torch.from_numpy(raw.inputs[None, :5030]),
        torch.from_numpy(raw.targets[None, :5030]),
    )


def weights(mu, omega, alpha, beta):
    persistence = alpha + beta
    logits = np.log([omega, persistence / (1 - persistence), alpha / beta])
    return torch.tensor([[mu, *(logits - [LOG_OMEGA, LOGIT_PERSISTENCE, LOGIT_SHARE])]])


def test_the_published_optimum_is_that_of_arch_and_of_the_network(returns, whole):
    found = fitted(returns)
    assert found.loglikelihood == pytest.approx(-6936.72, abs=0.005)
    assert dict(found.params) == pytest.approx(OPTIMUM, abs=1e-4)
    constant = -2515 * (np.log(2 * np.pi * returns.var()) + 1)
    assert constant == pytest.approx(-8066.71, abs=0.005)
    task, inputs, targets = whole
    network = task.spec.network.build(task.spec)
    outputs = network.outputs(weights(*found.params), inputs)
    total = -5030 * losses.gaussian_nll(outputs, targets).item()
    assert total == pytest.approx(found.loglikelihood, abs=1e-5)  # of a window of 150 days


def test_the_likelihoods_gradient_leads_there(whole):
    """A quasi-Newton method, by the network's backward pass, from weights of zero."""
    task, inputs, targets = whole
    network = task.spec.network.build(task.spec)

    def value_and_gradient(params):
        outputs, tape = network.forward(torch.from_numpy(params).unsqueeze(0), inputs)
        gradient = network.backward(tape, losses.error(TargetKind.DISTRIBUTIONS, outputs, targets))
        return losses.gaussian_nll(outputs, targets).item(), gradient[0].numpy()

    found = minimize(value_and_gradient, np.zeros(4), jac=True, method="L-BFGS-B")
    assert -5030 * found.fun == pytest.approx(-6936.72, abs=0.01)
    assert found.x == pytest.approx(weights(*OPTIMUM.values())[0].numpy(), abs=0.02)


@pytest.mark.parametrize("day", [0, 1, 100, 4000])
def test_nobody_is_told_a_return_of_the_day_that_is_asked_for(returns, day):
    other = returns.copy()
    other[day:] = other[day:][::-1] + 1
    start = first_variance(returns)

    def inputs(series):
        seen = told(series, 150)[0]
        seen[:, 1] *= start / first_variance(
            series
        )  # the start is of the first 75 days, and says so
        return seen

    changed = ~np.isclose(inputs(returns), inputs(other)).all((1, 2))
    assert np.flatnonzero(changed)[0] == day + 1


def test_the_window_of_a_day_is_by_hand(returns):
    inputs, targets = told(returns, 150)
    start = first_variance(returns)
    for day in (0, 3, 150, 5029):
        n_known = min(day, 150)
        assert (inputs[day, 0, 151 - n_known :] == returns[day - n_known : day]).all()
        assert (inputs[day, 0, : 151 - n_known] == 0).all()
        assert (inputs[day, 1] == np.where(np.arange(151) < 151 - n_known, start, 0)).all()
        assert targets[day] == returns[day]


def test_the_references_are_those_of_the_datasheet(returns):
    task = catalog.load("task", "finance/volatility")
    raw, n_held = task.examples(), 710
    n_train = len(raw.targets) - 2 * n_held
    network = task.spec.network.build(task.spec)
    found = fitted(returns[:n_train])
    outputs = network.outputs(weights(*found.params), torch.from_numpy(raw.inputs[None]))
    days = losses.gaussian_nlls(outputs, torch.from_numpy(raw.targets[None]))[0].numpy()
    assert -days[:n_train].sum() == pytest.approx(found.loglikelihood, abs=1e-3)
    parts = np.split(-days, [n_train, n_train + n_held])
    expected = [-1.513, -1.095, -1.018]
    np.testing.assert_allclose([part.mean() for part in parts], expected, atol=6e-4)
    train, *held = np.split(raw.targets[:, 0], [n_train, n_train + n_held])
    same = torch.tensor([[[train.mean(), np.log(train.var())]]])
    chance = [
        losses.gaussian_nll(same, torch.from_numpy(part[None, :, None])).item() for part in held
    ]
    np.testing.assert_allclose(chance, [1.370, 1.391], atol=5e-4)
