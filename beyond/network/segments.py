"""Part of a network, for rules that work layer by layer; its passes are charged in proportion."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from beyond.ledger import Work
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Layer, Role
from beyond.network.trainable import Tape
from beyond.streams import Stream

Charge = Callable[[Work, str], None]
Run = Callable[[LayeredNetwork, Tensor, Tensor, Stream | None], tuple[Tensor, Tape]]


class Segment:
    """Consecutive layers: one, or a stage (a layer with weights and those up to the next such).

    Parameters
    ----------
    network : LayeredNetwork
        The layers.
    start : int
        Where their weights begin in the whole network's flat vector.
    charge : callable
        Told the cost of a pass, and its direction: "forward" or "backward".
    run : callable
        Makes a pass forward, of a network with its weights (G, m), inputs and `rng`.

    Attributes
    ----------
    start, stop : int
        The slice of the flat vector that holds the segment's weights; empty for a layer without
        weights.
    layers : tuple of Layer
    role : Role
        Of the layer whose weights it has; of the first one where none has any.
    input_shape, output_shape : tuple of int
        Of one example.
    """

    def __init__(self, network: LayeredNetwork, start: int, charge: Charge, run: Run) -> None:
        self._network = network
        self._charge = charge
        self._run = run
        self.start, self.stop = start, start + network.n_weights
        self.layers: tuple[Layer, ...] = network.layers
        drawn = next((block.layer for block in network.blocks if block.drawn), 0)
        self.role: Role = self.layers[drawn].role
        self.input_shape, self.output_shape = network.shapes[0], network.shapes[-1]

    def forward(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tape]:
        """Outputs (G, B, *output_shape) and the tape to go back on.

        Parameters
        ----------
        params : Tensor of shape (G, n)
            The whole network's weights.
        inputs : Tensor of shape (R, B, *input_shape)
        rng : Stream, optional
            With it the pass is in training, see `Network.forward`.
        """
        n_copies = len(params) // len(inputs)
        work = self._network.forward_work(inputs.shape[1] * n_copies, n_copies)
        self._charge(work, "forward")
        return self._run(self._network, params[:, self.start : self.stop], inputs, rng)

    def gradient(self, tape: Tape, error: Tensor, in_time: bool = True) -> Tensor:
        """Derivative (G, stop - start) for its weights, from the error (G, B, *output_shape).

        Unless `in_time`, no error goes back in time through weights: a recurrent unit's memory of
        itself alone carries it.
        """
        if self.start == self.stop:
            return error.new_empty(len(error), 0)
        self._charge(self._network.backward_work(error.shape[1]), "backward")
        recurrent = [] if in_time else [block for block in self._network.blocks if block.loop]
        cut = {
            block.depth: torch.zeros_like(tape.weights[block.layer][block.loop])
            for block in recurrent
        }
        return self._network.backward(tape, error, loops=cut)

    def carry(self, tape: Tape, error: Tensor, carrier: Tensor | None = None) -> Tensor:
        """Error (G, B, *input_shape) at the inputs, from the error at the outputs.

        `carrier` replaces the weights of the segment's first layer that has any.
        """
        self._charge(self._network.carry_work(error.shape[1]), "backward")
        return self._network.carry(tape, error, None if carrier is None else {1: carrier})
