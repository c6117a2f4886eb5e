"""Oracles: actions enumerated, automatic differentiation of the objective, known mean rewards.

A replica stands for one outcome of the draws: a step of all of them at once, weighted by their
probabilities, is the expectation itself. For values the draws are the two nodes of Gauss-Hermite
quadrature, exact for a cubic polynomial.
"""

from itertools import product

import pytest
import torch
from torch.distributions import Categorical, Normal

from beyond import catalog
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.kits.optimizers import Adam
from beyond.kits.policies import Gaussian, Softmax
from beyond.ledger import Budget, Ledger
from beyond.problem import seal
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from methods.actor_critic import ActorCritic

FAULTS = [
    # a sign
    (
        "methods/actor_critic.py",
        "earned.rewards - values ",
        "earned.rewards + values ",
    ),
    # A setting is ignored.
    (
        "methods/actor_critic.py",
        "weighted * value_weights",
        "critic_error * value_weights",
    ),
    # The critic's bias learns as much less as the batch is large.
    ("methods/actor_critic.py", "critic_error.sum(1)], 1)", "critic_error.mean(1)], 1)"),
]
# five classes: few enough to enumerate
CLASSES = {"task": "image/digits", "half": "upper"}
N_INPUTS = 2


def changes(method, given, critic):
    """Gradients (R, n) and (R, n_features + 1) that one step hands to the optimizer."""
    state = method.init(given.problem, given.params, given.rng) | {"extras": critic}
    direction = method.direction(state, given.sealed, given.problem, given.rng)
    return direction.tensor_split([given.params.shape[1]], 1)


def any_critic(problem, n_replicas):
    width = ActorCritic().init(problem, torch.zeros(1, problem.n_weights), None)["extras"].shape[1]
    return 0.2 * Stream("critic", [0]).normal(width).expand(n_replicas, -1)


def enumerate_outcomes(method, given, n):
    """Repeat the first replica's weights and batch n times."""
    given.params = given.params[:1].expand(n, -1).contiguous()
    parts = (given.batch.inputs, given.batch.targets)
    given.sealed = seal(
        Batch(*(part[:1].expand(n, *part.shape[1:]) for part in parts)), method.signal
    )


def true_gradient(given, expected_reward):
    """Gradient (n,) of minus the expected reward, averaged over the inputs."""
    params = given.params[:1].clone().requires_grad_()
    outputs = given.network.outputs(params, given.batch.inputs[:1])[0]
    return torch.autograd.grad(-expected_reward(outputs).mean(), params)[0][0]


@pytest.mark.parametrize(("n_actions", "entropy_bonus"), [(1, 0.0), (1, 0.3), (2, 0.3)])
def test_over_every_action_the_actor_follows_the_policy_gradient_whatever_the_critic_says(
    n_actions, entropy_bonus, make_problem, monkeypatch, close
):
    outcomes = torch.tensor(list(product(range(5), repeat=N_INPUTS * n_actions))).view(
        -1, N_INPUTS, n_actions
    )
    method = ActorCritic(n_actions=n_actions, value_weight=0.0, entropy_bonus=entropy_bonus)
    given = make_problem(method, batch_size=N_INPUTS, **CLASSES)
    enumerate_outcomes(method, given, len(outcomes))
    probabilities = Softmax(given.problem.outputs(given.params, given.sealed.inputs)).probabilities
    monkeypatch.setattr(Softmax, "sample", lambda *_: outcomes)
    actor, _ = changes(method, given, any_critic(given.problem, len(outcomes)))

    def value(logits):
        policy = Categorical(logits=logits)
        return (
            policy.probs.gather(1, given.batch.targets[0, :, None])[:, 0]
            + entropy_bonus * policy.entropy()
        )

    weight = probabilities.gather(2, outcomes).flatten(1).prod(1, keepdim=True)
    close((weight * actor).sum(0), true_gradient(given, value), rtol=1e-3, atol=1e-5)


def test_over_every_node_the_actor_follows_the_gradient_of_the_expected_reward(
    make_problem, monkeypatch, close
):
    nodes = torch.tensor(list(product([-1.0, 1.0], repeat=N_INPUTS))).view(-1, N_INPUTS, 1, 1)
    method = ActorCritic(value_weight=0.0, action_std=0.7)
    given = make_problem(method, "regression/diabetes", batch_size=N_INPUTS)
    enumerate_outcomes(method, given, len(nodes))
    monkeypatch.setattr(
        Gaussian, "sample", lambda policy, *_: policy.mean.unsqueeze(2) + 0.7 * nodes
    )
    actor, _ = changes(method, given, any_critic(given.problem, len(nodes)))

    targets = given.batch.targets[0]
    expected = true_gradient(
        given, lambda mean: -0.5 * ((mean - targets).square() + 0.7**2).sum(-1)
    )
    close(actor.mean(0), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("image/digits", MLP(hidden=(12, 9), activation="tanh", layer_norm=True)),
        ("image/digits", MLP(hidden=())),
        ("image/digits", CNN(channels=(4, 6))),
        ("text/languages", None),
        ("text/languages", MLP(hidden=())),
        ("regression/diabetes", None),
    ],
)
def test_a_step_equals_automatic_differentiation_of_both_objectives(
    task, network, make_problem, close
):
    method = ActorCritic(n_actions=3, value_weight=0.4, entropy_bonus=0.2, action_std=0.7)
    given = make_problem(method, task, network=network)
    asked, answer = [], given.problem.reward
    given.problem.reward = lambda actions, batch: (
        asked.append((actions, answer(actions, batch))) or asked[-1][1]
    )
    critic = any_critic(given.problem, 2)
    actor_change, critic_change = changes(method, given, critic)
    (actions, rewards), *rest = asked
    assert not rest

    params, critic = given.params.clone().requires_grad_(), critic.clone().requires_grad_()
    *trunk, head = given.problem.stages
    hidden = given.batch.inputs
    for stage in trunk:
        hidden, _ = stage.forward(params, hidden)
    outputs, _ = head.forward(params, hidden)
    values = (hidden.flatten(2) * critic[:, None, :-1]).sum(2, keepdim=True) + critic[:, None, -1:]
    if task == "regression/diabetes":
        log_probability = Normal(outputs.unsqueeze(2), 0.7).log_prob(actions).sum(3)
        entropy = 0.0
    else:
        policy = Categorical(logits=outputs)
        log_probability = torch.stack([policy.log_prob(action) for action in actions.unbind(2)], 2)
        entropy = policy.entropy().mean(1).sum()
    actor_loss = -((rewards - values.detach()) * log_probability).mean((1, 2)).sum() - 0.2 * entropy
    critic_loss = 0.5 * (values - rewards).square().mean((1, 2)).sum()
    gradient = torch.autograd.grad(actor_loss + 0.4 * critic_loss, params, retain_graph=True)[0]
    close(actor_change, gradient, rtol=1e-3, atol=1e-5)
    close(critic_change, torch.autograd.grad(critic_loss, critic)[0], rtol=1e-4, atol=1e-5)


def test_the_critic_finds_the_mean_reward_of_each_input(make_problem, monkeypatch, close):
    """The actor is kept at the even policy, whose mean over the five actions needs no draws."""
    method = ActorCritic(Adam(learning_rate=0.02), n_actions=5, value_weight=0.0, entropy_bonus=0.0)
    given = make_problem(method, batch_size=6, **CLASSES)
    rewards = Stream("rewards", [0, 1]).uniform(6, 5)  # of each action at each input
    monkeypatch.setattr(Softmax, "sample", lambda *_: torch.arange(5).expand(2, 6, -1))
    monkeypatch.setattr(Softmax, "score", lambda policy, *_: torch.zeros_like(policy.probabilities))
    monkeypatch.setattr(given.problem, "reward", lambda actions, _: rewards.gather(2, actions))
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(1500):
        state = method.step(state, given.sealed, given.problem, given.rng)
    hidden, _ = given.problem.stages[0].forward(given.params, given.batch.inputs)
    values = (hidden * state["extras"][:, None, :-1]).sum(2) + state["extras"][:, -1:]
    close(method.params(state), given.params, rtol=0, atol=0)
    close(values, rewards.mean(2), rtol=0, atol=1e-3)


def test_a_step_costs_one_pass_each_way_and_the_critic(make_problem):
    method = ActorCritic(n_actions=5)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    ledger, network = given.problem.ledger, given.network
    assert (ledger.forward, ledger.backward) == pytest.approx((16, 16))
    assert ledger.flops == 16 * (network.forward_flops + network.backward_flops() + 4 * 32)


@pytest.mark.slow
def test_it_learns_the_digits():
    task = catalog.load("task", "image/digits")
    network = task.spec.network.build(task.spec)
    *_, end = train(
        Setup(
            catalog.load("method", "actor_critic"), task, network, [0, 1, 2], Budget("epochs", 300)
        )
    )
    assert sum(row["best_test_score"] for row in end.runs) / 3 >= 0.94
