"""Where tensors live and how they are computed with: device, draws, precision, bound of memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor

from beyond.errors import InputError

Value = TypeVar("Value")

# of one chunk's activations: 1 MiB costs 10 % to kernels' start-up, 8 MiB half the speed
CACHE_BYTES = 1 << 21
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
    """

    device: str = "cpu"
    draws: Literal["host", "device"] = "host"

    @classmethod
    def of(cls, device: str, draws: str | None) -> Hardware:
        """Return what settings ask for, on this machine.

        Parameters
        ----------
        device : {"cpu", "cuda", "auto"}
            "auto" is the device that is there.
        draws : {"host", "device"}, optional
            By default on the device.
        """
        found = present(device)
        return cls(found, "host" if found == "cpu" or draws == "host" else "device")

    def require(self) -> None:
        """Raise `InputError` if the device is not there."""
        if self.device != "cpu" and not torch.cuda.is_available():
            raise InputError(
                f"device must be cpu here, got {self.device!r}: torch finds no CUDA device"
            )

    @property
    def differing(self) -> list[str]:
        """What is other than by default, as `name=value`."""
        usual = Hardware(self.device, "host" if self.device == HOST.device else "device")
        found = [] if self.device == HOST.device else [f"device={self.device}"]
        return found + [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(usual, field.name)
        ]

    @property
    def place(self) -> torch.device:
        """Where tensors are, as torch has it: of several devices the first that is visible."""
        return torch.device(self.device, 0) if self.device != "cpu" else torch.device("cpu")

    @property
    def chunk_bytes(self) -> int:
        """What the activations of one chunk of a population may take."""
        return CACHE_BYTES if self.device == "cpu" else DEVICE_BYTES

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


def moved(value: Value, device: torch.device | str) -> Value:
    """Return a value with all tensors in it on a device; itself where they are there already.

    It may be a tensor, a dictionary, a list, a tuple, or a dataclass of such.
    """
    return _moved(value, device)


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(part, device) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(part, device) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {
            field.name: _moved(getattr(value, field.name), device)
            for field in dataclasses.fields(value)
            if field.init
        }
        return replace(value, **parts)
    return value
