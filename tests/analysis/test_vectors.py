import re
from colorsys import rgb_to_hsv
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.spatial.distance import pdist

from analysis.figures import (
    canvas,
    colours,
    gradients,
    learning,
    outlines,
    results,
    training,
    vectors,
)
from analysis.figures.looks import _COLOURS as DISTINCT
from analysis.figures.looks import CONTROL, INK, SHADES, looks
from analysis.summaries.ranking import rankings
from analysis.summaries.results import cost_to_target, summary
from analysis.tables import load

FAULTS = [
    ("analysis/figures/outlines.py", "put(letter.lower(), (rounded - here).ravel().tolist())", "put(letter.lower(), rounded.ravel().tolist())"),
    ("analysis/figures/outlines.py", "here, at, last = start, start / scale,", "at, last = start / scale,"),
    ("analysis/figures/vectors.py", "for piece in self._pieces(one, there)", "for piece in self._pieces(one, corner)"),
    ("analysis/figures/outlines.py", "if off[farthest] > slack", "if off[farthest] > 2 * slack"),
    ("analysis/figures/outlines.py", "@ along / max(along @ along, 1e-12), 0, 1)", "@ along / max(along @ along, 1e-12), -9, 9)"),
    ("analysis/figures/vectors.py", "        if element in self._parts:", "        if element in ():"),
    ("analysis/figures/vectors.py", "return found[min(found)]", "return found[max(found)]"),
    ("analysis/figures/vectors.py", "height - to * box.y1], [x1, height - to * box.y0]", "to * box.y0], [x1, to * box.y1]"),
    ("analysis/figures/colours.py", "_TURNED[0] - _TURNED[1] * lab[0]", "lab[0]"),
    ("analysis/figures/vectors.py", 'f"c{len(self._clips)}"', '"c1"'),
    ("analysis/figures/vectors.py", "x, anchor = box.x1,", "x, anchor = box.x0,"),
    ("analysis/figures/vectors.py", ", dpi=72)", ")"),
    ("analysis/figures/looks.py", "replace(look, arm=row[\"arm\"])", "look"),
]  # fmt: skip

TASK = "regression/friedman"


@pytest.fixture(scope="module")
def tables(small):
    return load(small)


@pytest.fixture(scope="module")
def sheet(tables):
    return vectors.Sheet(tables.arms)


@pytest.fixture(scope="module")
def taken(tables, sheet, tmp_path_factory):
    """Figures with what they show on a page, by name."""
    look, folder = looks(tables.runs), tmp_path_factory.mktemp("figures")
    table, found = summary(tables, rankings(tables)), {}
    with canvas.style():
        for picture in (
            results.overview(table),
            results.final_scores(tables, table, TASK, look),
            learning.convergence(tables, TASK, look),
            gradients.gradient_norms(tables, TASK),
            results.cost_to_target(tables, cost_to_target(tables), TASK, look),
        ):
            with vectors.named(picture.figure) as names:
                svg, _ = canvas.save(picture.figure, folder / picture.name)
            shown = sheet.blocks(picture.figure, svg, names, picture.alt)
            found[picture.name] = picture.figure, shown
    return found


def panels(shown):
    return [panel for block in shown for panel in block.panels]


def whole(panels):
    """SVG of panels with what they share written out, as `<use>` shows it."""
    known = {}
    for panel in panels:
        for one in ElementTree.fromstring(panel.svg).iter():
            known.setdefault(one.get("id"), one)
    found = []
    for panel in panels:
        svg = ElementTree.fromstring(panel.svg)
        for parent in list(svg.iter()):
            for place, one in enumerate(parent):
                if one.tag == "use" and one.get("href")[1:] in known:
                    parent[place] = known[one.get("href")[1:]]
        found.append(svg)
    return found


def outline(d):
    """Points of a path of lines, read as SVG 2 says: the tests' reader of paths."""
    points, here, start = [], np.zeros(2), np.zeros(2)
    for letter, numbers in re.findall(r"([MlhvzcqCQL])([^MlhvzcqCQL]*)", d):
        if letter == "z":
            here = start
            continue
        values = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers)]
        if letter in "hv":
            values = [part for n in values for part in ((n, 0) if letter == "h" else (0, n))]
        for x, y in np.reshape(values, (-1, 2)):
            here = np.array([x, y]) + (0 if letter == "M" else here)
            start = here if letter == "M" else start
            points.append(here)
    return np.array(points)


@pytest.mark.parametrize("digits", [1, 2])
def test_a_rounded_outline_is_nowhere_further_off_than_its_last_digit(rng, digits):
    points = rng.normal(0, 100, (40, 2)).cumsum(axis=0)
    points[20:22] = points[19] + 1e-3  # steps shorter than a digit
    pieces = [f"{'L' if i % 13 else 'M'} {x:f} {y:f} " for i, (x, y) in enumerate(points)]
    pieces[30:30] = ["z "]
    read = outline(outlines.compact("\n".join(pieces), digits))
    distances = np.abs(points[:, None] - read).max(axis=2).min(axis=1)
    distances[19:22] -= 10**-digits  # any two of them may be left out
    assert distances.max() <= 0.5 * 10**-digits + 1e-9
    assert np.abs(read[-1] - points[-1]).max() <= 0.5 * 10**-digits + 1e-9


def distance(points, line):
    """How far each point is from the nearest place of a line, sampled finely."""
    share = np.linspace(0, 1, 401)[:, None]
    places = np.concatenate([a + share * (b - a) for a, b in pairwise(line)])
    return np.hypot(*(points[:, None] - places).transpose(2, 0, 1)).min(axis=1)


@pytest.mark.parametrize("slack", [0.1, 0.5])
def test_a_thinned_line_is_nowhere_further_off_than_its_slack(rng, slack):
    x = np.linspace(0, 20, 80)
    points = np.column_stack([x, np.sin(x) + rng.normal(0, 0.05, 80)])
    thinned = outlines.thinned(points, slack)
    assert thinned[[0, -1]].tolist() == points[[0, -1]].tolist()
    assert distance(points, thinned).max() <= slack + 1e-3
    assert len(thinned) < 50
    there_and_back = np.array([[0, 0], [9, 0], [5, 0]], float)
    assert outlines.thinned(there_and_back, slack).tolist() == there_and_back.tolist()


def test_an_outline_that_is_closed_goes_on_from_its_start():
    assert outline(outlines.compact("M 1 1 L 3 1 L 3 3 z L 1 5")).tolist()[-1] == [1, 5]
    assert outlines.compact("M 0 0.04 L 0.5 -0.5") == "M0 0l.5-.5"


@pytest.mark.parametrize(
    ("drawn", "written"),
    [
        ("M 1 5 L 1 2", "M1 5v-3"),  # a bar
        ("M 1 5 L 4 5", "M1 5h3"),
        ("M 1 5 L 1 5", "M1 5h0"),  # a point, which a round end shows
        ("M 1 5 L 4 5 L 4 2 L 4 2 L 1 2 z", "M1 5h3v-3h-3z"),
        ("M 1 1 C 2 1 3 2 3 3", "M1 1c1 0 2 1 2 2"),  # a curve, all from its start
    ],
)
def test_an_outline_is_written_briefly(drawn, written):
    assert outlines.compact(drawn) == written


def test_lines_are_where_matplotlib_put_them(taken):
    figure, shown = taken["convergence-epochs"]
    height = 72 * figure.get_figheight()
    for axes, panel in zip(figure.axes, panels(shown), strict=True):
        corner = axes.get_window_extent().p0 * 72 / figure.dpi
        drawn = [outline(path.get("d")) for path in ElementTree.fromstring(panel.svg).iter("path")]
        longest = max(axes.lines, key=lambda line: len(line.get_xdata()))
        points = longest.get_transform().transform(longest.get_xydata()) * 72 / figure.dpi
        points[:, 1] = height - points[:, 1]
        inside = points[(points[:, 1] > 0) & (points[:, 1] < height)]
        inside -= (corner[0], height - corner[1])
        assert min(np.abs(inside[[0, -1]] - one[[0, -1]]).max() for one in drawn) < 0.06


def test_ids_of_a_page_are_unique_and_what_is_referred_to_exists(taken, sheet):
    every = [shown for _, shown in taken.values()]
    page = sheet.marks() + "".join(panel.svg for shown in every for panel in panels(shown))
    page += "".join(entry.swatch for shown in every for block in shown for entry in block.legend)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 15
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', page)) <= set(ids)
    classes = set(re.findall(r'class="([^"]+)"', page))
    assert classes == set(re.findall(r"^\.(\w+){", sheet.css(), re.MULTILINE))
    for panel in (panel for _, shown in taken.values() for panel in panels(shown)):
        ElementTree.fromstring(panel.svg)


def test_a_panel_has_the_names_that_its_neighbour_shows_for_it(taken):
    _, shown = taken["cost-to-target"]
    for svg in whole(panels(shown)):
        texts = ["".join(text.itertext()) for text in svg.iter("text")]
        assert {"backprop", "constant", "genetic", "reinforce"} <= set(texts)
    _, shown = taken["gradient-norm"]
    for panel, svg in zip(panels(shown), whole(panels(shown)), strict=True):
        assert panel.along == "backprop epochs"
        assert "depth" in [text.text for text in svg.iter("text")]


def test_borrowed_names_stand_as_far_from_a_panel_as_from_the_one_that_lent_them(tmp_path):
    """Six panels in two rows: names on the left, below, and in the middle of the first row."""
    with canvas.style():
        figure, axes = canvas.panels(6, 3, 1.0, "a title", "", gaps=(0.4, 0.5))
        for place, panel in enumerate(axes):
            panel.set(xlim=(0, 1), ylim=(0, 1))
            canvas.draw_ticks(panel, "x", {0.5: f"below {place % 3}"}, named=place >= 3)
            canvas.draw_ticks(panel, "y", {0.2: f"beside {place}"}, named=place in (0, 1, 3))
        with vectors.named(figure) as names:
            svg, _ = canvas.save(figure, tmp_path / "figure")
    shown = panels(vectors.Sheet([]).blocks(figure, svg, names, "Nothing."))
    apart = []
    for place, svg in enumerate(whole(shown)):
        lender = {2: 1, 4: 3, 5: 3}.get(place, place)
        found = {text.text: at for at, _, text in texts(svg)}
        assert set(found) == {f"below {place % 3}", f"beside {lender}"}
        apart.append(sorted(map(tuple, found.values())))
    np.testing.assert_allclose(apart, np.broadcast_to(apart[3], (6, 2, 2)), atol=0.11)
    known = dict(zip(("beside 3", "below 0"), apart[3], strict=True))
    for text in axes[3].texts:  # where matplotlib has them, from the corner of the panel
        box, corner = text.get_window_extent(), axes[3].get_window_extent().p0
        x, y = (box.p0 - corner) * 72 / figure.dpi
        assert known[text.get_text()][1] < -y < known[text.get_text()][1] + 4
        assert abs(known[text.get_text()][0] - x - box.width * 72 / figure.dpi / 2) < 25


def texts(svg, name=""):
    """Texts of a panel with their places, and the classes that they or their groups have."""
    for one in svg:
        own = one.get("class") or name
        if one.tag == "text":
            yield np.array([one.get("x"), one.get("y")], float), own, one
        yield from texts(one, own)


def test_no_text_of_a_panel_lies_outside_its_view_or_below_the_legible_size(taken, sheet):
    sizes = dict(re.findall(r"^\.(\w+){.*?font-size:([\d.]+)px", sheet.css(), re.MULTILINE))
    every = [panel for _, shown in taken.values() for panel in panels(shown)]
    for panel, svg in zip(every, whole(every), strict=True):
        x, y, width, height = map(float, svg.get("viewBox").split())
        found = list(texts(svg))
        assert len(found) > 5
        for place, name, _ in found:
            assert ((place >= (x, y)) & (place <= (x + width, y + height))).all()
            assert float(sizes[name]) * panel.least / width >= 9
        assert panel.width >= panel.least > 0


def test_what_panels_have_alike_is_written_once(taken):
    """Grids, ticks and frames of small multiples; what is an arm's stays where it is drawn."""
    every = [panel for _, shown in taken.values() for panel in panels(shown)]
    written = "".join(panel.svg for panel in every)
    full = "".join(ElementTree.tostring(svg, "unicode") for svg in whole(every))
    assert len(written) < 0.85 * len(full)
    assert written.count("data-a") == full.count("data-a") > 20
    assert not re.search(r'<g id="p\d+"[^>]*>(?:(?!</g>).)*data-a', written)


def test_a_panel_weighs_what_can_be_seen_of_it(tmp_path):
    """35 curves in each of 12 panels, as in a report that may have 3 MB: 14 kB an arm and task."""
    names = [f"arm {place}" for place in range(35)]
    x = np.linspace(0, 1, 200)
    with canvas.style():
        figure, axes = canvas.panels(12, 4, 1.5, "a title", "")
        for panel in axes:
            panel.set(xlim=(0, 1), ylim=(0, 1))
            canvas.draw_ticks(panel, "x", {at / 10: f"{at / 10}" for at in range(10)})
            for place, name in enumerate(names):
                panel.plot(x, 1 - np.exp(-x * (place + 1) / 9), gid=name)
        with vectors.named(figure) as known:
            svg, _ = canvas.save(figure, tmp_path / "figure")
    first, *others = panels(vectors.Sheet(names).blocks(figure, svg, known, "Nothing."))
    assert len(first.svg) < 35 * 220 + 1500
    assert all(len(panel.svg) < 35 * 220 + 500 for panel in others)
    assert sum(len(panel.svg) for panel in others) < len(svg) / 4


def test_note_and_legend_become_text(taken, tables, sheet):
    _, (block,) = taken["gradient-norm"]
    assert block.note.startswith("Colour: geometric mean of the norm over 5 seeds")
    assert "gradient norm by layer" not in block.panels[0].svg  # the title is the page's
    labels = [entry.label for entry in block.legend]
    assert labels[-4:] == ["0.001", "0.01", "0.1", "1"]
    assert all("<path" in entry.swatch and entry.arm == "" for entry in block.legend)
    assert not any(f">{label}<" in panel.svg for panel in block.panels for label in labels[-4:-2])


def test_rows_with_headings_are_blocks(tables, sheet, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "MANY", 2)
    with canvas.style():
        picture = training.update_cosine(tables, TASK, looks(tables.runs))
        with vectors.named(picture.figure) as names:
            svg, _ = canvas.save(picture.figure, tmp_path / "figure")
    blocks = sheet.blocks(picture.figure, svg, names, picture.alt)
    assert [block.heading for block in blocks] == [
        "told the gradient",
        "told losses alone",
        "told rewards alone",
    ]
    named = [
        {arm for arm in tables.arms for panel in block.panels if f">{arm}<" in panel.svg}
        for block in blocks
    ]
    assert named == [{"backprop"}, {"genetic"}, {"reinforce"}]
    assert not any("told" in panel.svg for block in blocks for panel in block.panels)
    assert [bool(block.note) for block in blocks] == [False, False, True]
    for block in blocks:
        assert len(block.panels) == 3
        assert all(panel.along == "backprop epochs" for panel in block.panels)


def test_the_key_has_every_arm_with_its_mark(tables, sheet):
    one = looks(tables.runs)
    look = one | {f"arm {place}": one["genetic"] for place in range(30)}
    with canvas.style():
        key = sheet.key(look)
    assert [entry.label for entry in key] == list(look)
    for entry in key:
        assert entry.arm == (str(tables.arms.index(entry.label)) if entry.label in one else "")
        swatch = ElementTree.fromstring(entry.swatch)
        x, y, width, height = map(float, swatch.get("viewBox").split())
        marks = [(float(mark.get("x")), float(mark.get("y"))) for mark in swatch.iter("use")]
        assert marks
        assert all(x < at < x + width for at, _ in marks)
        assert [up - y - height / 2 for _, up in marks] == pytest.approx([0] * len(marks), abs=0.2)


def test_names_of_several_lines_end_where_the_panel_begins(study, tmp_path):
    variant = "method.batch_size=16, method.momentum=0.5, network.hidden=[64, 64]"
    study.cell("backprop", variant=variant)
    study.cell("genetic")
    tables = load(study.folder)
    sheet = vectors.Sheet(tables.arms)
    with canvas.style():
        picture = results.final_scores(
            tables, summary(tables, rankings(tables)), "image/digits", looks(tables.runs)
        )
        with vectors.named(picture.figure) as names:
            svg, _ = canvas.save(picture.figure, tmp_path / "figure")
    panel, *_ = panels(sheet.blocks(picture.figure, svg, names, picture.alt))
    groups = ElementTree.fromstring(panel.svg).iterfind(".//g[@data-a='0']")
    lines = [line for group in groups for line in texts([group])]
    assert len(lines) >= 2
    assert all(-12 < place[0] < 0 for place, _, _ in lines)  # from the panel's left
    assert all(re.search(rf"\.{name}{{[^}}]*text-anchor:end", sheet.css()) for _, name, _ in lines)


def test_what_is_drawn_of_an_arm_is_known_to_be_its(taken, tables):
    """All that has an arm's colour, where no other has it, is tagged with the arm on the page."""
    look = looks(tables.runs)
    assert {name: one.arm for name, one in look.items()} == {name: name for name in look}
    own = {one.colour: one.arm for one in look.values() if one.colour not in (INK, CONTROL)}
    for name, (figure, shown) in taken.items():
        drawn = [line for axes in figure.axes for line in axes.lines]
        known = [line.get_gid() for line in drawn if line.get_color() in own]
        assert known == [own[line.get_color()] for line in drawn if line.get_color() in own], name
        svgs = "".join(panel.svg for panel in panels(shown))
        found = {tables.arms[int(place)] for place in re.findall(r'data-a="(\d+)"', svgs)}
        if name not in ("overview", "gradient-norm"):
            assert set(own.values()) & {"genetic", "reinforce"} <= set(known) <= found


def test_gids_are_put_back(tables):
    figure = learning.convergence(tables, TASK, looks(tables.runs)).figure
    before = [line.get_gid() for line in figure.axes[0].lines]
    with vectors.named(figure) as names:
        assert {"backprop", "genetic"} <= set(names.arms.values())
    assert [line.get_gid() for line in figure.axes[0].lines] == before
    assert figure.axes[0].get_gid() is None


def contrast(one, other):
    darker, brighter = sorted(colours.luminance(to_rgb(colour)) for colour in (one, other))
    return (brighter + 0.05) / (darker + 0.05)


def test_every_colour_stands_out_from_a_dark_page_and_from_the_others():
    shades = [shade for shades in SHADES.values() for shade in shades]
    dark = [colours.on_dark(shade) for shade in [*shades, *DISTINCT]]
    assert min(contrast(shade, colours.DARK_PAGE) for shade in dark) >= 3
    apart = pdist([to_rgb(shade) for shade in dark[: len(shades)]])
    assert apart.min() > 0.12
    assert colours.on_dark(INK) == colours.DARK_INK
    assert contrast(colours.on_dark(canvas.FAINT), colours.DARK_PAGE) > 4.5
    assert colours.on_dark("white") == colours.DARK_PAGE
    for zone in ("#dbe9f6", "#fbe0d8"):
        assert contrast(colours.on_dark(zone), colours.DARK_PAGE) < 1.6


def test_a_shade_keeps_its_hue_on_a_dark_page():
    """Hues by the standard library: OKLab's differ from HSV's, though not by a sixth of a turn."""
    for shade in (shade for shades in SHADES.values() for shade in shades):
        hue, other = (rgb_to_hsv(*to_rgb(colour))[0] for colour in (shade, colours.on_dark(shade)))
        assert abs((hue - other + 0.5) % 1 - 0.5) < 0.1
