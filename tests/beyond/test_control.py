"""Acting in environments: episodes, what is told of them, and runs whose replicas take turns."""

import gymnasium
import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch, Signal, TargetKind, TaskSpec
from beyond.control import Lived, door
from beyond.data.worlds import KINDS, ControlTask, Space, world_of
from beyond.errors import InputError, UnsupportedError
from beyond.kits.optimizers import Adam
from beyond.kits.policies import LeaveOneOut, NoBaseline
from beyond.ledger import Budget, Ledger
from beyond.problem import seal
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.settings import settings
from beyond.streams import Stream
from methods.q_learning import QLearning
from methods.reinforce import Reinforce
from tasks.cartpole import CartPole

FAULTS = [
    (
        "beyond/control.py",
        "later = self.rewards[time] + discount * later",
        "later = self.rewards[time] + later",
    ),
    ("beyond/control.py", "range(len(self.rewards) - 1, -1, -1)", "range(len(self.rewards))"),
    (
        "beyond/control.py",
        "rest = (tries.sum(2, keepdim=True) - tries) / (self.n_tries - 1)",
        "rest = tries.mean(2, keepdim=True).expand_as(tries)",
    ),
    ("beyond/control.py", "return -returns.view", "return returns.view"),
    ("beyond/control.py", "charge(forward=n_steps, ", "charge(forward=len(starts), "),
    # a network is read again for each that plays it
    ("beyond/control.py", "alive.view(n_networks, -1).any(1).sum()", "alive.sum()"),
    ("beyond/control.py", "self.ledger.charge(rewards=n_steps)", "self.ledger.charge(rewards=1)"),
    ("methods/q_learning.py", "promised * ~lived.terminated", "promised"),
    ("methods/q_learning.py", "lived.following).amax", "lived.following).amin"),
    ("beyond/run/loop.py", "spent=(replica + progress.spent) / n_replicas", "spent=progress.spent"),
    ("beyond/run/training.py", "if spec.world is not None and signal not in SEALED:", "if False:"),
    ("tasks/cartpole.py", "* alive\n", "\n"),
    ("beyond/data/worlds.py", "np.clip(given, -1, 1)", "given"),
]


class Corridor:
    """A world of two steps: to the left or the right, twice; each place earns its number.

    What is shown is where one stands, (place, time); a start decides nothing.
    """

    horizon = 2
    rewards = torch.tensor([[1.0, -2.0, 0.0, 0.0], [6.0, 3.5, 2.0, 5.0]])  # by time and place

    def begin(self, starts):
        return Walk(self, len(starts))


class Walk:
    def __init__(self, world, n_lanes):
        self.world, self.place, self.time = world, torch.zeros(n_lanes, dtype=torch.int64), 0
        self.terminated = torch.zeros(n_lanes, dtype=torch.bool)

    @property
    def alive(self):
        return torch.full_like(self.terminated, self.time < 2)

    @property
    def observations(self):
        return torch.stack(
            [self.place.float(), torch.full((len(self.place),), float(self.time))], 1
        )

    def step(self, actions):
        self.place = 2 * self.place + actions
        earned = self.world.rewards[self.time][self.place]
        self.time += 1
        self.terminated = torch.full_like(self.terminated, self.time == 2)
        return earned


SPEC = TaskSpec(
    name="control/corridor",
    input_shape=(2,),
    n_outputs=2,
    target_kind=TargetKind.CLASSES,
    network=MLP(hidden=(4,), activation="tanh"),
    score="return_score",
    levels=(0.0, 1.0, 2.0),
    world=Corridor(),
)


def corridor(signal, ledger=None, dtype=torch.float32):
    network = SPEC.network.build(SPEC)
    params = network.init(Stream("init", [0])).to(dtype)
    return network, door(network, SPEC, ledger, signal), params


def starts(n):
    lanes = torch.arange(n).unsqueeze(0)
    return Batch(SPEC.world.begin(lanes[0]).observations.unsqueeze(0), lanes)


def paths():
    """Each of the four ways: the situations, the actions, the rewards."""
    for first in range(2):
        for second in range(2):
            situations = torch.tensor([[0.0, 0.0], [float(first), 1.0]])
            place = 2 * first + second
            earned = Corridor.rewards[0, first], Corridor.rewards[1, place]
            yield situations, torch.tensor([first, second]), torch.stack(earned)


def expected_return(network, params, discount):
    """Of the policy, by enumeration of the four ways: differentiable."""
    total = 0.0
    for situations, actions, earned in paths():
        logits = network.outputs(params, situations.unsqueeze(0))[0]
        chance = logits.log_softmax(1).gather(1, actions.unsqueeze(1)).sum().exp()
        total = total + chance * (earned[0] + discount * earned[1])
    return total


@pytest.mark.parametrize("baseline", [NoBaseline(), LeaveOneOut()])
def test_reinforce_follows_the_gradient_of_the_expected_return(baseline):
    """Two steps an episode, so half of it; the tolerance is five standard errors of the draws."""
    network, problem, params = corridor(Signal.REWARD)
    rule = Reinforce(n_actions=2, baseline=baseline, entropy_bonus=0.0, discount=1.0)
    state = rule.init(problem, params, Stream("step", [0]))
    rng, parts = Stream("step", [0]), []
    for _ in range(40):
        parts.append(rule.direction(state, seal(starts(500), Signal.REWARD), problem, rng)[0])
    found = torch.cat(parts)
    weights = params.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(-expected_return(network, weights, 1.0) / 2, weights)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - wanted[0]).abs() <= 5 * error + 1e-6).all()
    assert (wanted[0].abs() > 20 * error).any()


def test_leaving_one_out_takes_variance_away():
    def spread(baseline):
        _, problem, params = corridor(Signal.REWARD)
        rule = Reinforce(n_actions=4, baseline=baseline, entropy_bonus=0.0)
        state, rng = rule.init(problem, params, Stream("step", [0])), Stream("step", [0])
        batch = seal(starts(20), Signal.REWARD)
        return (
            torch.cat([rule.direction(state, batch, problem, rng)[0] for _ in range(60)])
            .var(0)
            .sum()
        )

    assert spread(LeaveOneOut()) < 0.7 * spread(NoBaseline())


def test_what_is_earned_from_a_step_on_is_discounted_and_compared_with_the_starts_others():
    rewards = torch.tensor([[1.0, 2.0, 0.0, 5.0], [4.0, 0.0, 0.0, 1.0], [8.0, 0.0, 0.0, 0.0]])
    alive = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 1, 0]], dtype=torch.bool)
    n_steps = int(alive.sum())
    lived = Lived(
        torch.zeros(1, n_steps, 1),
        rewards,
        alive,
        torch.zeros(1, n_steps, 2),
        torch.zeros(1, n_steps, 1),
        2,
    )
    to_go = [[5.0, 2.0, 0.0, 5.5], [8.0, 0.0, 0.0, 1.0], [8.0, 0.0, 0.0, 0.0]]
    others = [[2.0, 5.0, 5.5, 0.0], [0.0, 8.0, 1.0, 0.0], [0.0, 8.0, 0.0, 0.0]]
    for found, wanted in ((lived.returns(0.5), to_go), (lived.others(0.5), others)):
        assert torch.equal(found.flatten(), torch.tensor(wanted)[alive])
    assert torch.equal(lived.immediate().flatten(), rewards[alive])


def test_the_loss_of_candidates_is_minus_their_return_from_the_same_starts():
    network, _, params = corridor(Signal.LOSS)
    ledger = Ledger()
    problem = door(network, SPEC, ledger, Signal.LOSS)
    population = Stream("population", [0]).normal(6, params.shape[1])
    found = problem.population_loss(population, seal(starts(3), Signal.LOSS))
    for candidate, loss in zip(population[0], found[0], strict=True):
        place, earned = 0, 0.0
        for time in range(2):
            shown = torch.tensor([[[float(place), float(time)]]])
            place = 2 * place + int(network.outputs(candidate.unsqueeze(0), shown).argmax())
            earned += float(Corridor.rewards[time, place])
        assert loss.item() == pytest.approx(-earned)
    assert ledger.rewards == ledger.forward == 6 * 3 * 2
    assert ledger.flops == 36 * network.forward_flops
    assert ledger.bytes_moved == network.forward_work(36, 6 * 2).bytes_moved


def test_q_learning_finds_the_values_of_the_corridor():
    """Q(x, a) = r + gamma max Q(x', .), by hand: left earns 1 then 6, right -2 then 5."""
    spec = SPEC
    network = MLP(hidden=(32,), activation="tanh").build(spec)
    problem = door(network, spec, None, Signal.REWARD)
    params = network.init(Stream("init", [0]))
    rule = QLearning(
        optimizer=Adam(learning_rate=0.01), epsilon=0.5, final_epsilon=0.5, discount=0.5
    )
    rng = Stream("step", [0])
    state = rule.init(problem, params, rng)
    for _ in range(400):
        state = rule.step(state, seal(starts(16), Signal.REWARD), problem, rng)
    shown = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    values = network.outputs(rule.params(state), shown)[0]
    wanted = torch.tensor([[1 + 0.5 * 6, -2 + 0.5 * 5], [6.0, 3.5], [2.0, 5.0]])
    torch.testing.assert_close(values, wanted, atol=0.15, rtol=0)


def test_an_episode_that_is_cut_off_promises_more():
    _, problem, params = corridor(Signal.REWARD)
    rule, state = QLearning(discount=0.5), {"params": params}
    following = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    ended = torch.tensor([[[True], [False]]])
    rewards = torch.tensor([[2.0, 3.0]])
    lived = Lived(
        torch.zeros(1, 2, 1), rewards, torch.ones(1, 2, dtype=torch.bool), following, ended, 1
    )
    best = problem.outputs(params, following)[0, 1].max()
    found = rule._foreseen(lived, state, problem).flatten()
    torch.testing.assert_close(found, torch.stack([torch.tensor(2.0), 3 + 0.5 * best]))


def test_all_carts_as_one_array_are_those_of_gymnasium_by_themselves():
    begun = CartPole().at([0]).parts["test"][0][:16]
    together, apart = CartPole().world.begin(begun), world_of("CartPole-v1").begin(begun)
    assert torch.equal(together.observations, apart.observations)
    rng = Stream("test", [0])
    while together.alive.any():
        (actions,) = rng.integers(2, 16)
        assert torch.equal(together.step(actions), apart.step(actions))
        assert torch.equal(together.alive, apart.alive)
        assert torch.equal(together.terminated, apart.terminated)
        torch.testing.assert_close(together.observations, apart.observations)


def test_an_environment_is_gymnasiums_reset_with_the_start_for_a_seed():
    """Its reward counts the torque that was asked for, beyond the bounds too."""
    name = "MountainCarContinuous-v0"
    env = gymnasium.make(name)
    lanes = world_of(name).begin(torch.tensor([5, 77]))
    shown, _ = env.reset(seed=77)
    for output in (0.3, -2.0, 0.0):
        np.testing.assert_array_equal(lanes.observations[1], shown)
        earned = lanes.step(torch.tensor([[0.9], [output]]))
        # 1 is the upper bound, and so is whatever is beyond it
        shown, reward, *_ = env.step(np.array([max(output, -1)], np.float32))
        assert earned[1].item() == pytest.approx(reward)


def test_outputs_from_minus_one_to_one_span_what_may_be_done():
    space = world_of("Pendulum-v1").space
    found = space.actions(torch.tensor([[-1.0], [0.0], [0.5], [3.0]]))
    np.testing.assert_array_equal(found, [[-2.0], [0.0], [1.0], [2.0]])


def test_no_start_is_in_two_splits_nor_visited_in_training():
    splits = CartPole().at([0, 1])
    kinds = {
        split: set((splits.parts[split] % len(KINDS)).flatten().tolist()) for split in splits.parts
    }
    assert kinds == {"train": {0}, "validation": {1}, "test": {2}}
    visited = next(splits.training(torch.zeros(1, 2, 8, dtype=torch.int64), Stream("a", [0, 1])))
    assert set((visited.targets % len(KINDS)).flatten().tolist()) == {3}
    assert len(visited.targets.unique()) == 16


class Falling(Corridor):
    """A corridor in which an episode may end after its first step, as its start has it."""

    def begin(self, starts):
        return Fall(self, starts)


class Fall(Walk):
    def __init__(self, world, starts):
        super().__init__(world, len(starts))
        self.short = starts % 3 == 0

    @property
    def alive(self):
        return super().alive & ~(self.short & (self.time == 1))

    def step(self, actions):
        return torch.where(self.alive, super().step(actions), 0.0)


@settings(kw_only=True)
class Corridors(ControlTask):
    """See `Falling`."""

    NETWORK = SPEC.network
    name = "control/corridor"
    returns = (0.0, 1.0, 2.0)
    space = Space((2,), 0, TargetKind.CLASSES, 2)
    world = Falling()


def run(method, seeds, rewards=300, snapshot=None, task=None):
    task = task or Corridors(train_size=4)
    network = SPEC.network.build(task.spec)
    rule = catalog.load("method", method, batch_size=4)
    identities = [{"run_id": "here"}] * len(seeds)
    setup = Setup(rule, task, network, seeds, Budget("rewards", rewards), identities)
    return list(train(setup, snapshot))


def rows(parts, name):
    found = [row for part in parts for row in getattr(part, name)]
    return [repr({k: v for k, v in row.items() if "seconds" not in k}) for row in found]


def test_replicas_take_turns_and_each_is_as_by_itself():
    both, alone = run("reinforce", [0, 1]), [*run("reinforce", [0]), *run("reinforce", [1])]
    assert rows(both, "curves") == rows(alone, "curves")
    assert rows(both, "layers") == rows(alone, "layers")
    assert rows(both, "runs") == rows(alone, "runs")
    spent = [part.spent for part in both]
    assert spent == sorted(spent)
    assert 0.9 < spent[-1] <= 1
    table = both[-1].predictions
    assert len(table["seed"]) == 200
    assert np.isnan(table["target"]).all()
    assert set(both[-1].selected) == {0, 1}


def test_a_budget_in_rewards_is_steps_of_the_environment_and_never_exceeded():
    for part in run("reinforce", [0, 3])[-1:]:
        for row in part.runs:
            assert 290 < row["rewards"] <= 300
            # to act, and to learn from what was met
            assert row["forward"] == 2 * row["rewards"]
            assert row["backward"] == row["rewards"]


@pytest.mark.parametrize("cut", [3, -4])
def test_resumed_it_ends_as_uninterrupted(cut):
    whole = run("reinforce", [0, 1])
    kept = torch.load(saved := io(whole[cut].snapshot), weights_only=True)
    assert saved is not None
    rest = run("reinforce", [0, 1], snapshot=kept)
    before = len(whole) + cut + 1 if cut < 0 else cut + 1
    for name in ("curves", "layers"):
        assert rows([*whole[:before], *rest], name) == rows(whole, name)
    assert rows(rest, "runs") == rows(whole, "runs")
    for name, values in whole[-1].predictions.items():
        np.testing.assert_array_equal(rest[-1].predictions[name], values)


def io(snapshot):
    from io import BytesIO

    held = BytesIO()
    torch.save(snapshot, held)
    held.seek(0)
    return held


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("backprop", "control/cartpole tells returns and rewards alone: it has no targets"),
        ("hebbian", "control/cartpole tells returns and rewards alone: it has no targets"),
        ("node_perturbation", "control/cartpole has a loss of whole episodes, not of examples"),
        ("spiking_stdp", "control/cartpole rewards actions in episodes"),
    ],
)
def test_a_rule_that_needs_more_than_returns_is_refused_in_one_line(method, why):
    with pytest.raises(UnsupportedError) as caught:
        run(method, [0], 500, task=CartPole())
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "method",
    ["genetic", "evolution_strategy", "cma_es", "reinforce", "actor_critic", "ppo", "q_learning"],
)
def test_rules_that_are_told_returns_or_rewards_act_with_one_network(method):
    """Left and left earn 7, more than any other way; chance is 4.1."""
    told_losses = method in ("genetic", "evolution_strategy", "cma_es")  # many candidates a step
    (row,) = run(method, [0], 30_000 if told_losses else 4_000)[-1].runs
    assert row["status"] == "finished"
    assert row["best_test_score"] == pytest.approx(best())


def best():
    """Mean return on the test split of who goes left twice."""
    long = (Corridors().at([0]).parts["test"] % 3 != 0).double().mean().item()
    return 1 + 6 * long


@pytest.mark.parametrize(
    ("id", "why"),
    [
        ("Nothing-v0", "id must be an environment of Gymnasium, got 'Nothing-v0': "),
        ("Blackjack-v1", "observations of Blackjack-v1 must be Box, or Discrete from 0; got Tuple"),
    ],
)
def test_an_environment_that_cannot_be_acted_in_is_refused(id, why):
    with pytest.raises(InputError) as caught:
        catalog.load("task", "control/gym", id=id)
    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


def test_symbols_are_shown_where_there_are_states():
    task = catalog.load("task", "control/gym", id="CliffWalking-v1")
    assert (task.spec.n_symbols, task.spec.n_outputs, task.spec.input_shape) == (48, 4, (1,))
    assert task.at([0]).batch("test", torch.zeros(1, 1, dtype=torch.int64)).inputs.item() == 36
