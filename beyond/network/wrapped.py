"""A network wrapped from any `torch.nn.Module`, for the methods that need no access to its layers.

Replicas are evaluated by `torch.func.functional_call` under `vmap`: general, and slower than
stacked layers. What torch cannot evaluate so, such as `nn.GRU`, `nn.LSTM`, and whatever draws, is
evaluated replica by replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Self
from warnings import catch_warnings, filterwarnings, simplefilter

import torch
from torch import Tensor, nn
from torch.backends import mha, mkldnn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from beyond.contracts import TaskSpec
from beyond.errors import STRANGE, InputError, require
from beyond.hardware import Hardware, moved
from beyond.network.layers import Touched, total, touched_back
from beyond.network.trainable import NO_BUFFERS, Block, Buffers, Network, Tape
from beyond.streams import Stream, global_generators


class ModuleNetwork(Network):
    """Runs and differentiates a torch module; raises `InputError` for one that it cannot train.

    Parameters
    ----------
    factory : callable
        Returns a new module; weights that are shared within it are one weight. Buffers that a pass
        in training does not change are constants.
    spec : TaskSpec
    arguments : str
        What the factory is a function of, for people.

    Attributes
    ----------
    template : Module
        One of those.
    """

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        spec: TaskSpec,
        arguments: str = "input_shape and n_outputs",
    ) -> None:
        self._factory = factory
        self.template, other = _templates(factory, arguments)
        named = dict(self.template.named_parameters())
        self._shapes = {name: weight.shape for name, weight in named.items()}
        self._weights, others = _flat(self.template), _flat(other)
        blocks: dict[str, dict[str, tuple[int, ...]]] = {}
        for name, shape in self._shapes.items():
            owner, _, local = name.rpartition(".")
            blocks.setdefault(owner or "module", {})[local] = tuple(shape)
        self.blocks = ()
        owners = dict(self.template.named_modules())
        start = 0
        for depth, (owner, shapes) in enumerate(blocks.items(), 1):
            stop = start + sum(torch.Size(shape).numel() for shape in shapes.values())
            drawn = not self._weights[start:stop].equal(others[start:stop])
            maps = not isinstance(owners.get(owner), nn.Embedding | nn.EmbeddingBag)
            self.blocks += (Block(owner, depth, 0, start, stop, shapes, drawn, maps=maps),)
            start = stop
        self.n_weights = start
        self._constants: Buffers = {}  # buffers that no pass changes
        self._count(spec)
        self._try(spec)

    def init(self, rng: Stream, n_copies: int = 1) -> Tensor:
        """Draw weights (R * n_copies, n) as the module does, seeded from the stream."""
        seeds = rng.integers(2**62, n_copies).flatten().tolist()
        return torch.stack([_flat(_made(self._factory, seed)) for seed in seeds]).to(
            rng.device, rng.dtype
        )

    def forward(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tape]:
        if torch.is_grad_enabled() and params.requires_grad:
            outputs, buffers = self._run(params, inputs, rng)
            caches = ()
        else:
            outputs, pull_back, *found = vjp(
                lambda weights: self._run(weights, inputs, rng), params, has_aux=True
            )
            buffers = found[0]
            caches = (pull_back,)
        rows = {len(values) for values in self.buffers.values()}
        changed = rng is not None and rows == {len(params)}
        return outputs, Tape((), caches, buffers if changed else NO_BUFFERS)

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Outputs (G, B, n_outputs) for weights (G, n) and inputs (R, B, ...)."""
        return self._run(params, inputs)[0]

    def backward(self, tape: Tape, error: Tensor, *, start: int = 0) -> Tensor:
        return tape.caches[0](error)[0][:, start:]

    def module(self, weights: Tensor) -> nn.Module:
        """Return a new module with weights (n,) and the first replica's buffers, for evaluation."""
        module: nn.Module = _made(self._factory, 0).to(weights.dtype)
        nn.utils.vector_to_parameters(weights.clone(), module.parameters())
        for name, values in self.buffers.items():
            module.get_buffer(name).copy_(values[0])
        return module.eval()

    def state_dict(self, weights: Tensor) -> dict[str, Tensor]:
        """Weights (n,) by the module's names, copied."""
        named = self.module(weights).state_dict()
        return {name: value.clone() for name, value in named.items()}

    def backward_flops(self, start: int = 0) -> int:
        """Cost per example; the whole module is passed, whatever `start`."""
        return self._backward_flops

    def backward_touched(self, start: int = 0) -> Touched:
        """Numbers that a pass back reads and writes, whatever `start`."""
        return self._backward_touched

    def chunk_size(self, batch_size: int) -> int:
        return max(1, self.hardware.chunk_bytes // (2 * self.example_bytes * batch_size))

    def fresh_buffers(self, n_replicas: int) -> Buffers:
        return {
            name: values.expand(n_replicas, *values.shape).clone()
            for name, values in self._first.items()
        }

    def on(self, hardware: Hardware) -> Self:
        twin = super().on(hardware)
        twin._first, twin._constants = (
            moved(buffers, hardware.place, hardware.dtype)
            for buffers in (self._first, self._constants)
        )
        return twin

    def forward_mode(self) -> AbstractContextManager[None]:
        return _plain_kernels() if self._fused else nullcontext()

    def _run(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Buffers]:
        """Outputs (G, B, n_outputs) and buffers (G, ...) after a pass; `rng` where in training."""
        training, n_rows = rng is not None, len(params)
        n_copies = n_rows // len(inputs)
        buffers = {
            name: values.repeat_interleave(n_rows // len(values), 0)
            for name, values in (self.buffers or self.fresh_buffers(1)).items()
        }
        call = partial(self._call, training=training)
        if self._stacks[training]:
            return vmap(call)(params, buffers, inputs.repeat_interleave(n_copies, 0))
        draws = rng is not None and self._draws
        seeds = rng.integers(2**62, n_copies).flatten().tolist() if rng and draws else []
        outputs: list[Tensor] = []
        after: list[Buffers] = []
        for row in range(n_rows):
            before = {name: values[row] for name, values in buffers.items()}
            with global_generators(seeds[row]) if draws else nullcontext():
                found = call(params[row], before, inputs[row // n_copies])
            outputs.append(found[0])
            after.append(found[1])
        return torch.stack(outputs), {
            name: torch.stack([values[name] for values in after]) for name in buffers
        }

    def _call(
        self, weights: Tensor, buffers: Buffers, x: Tensor, training: bool
    ) -> tuple[Tensor, Buffers]:
        """Outputs (B, n_outputs) of one copy, and its buffers after the pass."""
        parts = weights.split([shape.numel() for shape in self._shapes.values()])
        named = {
            name: part.view(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        # a copy to be written to, which under vmap is as many as there are weights
        zero = weights.new_zeros(())
        named |= self._constants
        named |= {
            name: values.to(weights.dtype) + zero
            if values.is_floating_point()
            else values + zero.to(values.dtype)
            for name, values in buffers.items()
        }
        narrow = self.hardware.precision == "bfloat16"
        with _Narrowing(self.hardware) if narrow else nullcontext():
            outputs = functional_call(self.template.train(training), named, (x,))
        return outputs, {name: named[name].detach() for name in buffers}

    def _count(self, spec: TaskSpec) -> None:
        """Count, by torch, the operations of a pass forward and back, and refuse what fails."""
        x = _examples(spec)[:1]
        weights = self._weights.clone().requires_grad_()
        with _refused(f"a module for inputs of shape {spec.input_shape}"):
            with FlopCounterMode(display=False) as usual:
                outputs, _ = self._call(weights, {}, x, training=False)
            allowed = f"a module whose outputs have shape (B, {spec.n_outputs})"
            require("factory", allowed, tuple(outputs.shape), outputs.shape == (1, spec.n_outputs))
            with (
                _plain_kernels(),
                FlopCounterMode(display=False) as forward,
                _touched(self.template) as touched,
            ):
                outputs, _ = self._call(weights, {}, x, training=False)
            with _plain_kernels(), FlopCounterMode(display=False) as backward:
                outputs.sum().backward()
        self.forward_flops, self._backward_flops = (
            counter.get_total_flops() for counter in (forward, backward)
        )
        self.forward_touched, self._backward_touched = total(touched), touched_back(touched)
        self._fused = usual.get_total_flops() < self.forward_flops
        require(
            "factory",
            "a module with products that torch can count",
            type(self.template).__name__,
            self.forward_flops > 0,
        )

    def _try(self, spec: TaskSpec) -> None:
        """Train once: what it draws, what it changes, and whether copies of it can be stacked."""
        x = _examples(spec)
        buffers = {name: values.clone() for name, values in self.template.named_buffers()}
        with _refused("a module that can be trained on a batch"), global_generators(0):
            before = torch.get_rng_state()
            _, after = self._call(self._weights, buffers, x, training=True)
            self._draws = not torch.equal(before, torch.get_rng_state())
        self._first = {
            name: values for name, values in buffers.items() if not after[name].equal(values)
        }
        self._constants = {
            name: values for name, values in buffers.items() if name not in self._first
        }
        try:
            self._call(self._weights, buffers, x[:1], training=True)
        except Exception:  # torch raises what it will
            self.fewest = len(x)
        self._stacks = {False: True, True: not self._draws}
        for training, possible in self._stacks.items():
            self._stacks[training] = possible and self._passes(x, training)
            with _refused("a module that torch.func.vjp can differentiate"):
                self._pass(x, training)

    def _passes(self, x: Tensor, training: bool) -> bool:
        """Say whether two copies can be evaluated as one, and differentiated."""
        try:
            with catch_warnings():
                filterwarnings("error", "There is a performance drop")  # no faster than one by one
                self._pass(x, training)
        except Exception:  # torch raises what it will
            return False
        return True

    def _pass(self, x: Tensor, training: bool) -> None:
        """Evaluate two copies, forward and back."""
        params, inputs = self._weights.expand(2, -1), x.expand(2, *x.shape)
        with global_generators(0):
            self.outputs(params, inputs)
            outputs, tape = self.forward(
                params, inputs, Stream("try", [0, 1]) if training else None
            )
            self.backward(tape, torch.ones_like(outputs))


# what makes products of its tensors, by the names that torch's functions go by
PRODUCTS = frozenset(
    {
        *("linear", "bilinear", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "einsum"),
        *("addmm", "addbmm", "baddbmm", "addmv", "scaled_dot_product_attention"),
    }
)


class _Narrowing(TorchFunctionMode):
    """Makes a module's products in bfloat16, as `torch.autocast` does, which no transform keeps.

    What torch does in one go, a recurrence or `nn.MultiheadAttention`, stays as it is.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__()
        self._hardware = hardware

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in PRODUCTS:
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, self._hardware.narrowed, (args, kwargs))
        return self._hardware.widened(func(*args, **kwargs))


def _made(factory: Callable[[], Any], seed: int) -> Any:
    """Call a factory; what it draws follows from the seed."""
    with global_generators(seed):
        return factory()


def _flat(module: nn.Module) -> Tensor:
    """Its weights (n,), end to end."""
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def _examples(spec: TaskSpec) -> Tensor:
    """Two inputs of noise: one alone cannot be normalised."""
    rng = Stream("try", [0])
    shape = (2, *spec.input_shape)
    return (rng.integers(spec.n_symbols, *shape) if spec.n_symbols else rng.normal(*shape))[0]


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Run recurrences and attention step by step.

    Torch counts no operations of the kernels that do so in one go, and has no derivative of theirs
    in forward mode.
    """
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    with catch_warnings():
        simplefilter("ignore")  # of other machines' precision, whatever is set
        try:
            with mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            mha.set_fastpath_enabled(fast)


@contextmanager
def _touched(module: nn.Module) -> Iterator[list[Touched]]:
    """List what each layer reads and writes as one example passes: modules that have no children.

    So does one that has weights of its own; what is calculated between them is not seen, and what
    returns its input, perhaps in another shape, moves nothing.
    """
    found: list[Touched] = []

    def note(layer: nn.Module, given: Any, made: Any) -> None:
        before, after = (
            [x for x in tree_leaves(of) if isinstance(x, Tensor)] for of in (given, made)
        )
        same = {x.untyped_storage().data_ptr() for x in before}
        moves = any(x.untyped_storage().data_ptr() not in same for x in after)
        values = sum(x.numel() for x in (*before, *after)) if moves else 0
        weights = sum(weight.numel() for weight in layer.parameters(recurse=False))
        found.append(Touched(values, weights))

    layers = [
        part
        for part in module.modules()
        if not any(part.children()) or any(True for _ in part.parameters(recurse=False))
    ]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _templates(factory: Callable[[], Any], arguments: str) -> tuple[nn.Module, nn.Module]:
    """Make two modules; refuse them if their weights cannot all be trained."""
    with _refused(f"a function of {arguments} that makes a module"):
        module, other = (_made(factory, seed) for seed in (0, 1))
    kind = type(module).__name__
    require(
        "factory", "a function that returns a torch.nn.Module", kind, isinstance(module, nn.Module)
    )
    others = dict(other.named_buffers())
    drawn = [name for name, values in module.named_buffers() if not values.equal(others[name])]
    require(
        "factory", "a module that draws no buffer", f"{kind} with {', '.join(drawn)}", not drawn
    )
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
    return module, other


@contextmanager
def _refused(allowed: str) -> Iterator[None]:
    """Turn whatever somebody else's code raises into one line."""
    try:
        yield
    except InputError:
        raise
    except STRANGE as error:
        said = " ".join(str(error).split()) or "no message"
        raise InputError(
            f"factory must be {allowed}, got {type(error).__name__}: {said}"
        ) from error
