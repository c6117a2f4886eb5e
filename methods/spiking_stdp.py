"""Reward-modulated spike-timing-dependent plasticity (Florian, 2007; Izhikevich, 2007).

Every synapse remembers whether its two neurons fired in order; a reward, told to all synapses
alike, turns what they remember into a change of their weights. The task as a bandit: an input is
shown for T steps, K times over; hidden neurons fire by chance, and one output neuron, also by
chance, ends the run with a spike: the class it stands for is the action. For a synapse from cell j
to neuron i, and one run

    Prob(s_i[t] = 1) = sigmoid((u_i[t] - threshold) / escape_noise)          u_i integrates w_ij s_j
    Prob(s_i[T-1] = 1) = softmax_i(mean_t sum_j w_ij s_j[t] / output_noise)  outputs; none before
    e_ij  = sum_{t' <= t} a_plus plus_decay^(t - t') s_j[t'] s_i[t]          potentiation
          - sum_{t' > t} a_minus minus_decay^(t' - t) s_j[t'] s_i[t]         depression
    dw_ij = mean over runs of (reward - baseline) e_ij                       handed to the optimizer

    plasticity  window: as above;  likelihood: e = d log Prob(the spikes of neuron i) / dw, with
                which dw ascends the expected reward: the chance spike minus its probability, times
                the trace of s_j in the potential
    baseline    running_mean, of past rewards;  leave_one_out: of the other K - 1 runs of the input;
                none

A constant input current takes the place of s_j in the first layer, and 1 in a bias. What lies
between a layer of weights and its neurons (pooling) is passed by the chain rule; a layer of weights
with no neurons (an embedding) stays as it was drawn. Predictions may draw nothing: noise
is spread evenly over neurons and steps instead.

Departures: a run ends with its reward, so the eligibility does not decay; the baseline of an
input's other runs instead of none, for without one the window follows how often an input is
rewarded as well as why (Fremaux & Gerstner, 2016); batches; any optimizer; each synapse may take
either sign.
Needs: global loss.
Cost: K runs of T forward passes, and K T times a layer's part of a backward pass, for the
products of traces; a constant input is multiplied once per run.
Check: one pair of spikes at every lag; the likelihood's eligibility by automatic differentiation
(tests/methods/test_spiking_stdp.py).
Source: Neural Computation 19, 1468-1502, doi:10.1162/neco.2007.19.6.1468; Cerebral Cortex 17,
2443-2452, doi:10.1093/cercor/bhl152; Frontiers in Neural Circuits 9, 85,
doi:10.3389/fncir.2015.00085.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.errors import UnsupportedError
from beyond.kits.descent import Descent, Direction, State
from beyond.kits.passes import stretch
from beyond.kits.plasticity import Plasticity, Window
from beyond.kits.policies import Baseline, Earned, LeaveOneOut, Softmax
from beyond.kits.spiking import (
    Code,
    Neurons,
    Passage,
    check,
    count,
    escape_noise,
    simulate,
)
from beyond.network.layers import SUMS, Role
from beyond.problem import Problem
from beyond.search import Choice, LogUniform
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream


@settings
class SpikingSTDP(Descent):
    """Strengthen what fired in order before a reward above expectation.

    Parameters
    ----------
    n_trials : int, >= 1
        K, runs with each input.
    baseline : Baseline
        What a reward is compared with.
    plasticity : Plasticity
        What a synapse remembers.
    neurons : Neurons
        Of the hidden layers.
    code : {"direct", "rate", "latency"}
        How inputs are fed: as a constant current, as spikes as often or as early as the input is
        strong. Symbols have no strength: only direct.
    escape_noise, output_noise : float, > 0
        How far chance decides, in the unit of potentials and in that of the outputs' currents.
    """

    signal: ClassVar[Signal] = Signal.REWARD

    n_trials: Annotated[PositiveInt, Choice(2, 4, 8, 16)] = 4
    baseline: Baseline = LeaveOneOut()
    plasticity: Plasticity = Window()
    neurons: Neurons = Neurons(n_steps=4)
    code: Code = "direct"
    escape_noise: Annotated[Positive, LogUniform(0.1, 10.0)] = 1.0
    output_noise: Annotated[Positive, LogUniform(0.2, 20.0)] = 2.0

    def __post_init__(self) -> None:
        self.baseline.require("n_trials", self.n_trials)

    def require(self, problem: Problem) -> None:
        check(problem, "spiking_stdp", self.code)
        if problem.spec.target_kind is not TargetKind.CLASSES:
            raise UnsupportedError(
                "the output neuron that fires names a class: it cannot name a value"
            )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        return {"mean_reward": params.new_zeros(len(params))}

    def trained(self, problem: Problem) -> tuple[int, int]:
        first = problem.layers[0]
        # an embedding has no neurons
        start = first.stop if first.role is Role.EMBEDDING else 0
        return start, problem.n_weights

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Direction:
        inputs = batch.inputs.repeat_interleave(self.n_trials, 1)  # (R, B * K, ...)
        noise = escape_noise(self.escape_noise, rng)
        currents, passages = simulate(
            problem, state["params"], inputs, self.neurons, self.code, rng, noise
        )
        policy = Softmax(self._read(currents))
        actions = policy.sample(1, rng)  # (R, B * K, 1)
        rewards = problem.reward(actions.view(len(actions), -1, self.n_trials), batch)  # (R, B, K)
        advantages = rewards - self.baseline.expected(Earned.by(rewards), state["mean_reward"])
        modulation = advantages.flatten(1) / (advantages.shape[1] * self.n_trials)  # (R, B * K)
        fired = torch.zeros_like(policy.probabilities).scatter_(-1, actions, 1.0)  # (R, B * K, n)
        noise = self.output_noise
        timing = self.plasticity.output_timing(fired, policy.probabilities, self.neurons, noise)
        change = self._changes(passages, timing, modulation)
        first, _ = self.trained(problem)
        mean_reward = self.baseline.after(state["mean_reward"], rewards)
        return -change[:, first:], {"mean_reward": mean_reward}

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        noise = escape_noise(self.escape_noise)
        currents, passages = simulate(
            problem, state["params"], batch.inputs, self.neurons, self.code, jitter=noise
        )
        count(problem, passages, self.code)
        return self._read(currents)

    def _read(self, currents: Tensor) -> Tensor:
        """Logits of the output neuron that fires, from the currents (R, T, B, n_outputs)."""
        return currents.mean(1) / self.output_noise

    def _changes(self, passages: Sequence[Passage], timing: Tensor, modulation: Tensor) -> Tensor:
        """Change (R, n) of the weights: sum over steps of arrivals times the neuron's timing.

        `timing` (R, T, B, n_outputs) is the output neurons', `modulation` (R, B) the reward above
        the baseline.
        """
        parts: list[Tensor] = []
        error: Tensor | None = _modulated(timing, modulation)
        for passage in reversed(passages):
            segment, steps = passage.segment, passage.inputs.shape[1] // modulation.shape[1]
            if passage.spikes is not None and passage.potentials is not None:
                heard = passage.spikes, passage.potentials, self.neurons, self.escape_noise
                error = _modulated(self.plasticity.timing(*heard), modulation)
            elif error is None:  # no neurons listen to this layer
                parts.insert(0, timing.new_zeros(len(timing), segment.stop - segment.start))
            else:
                if steps == 1 and error.shape[1] > modulation.shape[1]:
                    # A constant input meets the spikes of all steps.
                    error = error.unflatten(1, (-1, modulation.shape[1])).sum(1)
                parts.insert(0, segment.gradient(passage.tape, error))
                error = None if segment.role in SUMS else segment.carry(passage.tape, error)
        return torch.cat(parts, 1)


def _modulated(timing: Tensor, modulation: Tensor) -> Tensor:
    """Timing (R, T, B, ...) times modulation (R, B), time within the batch: (R, T * B, ...)."""
    return (timing * stretch(modulation.unsqueeze(1), timing)).flatten(1, 2)
