"""Figures for a page: each panel an SVG of its text size, in colours that follow light and dark.

matplotlib draws a figure once; what it wrote is taken apart here. A panel that leaves the names of
its ticks to a neighbour borrows them, so that it can stand alone; titles, notes and legends become
text of the page. A figure weighs a quarter of its file: styles, marks and colours are shared by all
figures of a `Sheet`, coordinates start at a panel's corner, so that what panels have alike is
written once, and lines have no more points than can be seen.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from html import escape
from itertools import groupby
from operator import attrgetter
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
from analysis.figures.outlines import compact, listed, rounded
from analysis.statistics.inference import Array

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
_SHORT = 40  # letters of an element that is written as often as it is drawn
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
    """Panels that flow side by side, and what is said of them: what they are, a heading, ..."""

    alt: str
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
    _clips: dict[str, str] = field(default_factory=dict)
    _parts: dict[str, str] = field(default_factory=dict)

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
        """Return an `<svg>`, to stand once on the page, of what the figures place and clip by."""
        paths = "".join(f'<path id="{name}" d="{d}"/>' for d, name in self._marks.items())
        paths += "".join(
            f'<clipPath id="{name}"><rect {at}/></clipPath>' for at, name in self._clips.items()
        )
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

    def clip(self, at: str) -> str:
        """Return the id of a rectangle that panels are clipped by."""
        return self._clips.setdefault(at, f"c{len(self._clips)}")

    def once(self, element: str) -> str:
        """Return it with an id, or where a panel before has the same, a reference to that."""
        if len(element) < _SHORT:
            return element
        if element in self._parts:
            return f'<use href="#{self._parts[element]}"/>'
        self._parts[element] = name = f"p{len(self._parts)}"
        return _with(element, f'id="{name}"')


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
            str(path.get("id")): path.get("d", "")
            for defs in root.iter(f"{_SVG}defs")
            for path in defs.iter(f"{_SVG}path")
            if path.get("id")
        }
        self.small = cache(partial(compact, digits=2))  # a mark is placed many times
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
            blocks.append(Block(self.alt, panels, heading, []))
        legend, note = self.entries(self.figure.legends), " ".join(filter(None, notes))
        return [*blocks[:-1], replace(blocks[-1], legend=legend, note=note)]

    def _panel(self, axes: Axes, place: int) -> Panel:
        """One panel, with the names that it borrows from its neighbours."""
        picture = bool(axes.images) or any(isinstance(one, QuadMesh) for one in axes.collections)
        leave = {axes.title} if picture else {axes.title, axes.patch}
        axes.title.set_in_layout(False)  # it becomes text of the page
        bounds = [self._points(axes.get_tightbbox())]
        corner, left = self._corner(axes), {self.ids[id(one)] for one in leave}
        pieces = list(self._pieces(axes, corner, left, picture))
        body, sizes = self._shown(pieces), [piece.size for piece in pieces]
        for side in ("x", "y"):
            lender = self._lender(axes, side)
            if lender is None:
                continue
            lent, there = _names(lender, side), self._corner(lender)
            pieces = [piece for one in lent for piece in self._pieces(one, there)]
            shift = corner - there
            bounds += [self._points(one.get_window_extent()).translated(*shift) for one in lent]
            sizes += [piece.size for piece in pieces]
            body += self._shown(pieces)
        box = Bbox.union(bounds).padded(_PAD)
        least = box.width * SMALLEST / min(filter(None, sizes), default=8.0)
        title = " ".join(axes.get_title(loc="left").split())
        label = self.alt
        if len(self.figure.axes) > 1:  # of their row it is said what all of them are
            label = f"Panel {place}" + (f": {title}" if title else "")
        view = _view(box.translated(*-corner))
        return Panel(
            f'<svg viewBox="{view}" role="img" aria-label="{escape(label)}">{body}</svg>',
            title,
            (self._lender(axes, "x") or axes).get_xlabel(),
            max(PIXELS * box.width, least),
            least,
        )

    def _corner(self, axes: Axes) -> Array:
        """Where a panel's coordinates start: at its lower left, in points of the SVG."""
        box = self._points(axes.get_window_extent())
        return np.array([box.x0, box.y1])

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
                marks = _packed(self._pieces(handle, np.zeros(2)))
                swatch = f'<svg viewBox="{view}" {size} aria-hidden="true">{marks}</svg>'
                arm = self.arms.get(self.ids[id(text)], "")
                label = self.sheet.arms[int(arm)] if arm else " ".join(text.get_text().split())
                entries.append(Entry(swatch, label, arm))
        return entries

    def _shown(self, pieces: Iterable[_Piece]) -> str:
        """Pieces of a panel; what belongs to no arm is alike in many, and written once."""
        return _packed(pieces, self.sheet.once)

    def _pieces(
        self,
        artist: Artist,
        corner: Array,
        leave: Collection[str] = (),
        picture: bool = False,
    ) -> Iterator[_Piece]:
        """Elements of an artist, in their order, without those of the artists to leave.

        Their coordinates start at the corner. In a picture what lies on its cells keeps its
        colours, for so do the cells.
        """
        name = self.ids[id(artist)]
        if name in self.groups:
            for element, owner, clip in self._elements(self.groups[name], name, "", leave):
                yield from self._piece(element, owner, clip, corner, picture)

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
        self, element: ElementTree.Element, owner: str, clip: str, corner: Array, picture: bool
    ) -> Iterator[_Piece]:
        """One element as it stands on the page; none where it draws nothing."""
        artist, arm = self.artists[owner], self.arms.get(owner, "")
        declared = _declared(element.get("style", ""))
        size = float(declared.get("font-size", "0").removesuffix("px"))
        path = ""
        match element.tag.removeprefix(_SVG):
            case "text":
                markup, anchor = self._written(element, artist, corner)
                declared, clip = declared | anchor, ""
            case "path" if element.get("d"):
                d = compact(element.get("d", ""), corner=corner)
                markup, path = f'<path d="{d}"/>', d if declared.get("fill") == "none" else ""
            case "use":
                place = np.array([element.get("x", 0), element.get("y", 0)], float)
                outline = self.outlines[element.get(_HREF, "")[1:]]
                if place[0]:
                    mark = self.sheet.mark(self.small(outline))
                    x, y = map(rounded, place - corner)
                    markup = f'<use href="#{mark}" x="{x}" y="{y}"/>'
                else:  # no mark: an area, whose outline says where it is
                    markup = f'<path d="{compact(outline, corner=corner - place)}"/>'
            case "image":
                given = {key: value for key in _PLACE if (value := element.get(key)) is not None}
                moved = f"translate({listed(-corner)})"
                given["transform"] = f"{moved} {given.get('transform', '')}".rstrip()
                at = " ".join(f'{key}="{value}"' for key, value in given.items())
                # what clips it is of the group, which is not moved
                markup = f'<g><image href="{element.get(_HREF)}" {at}/></g>'
            case _:
                return
        style = self.sheet.style(declared, picture and not _beside(artist))
        yield _Piece(style, clip and self._clip(clip, corner), arm, markup, path, size)

    def _written(
        self, element: ElementTree.Element, artist: Artist, corner: Array
    ) -> tuple[str, dict[str, str]]:
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
        right, down = map(rounded, (x, y) - corner)
        at = f'x="{right}" y="{down}"'
        if angle:
            at += f' transform="rotate({angle:g} {right} {down})"'
        return f"<text {at}>{escape(''.join(element.itertext()), quote=False)}</text>", anchor

    def _clip(self, name: str, corner: Array) -> str:
        """Return the id on the page of what a figure clips by."""
        given = {key: float(value) for key, value in self.clips[name].items()}
        given |= {"x": given["x"] - corner[0], "y": given["y"] - corner[1]}
        return self.sheet.clip(" ".join(f'{key}="{rounded(at)}"' for key, at in given.items()))

    def _points(self, box: Bbox | None) -> Bbox:
        """Turn pixels of the canvas, from below, into points of the SVG, from above."""
        if box is None:
            return Bbox.null()
        to, height = 72 / self.figure.dpi, 72 * self.figure.get_figheight()
        x0, x1 = to * box.x0, to * box.x1
        return Bbox([[x0, height - to * box.y1], [x1, height - to * box.y0]])


def _packed(pieces: Iterable[_Piece], once: Callable[[str], str] = str) -> str:
    """Join pieces; neighbours that share a clip, an arm or a style are in one group.

    Those of no arm are written by `once`.
    """
    out = []
    for clip, clipped in groupby(pieces, attrgetter("clip")):
        inner = []
        for arm, mine in groupby(clipped, attrgetter("arm")):
            alike = groupby(mine, attrgetter("style"))
            styled = [_styled(style, list(members)) for style, members in alike]
            if arm:
                inner.append(_with(_group(_joined(styled)), f'data-a="{arm}"'))
            else:
                inner += map(once, styled)
        clips = f'clip-path="url(#{clip})"'
        out.append(_with(_group(_joined(inner)), clips) if clip else "".join(inner))
    return "".join(out)


def _styled(style: str, members: Sequence[_Piece]) -> str:
    lines = "".join(piece.path for piece in members)
    inner = [f'<path d="{lines}"/>'] if lines else []
    one = _joined([*inner, *(piece.markup for piece in members if not piece.path)])
    return _with(one, f'class="{style}"') if style else one


def _joined(elements: Sequence[str]) -> str:
    """One element of several."""
    return elements[0] if len(elements) == 1 else f"<g>{''.join(elements)}</g>"


def _group(element: str) -> str:
    return element if element.startswith(("<g ", "<g>")) else f"<g>{element}</g>"


def _with(element: str, attribute: str) -> str:
    """Give an element another attribute."""
    end = 1 + element[1:].index(">" if element.startswith("<g>") else " ")
    return f"{element[:end]} {attribute}{element[end:]}"


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
    return " ".join(rounded(number) for number in (box.x0, box.y0, box.width, box.height))


def _plain(name: str) -> str:
    """Undo the line breaks of a name."""
    return re.sub(r"\s", "", name)


def _text(artist: Artist) -> str:
    return artist.get_text() if isinstance(artist, Text) else ""
