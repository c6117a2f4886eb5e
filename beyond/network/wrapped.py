"""A network wrapped from any `torch.nn.Module`, for the methods that need no access to its layers.

Replicas are evaluated by `torch.func.functional_call` under `vmap`: general, and slower than
stacked layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

from beyond.contracts import TaskSpec
from beyond.errors import InputError, require
from beyond.network.trainable import CACHE_BYTES, Block, Network, Tape
from beyond.streams import Stream, global_generators


class ModuleNetwork(Network):
    """Runs and differentiates a torch module; raises `InputError` for one that it cannot train.

    Parameters
    ----------
    factory : callable
        Returns a new module; weights that are shared within it are one weight.
    spec : TaskSpec

    Attributes
    ----------
    template : Module
        One of those.
    """

    def __init__(self, factory: Callable[[], nn.Module], spec: TaskSpec) -> None:
        self._factory = factory
        self.template = _template(factory)
        named = dict(self.template.named_parameters())
        self._shapes = {name: weight.shape for name, weight in named.items()}
        blocks: dict[str, dict[str, tuple[int, ...]]] = {}
        for name, shape in self._shapes.items():
            owner, _, local = name.rpartition(".")
            blocks.setdefault(owner or "module", {})[local] = tuple(shape)
        self.blocks = ()
        start = 0
        for depth, (owner, shapes) in enumerate(blocks.items(), 1):
            stop = start + sum(torch.Size(shape).numel() for shape in shapes.values())
            self.blocks += (Block(owner, depth, 0, start, stop, shapes),)
            start = stop
        self.n_weights = start
        self._draws, self.forward_flops, self._backward_flops = self._try(spec)

    def init(self, rng: Stream, n_copies: int = 1) -> Tensor:
        """Draw weights (R * n_copies, n) as the module does, seeded from the stream."""
        seeds = rng.integers(2**62, n_copies).flatten().tolist()
        copies: list[Tensor] = []
        for seed in seeds:
            with global_generators(seed):
                module: nn.Module = self._factory()
            copies.append(torch.cat([weight.detach().flatten() for weight in module.parameters()]))
        return torch.stack(copies)

    def forward(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tape]:
        """Outputs (G, B, n_outputs) and the tape; an `rng` is drawn from, in training mode."""
        run = self.outputs
        if rng is not None and self._draws:
            run = self._in_training(rng, len(params) // len(inputs))
        if torch.is_grad_enabled() and params.requires_grad:
            return run(params, inputs), Tape((), ())
        outputs, pull_back, *_ = vjp(lambda weights: run(weights, inputs), params)
        return outputs, Tape((), (pull_back,))

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Outputs (G, B, n_outputs) for weights (G, n) and inputs (R, B, ...)."""
        shared = inputs.repeat_interleave(len(params) // len(inputs), 0)
        return vmap(self._call)(params, shared)

    def backward(self, tape: Tape, error: Tensor, *, start: int = 0) -> Tensor:
        return tape.caches[0](error)[0][:, start:]

    def module(self, weights: Tensor) -> nn.Module:
        """Return a new module with weights (n,), for evaluation."""
        with global_generators(0):
            module = self._factory()
        nn.utils.vector_to_parameters(weights.clone(), module.parameters())
        return module.eval()

    def state_dict(self, weights: Tensor) -> dict[str, Tensor]:
        """Weights (n,) by the module's names, copied."""
        named = self.module(weights).state_dict()
        return {name: value.clone() for name, value in named.items()}

    def backward_flops(self, start: int = 0) -> int:
        """Cost per example; the whole module is passed, whatever `start`."""
        return self._backward_flops

    def chunk_size(self, batch_size: int) -> int:
        return max(1, CACHE_BYTES // (8 * max(1, self.forward_flops // 100) * batch_size))

    def _in_training(self, rng: Stream, n_copies: int) -> Callable[[Tensor, Tensor], Tensor]:
        """Return what runs the module in training mode, copy by copy, each from another seed."""
        seeds = rng.integers(2**62, n_copies).flatten().tolist()

        def run(params: Tensor, inputs: Tensor) -> Tensor:
            outputs: list[Tensor] = []
            for row, seed in enumerate(seeds):
                with global_generators(seed):
                    outputs.append(self._call(params[row], inputs[row // n_copies], training=True))
            return torch.stack(outputs)

        return run

    def _call(self, weights: Tensor, x: Tensor, training: bool = False) -> Tensor:
        parts = weights.split([shape.numel() for shape in self._shapes.values()])
        named = {
            name: part.view(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        return functional_call(self.template.train(training), named, (x,))

    def _try(self, spec: TaskSpec) -> tuple[bool, int, int]:
        """Run the module once: does it draw in training; torch's count, forward and backward."""
        dtype = torch.int64 if spec.n_symbols else torch.float32
        x = torch.zeros(1, *spec.input_shape, dtype=dtype)
        weights = torch.zeros(self.n_weights, requires_grad=True)
        with _refused(f"a module for inputs of shape {spec.input_shape}"):
            with FlopCounterMode(display=False) as forward:
                outputs = self._call(weights, x)
            allowed = f"a module whose outputs have shape (B, {spec.n_outputs})"
            require("factory", allowed, tuple(outputs.shape), outputs.shape == (1, spec.n_outputs))
            with FlopCounterMode(display=False) as backward:
                outputs.sum().backward()
        counted = forward.get_total_flops() > 0
        require(
            "factory",
            "a module with products that torch can count",
            type(self.template).__name__,
            counted,
        )
        with _refused("a module that runs under torch.func.vmap"), torch.no_grad():
            self.outputs(weights.detach().unsqueeze(0), x.unsqueeze(0))
        with global_generators(0):
            before = torch.get_rng_state()
            self._call(weights.detach(), x, training=True)
            draws = not torch.equal(before, torch.get_rng_state())
        return draws, forward.get_total_flops(), backward.get_total_flops()


def _template(factory: Callable[[], Any]) -> nn.Module:
    """Call the factory once; refuse what it makes if its weights cannot all be trained."""
    with (
        _refused("a function of input_shape and n_outputs that makes a module"),
        global_generators(0),
    ):
        module = factory()  # its draws are not used
    kind = type(module).__name__
    require(
        "factory", "a function that returns a torch.nn.Module", kind, isinstance(module, nn.Module)
    )
    buffer = next(iter(dict(module.named_buffers())), None)
    require("factory", "a module without buffers", f"{kind} with {buffer}", buffer is None)
    named = dict(module.named_parameters())
    require("factory", "a module with weights", kind, bool(named))
    frozen = [name for name, weight in named.items() if not weight.requires_grad]
    require(
        "factory",
        "a module that trains all its weights",
        f"{kind} with {', '.join(frozen)} frozen",
        not frozen,
    )
    for name, weight in named.items():
        single = weight.dtype is torch.float32
        require("factory", "a module of float32", f"{kind} with {name} of {weight.dtype}", single)
    return module


@contextmanager
def _refused(allowed: str) -> Iterator[None]:
    """Turn whatever somebody else's code raises into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        raise InputError(
            f"factory must be {allowed}, got {type(error).__name__}: {said}"
        ) from error
