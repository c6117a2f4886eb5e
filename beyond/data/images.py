"""Images of any size and mode as pixels of one: for tasks that read files of them.

Turned as the camera noted, the first frame of an animation, 8 bits a channel, on white where an
image is transparent, resized (bilinear).
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal
from warnings import catch_warnings

import numpy as np

from beyond.data.given import Seen, counted, first_line, listed, require_room
from beyond.errors import InputError
from beyond.settings import PositiveInt, Says, settings

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF", ".bmp": "BMP"}
LARGEST_SIDE = 32  # of images whose size is not set
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # in EXIF; where height and width change places
Size = Annotated[tuple[PositiveInt, PositiveInt], Says("height and width, each an integer >= 1")]
Source = tuple[str, Path | bytes]  # what an image is called, and its file or what that holds


@settings(kw_only=True)
class ImageSettings:
    """How images become alike.

    Parameters
    ----------
    size : height and width, optional
        Of all images, in pixels; None: the median of the files, at most 32x32.
    mode : {"grey", "colour"}, optional
        None: grey if all images are.
    """

    size: Size | None = None
    mode: Literal["grey", "colour"] | None = None


def see_images(
    where: str, images: Sequence[Source], size: tuple[int, int] | None, mode: str | None
) -> Seen:
    """Read images as pixels (N, channels, height, width), uint8, which are scaled as one.

    Raises `InputError` that names all those that cannot be read, or for more than can be held.
    """
    sizes: list[tuple[int, int]] = _each(where, images, _size)
    height, width = size or _suited(sizes)
    require_room(where, 3 * len(images) * height * width)
    pixels = _pixels(where, images, height, width, mode)
    if mode is None and (pixels == pixels[:, :1]).all():
        mode, pixels = "grey", np.ascontiguousarray(pixels[:, :1])
    found = sorted({f"{wide}x{high}" for high, wide in sizes})
    told = [
        f"inputs: {'grey' if pixels.shape[1] == 1 else 'colour'}, {height} high and {width} wide; "
        f"the files (width x height): {listed(found, 4)}"
    ]
    if n_copies := len(pixels) - len({image.tobytes() for image in pixels}):
        told.append(f"copies: {counted(n_copies, 'image')} equal to another, in any split")
    return Seen(pixels, tuple(told), lambda files: _others(files, height, width, mode), "whole")


def _others(files: Any, height: int, width: int, mode: str | None) -> np.ndarray:
    """Read other images, files or what these hold, as pixels of the same size and mode."""
    if isinstance(files, str | bytes | Path):
        raise InputError("inputs must be a list of images' files, got one")
    images: list[Source] = []
    for number, file in enumerate(files, start=1):
        if not isinstance(file, str | bytes | Path):
            kind = type(file).__name__
            raise InputError(f"inputs must be images' files, or what these hold, got {kind}")
        held = isinstance(file, bytes)
        images.append((f"image {number}", file) if held else (str(file), Path(file)))
    return _pixels("inputs", images, height, width, mode)


def _pixels(
    where: str, images: Sequence[Source], height: int, width: int, mode: str | None
) -> np.ndarray:
    """Pixels (N, channels, height, width) of images, uint8."""
    shown = _each(where, images, lambda image: _resized(image, height, width, mode))
    return np.ascontiguousarray(np.stack(shown).transpose(0, 3, 1, 2))


def _suited(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Median height and width, shrunk together to fit into the largest side."""
    median = np.median(sizes, axis=0)
    height, width = min(1.0, LARGEST_SIDE / median.max()) * median
    return max(1, round(height)), max(1, round(width))


def _each(where: str, images: Sequence[Source], look: Any) -> list[Any]:
    """What `look` sees in each image; `InputError` that names all that cannot be read."""
    from PIL import Image, UnidentifiedImageError

    seen, unread = list[Any](), list[str]()
    formats = sorted(set(FORMATS.values()))
    for name, source in images:
        try:
            opened = BytesIO(source) if isinstance(source, bytes) else source
            with (
                catch_warnings(action="ignore"),
                Image.open(opened, formats=formats) as image,
            ):
                seen.append(look(image))
        except UnidentifiedImageError:
            unread.append(f"{name} (no image)")
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            unread.append(f"{name} ({first_line(error)})")
    if unread:
        raise InputError(
            f"{where}: {counted(len(unread), 'image')} cannot be read: {listed(unread)}"
        )
    return seen


def _size(image: Any) -> tuple[int, int]:
    """Height and width, as the camera was held."""
    width, height = image.size
    return (width, height) if image.getexif().get(ORIENTATION) in TURNED else (height, width)


def _resized(image: Any, height: int, width: int, mode: str | None) -> np.ndarray:
    """Pixels (height, width, 3), or 1 where the mode is grey; uint8."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(image.convert("L") if mode == "grey" else image))
