"""A data set of the Hugging Face hub, or in that form (Lhoest et al., 2021).

Source      The library `datasets`, the extra `huggingface` of this project. A folder that
            `save_to_disk` wrote; or what `load_dataset` takes: a folder of files, or a name on the
            hub, downloaded once into the library's cache. arXiv 2109.02846.
Licence     Of each data set: see its page there.
Examples    A row each. What a network sees is, as settings and columns say,
              an image     where a column has some, or `image` names it: as in `task=images`
              a text       where `text` names the column: as in `task=text`
              the columns  of numbers, truth values, dates and texts: as in `task=table`
            The target is taken as in `task=table`; a column of class labels has their names.
Splits      Those called train, validation and test are fixed; one of the last two that is not
            there, or has no targets, is drawn by seed from the first. Others are left out. Without
            any, splits are drawn as in `task=table`.
Chance      The share of the most frequent class; R2 = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from beyond.architectures import cnn, mlp
from beyond.architectures.bag import Bag
from beyond.contracts import SPLITS, TaskSpec
from beyond.data.columns import ColumnsTask
from beyond.data.features import labelled
from beyond.data.given import (
    SPLIT_NAMES,
    Seen,
    Stamp,
    files_below,
    first_line,
    listed,
    require_room,
    stamp,
)
from beyond.data.images import ImageSettings, see_images
from beyond.data.tables import Frame
from beyond.data.texts import TextSettings, see_texts
from beyond.errors import InputError, MissingDataError, require
from beyond.files import expanded
from beyond.settings import Text, settings

SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes


@dataclass(frozen=True, eq=False)
class Loaded:
    """What is used of a data set.

    Attributes
    ----------
    rows : datasets.Dataset
        Those that train, then those of the fixed validation and test splits.
    target : str
        Name of the column to predict.
    n_validation, n_test : int, optional
        Sizes of the fixed splits.
    left_out : dict of str to str
        Splits that are not used, and why.
    """

    rows: Any
    target: str
    n_validation: int | None
    n_test: int | None
    left_out: dict[str, str]

    @cached_property
    def frame(self) -> Frame:
        """Columns of numbers, truth values, texts, dates and class labels, these by their names."""
        datasets = _library()
        features = self.rows.features
        kept = [
            name
            for name, feature in features.items()
            if isinstance(feature, datasets.Value | datasets.ClassLabel)
            and "binary" not in feature.dtype
        ]
        return _framed(self.rows, kept)

    @property
    def images(self) -> list[str]:
        """Names of the columns of images."""
        datasets = _library()
        features = self.rows.features.items()
        return [name for name, feature in features if isinstance(feature, datasets.Image)]

    @property
    def unread(self) -> dict[str, str]:
        """Columns that are not in the frame, and what they have."""
        images = self.images
        return {
            name: "images" if name in images else "neither numbers nor texts"
            for name in self.rows.column_names
            if name not in self.frame
        }


@settings(kw_only=True)
class HuggingFace(TextSettings, ImageSettings, ColumnsTask):
    """Predict one column of a data set from an image, a text, or the other columns.

    Parameters
    ----------
    path : str
        A folder, or the data set's name on the hub.
    config : str, optional
        Which of several data sets of that name.
    revision : str, optional
        Which version on the hub: a commit, branch or tag; None: the newest.
    target : str, optional
        Name of the column to predict; None: the only one of class labels.
    text : str, optional
        Name of the column whose texts are read; None: none is.
    image : str, optional
        Name of the column whose images are seen; None: where there is one, and no `text`, that.
    rare : int, >= 1
        A text in a column, or a word, with fewer training examples than this is taken as none.
    """

    PACKAGES: ClassVar = ("datasets", "pandas", "pillow")

    path: Text
    config: Text | None = None
    revision: Text | None = None
    target: Text | None = None
    text: Text | None = None
    image: Text | None = None

    def __post_init__(self) -> None:
        both = f"null where task.text is set, to {self.text!r}"
        require("task.image", both, self.image, self.image is None or self.text is None)
        super().__post_init__()

    @property
    def spec(self) -> TaskSpec:
        seen = self._seen
        if seen.n_symbols:
            network = Bag()
        elif seen.values.ndim > 2:
            network = cnn.suited(seen.values.shape[1:])
        else:
            network = mlp.suited(len(seen.values))
        parts = [expanded(self.path).resolve().name, self.config]
        return self._spec(f"huggingface/{'-'.join(filter(None, parts))}", network)

    def _told(self) -> list[str]:
        first, *others = super()._told()
        left_out = self._loaded.left_out.items()
        return [first, *(f"left out {split}: {why}" for split, why in left_out), *others]

    @property
    def _where(self) -> str:
        return self.path if self.config is None else f"{self.path} ({self.config})"

    @property
    def _loaded(self) -> Loaded:
        return _load(self.path, self.config, self.revision, self.target, _stamps(self.path))

    @property
    def _frame(self) -> Frame:
        return self._loaded.frame

    @property
    def _names(self) -> list[str]:
        return self._loaded.rows.column_names

    @property
    def _target(self) -> str:
        return self._loaded.target

    @property
    def _fixed(self) -> tuple[int | None, int | None]:
        return self._loaded.n_validation, self._loaded.n_test

    @property
    def _apart(self) -> Mapping[str, tuple[str, ...]]:
        text = {} if self.text is None else {"task.text": (self.text,)}
        unread = self._loaded.unread
        ignored = tuple(name for name in self.ignore if name not in unread)
        return {**text, **super()._apart, "task.ignore": ignored}

    @cached_property
    def _image(self) -> str | None:
        """Name of the column whose images are seen, where no text is read; None if none are."""
        images = [name for name in self._loaded.images if name not in self.ignore]
        if self.image is not None:
            allowed = listed(images) or "null: no column has images"
            require("task.image", allowed, self.image, self.image in images)
            return self.image
        if not images:
            return None
        if len(images) > 1:
            raise InputError(
                f"{self._where}: task.image must name one of {listed(images)}, or task.ignore all"
            )
        return images[0]

    @cached_property
    def _seen(self) -> Seen:
        unread = self._loaded.unread
        if self.text is not None:
            column = self._frame[self.text]
            seen = see_texts(self.text, column, self._where, self, self.rare)
            dropped = self._dropped(self.text, "only the text is read")
        elif self._image is not None:
            seen = _see(self._loaded, self._where, self._image, self.size, self.mode)
            dropped = self._dropped(self._image, "only the image is seen")
        else:
            seen = super()._seen
            dropped = [f"dropped {name}: {why}" for name, why in unread.items()]
        return replace(seen, told=(*seen.told, *dropped))

    def _dropped(self, seen: str, why: str) -> list[str]:
        aside = {seen, self._target, self.group, self.time}
        others = [name for name in self._names if name not in aside]
        return [f"dropped {listed(others)}: {why}"] if others else []


@lru_cache(maxsize=4)
def _load(
    path: str,
    config: str | None,
    revision: str | None,
    target: str | None,
    changed: tuple[Stamp, ...] | None,  # noqa: ARG001
) -> Loaded:
    """Read a data set, once for each version of its files; one clear line if it cannot be."""
    datasets = _library()
    parts, left_out = _parts(_found(path, config, revision), path)
    target = target or _only_labels(parts["train"].features, path)
    for split in ("validation", "test"):
        if split in parts and (lack := _lack(parts[split], target)):
            left_out[split] = lack
            del parts[split]
    try:
        rows = datasets.concatenate_datasets(list(parts.values()))
    except ValueError as error:
        said = first_line(error)
        raise InputError(f"{path} must have the same columns in every split: {said}") from None
    require_room(path, rows.data.nbytes)
    sizes = {split: len(part) for split, part in parts.items()}
    return Loaded(rows, target, sizes.get("validation"), sizes.get("test"), left_out)


def _library() -> Any:
    """Return the module `datasets`; `InputError` that says how to install it if it is not there."""
    try:
        return import_module("datasets")
    except ImportError as error:
        raise InputError(
            f"task=huggingface needs the library {error.name}, which the extra huggingface brings: "
            "pip install 'beyond-backprop[huggingface]'"
        ) from None


def _found(path: str, config: str | None, revision: str | None) -> Any:
    """Return the data set in a folder or on the hub, a `Dataset` or a dictionary of them."""
    datasets = _library()
    folder = expanded(path)
    there = folder.is_dir()
    saved = there and any((folder / name).is_file() for name in SAVED)
    if saved:
        for setting, value in (("config", config), ("revision", revision)):
            require(f"task.{setting}", "null for what save_to_disk wrote", value, value is None)
    try:
        if saved:
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(folder) if there else path, config, revision=revision)
    except Exception as error:  # of the library, of a reader of files or of the network
        said = first_line(error)
        if there or isinstance(error, ValueError):
            raise InputError(f"{path} cannot be read as a data set: {said}") from None
        raise MissingDataError(
            f"task.path must be a folder, or a data set of the hub: {path!r} is not here, and "
            f"cannot be fetched: {said}"
        ) from None


def _stamps(path: str) -> tuple[Stamp, ...] | None:
    """Say which version of a folder this is; `InputError` for a path that cannot be one."""
    folder = expanded(path)
    if folder.is_dir():
        return tuple(map(stamp, files_below(folder)))
    if folder.exists():
        raise InputError(
            f"task.path must be a folder, or a data set of the hub, got the file {path!r}"
        )
    if folder.is_absolute() or path.startswith(".") or len(folder.parts) > 2:
        raise InputError(f"task.path must be a folder that is there, got {path!r}")
    return None  # of the hub: the library knows


def _parts(found: Any, path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the rows of each split, in order, and the splits that are none of them."""
    if not isinstance(found, dict):
        return {"train": found}, {}
    if len(found) == 1:
        return {"train": next(iter(found.values()))}, {}
    parts, left_out = dict[str, Any](), dict[str, str]()
    for name, rows in found.items():
        split = SPLIT_NAMES.get(str(name).lower())
        if split is None:
            left_out[str(name)] = f"no training, validation or test split, {len(rows):,} rows"
        elif split in parts:
            raise InputError(f"{path} must have one {split} split, got {', '.join(found)}")
        else:
            parts[split] = rows
    if "train" not in parts:
        raise InputError(f"{path} has the splits {', '.join(found)}, and none to train on")
    return {split: parts[split] for split in SPLITS if split in parts}, left_out


def _only_labels(features: Mapping[str, Any], path: str) -> str:
    """Name of the only column of class labels; `InputError` if there is not one."""
    datasets = _library()
    labels = [name for name, one in features.items() if isinstance(one, datasets.ClassLabel)]
    if len(labels) != 1:
        what = f"class labels are in {listed(labels)}" if labels else "no column has class labels"
        raise InputError(
            f"{path}: task.target must be given, one of {listed(list(features))}: {what}"
        )
    return labels[0]


def _lack(rows: Any, target: str) -> str | None:
    """Say what a fixed split lacks: rows, or all targets, as in competitions."""
    if not len(rows):
        return "no rows"
    if target not in rows.column_names:
        return f"no column {target}"
    column = _framed(rows, [target])[target]
    return "no targets" if column.isna().all() else None


def _framed(rows: Any, names: list[str]) -> Frame:
    """Columns as pandas has them, class labels by their names."""
    datasets, frame = _library(), rows.select_columns(names).to_pandas()
    for name in names:
        if isinstance(feature := rows.features[name], datasets.ClassLabel):
            frame[name] = labelled(frame[name], feature.names)
    return frame


@lru_cache(maxsize=4)
def _see(
    loaded: Loaded, where: str, name: str, size: tuple[int, int] | None, mode: str | None
) -> Seen:
    """Read a column of images, once for each version of the data set."""
    datasets = _library()
    encoded = loaded.rows.cast_column(name, datasets.Image(decode=False))[name]
    images = [
        (f"row {number}", _source(image or {})) for number, image in enumerate(encoded, start=1)
    ]
    return see_images(where, images, size, mode)


def _source(image: Mapping[str, Any]) -> Path | bytes:
    """The file of an image, or what it holds; nothing where the image is missing."""
    contents, path = image.get("bytes"), image.get("path")
    return Path(path) if contents is None and path else contents or b""
