"""Surrogate gradients in spiking networks (Zenke & Ganguli, 2018; Neftci, Mostafa & Zenke, 2019).

The task's network with leaky integrate-and-fire neurons in place of its activations, run for T
steps and trained by back-propagation through time. A spike is a step function of the potential,
whose derivative is zero wherever it exists; on the way back a fast sigmoid's derivative stands in
for it.

    u_l[t] = decay u_l[t-1] - threshold s_l[t-1] + W_l s_{l-1}[t]     s_l[t] = [u_l[t] > threshold]
    z      = mean_t W_L s_{L-1}[t], or max_t of its leaky integral    the outputs
    C      = loss(z) + spike_cost sum_l (mean number of spikes of a neuron of layer l on an example)
    dI_L   = dC/dz / T, or through the integral from the step of the maximum
    ds_l[t] = W_{l+1}^T dI_{l+1}[t] + dC/ds_l[t]
    du_l[t] = ds_l[t] / (1 + surrogate_slope |u_l[t] - threshold|)^2  the surrogate
    dI_l[t] = du_l[t] + decay dI_l[t+1]                               the reset is held fixed
    g_l     = sum_t dI_l[t] s_{l-1}[t]^T                              handed to the optimizer

Inputs are constant currents by default (for symbols, their embedded vectors); under the rate and
latency code they are spikes of the input's sign, see `beyond.kits.spiking.encode`. The rate code
draws its spikes in training and spreads them evenly in prediction, where nothing may be drawn.

Departures: membranes without a synaptic current's second time constant; weights as the task draws
them instead of scaled to the decay; the mean current read out instead of the largest potential,
which is a choice; any optimizer.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: T forward and T backward passes; layers before the first neurons are passed once where the
input is constant.
Check: automatic differentiation with the surrogate put in by hand; snnTorch's neuron, whose reset
by default acts one step after the spike, as here (tests/methods/test_spiking_surrogate.py).
Source: arXiv:1705.11146 (the surrogate); IEEE Signal Processing Magazine 36, 51-63,
arXiv:1901.09948.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.spiking import Code, Neurons, Passage, check, count, simulate
from beyond.problem import Problem
from beyond.search import Choice, LogUniform
from beyond.settings import NonNegative, settings
from beyond.streams import Stream


@settings
class SpikingSurrogate(Descent):
    """Follow the surrogate gradient of a spiking network's loss.

    Parameters
    ----------
    neurons : Neurons
        Of the hidden layers.
    code : {"direct", "rate", "latency"}
        How inputs are fed: as a constant current, as spikes as often or as early as the input is
        strong. Symbols have no strength: only direct.
    readout : {"mean", "max"}
        Outputs: the mean over time of the last layer's current, or the largest potential of its
        leaky integral.
    surrogate_slope : float, >= 0
        Of the fast sigmoid, for a potential in the unit of the weights; 0 takes every derivative
        for 1.
    spike_cost : float, >= 0
        Added to the loss for each spike that a layer's neurons fire on an example, on average.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    neurons: Neurons = Neurons()
    code: Code = "direct"
    readout: Annotated[Literal["mean", "max"], Choice()] = "mean"
    surrogate_slope: Annotated[NonNegative, LogUniform(0.2, 20.0)] = 2.0
    spike_cost: NonNegative = 0.0

    def require(self, problem: Problem) -> None:
        check(problem, "spiking_surrogate", self.code)

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        currents, passages = simulate(
            problem, state["params"], batch.inputs, self.neurons, self.code, rng
        )
        outputs, potentials = self._read(currents)
        return self._backward(
            passages, self._unread(problem.error(outputs, batch.targets), potentials)
        )

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        currents, passages = simulate(
            problem, state["params"], batch.inputs, self.neurons, self.code
        )
        count(problem, passages, self.code)
        return self._read(currents)[0]

    def _read(self, currents: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (R, B, n_outputs) from the currents (R, T, B, n_outputs), and what was read."""
        if self.readout == "mean":
            return currents.mean(1), currents
        # out of the threshold's reach
        _, potentials = self.neurons.run(currents, currents.new_full((), torch.inf))
        return potentials.amax(1), potentials

    def _unread(self, error: Tensor, potentials: Tensor) -> Tensor:
        """Error at the last layer's currents, (R, T, B, n_outputs), from that at the outputs."""
        if self.readout == "mean":
            return (error / self.neurons.n_steps).unsqueeze(1).expand_as(potentials)
        peaks = F.one_hot(potentials.argmax(1), self.neurons.n_steps)  # (R, B, n_outputs, T)
        peak = peaks.movedim(-1, 1)
        return self.neurons.back(torch.zeros_like(potentials), peak * error.unsqueeze(1))

    def _backward(self, passages: list[Passage], error: Tensor) -> Tensor:
        """Gradient (R, n) from the error (R, T, B, n_outputs) at the last layer's currents."""
        batch_size = error.shape[2]
        # the first with weights
        first = next(index for index, passage in enumerate(passages) if passage.segment.stop)
        error = error.flatten(1, 2)
        parts: list[Tensor] = []
        for index in range(len(passages) - 1, first - 1, -1):
            passage, segment = passages[index], passages[index].segment
            if passage.spikes is not None and passage.potentials is not None:
                error = error.unflatten(1, (-1, batch_size)) + self.spike_cost / (
                    batch_size * passage.spikes[0, 0, 0].numel()
                )
                distance = (passage.potentials - self.neurons.threshold).abs()
                error = self.neurons.back(
                    passage.spikes, error / (1 + self.surrogate_slope * distance).square()
                )
                # constant in time: it gathers the errors of all steps
                if passage.inputs.shape[1] == batch_size:
                    error = error.sum(1, keepdim=True)
                error = error.flatten(1, 2)
            else:
                parts.insert(0, segment.gradient(passage.tape, error))
                if index > first:
                    error = segment.carry(passage.tape, error)
        return torch.cat(parts, 1)
