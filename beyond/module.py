"""A network wrapped from any `torch.nn.Module`, for the methods that need no access to its layers.

Replicas are evaluated by `torch.func.functional_call` under `vmap`: general, and slower than stacked layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

from beyond.contracts import TaskSpec
from beyond.errors import InputError, UnsupportedError, require
from beyond.layers import Weights
from beyond.network import CACHE_BYTES, Block, Network, Tape
from beyond.streams import Stream, global_generators


@dataclass(frozen=True)
class Module:
    """A network made by a function of yours.

    Parameters
    ----------
    factory : str
        Where to import it from, `package.module:function`. It is called with `input_shape` and `n_outputs` and returns
        a `torch.nn.Module` that maps (B, *input_shape) to (B, n_outputs) and has no buffers (so no batch norm).
    """

    factory: str

    def __post_init__(self) -> None:
        try:
            resolve_name(self.factory)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"factory must be package.module:function, got {self.factory!r} ({error})") from None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.factory.rpartition(":")[2].rpartition(".")[2]

    def build(self, spec: TaskSpec) -> Network:
        """Make the network for a task."""
        return ModuleNetwork(lambda: resolve_name(self.factory)(spec.input_shape, spec.n_outputs), spec)


CLOSED = "a wrapped torch module gives no access to its layers"


class ModuleNetwork(Network):
    """Answers as `Network` does, but for questions about single layers."""

    def __init__(self, factory: Callable[[], nn.Module], spec: TaskSpec) -> None:
        self._factory = factory
        with global_generators(0):  # its draws are not used
            self._template: nn.Module = factory().to("meta")
        require(
            "factory",
            "a module without buffers",
            type(self._template).__name__,
            next(self._template.buffers(), None) is None,
        )
        self.layers = ()
        self._shapes = {name: weight.shape for name, weight in self._template.named_parameters()}
        blocks: dict[str, dict[str, tuple[int, ...]]] = {}
        for name, shape in self._shapes.items():
            owner, _, own_name = name.rpartition(".")
            blocks.setdefault(owner or "module", {})[own_name] = tuple(shape)
        self.blocks = ()
        start = 0
        for depth, (owner, shapes) in enumerate(blocks.items(), 1):
            stop = start + sum(torch.Size(shape).numel() for shape in shapes.values())
            self.blocks += (Block(owner, depth, 0, start, stop, shapes),)
            start = stop
        self.n_weights = start
        self.forward_flops, self._backward_flops = self._count(spec)

    def init(self, rng: Stream, n_copies: int = 1) -> Tensor:
        """Draw weights (R * n_copies, n) as the module draws its own, seeded from the stream."""
        seeds = rng.integers(2**62, n_copies).flatten().tolist()
        copies: list[Tensor] = []
        for seed in seeds:
            with global_generators(seed):
                module: nn.Module = self._factory()
            copies.append(torch.cat([weight.detach().flatten() for weight in module.parameters()]))
        return torch.stack(copies)

    def forward(self, params: Tensor, inputs: Tensor, rng: Stream | None = None) -> tuple[Tensor, Tape]:
        """Outputs (G, B, n_outputs) and the tape; the module runs in evaluation mode, so it draws nothing."""
        if torch.is_grad_enabled() and params.requires_grad:
            return self.outputs(params, inputs), Tape((), ())
        outputs, pull_back, *_ = vjp(lambda weights: self.outputs(weights, inputs), params)
        return outputs, Tape((), (pull_back,))

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Outputs (G, B, n_outputs) for weights (G, n) and inputs (R, B, ...)."""
        shared = inputs.repeat_interleave(len(params) // len(inputs), 0)
        return vmap(self._call)(params, shared)

    def backward(
        self, tape: Tape, error: Tensor, transport: Mapping[int, Tensor] | None = None, start: int = 0
    ) -> Tensor:
        """Gradient of weights[start:], shape (G, n - start)."""
        if transport:
            raise UnsupportedError(CLOSED)
        return tape.caches[0](error)[0][:, start:]

    def backward_flops(self, start: int = 0) -> int:
        """Cost an example; the whole module is passed, whatever `start`."""
        return self._backward_flops

    def carriers(self, params: Tensor) -> dict[int, Tensor]:
        raise UnsupportedError(CLOSED)

    def unflatten(self, params: Tensor) -> list[Weights]:
        raise UnsupportedError(CLOSED)

    def _cut(self, cuts: list[int]) -> list[Network]:
        raise UnsupportedError(CLOSED)

    def _is_drawn(self, layer: int) -> bool:
        raise UnsupportedError(CLOSED)

    def chunk_size(self, batch_size: int) -> int:
        """How many candidates to evaluate at once."""
        return max(1, CACHE_BYTES // (8 * max(1, self.forward_flops // 100) * batch_size))

    def dead_fraction(self, tape: Tape) -> list[float | Tensor]:
        """Unknown: NaN for each block."""
        return [float("nan")] * len(self.blocks)

    def _call(self, weights: Tensor, x: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in self._shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        return functional_call(self._template.eval(), named, (x,))

    def _count(self, spec: TaskSpec) -> tuple[int, int]:
        """Operations an example of a forward and of a backward pass, counted by torch."""
        dtype = torch.int64 if spec.n_symbols else torch.float32
        x = torch.zeros(1, *spec.input_shape, dtype=dtype)
        weights = torch.zeros(self.n_weights, requires_grad=True)
        with FlopCounterMode(display=False) as forward:
            outputs = self._call(weights, x)
        with FlopCounterMode(display=False) as backward:
            outputs.sum().backward()
        return forward.get_total_flops(), backward.get_total_flops()
