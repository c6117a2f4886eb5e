"""Figures for a page: each panel an SVG of its text size, in colours that follow light and dark.

matplotlib draws a figure once; what it wrote is taken apart here. A panel that leaves the names of
its ticks to a neighbour borrows them, so that it can stand alone; titles, notes and legends become
text of the page. Styles, marks and colours are shared by all figures of a `Sheet`, and coordinates
are rounded: in a page a figure weighs a fifth of its file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from xml.etree import ElementTree

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis.figures.colours import on_dark
from analysis.figures.looks import Look

PIXELS = 4 / 3  # CSS pixels in a point
SMALLEST = 9.1  # CSS pixels: no text of a panel is shown smaller
_PAD = 3.0  # points around a panel
_DEFAULTS = {
    "stroke-dashoffset": "0",
    "stroke-width": "1",
    "font-weight": "400",
    "text-anchor": "start",
}
_PLACE = ("x", "y", "width", "height", "transform", "preserveAspectRatio")  # of an image
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Panel:
    """One panel as SVG.

    Attributes
    ----------
    svg : str
        An `<svg>` element.
    title, along : str
        What stands above it, and what its horizontal axis shows.
    width, least : float
        CSS pixels: as drawn, and where its smallest text is just legible.
    """

    svg: str
    title: str
    along: str
    width: float
    least: float


@dataclass(frozen=True)
class Entry:
    """One line of a legend: an `<svg>` of the mark, the label, and the arm's place or nothing."""

    swatch: str
    label: str
    arm: str


@dataclass(frozen=True)
class Block:
    """Panels that flow side by side, and what is said of them: a heading, a legend, a note."""

    panels: list[Panel]
    heading: str
    legend: list[Entry]
    note: str = ""


@dataclass(frozen=True)
class Names:
    """Artists of a figure by their ids in its SVG, and the arms that some of them belong to."""

    artists: dict[str, Artist]
    arms: dict[str, str]


@contextmanager
def named(figure: Figure) -> Iterator[Names]:
    """Give each artist an id in the SVG that is written meanwhile; put its gid, an arm, back."""
    artists = {f"a{index}": artist for index, artist in enumerate(figure.findobj())}
    before = {name: artist.get_gid() for name, artist in artists.items()}
    for name, artist in artists.items():
        artist.set_gid(name)
    yield Names(artists, {name: arm for name, arm in before.items() if arm})
    for name, artist in artists.items():
        artist.set_gid(before[name])


@dataclass
class Sheet:
    """What the figures of a page share.

    Parameters
    ----------
    arms : sequence of str
        Artists that have one of these as their gid, and texts that are one, belong to the arm.
    """

    arms: Sequence[str]
    _styles: dict[str, str] = field(default_factory=dict)
    _colours: dict[str, str] = field(default_factory=dict)
    _marks: dict[str, str] = field(default_factory=dict)
    _clips: int = 0

    def blocks(self, figure: Figure, svg: bytes, names: Names, alt: str) -> list[Block]:
        """Take a figure apart, as it was drawn, and as its SVG was written while `named`.

        There is a block for each row of panels that has a heading, the title in the middle of its
        first, or one for all panels; the last
        has the legend and the note of the figure.
        """
        return _Taken(self, figure, svg, names, alt).blocks()

    def key(self, looks: Mapping[str, Look]) -> list[Entry]:
        """Return a legend of all arms."""
        figure = Figure((4, 0.2 * len(looks)), dpi=72)  # an SVG's, or the legend is laid out anew
        FigureCanvasAgg(figure)
        marks = [Line2D([], [], ls=look.line, **look.mark(4.5)) for look in looks.values()]
        figure.legend(marks, list(looks), handlelength=2.6)
        svg = io.BytesIO()
        with named(figure) as names:
            figure.savefig(svg, format="svg")
        return _Taken(self, figure, svg.getvalue(), names, "").entries(figure.legends)

    def css(self) -> str:
        """Return the classes of the figures, and their colours on both kinds of page."""
        light = ";".join(f"{name}:{colour}" for colour, name in self._colours.items())
        dark = ";".join(f"{name}:{on_dark(colour)}" for colour, name in self._colours.items())
        return "\n".join(
            [
                f":root{{{light}}}",
                f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}",
                *(f".{name}{{{style}}}" for style, name in self._styles.items()),
            ]
        )

    def marks(self) -> str:
        """Return an `<svg>`, to stand once on the page, of the marks that the figures place."""
        paths = "".join(f'<path id="{name}" d="{d}"/>' for d, name in self._marks.items())
        hidden = 'width="0" height="0" aria-hidden="true" style="position:absolute"'
        return f"<svg {hidden}><defs>{paths}</defs></svg>"

    def style(self, declared: dict[str, str], fixed: bool) -> str:
        """Return a class for these declarations, whose colours follow the page unless fixed."""
        kept: dict[str, str] = {}
        for name, value in declared.items():
            if name == "font-family" or _DEFAULTS.get(name) == value:
                continue
            if name in ("fill", "stroke") and value != "none" and not fixed:
                variable = self._colours.setdefault(to_hex(value), f"--k{len(self._colours)}")
                value = f"var({variable})"
            kept[name] = value
        text = ";".join(f"{name}:{value}" for name, value in sorted(kept.items()))
        return self._styles.setdefault(text, f"s{len(self._styles)}") if text else ""

    def mark(self, d: str) -> str:
        """Return the id of a mark's outline."""
        return self._marks.setdefault(d, f"m{len(self._marks)}")

    def clip(self) -> str:
        """Return an id that nothing else has."""
        self._clips += 1
        return f"c{self._clips}"


@dataclass(frozen=True)
class _Piece:
    """An element of SVG and what neighbours may share with it.

    `path` is the outline of a line without area, which neighbours of its style continue; `size`
    that of a text, in points, or 0.
    """

    style: str
    clip: str
    arm: str
    markup: str
    path: str = ""
    size: float = 0.0


class _Taken:
    """A figure that is being taken apart."""

    def __init__(self, sheet: Sheet, figure: Figure, svg: bytes, names: Names, alt: str) -> None:
        self.sheet, self.figure, self.alt = sheet, figure, alt
        self.artists = names.artists
        self.ids = {id(artist): name for name, artist in names.artists.items()}
        root = ElementTree.fromstring(svg)
        self.groups = {str(group.get("id")): group for group in root.iter(f"{_SVG}g")}
        self.clips = {str(one.get("id")): one[0] for one in root.iter(f"{_SVG}clipPath")}
        self.outlines = {
            str(path.get("id")): compact(path.get("d", ""), 2)
            for defs in root.iter(f"{_SVG}defs")
            for path in defs.iter(f"{_SVG}path")
            if path.get("id")
        }
        places = {_plain(arm): str(place) for place, arm in enumerate(sheet.arms)}
        self.arms = {
            name: place
            for name, artist in names.artists.items()
            if (place := places.get(_plain(names.arms.get(name) or _text(artist))))
        }

    def blocks(self) -> list[Block]:
        """All panels and what is said of them; the title is the page's matter."""
        _, *notes = [" ".join(text.get_text().split()) for text in self.figure.texts] or [""]
        axes = self.figure.axes
        apart = any(one.title.get_text() for one in axes)
        blocks, place = list[Block](), 0
        for _, row in groupby(axes, lambda one: round(one.get_position().y1, 4) if apart else 0):
            panels, heading = list[Panel](), ""
            for one in row:
                place += 1
                panels.append(self._panel(one, place))
                heading += one.title.get_text()
            blocks.append(Block(panels, heading, []))
        last, legend = blocks.pop(), self.entries(self.figure.legends)
        return [*blocks, Block(last.panels, last.heading, legend, " ".join(filter(None, notes)))]

    def _panel(self, axes: Axes, place: int) -> Panel:
        """One panel, with the names that it borrows from its neighbours."""
        picture = bool(axes.images) or any(isinstance(one, QuadMesh) for one in axes.collections)
        leave = {axes.title} if picture else {axes.title, axes.patch}
        axes.title.set_in_layout(False)  # it becomes text of the page
        bounds = [self._points(axes.get_tightbbox())]
        pieces = list(self._pieces(axes, {self.ids[id(one)] for one in leave}, picture))
        body, sizes = _packed(pieces), [piece.size for piece in pieces]
        for side in ("x", "y"):
            lender = self._lender(axes, side)
            if lender is None:
                continue
            lent = _names(lender, side)
            pieces = [piece for one in lent for piece in self._pieces(one)]
            here, there = axes.get_position(), lender.get_position()
            width, height = 72 * self.figure.get_size_inches()
            shift = ((here.x0 - there.x0) * width, (there.y0 - here.y0) * height)
            bounds += [self._points(one.get_window_extent()).translated(*shift) for one in lent]
            sizes += [piece.size for piece in pieces]
            body += f'<g transform="translate({_listed(shift)})">{_packed(pieces)}</g>'
        box = Bbox.union(bounds).padded(_PAD)
        least = box.width * SMALLEST / min(filter(None, sizes), default=8.0)
        title = " ".join(axes.get_title(loc="left").split())
        label = f"{self.alt} Panel {place}" if len(self.figure.axes) > 1 else self.alt
        label += f": {title}" if title and len(self.figure.axes) > 1 else ""
        view = _view(box)
        return Panel(
            f'<svg viewBox="{view}" role="img" aria-label="{escape(label)}">'
            f"{self._clipped(body)}</svg>",
            title,
            (self._lender(axes, "x") or axes).get_xlabel(),
            max(PIXELS * box.width, least),
            least,
        )

    def _lender(self, axes: Axes, side: str) -> Axes | None:
        """Return the nearest panel, left or below, whose names one without any shares."""
        if _names(axes, side):
            return None
        here, found = axes.get_position(), dict[float, Axes]()
        for other in self.figure.axes:
            there = other.get_position()
            if side == "x":
                aligned = np.allclose((there.x0, there.x1), (here.x0, here.x1))
                away = here.y0 - there.y0
            else:
                aligned = np.allclose((there.y0, there.y1), (here.y0, here.y1))
                away = here.x0 - there.x0
            if aligned and away > 0 and _names(other, side):
                found[away] = other
        return found[min(found)] if found else None

    def entries(self, legends: Iterable[Legend]) -> list[Entry]:
        """Legends' lines: each handle's mark and its label."""
        entries = []
        for legend in legends:
            for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
                if handle is None:
                    continue
                box = self._points(handle.get_window_extent())
                box = Bbox.union([box, Bbox.from_bounds(box.x0, box.y0, 8, 0)]).padded(2.5)
                view = _view(box)
                size = f'width="{PIXELS * box.width:.0f}" height="{PIXELS * box.height:.0f}"'
                marks = _packed(self._pieces(handle))
                swatch = f'<svg viewBox="{view}" {size} aria-hidden="true">{marks}</svg>'
                arm = self.arms.get(self.ids[id(text)], "")
                label = self.sheet.arms[int(arm)] if arm else " ".join(text.get_text().split())
                entries.append(Entry(swatch, label, arm))
        return entries

    def _pieces(
        self, artist: Artist, leave: Collection[str] = (), picture: bool = False
    ) -> Iterator[_Piece]:
        """Elements of an artist, in their order, without those of the artists to leave.

        In a picture what lies on its cells keeps its colours, for so do the cells.
        """
        name = self.ids[id(artist)]
        if name in self.groups:
            for element, owner, clip in self._elements(self.groups[name], name, "", leave):
                yield from self._piece(element, owner, clip, picture)

    def _elements(
        self, group: ElementTree.Element, owner: str, clip: str, leave: Collection[str]
    ) -> Iterator[tuple[ElementTree.Element, str, str]]:
        """Elements below a group, with the id of the artist and the clip that they have."""
        for element in group:
            name = str(element.get("id"))
            within = (element.get("clip-path") or "")[len("url(#") : -1] or clip
            if name in leave or element.tag == f"{_SVG}defs":
                continue
            if element.tag == f"{_SVG}g":
                inner = name if name in self.artists else owner
                yield from self._elements(element, inner, within, leave)
            else:
                yield element, owner, within

    def _piece(
        self, element: ElementTree.Element, owner: str, clip: str, picture: bool
    ) -> Iterator[_Piece]:
        """One element as it stands on the page; none where it draws nothing."""
        artist, arm = self.artists[owner], self.arms.get(owner, "")
        declared = _declared(element.get("style", ""))
        size = float(declared.get("font-size", "0").removesuffix("px"))
        path = ""
        match element.tag.removeprefix(_SVG):
            case "text":
                markup, anchor = self._written(element, artist)
                declared, clip = declared | anchor, ""
            case "path" if element.get("d"):
                d = compact(element.get("d", ""))
                markup, path = f'<path d="{d}"/>', d if declared.get("fill") == "none" else ""
            case "use":
                mark = self.sheet.mark(self.outlines[element.get(_HREF, "")[1:]])
                x, y = (_rounded(float(element.get(side, 0))) for side in ("x", "y"))
                markup = f'<use href="#{mark}" x="{x}" y="{y}"/>'
            case "image":
                at = " ".join(
                    f'{key}="{value}"' for key in _PLACE if (value := element.get(key)) is not None
                )
                markup = f'<image href="{element.get(_HREF)}" {at}/>'
            case _:
                return
        style = self.sheet.style(declared, picture and not _beside(artist))
        yield _Piece(style, clip, arm, markup, path, size)

    def _written(self, element: ElementTree.Element, artist: Artist) -> tuple[str, dict[str, str]]:
        """Return a text, and how it is anchored: matplotlib places lines by one font's widths."""
        turned = element.get("transform", "")
        moved = re.match(r"translate\((\S+) (\S+)\)", turned)
        x, y = map(float, moved.groups() if moved else (element.get("x", 0), element.get("y", 0)))
        rotated = re.search(r"rotate\(([^ )]+)", turned)
        angle = float(rotated.group(1)) if rotated else 0.0
        anchor: dict[str, str] = {}
        if moved and not angle and isinstance(artist, Text):
            box = self._points(artist.get_window_extent())
            side = artist.get_horizontalalignment()
            if side == "right":
                x, anchor = box.x1, {"text-anchor": "end"}
            elif side == "center":
                x, anchor = (box.x0 + box.x1) / 2, {"text-anchor": "middle"}
        at = f'x="{_rounded(x)}" y="{_rounded(y)}"'
        if angle:
            at += f' transform="rotate({angle:g} {_rounded(x)} {_rounded(y)})"'
        return f"<text {at}>{escape(''.join(element.itertext()), quote=False)}</text>", anchor

    def _clipped(self, body: str) -> str:
        """Define what a panel's elements are clipped by, under ids that no other panel has."""
        defined = ""
        for name in dict.fromkeys(re.findall(r"url\(#(p\w+)\)", body)):
            rect, fresh = self.clips[name], self.sheet.clip()
            body = body.replace(f"url(#{name})", f"url(#{fresh})")
            at = " ".join(f'{key}="{_rounded(float(value))}"' for key, value in rect.items())
            defined += f'<clipPath id="{fresh}"><rect {at}/></clipPath>'
        return defined + body

    def _points(self, box: Bbox | None) -> Bbox:
        """Turn pixels of the canvas, from below, into points of the SVG, from above."""
        if box is None:
            return Bbox.null()
        to, height = 72 / self.figure.dpi, 72 * self.figure.get_figheight()
        x0, x1 = to * box.x0, to * box.x1
        return Bbox([[x0, height - to * box.y1], [x1, height - to * box.y0]])


def compact(d: str, digits: int = 1) -> str:
    """Write an outline of matplotlib's in relative coordinates of so many decimals.

    Each point is rounded where it lies, so that errors do not add up.
    """
    scale, out, last = 10**digits, list[str](), ""
    here = start = np.zeros(2, int)
    for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", d):
        if letter in "zZ":
            out.append("z")
            here, last = start, "z"
            continue
        points = np.array(numbers.split(), float).reshape(-1, 2)
        points = np.rint(points * scale).astype(int)
        if letter == "M":
            here = start = points[0]
            moved, mark = points[0], "M"
        else:
            moved, mark = (points - here).ravel(), letter.lower()
            here = points[-1]
            if mark == "l" and last != "M" and not moved.any():
                continue
        text = _listed(moved / scale, digits)
        repeated = mark == last and mark != "M"
        out.append(("" if text.startswith("-") else " ") + text if repeated else mark + text)
        last = mark
    return "".join(out)


def _listed(numbers: Iterable[float], digits: int = 1) -> str:
    """Join numbers as briefly as SVG reads them: a minus parts two as well as a blank does."""
    return " ".join(_rounded(number, digits) for number in numbers).replace(" -", "-")


def _rounded(number: float, digits: int = 1) -> str:
    """Write a number without zeros that say nothing: 12.3, .4, -5."""
    text = f"{number:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return "0" if text in ("-0", "", "-") else text


def _packed(pieces: Iterable[_Piece]) -> str:
    """Join pieces; neighbours that share style, clip and arm are in one group."""
    out = []
    for (style, clip, arm), group in groupby(
        pieces, lambda piece: (piece.style, piece.clip, piece.arm)
    ):
        members = list(group)
        kept = f' class="{style}"' if style else ""
        kept += f' clip-path="url(#{clip})"' if clip else ""
        kept += f' data-a="{arm}"' if arm else ""
        lines = "".join(piece.path for piece in members)
        inner = f'<path d="{lines}"/>' if lines else ""
        inner += "".join(piece.markup for piece in members if not piece.path)
        out.append(f"<g{kept}>{inner}</g>")
    return "".join(out)


def _names(axes: Axes, side: str) -> list[Text]:
    """Names of an axis' ticks and of the axis itself, as `canvas.draw_ticks` and labels are."""
    along = axes.get_xaxis_transform() if side == "x" else axes.get_yaxis_transform()
    place = 1 if side == "x" else 0
    names = [
        text
        for text in axes.texts
        if text.get_transform() is along and text.get_position()[place] < 0
    ]
    label = axes.xaxis.label if side == "x" else axes.yaxis.label
    return [*names, label] if names and label.get_text() else names


def _beside(artist: Artist) -> bool:
    """Whether it is a text that stands beside its panel, not on its data."""
    axes = artist.axes
    return isinstance(artist, Text) and (axes is None or artist.get_transform() != axes.transData)


def _declared(style: str) -> dict[str, str]:
    """Read the declarations of a style attribute."""
    pairs = (part.partition(":") for part in style.split(";") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _view(box: Bbox) -> str:
    return " ".join(_rounded(number) for number in (box.x0, box.y0, box.width, box.height))


def _plain(name: str) -> str:
    """Undo the line breaks of a name."""
    return re.sub(r"\s", "", name)


def _text(artist: Artist) -> str:
    return artist.get_text() if isinstance(artist, Text) else ""
