"""What a run has learnt: the selected weights, and predictions with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beyond.contracts import Architecture, Batch, Method, Splits, TargetKind, TaskSpec
from beyond.data.screening import require_values
from beyond.errors import InputError, UnsupportedError, require
from beyond.hardware import HOST, Hardware, placed
from beyond.network.trainable import Network
from beyond.problem import Problem
from beyond.run import provenance
from beyond.run.arm import Arm
from beyond.run.buffered import buffered, buffers_of
from beyond.run.cell import Cell
from beyond.run.evaluation import EVALUATION_CHUNK
from beyond.run.record import WEIGHTS, RunFolder


@dataclass(frozen=True)
class Predictor:
    """One replica of a method, at the checkpoint that was selected.

    Attributes
    ----------
    method, architecture, spec
        What was trained, and the specification of its task.
    splits : Splits
        The task's at the seed: they know how inputs, and values, are scaled.
    state
        The method's, of this replica alone (R = 1).
    hardware : Hardware
        Of the CPU: how it was trained to compute.
    """

    method: Method
    architecture: Architecture
    spec: TaskSpec
    splits: Splits
    state: Any
    hardware: Hardware = HOST

    @cached_property
    def network(self) -> Network:
        """The network, built for the task."""
        return self.architecture.build(self.spec).on(self.hardware)

    def __getstate__(self) -> dict[str, Any]:
        """All but the network, which may be of functions that cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "network"}

    def state_dict(self) -> dict[str, Tensor]:
        """Weights by name, as torch has them: `1.weight` is of layer 1, counted from 0.

        Of a network that is a torch module they have the module's names.
        """
        return self._held.state_dict(self._weights)

    def module(self) -> nn.Module:
        """Return a torch module with these weights; `UnsupportedError` if the network is none."""
        return self._held.module(self._weights)

    def outputs(self, inputs: Any) -> Tensor:
        """Outputs (N, n_outputs): logits, or values in the task's units.

        Of predicted distributions they are means, then log-variances.

        Parameters
        ----------
        inputs : array or Tensor of shape (N, *input_shape)
            As the task has them, unscaled: they are scaled by what was learnt from the training
            part.

        Raises
        ------
        InputError
            For inputs of another shape, or that are no finite numbers, or no symbols of the task.
        UnsupportedError
            For a task in episodes, which asks for predictions from a support.
        """
        spec, given = self.spec, torch.as_tensor(inputs)
        if spec.episode is not None:
            raise UnsupportedError(
                f"{spec.name} comes in episodes, each with a support to adapt to"
            )
        shape, one = tuple(given.shape), ", ".join(map(str, spec.input_shape))
        require("inputs", f"of shape (N, {one})", shape, shape[1:] == spec.input_shape)
        whole = not (spec.n_symbols and given.is_floating_point())
        require("inputs", f"integers in [0, {spec.n_symbols})", str(given.dtype), whole)
        problem = Problem(self.network, spec, signal=self.method.signal)
        parts: list[Tensor] = []
        for part in given.split(EVALUATION_CHUNK):
            prepared = self.splits.prepared(part)
            require_values("inputs", prepared[0].numpy(), spec.n_symbols, "feature")
            parts.append(self._rule.predict(self.state, problem, Batch(prepared, None)))
        outputs = torch.cat(parts, 1)
        values = spec.target_kind is not TargetKind.CLASSES
        return (self.splits.in_units(outputs) if values else outputs)[0]

    def predict(self, inputs: Any) -> np.ndarray:
        """Classes (N,), or values (N, n) in the task's units, means of predicted distributions."""
        outputs = self.outputs(inputs)
        if self.spec.target_kind is TargetKind.CLASSES:
            return outputs.argmax(1).numpy()
        return outputs[:, : self.spec.target_shape[0]].numpy()

    def probabilities(self, inputs: Any) -> np.ndarray:
        """Probabilities (N, n_classes), softmax of the `outputs`, in double precision."""
        if self.spec.target_kind is not TargetKind.CLASSES:
            raise UnsupportedError(f"{self.spec.name} has values, which have no probabilities")
        return self.outputs(inputs).double().softmax(1).numpy()

    @property
    def _weights(self) -> Tensor:
        return self._rule.params(self.state)[0]

    @property
    def _rule(self) -> Method:
        return buffered(self.method, self.network)

    @property
    def _held(self) -> Network:
        return self.network.holding(buffers_of(self.state, self.network))


@dataclass(frozen=True)
class Trained:
    """A finished run whose selected weights were kept (`keep_weights=true`).

    Attributes
    ----------
    arm : Arm
        What was trained.
    states : mapping of int to state
        By seed, the method's state at the checkpoint with the best validation score.

    Examples
    --------
    After `beyond keep_weights=true seeds=3`:

    >>> trained = Trained.load("runs/adhoc/1f0c5a0e7a3d-5c2f0a")  # doctest: +SKIP
    >>> trained.state_dict(seed=0)["1.weight"].shape  # doctest: +SKIP
    torch.Size([32, 64])
    >>> trained.predict(images, seed=0)  # doctest: +SKIP
    array([3, 8, 1])
    """

    arm: Arm
    states: Mapping[int, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Trained:
        """Build again what a run's folder describes, with the weights that it keeps.

        Raises
        ------
        InputError
            If the run is not finished or keeps no weights, or if code or data have changed since.
        """
        path = Path(folder)
        record = RunFolder(path)
        manifest = record.manifest()
        if manifest is None:
            raise InputError(f"{str(path)!r} is no finished run")
        if not record.keeps_weights:
            raise InputError(f"{str(path)!r} keeps no weights; keep_weights=true trains it again")
        if outdated := provenance.outdated(manifest["sources"]):
            raise InputError(f"{str(path)!r} is stale: {', '.join(outdated)} changed since")
        cell = Cell.of(manifest["settings"], manifest["identity"]["method"])
        if cell.data != manifest["data_sha256"]:
            raise InputError(f"{str(path)!r} is stale: its data changed since")
        saved = torch.load(path / WEIGHTS, weights_only=True)
        return cls(cell.arm, {seed: kept["state"] for seed, kept in saved.items()})

    @property
    def seeds(self) -> list[int]:
        """Those whose weights there are."""
        return list(self.states)

    def at(self, seed: int) -> Predictor:
        """Return what this seed has learnt; `InputError` for one without weights."""
        known, arm = ", ".join(map(str, self.states)) or "none", self.arm
        require("seed", f"one of those with weights ({known})", seed, seed in self.states)
        task, hardware, state = arm.task, arm.hardware.on_host, self.states[seed]
        splits = placed(task.at([seed]), hardware)
        return Predictor(arm.method, arm.architecture, task.spec, splits, state, hardware)

    def state_dict(self, seed: int) -> dict[str, Tensor]:
        """See `Predictor.state_dict`."""
        return self.at(seed).state_dict()

    def module(self, seed: int) -> nn.Module:
        """See `Predictor.module`."""
        return self.at(seed).module()

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of their codes; none where they have no names."""
        return list(self.arm.task.classes)

    def predict(self, inputs: Any, seed: int) -> np.ndarray:
        """Classes (N,), as codes, or values (N, n_outputs) in the task's units.

        Parameters
        ----------
        inputs
            As the task's source has them, and unscaled: a DataFrame with the columns of a table, a
            list of texts, or of images' files, an array as in the .npz file. For a task of this
            project, an array (N, *input_shape).
        seed : int
            Whose weights predict.

        Raises
        ------
        InputError
            For inputs that the task cannot take, and a seed without weights.
        """
        return self.at(seed).predict(self.arm.task.encode(inputs))

    def probabilities(self, inputs: Any, seed: int) -> np.ndarray:
        """Probabilities (N, n_classes), in the order of `classes`; see `predict`."""
        return self.at(seed).probabilities(self.arm.task.encode(inputs))


def kept(method: Method, network: Network, states: Mapping[int, Any]) -> dict[int, dict[str, Any]]:
    """Return by seed what `weights.pt` has: `weights`, a torch state dict, and the `state`."""
    rule = buffered(method, network)
    found = dict[int, dict[str, Any]]()
    for seed, state in states.items():
        held = network.holding(buffers_of(state, network))
        found[seed] = {"weights": held.state_dict(rule.params(state)[0]), "state": state}
    return found
