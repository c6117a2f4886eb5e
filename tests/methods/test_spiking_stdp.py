"""Oracles: one pair of spikes at every lag, and whole runs' log likelihood, differentiated."""

from math import exp

import pytest
import torch
import torch.nn.functional as F

from beyond import catalog
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Signal
from beyond.errors import InputError, UnsupportedError
from beyond.kits.optimizers import SGD
from beyond.kits.plasticity import Likelihood, Window
from beyond.kits.policies import LeaveOneOut, RunningMean
from beyond.kits.spiking import Neurons, Passage, escape_noise, simulate
from beyond.ledger import Budget, Ledger
from beyond.problem import Problem
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from methods.spiking_stdp import SpikingSTDP

# A spike that arrives after the neuron's depresses the synapse: the sign of that half of the
# window.
FAULTS = [
    (
        "beyond/kits/plasticity.py",
        "self.a_plus * later - self.a_minus * earlier",
        "self.a_plus * later + self.a_minus * earlier",
    ),
    # Predictions by neurons that never fire by chance.
    (
        "methods/spiking_stdp.py",
        "jitter=noise\n        )\n        count",
        "jitter=None\n        )\n        count",
    ),
    # A reward is compared with a mean that leaves a part of it in.
    ("beyond/kits/policies.py", "/ (rewards.shape[-1] - 1)", "/ rewards.shape[-1]"),
]

PLAIN = SGD(learning_rate=1.0)  # weights change by what the rule asks for


def one_pair(make_problem, arrival, firing, modulation=1.0, **settings):
    """Change of the read-out's weights (10, 32) by one spike from cell 7 and one of neuron 4."""
    neurons = Neurons(n_steps=6)
    method = SpikingSTDP(PLAIN, neurons=neurons, plasticity=Window(**settings))
    given = make_problem(method, seeds=[0], batch_size=3)
    layer = given.problem.layers[-1]
    arrivals, spikes = torch.zeros(1, 6, 3, 32), torch.zeros(1, 6, 3, 10)
    arrivals[0, arrival, 1, 7] = 1
    spikes[0, firing, 1, 4] = 1
    _, tape = layer.forward(given.params, arrivals.flatten(1, 2))
    passages = [Passage(layer, arrivals.flatten(1, 2), tape)]
    timing = method.plasticity.timing(spikes, spikes, neurons, method.escape_noise)
    change = method._changes(passages, timing, torch.tensor([[0.0, modulation, 0.0]]))
    return change[0, :320].view(10, 32)


@pytest.mark.parametrize("lag", range(-5, 6))
def test_one_pair_of_spikes_leaves_the_window(lag, make_problem, close):
    arrival = max(0, -lag)
    settings = {
        "plus_decay": exp(-1 / 2.5),
        "minus_decay": exp(-1 / 4.0),
        "a_plus": 0.7,
        "a_minus": 0.3,
    }
    change = one_pair(make_problem, arrival, arrival + lag, **settings)
    expected = torch.zeros(10, 32)
    expected[4, 7] = 0.7 * exp(-lag / 2.5) if lag >= 0 else -0.3 * exp(lag / 4.0)
    close(change, expected)


def test_the_reward_sets_the_sign(make_problem, close):
    praised, blamed = (one_pair(make_problem, 1, 3, modulation) for modulation in (0.9, -0.1))
    assert praised[4, 7] > 0 > blamed[4, 7]
    close(praised, -9 * blamed)


def relive(method, given):
    """Draw what `step` draws: the hidden spikes, the actions and the rewards."""
    rng = Stream("step", given.seeds)
    noise = escape_noise(method.escape_noise, rng)
    inputs = given.batch.inputs.repeat_interleave(method.n_trials, 1)
    currents, passages = simulate(
        given.problem, given.params, inputs, method.neurons, method.code, rng, noise
    )
    uniform = rng.uniform(inputs.shape[1], 1)
    logits = currents.mean(1) / method.output_noise
    actions = (logits.softmax(-1).cumsum(-1)[..., :-1] <= uniform).sum(-1)  # (R, B * K)
    targets = given.batch.targets.repeat_interleave(method.n_trials, 1)
    spikes = [passage.spikes for passage in passages if passage.spikes is not None]
    return inputs, spikes, actions, (actions == targets).float()


def log_likelihood(method, given, params, inputs, spikes, actions):
    """Log probability (R, B * K) of all spikes and actions, one time step at a time."""
    network, n_replicas, neurons = given.network, len(params), method.neurons
    weights = network.unflatten(params)
    total, currents = torch.zeros(actions.shape), []
    potentials = [torch.zeros(1)] * len(spikes)
    for step in range(neurons.n_steps):
        x, depth = inputs, 0
        for index, layer in enumerate(network.layers):
            if type(layer).__name__ == "ReLU":
                fired = spikes[depth]
                before = fired[:, step - 1] if step else torch.zeros_like(fired[:, 0])
                if neurons.reset == "soft":
                    potentials[depth] = (
                        neurons.decay * potentials[depth] - neurons.threshold * before + x
                    )
                else:
                    potentials[depth] = neurons.decay * potentials[depth] * (1 - before) + x
                logits = (potentials[depth] - neurons.threshold) / method.escape_noise
                chance = -F.binary_cross_entropy_with_logits(
                    logits, fired[:, step], reduction="none"
                )
                total = total + chance.flatten(2).sum(2)
                x, depth = fired[:, step], depth + 1
            else:
                single = given.problem.layers[index]
                x, _ = single._network.forward(params[:, single.start : single.stop], x)
        currents.append(x)
    assert len(weights) == len(network.layers)
    assert n_replicas == len(actions)
    policy = (torch.stack(currents).mean(0) / method.output_noise).log_softmax(-1)
    return total + policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize(
    ("network", "neurons", "settings"),
    [
        (None, {}, {}),
        (None, {"reset": "hard"}, {"baseline": RunningMean(), "output_noise": 0.7}),
        (MLP(hidden=(12, 9)), {"threshold": 0.5}, {"escape_noise": 0.4}),
        (CNN(channels=(3, 4)), {"threshold": 0.5}, {"escape_noise": 0.5}),
    ],
)
def test_the_likelihood_rule_ascends_the_expected_reward(
    network, neurons, settings, make_problem, close
):
    neurons = Neurons(**{"n_steps": 4, "decay": 0.8, **neurons})
    method = SpikingSTDP(PLAIN, plasticity=Likelihood(), n_trials=3, neurons=neurons, **settings)
    given = make_problem(method, network=network, batch_size=16)
    state = method.init(given.problem, given.params, given.rng) | {
        "mean_reward": torch.tensor([0.2, 0.4])
    }
    after = method.step(state, given.sealed, given.problem, given.rng)

    inputs, spikes, actions, rewards = relive(method, given)
    by_input = rewards.unflatten(1, (16, 3))
    if method.baseline == LeaveOneOut():
        others = torch.stack(
            [by_input[..., [1, 2]], by_input[..., [0, 2]], by_input[..., [0, 1]]], -2
        )
        advantages = (by_input - others.mean(-1)).flatten(1)
    else:
        advantages = rewards - torch.tensor([[0.2], [0.4]])
    params = given.params.clone().requires_grad_()
    likelihood = log_likelihood(method, given, params, inputs, spikes, actions)
    (expected,) = torch.autograd.grad((advantages * likelihood).mean(1).sum(), params)
    assert 0 < rewards.mean() < 1
    close(method.params(after) - given.params, expected, rtol=1e-3, atol=1e-5)
    if method.baseline == RunningMean():
        close(after["mean_reward"], 0.9 * torch.tensor([0.2, 0.4]) + 0.1 * rewards.mean(1))


def test_the_window_rule_pairs_every_spike_of_a_step(make_problem, close):
    """A whole step of both layers against a loop over pairs of time steps."""
    window = Window(a_plus=0.7, a_minus=0.4, plus_decay=0.6, minus_decay=0.9)
    method = SpikingSTDP(PLAIN, n_trials=3, code="rate", plasticity=window)
    given = make_problem(method, batch_size=6)
    state = method.init(given.problem, given.params, given.rng)
    after = method.step(state, given.sealed, given.problem, given.rng)

    rng = Stream("step", given.seeds)
    inputs = given.batch.inputs.repeat_interleave(3, 1)
    _, passages = simulate(
        given.problem, given.params, inputs, method.neurons, "rate", rng, escape_noise(1.0, rng)
    )
    _, (hidden,), actions, rewards = relive(method, given)
    by_input = rewards.unflatten(1, (6, 3))
    advantages = ((by_input - by_input.mean(-1, keepdim=True)) * 3 / 2).flatten(1) / 18
    sent = passages[1].inputs.unflatten(1, (4, 18))  # (R, T, B * K, 64)
    winner = torch.zeros(2, 4, 18, 10)
    winner[:, 3] = F.one_hot(actions, 10).float()
    parts = []
    for before, after_it in ((sent, hidden), (hidden, winner)):
        weight, bias = (
            torch.zeros(2, after_it.shape[-1], before.shape[-1]),
            torch.zeros(2, after_it.shape[-1]),
        )
        for arrival in range(4):
            for firing in range(4):
                lag = firing - arrival
                window = 0.7 * 0.6**lag if lag >= 0 else -0.4 * 0.9**-lag
                weight += window * torch.einsum(
                    "rb,rbi,rbj->rij", advantages, after_it[:, firing], before[:, arrival]
                )
                bias += window * torch.einsum("rb,rbi->ri", advantages, after_it[:, firing])
        parts += [weight.flatten(1), bias]
    close(method.params(after) - given.params, torch.cat(parts, 1), rtol=1e-4, atol=1e-5)


def test_a_step_costs_its_runs_and_the_products_of_their_traces(make_problem):
    method = SpikingSTDP(PLAIN, n_trials=4, neurons=Neurons(n_steps=5))
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    assert given.problem.ledger.flops == 4 * 16 * 2 * (2 * 64 * 32 + 5 * 2 * 32 * 10)


def test_an_embedding_stays_as_it_was_drawn(make_problem):
    method = SpikingSTDP(PLAIN)
    given = make_problem(method, "text/languages")
    after = method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    embedding, *others = given.network.blocks
    change = method.params(after) - given.params
    assert (change[:, : embedding.stop] == 0).all()
    assert all(change[:, block.start : block.stop].abs().max() > 0 for block in others)


def test_predictions_draw_nothing_and_count_their_spikes(make_problem, close):
    method = SpikingSTDP(PLAIN)
    given = make_problem(method)
    state = method.init(given.problem, given.params, given.rng)
    meters = [Problem(given.network, given.task.spec, signal=Signal.REWARD) for _ in range(2)]
    first, second = (method.predict(state, meter, given.batch) for meter in meters)
    close(first, second, rtol=0, atol=0)
    assert (meters[0].activity["spikes"] > 0).all()
    close(meters[0].activity["accumulates"], 10 * meters[0].activity["spikes"])


def test_predictions_are_near_the_mean_of_runs_left_to_chance(make_problem):
    method = SpikingSTDP(PLAIN, neurons=Neurons(n_steps=30), escape_noise=2.0)
    given = make_problem(method)
    settings = given.problem, given.params, given.batch.inputs, method.neurons, method.code
    runs = [simulate(*settings, given.rng, escape_noise(2.0, given.rng))[0] for _ in range(40)]
    mean = torch.stack(runs).mean((0, 2)) / method.output_noise
    state = method.init(given.problem, given.params, given.rng)
    predicted = method.predict(state, given.problem, given.batch)
    never_by_chance = simulate(*settings)[0].mean(1) / method.output_noise
    assert (predicted - mean).norm() < 0.4 * (never_by_chance - mean).norm()


def test_values_are_refused(make_problem):
    method = SpikingSTDP(PLAIN)
    given = make_problem(method, "regression/diabetes")
    with pytest.raises(UnsupportedError, match="cannot name a value"):
        method.init(given.problem, given.params, given.rng)


def test_one_trial_has_no_others_to_compare_with():
    with pytest.raises(
        InputError, match="n_trials must be >= 2 with baseline leave_one_out, got 1"
    ):
        SpikingSTDP(PLAIN, n_trials=1)
    SpikingSTDP(PLAIN, n_trials=1, baseline=RunningMean())


@pytest.mark.slow
@pytest.mark.parametrize("plasticity", [Window(), Likelihood()])
def test_it_learns_digits(plasticity):
    task = catalog.load("task", "image/digits")
    method = catalog.load("method", "spiking_stdp", plasticity=plasticity)
    setup = Setup(
        method,
        task,
        task.spec.network.build(task.spec),
        [0, 1, 2],
        Budget("epochs", 500),
    )
    rows = [row for progress in train(setup) for row in progress.curves]
    scores = [
        row["value"] for row in rows if row["split"] == "test" and row["metric"] == "accuracy_score"
    ]
    assert sum(scores) / len(scores) > 0.8
