"""Equilibrium propagation (Scellier & Bengio, 2017), nudged both ways (Laborieux et al., 2021).

The hidden layers are one recurrent circuit with symmetric connections. It settles freely, then once
more while the loss of a read-out pulls at it a little; connections change by the difference of what
they correlate. For each example, with s_0 the input and s_l the state of hidden layer l = 1 .. K,

    Phi(s) = sum_l s_l . (W_l s_{l-1} + b_l),     z = W_out s_K + b_out
    s_l   <- s_l + step_size (rho(d Phi / d s_l - [l = K] beta d loss(z) / d s_K) - s_l)
             d Phi / d s_l = W_l s_{l-1} + b_l + W_{l+1}^T s_{l+1}
    s(0)   : beta = 0, n_free times from the forward pass;   s(+-beta): n_nudged times from s(0)
    g_l    = - (d Phi / d theta_l at s(beta) - d Phi / d theta_l at s(-beta)) / (2 beta)  symmetric
             - (d Phi / d theta_l at s(beta) - d Phi / d theta_l at s(0)) / beta          one-sided
    g_out  = d loss / d theta_out at s(0)

Means over the batch are handed to the optimizer; d Phi / d W_l = s_l s_{l-1}^T. For beta -> 0 this
is the gradient of the loss at the free equilibrium. rho is the network's activation; predictions
are z at the free equilibrium. With one hidden layer no state feeds back on another, so that the
free equilibrium is the forward pass.

Departures: outputs are a read-out outside of the circuit, as in Laborieux et al.; steps of the
discrete map of Ernoult et al. (2019, arXiv:1905.13633), damped, instead of a flow; rho is the
network's instead of a hard sigmoid; states start at the forward pass; an embedding of symbols
is part of Phi's first term; any optimizer.
Needs: weight transport, global loss, separate phases.
Cost: 1 forward pass, and the gradients' half of 1 backward pass, twice for layers between hidden
ones; a free move takes a forward pass and a carry through those layers, a nudged move through the
read-out as well.
Check: the update tends to the gradient by automatic differentiation through the settling, with
error O(beta) one-sided and O(beta^2) symmetric (tests/methods/test_equilibrium_propagation.py).
Source: Frontiers in Computational Neuroscience 11, 24, arXiv:1602.05179; symmetric:
arXiv:2006.03824.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.errors import UnsupportedError
from beyond.kits.descent import Descent, State
from beyond.kits.passes import forward
from beyond.network.layers import Role
from beyond.network.segments import Segment
from beyond.network.trainable import Tape
from beyond.problem import Problem
from beyond.search import LogUniform
from beyond.settings import Positive, PositiveInt, UpToOne, settings
from beyond.streams import Stream

Nudge = Callable[[Tensor], Tensor | float]


class Circuit(NamedTuple):
    """The network's layers by their roles; `entry` is a flattening or an embedding, if any."""

    entry: list[Segment]
    hidden: list[Segment]  # the connections to each hidden layer
    activations: list[Segment]
    readout: Segment


class Equilibrium(NamedTuple):
    """States s_l (R, B, width), currents W_l s_{l-1} + b_l of the same shape, and their tapes."""

    states: list[Tensor]
    currents: list[Tensor]
    tapes: list[Tape]


@settings
class EquilibriumPropagation(Descent):
    """Compare a circuit at rest with the same circuit pulled towards a lower loss.

    Parameters
    ----------
    nudging : {"symmetric", "one_sided"}
        Nudge both up and down the loss, or down only.
    beta : float, > 0
        Strength of the nudge.
    n_free, n_nudged : int, >= 1
        Moves of the states in a free phase, and in each nudged phase; a nudge reaches one layer
        further down a move.
    step_size : float in (0, 1]
        Size of a move: 1 replaces the state.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    nudging: Literal["symmetric", "one_sided"] = "symmetric"
    beta: Annotated[Positive, LogUniform(0.01, 1.0)] = 0.1
    n_free: Annotated[PositiveInt, LogUniform(5, 80)] = 20
    n_nudged: Annotated[PositiveInt, LogUniform(2, 32)] = 8
    step_size: UpToOne = 0.5

    def require(self, problem: Problem) -> None:
        n_hidden = len(circuit_of(problem).hidden)
        if self.n_nudged < n_hidden:
            raise UnsupportedError(
                f"{self.n_nudged} nudged moves do not reach down through {n_hidden} hidden layers"
            )

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        params, n_examples = state["params"], batch.inputs.shape[1]
        circuit = circuit_of(problem)
        entry, hidden, _, readout = circuit
        entry_tapes, free = self._free(circuit, params, batch.inputs)
        outputs, readout_tape = readout.forward(params, free.states[-1])
        error = problem.error(outputs, batch.targets)

        def nudged_from(start: Equilibrium, beta: float) -> Equilibrium:
            def pull(top: Tensor) -> Tensor:
                z, tape = readout.forward(params, top)
                return -beta * n_examples * readout.carry(tape, problem.error(z, batch.targets))

            return self._settle(circuit, params, start, pull, self.n_nudged)

        nudged = nudged_from(free, self.beta)
        other, span = free, self.beta
        if self.nudging == "symmetric":
            other, span = nudged_from(free, -self.beta), 2 * self.beta
        scale = -1 / (span * n_examples)

        # The input is the same in both phases: one product for the first connections, and what
        # reaches the embedding.
        shift = scale * (nudged.states[0] - other.states[0])
        parts = [
            segment.gradient(tape, hidden[0].carry(free.tapes[0], shift))
            for segment, tape in zip(entry, entry_tapes, strict=True)
            if segment.start < segment.stop
        ]
        parts.append(hidden[0].gradient(free.tapes[0], shift))
        for i in range(1, len(hidden)):
            up = hidden[i].gradient(nudged.tapes[i], scale * nudged.states[i])
            parts.append(up - hidden[i].gradient(other.tapes[i], scale * other.states[i]))
        parts.append(readout.gradient(readout_tape, error))
        return torch.cat(parts, 1)

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        circuit = circuit_of(problem)
        _, free = self._free(circuit, state["params"], batch.inputs)
        return circuit.readout.forward(state["params"], free.states[-1])[0]

    def _free(
        self, circuit: Circuit, params: Tensor, inputs: Tensor
    ) -> tuple[list[Tape], Equilibrium]:
        """Tapes of the entry, and the free equilibrium from the forward pass."""
        (*_, below), entry_tapes = forward(circuit.entry, params, inputs)
        start = Equilibrium([], [], [])
        for segment, rho in zip(circuit.hidden, circuit.activations, strict=True):
            current, tape = segment.forward(params, below)
            below, _ = rho.forward(params, current)
            start.states.append(below)
            start.currents.append(current)
            start.tapes.append(tape)
        return entry_tapes, self._settle(circuit, params, start, lambda _: 0.0, self.n_free)

    def _settle(
        self, circuit: Circuit, params: Tensor, start: Equilibrium, nudge: Nudge, n_moves: int
    ) -> Equilibrium:
        """Move all states at once, `n_moves` times; the constant input's current is made once."""
        states, currents, tapes = start.states, list(start.currents), list(start.tapes)
        upper = range(1, len(states))
        for _ in range(n_moves):
            above = [circuit.hidden[i].carry(tapes[i], states[i]) for i in upper]
            pulls = [*above, nudge(states[-1])]
            neurons = zip(states, circuit.activations, currents, pulls, strict=True)
            states = [
                torch.lerp(old, rho.forward(params, current + pull)[0], self.step_size)
                for old, rho, current, pull in neurons
            ]
            for i in upper:
                currents[i], tapes[i] = circuit.hidden[i].forward(params, states[i - 1])
        return Equilibrium(states, currents, tapes)


def circuit_of(problem: Problem) -> Circuit:
    """Sort the layers by their roles, or say why that cannot be done."""
    known = {Role.DENSE, Role.ACTIVATION, Role.EMBEDDING, Role.RESHAPING}
    problem.require_roles(
        "equilibrium_propagation", known, "states need fully connected layers and their activations"
    )
    layers = list(problem.layers)
    entry = [layers.pop(0)] if layers[0].role in (Role.RESHAPING, Role.EMBEDDING) else []
    hidden, activations, readout = layers[:-1:2], layers[1::2], layers[-1]
    if not hidden:
        raise UnsupportedError("equilibrium_propagation needs a hidden layer")
    linear = all(segment.role is Role.DENSE for segment in [*hidden, readout])
    alternate = len(layers) % 2 and all(segment.role is Role.ACTIVATION for segment in activations)
    if not (linear and alternate):
        raise UnsupportedError(
            "equilibrium_propagation needs one activation behind each hidden layer, nothing else"
        )
    if len(hidden) > 1 and not all(segment.layers[0].bounded for segment in activations):
        raise UnsupportedError(
            "hidden layers without bounds that excite each other never settle: use tanh or sigmoid"
        )
    return Circuit(entry, hidden, activations, readout)
