"""A device that is not there: tensors that say they are on it, and compute on the CPU.

Where torch would refuse to mix tensors of two devices, so does this; where the host would wait for
a number, this counts. As the numbers are there, whole runs work, whatever they decide by them, and
must end with the CPU's tables. (Torch's fake tensors have shapes alone: a rule that looks at a loss
stops them.)
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from beyond import streams
from beyond.hardware import Hardware

# the one type of device that torch knows everywhere, and has no kernels for that could mislead
HARDWARE = Hardware("meta")
aten = torch.ops.aten
# from device to device
COPIES = frozenset({aten.copy_.default, aten._to_copy.default, aten.to.dtype_layout})
TORCH = str(Path(torch.__file__).parent)
READ = frozenset({aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default})


class Elsewhere(Tensor):
    """A tensor that says it is on the device; its numbers are in `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=HARDWARE.place,
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def new_tensor(self, data: Any, **settings: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device, **settings})

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"a tensor on {self.device} is no array: copy it to the host, .cpu()")

    __array__ = numpy

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{func} of a tensor on a device that is pretended no longer")


class Pretending(TorchDispatchMode):
    """Hands operations the numbers of their tensors, and says where the results are.

    Attributes
    ----------
    reads : Counter of str
        Operations whose answer the host has waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = Counter[str]()
        self._made = WeakTensorKeyDictionary()  # where each tensor of the CPU's was asked for

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = [tensor for tensor in given if isinstance(tensor, Elsewhere)]
        to = kwargs.get("device")
        if to is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
            to = torch.device(to).type
        if not there and to in (None, "cpu"):
            return self._noted(func(*args, **kwargs))
        if len(there) < len(given) and func not in COPIES:
            self._require_one_device(func, given)
        if func in READ or to == "cpu":
            self.reads[str(func)] += 1
        if func is aten._efficientzerotensor.default:  # without numbers, as some tangents are
            func = aten.zeros.default
        found = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if to == "cpu":
            return self._noted(found)
        if torch.Tag.inplace_view in func.tags:  # the tensor's shape, too
            with no_dispatch():
                func(*args, **kwargs)
        # what is changed in place stays the tensor that it was
        known = {id(_held(tensor)): tensor for tensor in given}
        return tree_map(
            lambda value: (
                known.get(id(value), Elsewhere(value)) if isinstance(value, Tensor) else value
            ),
            found,
        )

    def _noted(self, found: Any) -> Any:
        """Note for tensors of the CPU's which line asks for them, not of torch's."""
        frame = sys._getframe(2)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(TORCH):
            frame = frame.f_back
        place = f" (made in {frame.f_code.co_filename}, line {frame.f_lineno})"
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._made[tensor] = place
        return found

    def _require_one_device(self, func: Any, given: list[Tensor]) -> None:
        """Raise `RuntimeError`, as torch does, where an operation mixes devices.

        A single number of the host's may meet a tensor of the device, value by value.
        """
        single = torch.Tag.pointwise in func.tags or func.namespace == "prims"
        strays = [
            f"{tuple(tensor.shape)}{self._made.get(tensor, '')}"
            for tensor in given
            if not isinstance(tensor, Elsewhere) and (tensor.dim() or not single)
        ]
        if strays:
            raise RuntimeError(
                f"{func} is given tensors of two devices: that of shape {' and '.join(strays)} is "
                "on the CPU; make it where its operands are (device=x.device, x.new_zeros, "
                "ones_like, ...)"
            )


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


@contextmanager
def pretended() -> Iterator[Pretending]:
    """Pretend that there is a device; generators on it draw what the CPU's do."""
    torch._C._set_only_lift_cpu_tensors(True)  # numbers become a tensor, which then is copied there
    try:
        with patch.object(streams, "Generator", lambda _: torch.Generator()), Pretending() as mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
