"""What a synapse remembers of the spikes of its two neurons, until a reward comes.

Shapes: R replicas, T time steps, B runs; times stand in front of the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from beyond.kits.spiking import Neurons, trace
from beyond.settings import NonNegative, UnitInterval, settings


@settings(kw_only=True)
class Plasticity(ABC):
    """What a spike that arrives at each step adds to a synapse's memory."""

    @abstractmethod
    def timing(self, spikes: Tensor, potentials: Tensor, neurons: Neurons, noise: float) -> Tensor:
        """Return it for hidden neurons' spikes, potentials and escape noise, (R, T, B, ...)."""

    @abstractmethod
    def output_timing(
        self, fired: Tensor, probabilities: Tensor, neurons: Neurons, noise: float
    ) -> Tensor:
        """Return it, (R, T, B, n), for output neurons of which one fires, at the last step: `fired`
        (R, B, n) is 1 for it, 0 for the others.
        """


@settings(kw_only=True)
class Window(Plasticity):
    """Pairs of spikes by their order and distance.

    Parameters
    ----------
    a_plus, a_minus : float, >= 0
        Heights of the window, for a spike that arrives before or after the neuron's own.
    plus_decay, minus_decay : float in [0, 1]
        How the window falls off, per time step: exp(-dt / tau).
    """

    a_plus: NonNegative = 1.0
    a_minus: NonNegative = 0.2
    plus_decay: UnitInterval = 0.8
    minus_decay: UnitInterval = 0.8

    def timing(self, spikes: Tensor, potentials: Tensor, neurons: Neurons, noise: float) -> Tensor:
        later = trace(spikes.flip(1), self.plus_decay).flip(1)  # the step's own spike included
        earlier = trace(spikes, self.minus_decay) - spikes
        return self.a_plus * later - self.a_minus * earlier

    def output_timing(
        self, fired: Tensor, probabilities: Tensor, neurons: Neurons, noise: float
    ) -> Tensor:
        before = fired.new_zeros(len(fired), neurons.n_steps - 1, *fired.shape[1:])
        spikes = torch.cat([before, fired.unsqueeze(1)], 1)
        return self.timing(spikes, spikes, neurons, noise)


@settings(kw_only=True)
class Likelihood(Plasticity):
    """The derivative of the log likelihood of the neuron's spikes."""

    def timing(self, spikes: Tensor, potentials: Tensor, neurons: Neurons, noise: float) -> Tensor:
        surprise = spikes - ((potentials - neurons.threshold) / noise).sigmoid()
        return neurons.back(spikes, surprise / noise)

    def output_timing(
        self, fired: Tensor, probabilities: Tensor, neurons: Neurons, noise: float
    ) -> Tensor:
        surprise = (fired - probabilities) / (noise * neurons.n_steps)
        return surprise.unsqueeze(1).expand(-1, neurons.n_steps, -1, -1)


CHOICES = {"window": (Window(), ""), "likelihood": (Likelihood(), "")}
