"""Images in a folder of folders, one for each class.

Source      A folder. Each folder in it is a class of that name; the PNG, JPEG, GIF and BMP files
            below are its images. Or it has the folders `train`, `validation` (or `val`) and `test`,
            each with the classes in it; of the last two, one or both may be missing.
Examples    An image each: turned as the camera noted, the first frame of an animation, 8 bits a
            channel, on white where it is transparent, resized (bilinear) to one `size`. Unless
            set, that is the median height and width of the files, shrunk together to fit into
            32x32; and there is one channel if all images are grey, otherwise three. Pixels are
            scaled as one to mean 0 and standard deviation 1 over the training part.
Splits      Those that are folders are fixed; the others are drawn by seed and stratified by class:
            15 % of the images that are in no fixed split for each.
Chance      The share of the most frequent class.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from beyond.architectures import cnn
from beyond.contracts import TaskSpec
from beyond.data.arrays import Examples
from beyond.data.given import (
    HIDDEN,
    SPLIT_NAMES,
    FileTask,
    Seen,
    Stamp,
    Targets,
    counted,
    files_below,
    listed,
    of_classes,
    stamp,
)
from beyond.data.images import FORMATS, ImageSettings, see_images
from beyond.errors import InputError
from beyond.settings import settings


@dataclass(frozen=True)
class Found:
    """What is in a folder of images.

    Attributes
    ----------
    files : tuple of Path
        Those that train, then those of the fixed validation and test splits.
    classes : tuple of str
        The class of each.
    n_validation, n_test : int, optional
        Sizes of the fixed splits.
    left_out : tuple of Path
        Other files.
    """

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    n_validation: int | None
    n_test: int | None
    left_out: tuple[Path, ...]


@settings(kw_only=True)
class Images(ImageSettings, FileTask):
    """Name the class of an image: the folder that it is in.

    Parameters
    ----------
    path : str
        The folder with the classes' folders in it, or with `train`, `validation` and `test`.
    """

    PACKAGES: ClassVar = ("pillow",)

    def __post_init__(self) -> None:
        _ = self._targets, self._seen  # refused now if they cannot be used
        super().__post_init__()

    @property
    def spec(self) -> TaskSpec:
        shape = self._seen.values.shape[1:]
        return self._targets.spec(f"images/{self._file.resolve().name}", shape, cnn.suited(shape))

    def examples(self) -> Examples:
        found, seen = self._found, self._seen
        sizes = found.n_test, found.n_validation
        return Examples(seen.values, self._targets.values, sizes[0], seen.scaling, sizes[1])

    def encode(self, inputs: Any) -> np.ndarray:
        """Return images, files or what these hold, as an array."""
        return self._seen.encode(inputs)

    def _told(self) -> list[str]:
        seen, found = self._seen, self._found
        lines = [f"{self._file}: {counted(len(seen.values), 'image')}", *seen.told]
        if found.left_out:
            endings = Counter(file.suffix.lower() or file.name for file in found.left_out)
            kinds = listed([f"{count} {ending}" for ending, count in sorted(endings.items())])
            lines.append(f"left out: {counted(len(found.left_out), 'other file')} ({kinds})")
        return [*lines, f"target: {self._targets.told()}"]

    @cached_property
    def _found(self) -> Found:
        return _find(self._file)

    @cached_property
    def _seen(self) -> Seen:
        files = self._found.files
        return _read(self._file, files, tuple(map(stamp, files)), self.size, self.mode)

    @cached_property
    def _targets(self) -> Targets:
        found = self._found
        names, codes = np.unique(found.classes, return_inverse=True)
        fixed = found.n_validation, found.n_test
        return of_classes(codes.astype(np.int64), names.tolist(), str(self._file), fixed, "image")


def _find(folder: Path) -> Found:
    """List the images of each class; `InputError` for a folder that does not have the form."""
    if not folder.is_dir():
        what = "a folder" if folder.exists() else "a folder that is there"
        raise InputError(f"task.path must be {what}, got {str(folder)!r}")
    parts = _parts(folder)
    files, classes, sizes = list[Path](), list[str](), dict[str, int]()
    kept = {file for part in parts.values() for file in files_below(part)}
    left_out = [file for file in files_below(folder) if file not in kept]
    for split, part in parts.items():
        before = len(files)
        for file in files_below(part):
            inner = file.relative_to(part).parts
            if len(inner) > 1 and file.suffix.lower() in FORMATS:
                files.append(file)
                classes.append(inner[0])
            else:
                left_out.append(file)
        sizes[split] = len(files) - before
        if not sizes[split]:
            endings = ", ".join(FORMATS)
            raise InputError(
                f"{part} has no folder with images in it, one for each class ({endings})"
            )
    return Found(
        tuple(files), tuple(classes), sizes.get("validation"), sizes.get("test"), tuple(left_out)
    )


def _parts(folder: Path) -> dict[str, Path]:
    """Return the folder of each split, in order; without them the folder is all of `train`."""
    inside = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(HIDDEN)
    )
    named = [(SPLIT_NAMES.get(path.name.lower()), path) for path in inside]
    if "train" not in dict(named):
        return {"train": folder}
    parts = dict[str, Path]()
    for split, path in named:
        if split is None:
            raise InputError(
                f"{folder} must have splits in it or classes, got train and {path.name}"
            )
        if split in parts:
            both = f"{parts[split].name} and {path.name}"
            raise InputError(f"{folder} must have one folder for the {split} split, got {both}")
        parts[split] = path
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


@lru_cache(maxsize=4)
def _read(
    folder: Path,
    files: tuple[Path, ...],
    changed: tuple[Stamp, ...],  # noqa: ARG001
    size: tuple[int, int] | None,
    mode: str | None,
) -> Seen:
    """Read all images, once for each version of the files."""
    named = [(str(file.relative_to(folder)), file) for file in files]
    return see_images(str(folder), named, size, mode)
