"""Arrays in an .npz file, as NumPy's `savez` writes it.

Source      A file with an array of inputs, named `X`, `x`, `inputs`, `images`, `features`, `data`,
            and one of targets, named `y`, `Y`, `targets`, `target`, `labels` or `label`, or as
            `inputs` and `targets` say. With the name of a split behind or before (`X_train`,
            `val_images`), each split has its own. Python objects are never unpickled.
Examples    A row each. Inputs are, by their shape,
              (N, F)        features: each standardised by the training part
              (N, F)        with `symbols`: sequences of whole numbers >= 0
              (N, H, W)     grey images: scaled as one, like those in channels,
              (N, C, H, W)  or (N, H, W, C), where C is what is 1, 3 or 4
            Targets that are whole numbers, truth values or texts are classes; others, (N,) or
            (N, n_outputs), are values.
Splits      Those with arrays of their own are fixed; the others are drawn by seed and stratified by
            class: 15 % of the examples that are in no fixed split for each.
Chance      The share of the most frequent class; R2 = 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile
from zlib import error as CorruptError

import numpy as np

from beyond.architectures import cnn, mlp
from beyond.contracts import SPLITS, TargetKind, TaskSpec
from beyond.data.arrays import Examples
from beyond.data.given import (
    SPLIT_NAMES,
    FileTask,
    Stamp,
    Targets,
    counted,
    listed,
    of_classes,
    of_values,
    require_room,
    stamp,
)
from beyond.data.screening import LARGEST
from beyond.errors import InputError, require, require_one_of
from beyond.settings import Text, settings

INPUTS = ("X", "x", "inputs", "images", "features", "data")
TARGETS = ("y", "Y", "targets", "target", "labels", "label")
CHANNELS = (1, 3, 4)
MOST_SYMBOLS = 1 << 16
KINDS = {"b": "truth values", "c": "complex numbers", "U": "texts", "S": "texts"}
WHOLE = ""  # in place of a split: all examples


@dataclass(frozen=True)
class Loaded:
    """What is used of a file.

    Attributes
    ----------
    inputs, targets : array of shape (N, ...)
        Rows that train, then those of the fixed validation and test splits.
    names : tuple of str
        Of the arrays that they are from, as `X` or `X_train, X_test`.
    n_validation, n_test : int, optional
        Sizes of the fixed splits.
    """

    inputs: np.ndarray
    targets: np.ndarray
    names: tuple[str, str]
    n_validation: int | None
    n_test: int | None


@settings(kw_only=True)
class Arrays(FileTask):
    """Predict one array of an .npz file from another.

    Parameters
    ----------
    path : str
        The .npz file.
    inputs, targets : str, optional
        Names of the arrays, without that of a split; None: the usual ones.
    kind : {"classes", "values"}, optional
        What targets are; None: whole numbers, truth values and texts are classes.
    symbols : bool
        Whether rows of whole numbers are sequences of symbols, rather than features.
    channels : {"first", "last"}, optional
        Where images of four axes have theirs; None: where there are 1, 3 or 4.
    """

    inputs: Text | None = None
    targets: Text | None = None
    kind: Literal["classes", "values"] | None = None
    symbols: bool = False
    channels: Literal["first", "last"] | None = None

    def __post_init__(self) -> None:
        _ = self._values, self._targets  # refused now if they cannot be used
        super().__post_init__()

    @property
    def spec(self) -> TaskSpec:
        shape = self._values.shape[1:]
        n_symbols = int(self._values.max()) + 1 if self.symbols else 0
        if n_symbols:
            network = mlp.MLP(hidden=(64,))
        else:
            images = len(shape) == 3
            network = cnn.suited(shape) if images else mlp.suited(len(self._values))
        return self._targets.spec(f"arrays/{self._file.stem}", shape, network, n_symbols)

    def examples(self) -> Examples:
        loaded, values = self._loaded, self._values
        scaling = "none" if self.symbols else "whole" if values.ndim == 4 else "feature"
        sizes = loaded.n_test, loaded.n_validation
        return Examples(values, self._targets.values, sizes[0], scaling, sizes[1])

    def _told(self) -> list[str]:
        loaded, values = self._loaded, self._values
        length = values.shape[1]
        if self.symbols:
            what = f"sequences of {length} symbols of {self.spec.n_symbols}"
        elif values.ndim == 4:
            what = f"images, {'x'.join(map(str, values.shape[2:]))} in {counted(length, 'channel')}"
        else:
            what = counted(length, "feature")
            if loaded.inputs.dtype.kind in "iu":
                what += " (task.symbols=true takes them as symbols)"
        return [
            f"{self._file}: {counted(len(values), 'example')}",
            f"inputs {loaded.names[0]}: {loaded.inputs.dtype}, {what}",
            f"targets {loaded.names[1]}: {loaded.targets.dtype}, {self._targets.told()}",
        ]

    @cached_property
    def _loaded(self) -> Loaded:
        require_one_of("the ending of task.path", (".npz",), self._file.suffix.lower())
        return _load(self._file, stamp(self._file), self.inputs, self.targets)

    @cached_property
    def _values(self) -> np.ndarray:
        """Inputs (N, features), (N, length) or (N, channels, height, width)."""
        return self._inputs(self._loaded.inputs, f"{self._file}: {self._loaded.names[0]}")

    def encode(self, inputs: Any) -> np.ndarray:
        """Return inputs of the file's form as the network sees them."""
        return self._inputs(np.asarray(inputs), "inputs")

    def _inputs(self, array: np.ndarray, where: str) -> np.ndarray:
        if array.dtype.kind not in "biuf":
            raise InputError(f"{where} must be numbers, got {_kind(array)}")
        if array.ndim not in (2, 3, 4) or not array.size:
            raise InputError(
                f"{where} must be (N, features), (N, height, width) or those in channels, "
                f"got {array.shape}"
            )
        if self.symbols:
            return _symbols(array, where)
        if array.ndim == 4:
            array = np.moveaxis(array, self._axis(array.shape, where), 1)
        values = array[:, None] if array.ndim == 3 else array
        if values.dtype not in (np.uint8, np.float32):  # torch lacks some of the others
            values = values.astype(float)
        return np.ascontiguousarray(values)

    def _axis(self, shape: tuple[int, ...], where: str) -> int:
        """Where images have their channels."""
        places = [axis for axis in (1, 3) if shape[axis] in CHANNELS]
        if self.channels is not None:
            return 1 if self.channels == "first" else 3
        if len(places) != 1:
            raise InputError(f"{where} has the shape {shape}: task.channels must be first or last")
        return places[0]

    @cached_property
    def _targets(self) -> Targets:
        loaded, array = self._loaded, self._loaded.targets
        where, letter = f"{self._file}: {loaded.names[1]}", array.dtype.kind
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if letter not in "biufUS" or array.ndim not in (1, 2):
            raise InputError(
                f"{where} must be numbers or texts, (N,) or (N, outputs), got {_kind(array)} of "
                f"shape {array.shape}"
            )
        kind = self.kind or (TargetKind.VALUES if letter == "f" else TargetKind.CLASSES)
        if kind == TargetKind.VALUES:
            require("task.kind", f"classes where targets are {_kind(array)}", kind, letter in "iuf")
            return of_values(array.reshape(len(array), -1).astype(float), where)
        if array.ndim == 2:
            raise InputError(
                f"{where} has the shape {array.shape}: a class is one number for each example; "
                "task.kind=values predicts all of them"
            )
        if letter == "f" and (array % 1).any():
            raise InputError(f"{where} has {array[array % 1 != 0][0]}: task.kind must be values")
        names, codes = np.unique(array.astype(int) if letter == "f" else array, return_inverse=True)
        texts = [name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist()]
        fixed = loaded.n_validation, loaded.n_test
        hint = "; task.kind=values predicts the number" if letter in "iuf" else ""
        return of_classes(codes.astype(np.int64), texts, where, fixed, hint=hint)


def _kind(array: np.ndarray) -> str:
    return KINDS.get(array.dtype.kind, str(array.dtype))


def _symbols(array: np.ndarray, where: str) -> np.ndarray:
    """Sequences as int64; `InputError` for what are none."""
    if array.ndim != 2 or array.dtype.kind not in "iu":
        allowed = "whole numbers (N, length) where task.symbols is set"
        raise InputError(f"{where} must be {allowed}, got {_kind(array)} of shape {array.shape}")
    odd = (array < 0) | (array >= MOST_SYMBOLS)
    if odd.any():
        row, column = (int(index) for index in np.argwhere(odd)[0])
        got = f"{array[row, column]} in row {row}, column {column}"
        raise InputError(f"{where} must be symbols in [0, {MOST_SYMBOLS}), got {got}")
    return array.astype(np.int64)


@lru_cache(maxsize=4)
def _load(file: Path, changed: Stamp, inputs: str | None, targets: str | None) -> Loaded:  # noqa: ARG001
    """Read the arrays that are used, once for each version of the file."""
    try:
        with ZipFile(file) as archive:  # which says how large its arrays are
            require_room(file, sum(entry.file_size for entry in archive.infolist()))
        with np.load(file, allow_pickle=False) as archive:
            found = archive.files
            chosen = {
                "inputs": _chosen(file, found, "inputs", inputs, INPUTS),
                "targets": _chosen(file, found, "targets", targets, TARGETS),
            }
            arrays = {
                what: {split: _read(archive, file, name) for split, name in names.items()}
                for what, names in chosen.items()
            }
    except (BadZipFile, CorruptError, EOFError, RuntimeError, MemoryError) as error:
        raise InputError(f"{file} is no .npz file, or damaged: {error}") from None
    first, second = (list(names.values()) for names in chosen.values())
    if set(chosen["inputs"]) != set(chosen["targets"]):
        raise InputError(f"{file} has inputs {', '.join(first)} and targets {', '.join(second)}")
    for split, name in chosen["inputs"].items():
        sizes = [len(arrays[what][split]) for what in arrays]
        if sizes[0] != sizes[1]:
            other = chosen["targets"][split]
            raise InputError(f"{file}: {name} has {sizes[0]:,} rows, {other} has {sizes[1]:,}")
    n_rows = {split: len(array) for split, array in arrays["inputs"].items()}
    return Loaded(
        _joined(file, first, arrays["inputs"]),
        _joined(file, second, arrays["targets"]),
        (", ".join(first), ", ".join(second)),
        n_rows.get("validation"),
        n_rows.get("test"),
    )


def _chosen(
    file: Path, found: Iterable[str], setting: str, given: str | None, usual: Iterable[str]
) -> dict[str, str]:
    """Return the name of the array of each split, in order, or of the whole."""
    for stem in [given] if given else usual:
        names = dict[str, str]()
        for name in found:
            split = WHOLE if name == stem else _split_in(name, stem)
            if split is None:
                continue
            if split in names or (names and WHOLE in (split, *names)):
                both = f"{next(iter(names.values()))} and {name}"
                raise InputError(f"{file} must have one array for each split, or one, got {both}")
            names[split] = name
        if names and "train" not in names and WHOLE not in names:
            raise InputError(f"{file} has {', '.join(names.values())}, and none to train on")
        if names:
            return {split: names[split] for split in (WHOLE, *SPLITS) if split in names}
    known = f"{given!r}" if given else f"{', '.join(usual)}"
    raise InputError(
        f"{file} has no array {known}; "
        f"task.{setting} may name one of {listed(list(found)) or 'none'}"
    )


def _split_in(name: str, stem: str) -> str | None:
    """Return the split that a name says besides the stem: `X_train`, `val_images`; None if none."""
    return next(
        (
            split
            for alias, split in SPLIT_NAMES.items()
            if name in (f"{stem}_{alias}", f"{alias}_{stem}")
        ),
        None,
    )


def _read(archive: np.lib.npyio.NpzFile, file: Path, name: str) -> np.ndarray:
    """One array; `InputError` for objects, for none or no rows, and for what is not finite."""
    try:
        array = archive[name]
    except ValueError as error:
        objects = "Object arrays" in str(error)
        what = "holds Python objects, which are not read" if objects else f"is damaged: {error}"
        raise InputError(f"{file}: {name} {what}") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: {name} is no array")
    if not array.ndim or not len(array):
        raise InputError(f"{file}: {name} has no rows")
    if array.dtype.kind == "f" and (odd := ~(np.abs(array) <= LARGEST)).any():  # NaN neither
        place = tuple(int(index) for index in np.argwhere(odd)[0])
        value, at = array[place], ", ".join(map(str, place))
        raise InputError(f"{file}: {name}[{at}] is {value}, no finite number of single precision")
    return array


def _joined(file: Path, names: list[str], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Put the arrays of all splits behind one another; `InputError` if they are not alike."""
    first, *others = arrays.values()
    for name, other in zip(names[1:], others, strict=True):
        if other.shape[1:] != first.shape[1:]:
            shapes = f"{names[0]} of {first.shape}, {name} of {other.shape}"
            raise InputError(f"{file} must have arrays of one shape but for the rows, got {shapes}")
    return np.concatenate([first, *others])
