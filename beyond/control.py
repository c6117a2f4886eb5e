"""Acting in an environment: episodes are played with a network's outputs, and charged by the step.

A batch is some starts of episodes (`TaskSpec.world`). There is no derivative of a return by the
weights, so a rule is told it in one of two ways: the loss of a set of weights, minus the mean
return of its episodes, or, where it acts itself, what each of its actions earned (`Lived`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from beyond.contracts import Batch, Lanes, Signal, TargetKind, TaskSpec, World
from beyond.errors import UnsupportedError
from beyond.ledger import Ledger
from beyond.network.trainable import Network
from beyond.problem import TOLD_LOSS, TOLD_REWARD, Problem

Act = Callable[[Tensor, Tensor], Tensor]  # of what L lanes show, and which are alive: L actions


class Moment(NamedTuple):
    """One step of L lanes."""

    observations: Tensor  # (L, *input_shape), before it
    alive: Tensor  # (L,), those that took it
    actions: Tensor  # (L, ...)
    rewards: Tensor  # (L,)
    lanes: Lanes  # after it


@dataclass(frozen=True)
class Lived:
    """What came of episodes, T steps of L of them at most; N steps in all, in the order of time.

    Attributes
    ----------
    actions : Tensor of shape (1, N, 1, ...)
        One at each situation, as `Policy.sample` returns them.
    rewards : Tensor of shape (T, L)
    alive : Tensor of shape (T, L)
        Which of the steps were taken.
    following : Tensor of shape (1, N, *input_shape)
        What each step led to.
    terminated : Tensor of shape (1, N, 1)
        Whether the episode came to its end with it; one cut off at the horizon did not.
    n_tries : int
        Episodes from each start, next to one another.
    """

    actions: Tensor
    rewards: Tensor
    alive: Tensor
    following: Tensor
    terminated: Tensor
    n_tries: int

    def immediate(self) -> Tensor:
        """What each step earned by itself, (1, N, 1)."""
        return self._at_steps(self.rewards)

    def returns(self, discount: float) -> Tensor:
        """What each step and those after it earned, later ones discounted, (1, N, 1)."""
        return self._at_steps(self._to_go(discount))

    def others(self, discount: float) -> Tensor:
        """Mean of the returns, from the same time on, of the start's other episodes, (1, N, 1).

        Nothing is earned after an end.
        """
        tries = self._to_go(discount).unflatten(1, (-1, self.n_tries))
        rest = (tries.sum(2, keepdim=True) - tries) / (self.n_tries - 1)
        return self._at_steps(rest.flatten(1))

    def _to_go(self, discount: float) -> Tensor:
        returns = torch.zeros_like(self.rewards)
        later = torch.zeros_like(self.rewards[0])
        for time in range(len(self.rewards) - 1, -1, -1):
            later = self.rewards[time] + discount * later
            returns[time] = later
        return returns

    def _at_steps(self, values: Tensor) -> Tensor:
        return values[self.alive].view(1, -1, 1)


class ControlProblem(Problem):
    """The door to a network that acts: see `Problem`.

    Parameters
    ----------
    world : World
        A rule does not see it: each step in it is charged here.
    """

    def __init__(
        self, network: Network, spec: TaskSpec, ledger: Ledger | None, signal: Signal, world: World
    ) -> None:
        super().__init__(network, replace(spec, world=None), ledger, signal)
        self._world = world

    def population_loss(self, population: Tensor, batch: Batch) -> Tensor:
        """Minus the mean return (R, P) of every candidate of a population (R, P, n).

        All play from the batch's starts, so that chance is alike for all of them.
        """
        starts = self._unseal(batch.targets, TOLD_LOSS, "the loss")
        n_candidates, n_starts = population.shape[1], starts.shape[1]
        weights = population.flatten(0, 1)
        kind = self.spec.target_kind

        def act(observations: Tensor, alive: Tensor) -> Tensor:
            shown = observations.unflatten(0, (len(weights), n_starts))
            playing = alive.view(len(weights), n_starts).any(1)
            outputs = self._network.outputs(weights[playing], shown[playing])
            return spread(greedy(kind, outputs), playing).flatten(0, 1)

        lanes = starts.unsqueeze(1).expand(-1, n_candidates, -1).flatten()
        returns = torch.zeros(len(lanes), device=population.device)
        for moment in self._played(lanes, act, len(weights)):
            returns += moment.rewards
        return -returns.view(*population.shape[:2], n_starts).mean(2).to(population.dtype)

    def situations(
        self, params: Tensor, batch: Batch, choose: Callable[[Tensor], Tensor], n_tries: int
    ) -> Batch:
        """Play `n_tries` episodes from each start by what is chosen; return all that was met.

        The inputs are the N situations, (1, N, *input_shape); `lived` says what came of them.
        """
        starts = self._unseal(batch.targets, TOLD_REWARD, "the reward")
        (lanes,) = starts.repeat_interleave(n_tries, 1)  # replicas play in turn

        def act(observations: Tensor, alive: Tensor) -> Tensor:
            outputs = self._network.outputs(params, observations[alive].unsqueeze(0))
            return spread(choose(outputs)[0, :, 0], alive)

        met, taken, rewards, alive, following, terminated = [], [], [], [], [], []
        for moment in self._played(lanes, act, n_networks=1):
            now = moment.alive
            met.append(moment.observations[now])
            taken.append(moment.actions[now])
            rewards.append(moment.rewards)
            alive.append(now)
            following.append(self._shown(moment.lanes)[now])
            terminated.append(moment.lanes.terminated[now])
        lived = Lived(
            torch.cat(taken).unsqueeze(0).unsqueeze(2),
            torch.stack(rewards).to(params.dtype),
            torch.stack(alive),
            torch.cat(following).unsqueeze(0),
            torch.cat(terminated).view(1, -1, 1),
            n_tries,
        )
        return Batch(torch.cat(met).unsqueeze(0), lived)

    def lived(self, met: Batch) -> Lived:
        return met.targets

    def returns(self, act: Act, starts: Tensor) -> Tensor:
        """Returns (1, B, 1) of an episode from each start (1, B): one that has trained is judged.

        Each action counts as a reward asked for; passes are charged where `act` makes them.
        """
        (lanes,) = starts
        returns = torch.zeros(len(lanes), device=starts.device)
        for moment in self._played(lanes, act, n_networks=0):
            returns += moment.rewards
        return returns.view(1, -1, 1)

    def _played(self, starts: Tensor, act: Act, n_networks: int) -> Iterator[Moment]:
        """Play episodes to their ends, a step of all at a time; charge each step that is taken.

        `n_networks` play as many of them each, one after the other; of 0 passes are not charged.
        """
        lanes = self._world.begin(starts)
        while lanes.alive.any():
            observations, alive = self._shown(lanes), lanes.alive
            actions = act(observations, alive)
            rewards = lanes.step(actions)
            n_steps = int(alive.sum())
            if self.ledger is not None:
                self.ledger.charge(rewards=n_steps)
            if self.ledger is not None and n_networks:
                n_playing = int(alive.view(n_networks, -1).any(1).sum())
                work = self._network.forward_work(n_steps, n_playing)
                self.ledger.charge(forward=n_steps, **vars(work))
            yield Moment(observations, alive, actions, rewards, lanes)

    def _shown(self, lanes: Lanes) -> Tensor:
        """What lanes show, in the network's precision."""
        shown = lanes.observations
        return shown.to(self._network.hardware.dtype) if shown.is_floating_point() else shown

    def example_losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        raise UnsupportedError(f"{self.spec.name} has a loss of whole episodes, not of examples")

    def reward(self, actions: Tensor, batch: Batch) -> Tensor:
        raise UnsupportedError(
            f"{self.spec.name} rewards actions in episodes: they must be played, not answered"
        )


def greedy(kind: TargetKind, outputs: Tensor) -> Tensor:
    """Action for each of outputs (..., n_outputs): the one of largest output, or the outputs."""
    return outputs.argmax(-1) if kind is TargetKind.CLASSES else outputs


def spread(actions: Tensor, chosen: Tensor) -> Tensor:
    """Actions of all, (L, ...), from those of the ones that are `chosen`, (L,); zeros elsewhere."""
    whole = actions.new_zeros(len(chosen), *actions.shape[1:])
    whole[chosen] = actions
    return whole


def door(
    network: Network,
    spec: TaskSpec,
    ledger: Ledger | None = None,
    signal: Signal = Signal.GRADIENT,
) -> Problem:
    """What a method is handed to train a network on a task by."""
    if spec.world is None:
        return Problem(network, spec, ledger, signal)
    return ControlProblem(network, spec, ledger, signal, spec.world)
