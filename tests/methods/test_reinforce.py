"""Oracles: actions enumerated, against the expected reward's gradient by automatic differentiation.

A replica stands for one outcome of the draws: a step of all of them at once, weighted by their
probabilities, is the expectation itself, with no sampling error. For values the draws are the two
nodes of Gauss-Hermite quadrature, exact for the cubic polynomial that the estimate is.
"""

from itertools import product

import pytest
import torch
from scipy.stats import chisquare, kstest
from torch.distributions import Categorical, Normal

from beyond import catalog
from beyond.contracts import Batch, SealedTargets
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.kits.policies import CHOICES as BASELINES
from beyond.kits.policies import Gaussian, LeaveOneOut, RunningMean, Softmax
from beyond.ledger import Budget, Ledger
from beyond.problem import seal
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from methods.reinforce import Reinforce

FAULTS = [
    # A baseline that sees its action.
    (
        "beyond/kits/policies.py",
        "return earned.rewards - self.baseline.expected(",
        "return earned.rewards + self.baseline.expected(",
    ),
    ("methods/reinforce.py", "advantages / advantages.shape[2]", "advantages"),
    # The running mean forgets at once.
    (
        "beyond/kits/policies.py",
        "rewards.mean((1, 2)), mean_reward, self.decay",
        "mean_reward, rewards.mean((1, 2)), self.decay",
    ),
    ("beyond/kits/policies.py", "/ (rewards.shape[-1] - 1)", "/ rewards.shape[-1]"),
    (
        "beyond/kits/policies.py",
        "- weights.sum(-1, keepdim=True) * self.probabilities",
        "- self.probabilities",
    ),
]
# five classes: few enough to enumerate
CLASSES = {"task": "image/digits", "half": "upper"}
VALUES = {"task": "regression/diabetes"}
N_INPUTS = 2


@pytest.fixture
def stretch(make_problem):
    """Return what makes one small problem and repeats its weights and batch for n replicas."""

    def make(method, n, seeds=(0,), **task):
        given = make_problem(method, seeds=seeds, batch_size=N_INPUTS, **task)
        given.params = given.params.expand(n, -1).contiguous()
        repeated = Batch(
            *(part.expand(n, *part.shape[1:]) for part in (given.batch.inputs, given.batch.targets))
        )
        given.sealed = seal(repeated, method.signal)
        return given

    return make


def estimate(method, given, rng=None, mean_reward=0.0):
    """Return the gradient (n, n_weights) that each replica hands to its optimizer."""
    state = method.init(given.problem, given.params, rng)
    state["mean_reward"] = torch.full_like(state["mean_reward"], mean_reward)
    return method.direction(state, given.sealed, given.problem, rng)[0]


def true_gradient(given, expected_reward):
    """Gradient (n_weights,) of minus the expected reward, averaged over the inputs."""
    params = given.params[:1].clone().requires_grad_()
    outputs = given.network.outputs(params, given.batch.inputs[:1])[0]
    return torch.autograd.grad(-expected_reward(outputs).mean(), params)[0][0]


def bandit_value(targets, entropy_bonus):
    def value(logits):
        policy = Categorical(logits=logits)
        return policy.probs.gather(1, targets[:, None])[:, 0] + entropy_bonus * policy.entropy()

    return value


def gaussian_value(targets, std):
    """E[-|a - y|^2 / 2] for a ~ N(z, std^2 I)."""
    return lambda mean: -0.5 * ((mean - targets).square() + std**2).sum(-1)


@pytest.mark.parametrize(
    ("n_actions", "baseline", "mean_reward", "entropy_bonus"),
    [
        (1, "none", 0.0, 0.0),
        (1, "running_mean", 0.37, 0.0),
        (1, "running_mean", 0.37, 0.3),
        (2, "running_mean", 0.37, 0.0),
        (2, "leave_one_out", 0.0, 0.0),
        (2, "leave_one_out", 0.0, 0.3),
    ],
)
def test_over_every_action_the_mean_is_the_policy_gradient(
    n_actions, baseline, mean_reward, entropy_bonus, stretch, monkeypatch, close
):
    outcomes = torch.tensor(list(product(range(5), repeat=N_INPUTS * n_actions))).view(
        -1, N_INPUTS, n_actions
    )
    method = Reinforce(
        n_actions=n_actions, baseline=BASELINES[baseline][0], entropy_bonus=entropy_bonus
    )
    given = stretch(method, len(outcomes), **CLASSES)
    policy = Softmax(given.problem.outputs(given.params, given.sealed.inputs))
    probability = policy.probabilities.gather(2, outcomes).flatten(1).prod(1)
    monkeypatch.setattr(Softmax, "sample", lambda *_: outcomes)

    mean = (probability.unsqueeze(1) * estimate(method, given, mean_reward=mean_reward)).sum(0)
    value = bandit_value(given.batch.targets[0], entropy_bonus)
    close(mean, true_gradient(given, value), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("n_actions", "baseline", "mean_reward"),
    [
        (1, "none", 0.0),
        (1, "running_mean", -0.8),
        (2, "running_mean", -0.8),
        (2, "leave_one_out", 0.0),
    ],
)
@pytest.mark.parametrize("std", [0.5, 2.0])
def test_over_every_node_the_mean_is_the_gradient_of_the_expected_reward(
    std, n_actions, baseline, mean_reward, stretch, monkeypatch, close
):
    nodes = torch.tensor(list(product([-1.0, 1.0], repeat=N_INPUTS * n_actions))).view(
        -1, N_INPUTS, n_actions, 1
    )
    method = Reinforce(n_actions=n_actions, baseline=BASELINES[baseline][0], action_std=std)
    given = stretch(method, len(nodes), **VALUES)
    monkeypatch.setattr(
        Gaussian, "sample", lambda policy, *_: policy.mean.unsqueeze(2) + std * nodes
    )

    mean = estimate(method, given, mean_reward=mean_reward).mean(0)
    close(
        mean,
        true_gradient(given, gaussian_value(given.batch.targets[0], std)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("task", [CLASSES, VALUES], ids=["classes", "values"])
@pytest.mark.parametrize(("n_actions", "baseline"), [(1, "running_mean"), (4, "leave_one_out")])
def test_with_its_own_draws_the_mean_is_within_standard_errors(task, n_actions, baseline, stretch):
    method = Reinforce(
        n_actions=n_actions, baseline=BASELINES[baseline][0], entropy_bonus=0.0, action_std=0.7
    )
    given = stretch(method, 4000, **task)
    drawn = estimate(method, given, rng=Stream("step", range(4000)), mean_reward=0.2)
    targets = given.batch.targets[0]
    value = bandit_value(targets, 0.0) if task is CLASSES else gaussian_value(targets, 0.7)
    moved = drawn.std(0) > 1e-6
    error = (drawn.mean(0) - true_gradient(given, value))[moved] / (drawn.std(0)[moved] / 4000**0.5)
    assert moved.sum() > 50
    assert error.abs().max() < 4.5


def test_the_baseline_cuts_the_variance_and_not_the_mean(stretch):
    spread = {}
    for baseline in ("none", "running_mean", "leave_one_out"):
        method = Reinforce(n_actions=4, baseline=BASELINES[baseline][0], action_std=0.3)
        given = stretch(method, 1000, **VALUES)
        reward = gaussian_value(given.batch.targets[0], 0.3)(
            given.problem.outputs(given.params, given.sealed.inputs)
        )
        drawn = estimate(
            method, given, Stream("step", range(1000)), mean_reward=float(reward.mean())
        )
        spread[baseline] = float(drawn.var(0).sum())
    assert spread["running_mean"] < 0.75 * spread["none"]
    assert spread["leave_one_out"] < 0.75 * spread["none"]


def test_against_its_peers_an_action_that_earned_the_same_teaches_nothing(
    stretch, monkeypatch, close
):
    method = Reinforce(n_actions=3, baseline=LeaveOneOut(), entropy_bonus=0.0)
    given = stretch(method, 4, **CLASSES)
    monkeypatch.setattr(given.problem, "reward", lambda actions, _: torch.full(actions.shape, 0.7))
    drawn = estimate(method, given, rng=Stream("step", range(4)))
    close(drawn, torch.zeros_like(drawn), atol=1e-6)


def test_scores_and_entropy_equal_torch_distributions(close):
    rng = Stream("test", [0, 1])
    outputs, weights = rng.normal(3, 5).requires_grad_(), rng.normal(3, 4)
    for policy, peer in (
        (Softmax(outputs), Categorical(logits=outputs)),
        (Gaussian(outputs, 0.4), Normal(outputs, 0.4)),
    ):
        actions = policy.sample(4, rng).detach()
        log_probability = peer.log_prob(actions.movedim(2, 0))  # (4, R, B) or (4, R, B, n_outputs)
        log_probability = log_probability.sum(-1) if isinstance(peer, Normal) else log_probability
        total = (weights * log_probability.movedim(0, 2)).sum()
        close(
            policy.score(actions, weights),
            torch.autograd.grad(total, outputs)[0],
            rtol=1e-4,
            atol=1e-5,
        )
    entropy = Categorical(logits=outputs).entropy().sum()
    close(
        Softmax(outputs).entropy_gradient(),
        torch.autograd.grad(entropy, outputs)[0],
        rtol=1e-4,
        atol=1e-6,
    )
    assert Gaussian(outputs, 0.4).entropy_gradient() == 0


def test_actions_follow_the_policy():
    outputs = Stream("outputs", [0, 1]).normal(3, 6) * 2
    # as the network hands them over: a transposed view
    policy = Softmax(outputs.mT.contiguous().mT)
    actions = policy.sample(20_000, Stream("step", [0, 1]))
    for row, probabilities in zip(
        actions.flatten(0, 1), policy.probabilities.double().flatten(0, 1), strict=True
    ):
        expected = probabilities / probabilities.sum() * 20_000
        assert chisquare(row.bincount(minlength=6), expected).pvalue > 1e-4

    policy = Gaussian(outputs, 0.3)
    standard = (policy.sample(20_000, Stream("step", [0, 1])) - outputs.unsqueeze(2)) / 0.3
    for replica in standard:
        assert kstest(replica.flatten(), "norm").pvalue > 1e-4


def test_every_input_action_and_replica_has_another_draw():
    rng, even = Stream("step", [0, 1]), torch.zeros(2, 3, 6)
    classes = Softmax(even).sample(20_000, rng)
    values = Gaussian(even[..., :1], 1.0).sample(20_000, rng).squeeze(-1)
    for a, b in ((0, 1), (1, 2), (0, 3), (2, 5)):
        agreement = (classes.flatten(0, 1)[a] == classes.flatten(0, 1)[b]).float().mean()
        assert abs(agreement - 1 / 6) < 4 * (5 / 36 / 20_000) ** 0.5
        assert abs(torch.corrcoef(values.flatten(0, 1)[[a, b]])[0, 1]) < 4 / 20_000**0.5


def test_a_certain_policy_takes_its_action():
    certain = torch.full((1, 4, 3), -200.0)
    certain[:, 0, 0] = certain[:, 1, 1] = certain[:, 2:, 2] = 200.0
    assert (
        Softmax(certain).sample(1000, Stream("step", [0]))
        == torch.tensor([0, 1, 2, 2])[None, :, None]
    ).all()


def test_it_learns_from_rewards_alone(make_problem, monkeypatch):
    """No target exists: the action 3 is the one rewarded."""
    method = Reinforce(SGD(learning_rate=1.0), entropy_bonus=0.0)
    given = make_problem(method)
    monkeypatch.setattr(given.problem, "reward", lambda actions, _: (actions == 3).float())
    batch = Batch(given.batch.inputs, SealedTargets(None))  # pyright: ignore[reportArgumentType]
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(200):
        state = method.step(state, batch, given.problem, given.rng)
    outputs = method.predict(state, given.problem, batch)
    assert (outputs.argmax(-1) == 3).float().mean() > 0.9


def test_the_problem_keeps_targets_and_loss_from_it(make_problem):
    given = make_problem(Reinforce())
    for question in (given.problem.loss, given.problem.gradient):
        with pytest.raises(PermissionError, match="reward"):
            question(given.params, given.sealed)


def test_the_running_mean_follows_the_rewards(make_problem, close):
    method = Reinforce(baseline=RunningMean(decay=0.75))
    given = make_problem(method)
    rewards = []
    answer = given.problem.reward
    given.problem.reward = lambda *asked: rewards.append(answer(*asked)) or rewards[-1]
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(2):
        state = method.step(state, given.sealed, given.problem, given.rng)
    first, second = (reward.mean((1, 2)) for reward in rewards)
    close(state["mean_reward"], 0.75 * 0.25 * first + 0.25 * second)


@pytest.mark.parametrize("task", [CLASSES, VALUES], ids=["classes", "values"])
def test_a_replica_equals_the_same_seed_alone(task, make_problem, close):
    ends = []
    for seeds in ((0, 1, 2), (1,)):
        method = Reinforce(SGD(learning_rate=0.1), n_actions=3, baseline=LeaveOneOut())
        given = make_problem(method, seeds=seeds, **task)
        state = method.init(given.problem, given.params, given.rng)
        for _ in range(20):
            state = method.step(state, given.sealed, given.problem, given.rng)
        ends.append(method.params(state)[seeds.index(1)])
    close(*ends, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_actions", [1, 5])
def test_a_step_costs_one_forward_and_one_backward_pass(n_actions, make_problem):
    method = Reinforce(n_actions=n_actions)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    estimate(method, given, rng=given.rng)
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (16, 16)


def test_leave_one_out_needs_two_actions():
    with pytest.raises(
        InputError, match=r"^n_actions must be >= 2 with baseline leave_one_out, got 1$"
    ):
        Reinforce(n_actions=1, baseline=LeaveOneOut())


@pytest.mark.slow
def test_it_learns_the_digits():
    task = catalog.load("task", "image/digits")
    network = task.spec.network.build(task.spec)
    method = catalog.load("method", "reinforce")
    *_, end = train(Setup(method, task, network, list(range(5)), Budget("epochs", 1000)))
    assert sum(row["best_test_score"] for row in end.runs) / 5 >= 0.95
