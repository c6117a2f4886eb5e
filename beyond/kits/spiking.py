"""Spiking neurons and spike codes, for methods whose units speak in spikes.

Time is T discrete steps. It stands in front of the batch, (R, T, B, ...), or is folded into it, (R,
T * B, ...): layers have no memory, so one product serves all steps, and only the neurons'
recurrence walks through time. What does not change in time has one step, T = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from beyond.errors import UnsupportedError
from beyond.network.layers import TRANSPARENT, Role
from beyond.network.segments import Segment
from beyond.problem import Problem
from beyond.search import Choice
from beyond.settings import Positive, PositiveInt, UnitInterval, settings
from beyond.streams import Stream

Code = Literal["direct", "rate", "latency"]  # how inputs are fed
Reset = Literal["soft", "hard"]
Jitter = Callable[..., Tensor]  # from (T, B, *shape) to numbers that broadcast to (R, T, B, *shape)


def encode(inputs: Tensor, n_steps: int, code: str, rng: Stream | None = None) -> Tensor:
    """Turn real-valued inputs (R, B, ...) into what the first layer is fed.

    Spikes are +1 or -1, the sign of the input: an input cell for each sign, with opposite weights.
    The strength of an input is tanh |x|, in [0, 1).

    Parameters
    ----------
    inputs : Tensor of shape (R, B, ...)
    n_steps : int
        T.
    code : {"direct", "rate", "latency"}
        direct: the input itself, a constant current. rate: in each step a spike with probability
        `strength`. latency: a single spike, at step floor((1 - strength) T); none for an input of
        zero.
    rng : Stream, optional
        Draws the spikes of the rate code. Without it they are spread evenly: as many, to within
        rounding.

    Returns
    -------
    Tensor of shape (R, B, ...) for a constant current, or (R, T * B, ...) for spikes
    """
    if code == "direct":
        return inputs
    strength = inputs.abs().tanh().unsqueeze(1)  # (R, 1, B, ...)
    if code == "rate":
        shape = inputs.shape[1:]
        if rng is None:
            level = evenly_spread(n_steps, *shape[1:]).to(inputs.device)
        else:
            level = rng.uniform(n_steps, *shape)
        fires = level < strength
    else:
        # (T, 1, ...)
        steps = torch.arange(n_steps, device=inputs.device).view(-1, *[1] * (inputs.dim() - 1))
        fires = steps == ((1 - strength) * n_steps).floor()
    return (fires * inputs.sign().unsqueeze(1)).flatten(1, 2)


def evenly_spread(n_steps: int, *shape: int) -> Tensor:
    """Numbers in [0, 1), (1, T, 1, *shape): evenly spread over time, and over the cells.

    Additive recurrence: the fraction of a multiple of an irrational number, a different one along
    each of the two.
    """
    steps = torch.arange(n_steps, dtype=torch.float64) * ((sqrt(5) - 1) / 2)
    cells = torch.arange(prod(shape), dtype=torch.float64) * (sqrt(2) - 1)
    return (0.5 + steps.unsqueeze(1) + cells).frac().float().view(1, n_steps, 1, *shape)


@settings
class Neurons:
    """Leaky integrate-and-fire neurons in discrete time.

        u[t] = decay u[t-1] - threshold s[t-1] + I[t]       soft reset
        u[t] = decay (1 - s[t-1]) u[t-1] + I[t]             hard reset
        s[t] = 1 where u[t] > threshold, else 0             u[-1] = s[-1] = 0

    Parameters
    ----------
    n_steps : int, >= 1
        T, time steps of a run.
    decay : float in [0, 1]
        Of the membrane potential, per time step: exp(-dt / tau).
    threshold : float, > 0
        Potential above which a neuron fires; with escape noise, at which it is as likely to as not.
    reset : {"soft", "hard"}
        A spike subtracts the threshold from the potential, or sets it to zero.
    """

    n_steps: Annotated[PositiveInt, Choice(4, 8, 16, 32)] = 8
    decay: UnitInterval = 0.9
    threshold: Positive = 1.0
    reset: Reset = "soft"

    def run(self, currents: Tensor, jitter: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Let the neurons integrate currents and fire.

        Parameters
        ----------
        currents : Tensor of shape (R, T, B, ...), or (R, 1, B, ...) for constant currents
        jitter : Tensor that broadcasts to (R, T, B, ...), optional
            Added to the threshold. With logistic noise of scale w a neuron fires with probability
            sigmoid((u - threshold) / w): escape noise.

        Returns
        -------
        spikes, potentials : Tensor of shape (R, T, B, ...)
            Spikes are 0 or 1; the potential is that which the threshold is held against, before the
            reset.
        """
        currents = currents.expand(-1, self.n_steps, *currents.shape[2:])
        if jitter is None:
            threshold = currents.new_full((), self.threshold)
        else:
            threshold = self.threshold + jitter.to(currents.device)
        threshold = threshold.expand(currents.shape)
        kept, spikes, potentials = torch.zeros_like(currents[:, 0]), [], []
        for current, bar in zip(currents.unbind(1), threshold.unbind(1), strict=True):
            potential = kept + current
            spike = (potential > bar).to(current.dtype)
            kept = self.decay * potential
            kept = kept - self.threshold * spike if self.reset == "soft" else kept * (1 - spike)
            spikes.append(spike)
            potentials.append(potential)
        return torch.stack(spikes, 1), torch.stack(potentials, 1)

    def back(self, spikes: Tensor, errors: Tensor) -> Tensor:
        """Carry errors at potentials back in time to currents, (R, T, B, ...), spikes held.

        dI[t] = du[t] + decay dI[t+1]                   soft reset
        dI[t] = du[t] + decay (1 - s[t]) dI[t+1]        hard reset
        """
        result = [errors[:, -1]]
        for spike, error in zip(
            spikes[:, :-1].unbind(1)[::-1], errors[:, :-1].unbind(1)[::-1], strict=True
        ):
            carried = self.decay * result[-1]
            result.append(error + (carried if self.reset == "soft" else carried * (1 - spike)))
        return torch.stack(result[::-1], 1)


def trace(spikes: Tensor, decay: float) -> Tensor:
    """Spike trains (R, T, B, ...) as traces: x[t] = decay x[t-1] + s[t]."""
    result = [spikes[:, 0]]
    for spike in spikes[:, 1:].unbind(1):
        result.append(decay * result[-1] + spike)
    return torch.stack(result, 1)


@dataclass(frozen=True)
class Passage:
    """What a layer leaves behind: its input, and its tape, or neurons' spikes and potentials."""

    segment: Segment
    inputs: Tensor  # (R, T * B, *input_shape), or (R, B, *input_shape) where it is constant
    tape: Any = None
    spikes: Tensor | None = None  # (R, T, B, *output_shape)
    potentials: Tensor | None = None  # (R, T, B, *output_shape)


def is_spiking(segment: Segment) -> bool:
    """Say whether a layer's place is taken by neurons: it is an activation."""
    return segment.role is Role.ACTIVATION


def check(problem: Problem, rule: str, code: str) -> None:
    """Refuse activations that neurons cannot replace, and a code of no use for the inputs."""
    problem.require_roles(rule, TRANSPARENT, "neurons cannot take its, or its activations', place")
    if not any(is_spiking(segment) for segment in problem.layers):
        raise UnsupportedError(f"{rule} has no place for neurons: this network has no activations")
    if code != "direct" and problem.spec.n_symbols:
        raise UnsupportedError(
            f"symbols have no strength for the {code} code to tell; code=direct feeds their vectors"
        )


def simulate(
    problem: Problem,
    params: Tensor,
    inputs: Tensor,
    neurons: Neurons,
    code: str,
    rng: Stream | None = None,
    jitter: Jitter | None = None,
) -> tuple[Tensor, list[Passage]]:
    """Run the network for T steps, with neurons in place of its activations.

    Layers before the first neurons see a constant input under the direct code and are passed once;
    every other layer is passed, and charged, T times.

    Parameters
    ----------
    params : Tensor of shape (R, n)
    inputs : Tensor of shape (R, B, *input_shape)
    rng : Stream, optional
        In training: draws the rate code's spikes, and dropout.
    jitter : callable, optional
        From (T, B, *shape) to the jitter of a layer's thresholds.

    Returns
    -------
    currents : Tensor of shape (R, T, B, n_outputs)
        Of the last layer; one step if the network has no neurons and a constant input.
    passages : list of Passage
        One per layer.
    """
    x, batch_size = encode(inputs, neurons.n_steps, code, rng), inputs.shape[1]
    passages: list[Passage] = []
    for segment in problem.layers:
        if is_spiking(segment):
            shape = (neurons.n_steps, batch_size, *segment.output_shape)
            noise = None if jitter is None else jitter(*shape)
            spikes, potentials = neurons.run(x.unflatten(1, (-1, batch_size)), noise)
            passages.append(Passage(segment, x, spikes=spikes, potentials=potentials))
            x = spikes.flatten(1, 2)
        else:
            outputs, tape = segment.forward(params, x, rng)
            passages.append(Passage(segment, x, tape))
            x = outputs
    return x.unflatten(1, (-1, batch_size)), passages


def escape_noise(width: float, rng: Stream | None = None) -> Jitter:
    """Logistic noise on thresholds: neurons fire with chance sigmoid((u - threshold) / width).

    Without an `rng` the noise is spread evenly over time, the same for every example.
    """

    def jitter(n_steps: int, batch_size: int, *shape: int) -> Tensor:
        if rng is None:
            uniform = evenly_spread(n_steps, *shape)
        else:
            uniform = rng.uniform(n_steps, batch_size, *shape)
        # the noise of a uniform number of 0 would be infinite
        return width * torch.logit(uniform, 1e-7)

    return jitter


def count(problem: Problem, passages: Sequence[Passage], code: str) -> None:
    """Tell the problem what a prediction stirred: spikes, and the additions they cause.

    A spike that reaches a layer with weights causes as many additions as it has synapses there; in
    a convolution their mean, multiplications by the padding included. A constant input is not
    spikes: it is multiplied, not added.
    """
    spiking = code != "direct"
    inputs = passages[0].inputs
    spikes = accumulates = inputs.new_zeros(len(inputs), dtype=torch.float32)
    if spiking:
        spikes = spikes + n_spikes(passages[0].inputs)
    for passage in passages:
        if passage.spikes is not None:
            spiking = True
            spikes = spikes + n_spikes(passage.spikes)
        elif spiking:
            shape = passage.segment.input_shape
            synapses = passage.segment.layers[0].flops(shape).forward / 2 / prod(shape)
            accumulates = accumulates + synapses * n_spikes(passage.inputs)
    problem.count(spikes=spikes, accumulates=accumulates)


def n_spikes(trains: Tensor) -> Tensor:
    """Count the spikes of each replica, (R,)."""
    return trains.flatten(1).count_nonzero(1).float()
