"""Oracles: REINFORCE's estimate, and automatic differentiation of the paper's surrogate."""

import pytest
import torch
from torch.distributions import Categorical, Normal

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.kits.policies import CHOICES as BASELINES
from beyond.kits.policies import Gaussian, LeaveOneOut, NoBaseline, Softmax
from beyond.ledger import Budget, Ledger
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from methods.ppo import PPO

FAULTS = [
    # the wrong branch is cut
    (
        "methods/ppo.py",
        "kept = ratio * advantages <= limited",
        "kept = ratio * advantages >= limited",
    ),
    # Divided by the batch instead of the minibatch.
    (
        "methods/ppo.py",
        "-ascent / outputs.shape[1]",
        "-ascent / (self.n_minibatches * outputs.shape[1])",
    ),
    ("methods/ppo.py", "correction=0", "correction=1"),
]
PLAIN = SGD(learning_rate=1.0)  # the change of the weights is minus the gradient


def stepped(method, given, mean_reward=0.0):
    state = method.init(given.problem, given.params, given.rng)
    state["mean_reward"] = torch.full_like(state["mean_reward"], mean_reward)
    return method.step(state, given.sealed, given.problem, given.rng)


@pytest.mark.parametrize("task", ["image/digits", "regression/diabetes"])
@pytest.mark.parametrize("clip", [0.2, float("inf")])  # the policy that acted is never cut
@pytest.mark.parametrize("baseline", ["none", "running_mean", "leave_one_out"])
def test_the_first_update_is_that_of_reinforce(task, clip, baseline, make_problem, close):
    method = PPO(
        PLAIN,
        n_actions=3,
        n_epochs=1,
        n_minibatches=1,
        clip=clip,
        baseline=BASELINES[baseline][0],
        entropy_bonus=0.3,
    )
    given = make_problem(method, task)
    twin = make_problem(task=task)
    outputs, tape = twin.problem.forward(twin.params, twin.batch.inputs)
    policy = method.policy(twin.problem, outputs)
    actions = policy.sample(3, twin.rng)
    rewards = twin.problem.reward(actions, twin.batch)
    others = (rewards.sum(2, keepdim=True) - rewards) / 2
    advantages = rewards - {"none": 0.0, "running_mean": 0.37, "leave_one_out": others}[baseline]
    ascent = policy.score(actions, advantages / 3) + 0.3 * policy.entropy_gradient()
    expected = twin.problem.backward(tape, -ascent / 16)
    close(given.params - stepped(method, given, 0.37)["params"], expected, rtol=1e-4, atol=1e-5)


def surrogate(kind, outputs, actions, before, advantages, clip, entropy_bonus):
    """Return minus the objective (R,); which actions are cut, which far off on the other side."""
    if kind == "classes":
        peer, entropy = Categorical(logits=outputs), Categorical(logits=outputs).entropy().mean(1)
        after = torch.stack([peer.log_prob(action) for action in actions.unbind(2)], 2)
    else:
        after, entropy = Normal(outputs.unsqueeze(2), 0.5).log_prob(actions).sum(3), 0.0
    ratio = torch.exp(after - (after if before is None else before).detach())
    objective = torch.minimum(
        ratio * advantages, torch.clamp(ratio, 1 - clip, 1 + clip) * advantages
    )
    off = (ratio - 1) * advantages.sign()
    return (
        -objective.mean((1, 2)) - entropy_bonus * entropy,
        after.detach(),
        (off > clip, off < -clip),
    )


@pytest.mark.parametrize(("task", "rate"), [("image/digits", 3.0), ("regression/diabetes", 0.3)])
@pytest.mark.parametrize("normalise", [False, True])
def test_every_update_equals_automatic_differentiation_of_the_surrogate(
    task, rate, normalise, make_problem, close
):
    method = PPO(
        SGD(learning_rate=rate),
        n_actions=3,
        n_epochs=3,
        n_minibatches=2,
        clip=0.1,
        baseline=LeaveOneOut(),
        normalise_advantages=normalise,
        entropy_bonus=0.05,
    )
    given = make_problem(method, task, network=MLP(hidden=(8,), activation="tanh"))
    twin = make_problem(task=task)
    network, kind = given.network, str(given.task.spec.target_kind)
    actions = method.policy(twin.problem, network.outputs(given.params, given.batch.inputs)).sample(
        3, twin.rng
    )
    rewards = twin.problem.reward(actions, given.batch)
    advantages = 1.5 * rewards - 0.5 * rewards.sum(2, keepdim=True)
    if normalise:
        for replica, values in enumerate(advantages):
            advantages[replica] = (values - values.mean()) / values.std(correction=0)
    acting = network.outputs(given.params, given.batch.inputs)
    before = surrogate(kind, acting, actions, None, advantages, 0.1, 0.0)[1]

    params, seen = given.params, torch.zeros(2)
    rows = torch.arange(2)[:, None]
    for _ in range(3):
        order = twin.rng.permutation(16)
        for part in (order[:, :8], order[:, 8:]):
            leaf = params.clone().requires_grad_()
            outputs = network.outputs(leaf, given.batch.inputs[rows, part])
            chosen = [whole[rows, part] for whole in (actions, before, advantages)]
            loss, _, off = surrogate(kind, outputs, *chosen, 0.1, 0.05)
            seen += torch.stack([side.sum() for side in off])
            params = params - rate * torch.autograd.grad(loss.sum(), leaf)[0]
    assert (seen > 0).all()  # both sides of the clip have been visited
    close(stepped(method, given)["params"], params, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_an_action_beyond_the_clip_asks_for_no_more(reward, make_problem, monkeypatch, close):
    ends = {}
    for clip in (0.01, float("inf")):
        for n_epochs in (1, 2, 3):
            method = PPO(
                SGD(learning_rate=0.01),
                n_epochs=n_epochs,
                n_minibatches=1,
                clip=clip,
                baseline=NoBaseline(),
                entropy_bonus=0,
            )
            given = make_problem(method, batch_size=1)
            monkeypatch.setattr(
                given.problem, "reward", lambda actions, _: torch.full(actions.shape, reward)
            )
            ends[clip, n_epochs] = stepped(method, given)["params"]
    for n_epochs in (1, 2, 3):
        close(ends[0.01, n_epochs], ends[float("inf"), 1], rtol=0, atol=0)
    assert not torch.allclose(ends[float("inf"), 2], ends[float("inf"), 1], atol=1e-3)
    assert not torch.allclose(ends[float("inf"), 1], given.params, atol=1e-3)


def test_rewards_are_asked_for_once_and_every_pass_is_charged(make_problem):
    method = PPO(PLAIN, n_actions=2, n_epochs=3, n_minibatches=4)
    given = make_problem(method, batch_size=18)  # four parts of 5, 5, 5 and 3
    rewards, answer = [], given.problem.reward
    given.problem.reward = lambda *asked: rewards.append(answer(*asked)) or rewards[-1]
    given.problem.ledger = Ledger()
    state = stepped(method, given, mean_reward=0.5)
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (4 * 18, 3 * 18)
    assert len(rewards) == 1
    torch.testing.assert_close(state["mean_reward"], 0.9 * 0.5 + 0.1 * rewards[0].mean((1, 2)))


def test_log_probabilities_equal_torch_distributions(close):
    rng = Stream("test", [0, 1])
    outputs = rng.normal(3, 5)
    for policy, peer in (
        (Softmax(outputs), Categorical(logits=outputs)),
        (Gaussian(outputs, 0.4), Normal(outputs, 0.4)),
    ):
        actions = policy.sample(4, rng)
        # (R, B, 4) or (R, B, 4, n_outputs)
        expected = peer.log_prob(actions.movedim(2, 0)).movedim(0, 2)
        close(
            policy.log_probability(actions),
            expected if expected.ndim == 3 else expected.sum(3),
            rtol=1e-4,
        )


def test_leave_one_out_needs_two_actions():
    with pytest.raises(
        InputError, match=r"^n_actions must be >= 2 with baseline leave_one_out, got 1$"
    ):
        PPO(PLAIN, n_actions=1, baseline=LeaveOneOut())


@pytest.mark.slow
def test_it_learns_the_digits():
    task = catalog.load("task", "image/digits")
    network = task.spec.network.build(task.spec)
    *_, end = train(
        Setup(catalog.load("method", "ppo"), task, network, [0, 1, 2], Budget("epochs", 300))
    )
    assert sum(row["best_test_score"] for row in end.runs) / 3 >= 0.94
