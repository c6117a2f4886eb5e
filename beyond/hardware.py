"""Where tensors live and how they are computed with: device, draws, precision, bound of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor

from beyond.errors import InputError

Value = TypeVar("Value")
Precision = Literal["float32", "float64", "bfloat16"]

# of one chunk's activations: 1 MiB costs 10 % to kernels' start-up, 8 MiB half the speed
CACHE_BYTES = 1 << 21
GB = 10**9
DEVICE_BYTES = 1 << 28  # the same where no cache is to be fitted; not measured


@dataclass(frozen=True)
class Hardware:
    """Where a run's tensors live, and how it computes.

    Attributes
    ----------
    device : str
        "cpu" or "cuda".
    draws : {"host", "device"}
        Where a rule and the augmentation draw: on the host they see the numbers that a run on the
        CPU sees. Splits, initial weights and orders are always drawn there.
    precision : {"float32", "float64", "bfloat16"}
        Of weights, data and draws. In double precision they start as the same numbers. In bfloat16
        passes and products of matrices alone are computed; all that is kept is in single precision.
    max_memory : int, optional
        Bytes that the activations of what is evaluated at once may take; by default those of a
        population's chunk fit a cache, and a split is evaluated a few thousand examples at a time.
        What is not cut, a pass of a step and the state, takes less or the run fails.
    """

    device: str = "cpu"
    draws: Literal["host", "device"] = "host"
    precision: Precision = "float32"
    max_memory: int | None = None

    @classmethod
    def of(
        cls,
        device: str,
        draws: str | None = None,
        precision: Precision = "float32",
        max_memory: float | None = None,
    ) -> Hardware:
        """Return what settings ask for, on this machine.

        Parameters
        ----------
        device : {"cpu", "cuda", "auto"}
            "auto" is the device that is there.
        draws : {"host", "device"}, optional
            By default on the device.
        precision : {"float32", "float64", "bfloat16"}
        max_memory : float, optional
            In GB.
        """
        found = present(device)
        on_host = found == "cpu" or draws == "host"
        most = None if max_memory is None else round(max_memory * GB)
        return cls(found, "host" if on_host else "device", precision, most)

    @property
    def on_host(self) -> Hardware:
        """The same on the CPU, where what was learnt is used."""
        return replace(self, device="cpu", draws="host")

    @property
    def exact(self) -> Hardware:
        """The same with passes in single precision at least, which others are measured by."""
        return self if self.precision == "float64" else replace(self, precision="float32")

    def require(self) -> None:
        """Raise `InputError` if the device is not there."""
        if self.device != "cpu" and not torch.cuda.is_available():
            raise InputError(
                f"device must be cpu here, got {self.device!r}: torch finds no CUDA device"
            )

    @property
    def differing(self) -> list[str]:
        """What is other than by default, as `name=value`."""
        on_cpu = self.device == HOST.device
        told = {
            f"device={self.device}": not on_cpu,
            f"draws={self.draws}": self.draws == "host" and not on_cpu,
            f"precision={self.precision}": self.precision != HOST.precision,
            f"max_memory={(self.max_memory or 0) / GB:g}": self.max_memory is not None,
        }
        return [name for name, differs in told.items() if differs]

    @property
    def place(self) -> torch.device:
        """Where tensors are, as torch has it: of several devices the first that is visible."""
        return torch.device(self.device, 0) if self.device != "cpu" else torch.device("cpu")

    @property
    def chunk_bytes(self) -> int:
        """What the activations of one chunk of a population may take."""
        usual = CACHE_BYTES if self.device == "cpu" else DEVICE_BYTES
        return min(usual, self.max_memory or usual)

    def at_once(self, usual: int, size: int) -> int:
        """How many to evaluate at once, of so many bytes each: as many as usual, if they fit."""
        return usual if self.max_memory is None else max(1, min(usual, self.max_memory // size))

    def require_room(self, size: int, what: str) -> None:
        """Raise `MemoryError` where something that cannot be cut takes more than `max_memory`."""
        if self.max_memory is not None and size > self.max_memory:
            most = f"max_memory is {self.max_memory / GB:g}"
            raise MemoryError(f"{what} take {size / GB:.3g} GB, {most}")

    @property
    def dtype(self) -> torch.dtype:
        """Type of weights, data and draws that are no whole numbers."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def itemsize(self) -> int:
        """Bytes of a number within a pass."""
        return getattr(torch, self.precision).itemsize

    def narrowed(self, values: Tensor) -> Tensor:
        """Return what a product is to be made of: in bfloat16 instead of single precision."""
        narrow = self.precision == "bfloat16" and values.dtype is torch.float32
        return values.bfloat16() if narrow else values

    def widened(self, values: Tensor) -> Tensor:
        """Return what a pass or a product has made: not in bfloat16, in which nothing is kept."""
        return single(values) if self.precision == "bfloat16" else values

    @property
    def told(self) -> str:
        """Name of the device, for people."""
        return self.device if self.device == "cpu" else torch.cuda.get_device_name(self.place)

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        """Compute on a device in the order that is the same each time, and in full precision.

        Where torch has no such order for an operation, it warns. On the CPU that is so anyway.
        """
        if self.device == "cpu":
            yield
            return
        before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        )
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[2:]

    def wait(self) -> None:
        """Let the device finish what it was told: the clock is to be read."""
        if self.device == "cuda" and torch.cuda.is_initialized():
            torch.cuda.synchronize()


HOST = Hardware()


def present(device: str) -> str:
    """Return a device's name; of "auto" that of the one that is there."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


class Movable(Protocol):
    """What can be had on other hardware, such as splits."""

    def on(self, hardware: Hardware) -> Self:
        """Return the same there."""
        ...


Thing = TypeVar("Thing", bound=Movable)


def placed(thing: Thing, hardware: Hardware) -> Thing:
    """Return it on the hardware; as it is where that is the CPU, where everything is made."""
    return thing if hardware == HOST else thing.on(hardware)


def single(values: Tensor) -> Tensor:
    """Return values to sum up: in single precision instead of bfloat16."""
    return values.float() if values.dtype is torch.bfloat16 else values


def moved(value: Value, device: torch.device | str, dtype: torch.dtype | None = None) -> Value:
    """Return a value with all tensors in it on a device, real numbers in a type if one is given.

    It may be a tensor, a dictionary, a list, a tuple, or a dataclass of such.
    """
    return _moved(value, device, dtype)


def _moved(value: Any, device: torch.device | str, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if isinstance(value, dict):
        return {name: _moved(part, device, dtype) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(part, device, dtype) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(part, device, dtype) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {
            field.name: _moved(getattr(value, field.name), device, dtype)
            for field in dataclasses.fields(value)
            if field.init
        }
        return replace(value, **parts)
    return value


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that memory could not be had, on a device or on the host."""
    on_host = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return on_host or isinstance(error, MemoryError | torch.OutOfMemoryError)


def within_memory(size: int, compute: Callable[[int], Value]) -> Value:
    """Compute something in parts of a size, and again in half of it should memory run out."""
    try:
        return compute(size)
    except (MemoryError, RuntimeError) as error:
        if size < 2 or not out_of_memory(error):
            raise
    if torch.cuda.is_initialized():  # what failed is let go of only here, behind its error
        torch.cuda.empty_cache()
    return compute(size // 2)
