"""Colours of methods: the same in every study, and apart for every kind of colour vision."""

from itertools import combinations, product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy import cos, radians, sin

from analysis.figures import looks
from beyond.catalog import CONF, load

FAULTS = [
    ("analysis/figures/looks.py", "(place + place // len(MARKERS))", "(place)"),
    ("analysis/figures/looks.py", "FILLINGS[turn % len(FILLINGS)]", "FILLINGS[0]"),
    ("analysis/figures/looks.py", "return INK, 0, MARKERS[0]", "return CONTROL, 0, MARKERS[0]"),
    ("analysis/runs.py", 'and not row["default_network"]', ""),
    ("analysis/figures/looks.py", '"#6e1330")', '"#ca9161")'),
]

# Machado, Oliveira & Fernandes (2009), severity 1: full vision, protan, deutan, tritan
VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.3039],
        ],
    ]
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colours):
    rgb = np.array([mpl.colors.to_rgb(colour) for colour in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colours):
    """CIELAB of colours (n,) in the four kinds of vision, (4, n, 3)."""
    shown = np.einsum("kij,nj->kni", VISIONS, linear(colours)).clip(0, 1)
    xyz = shown @ TO_XYZ.T / TO_XYZ.sum(1)
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def difference(one, other):
    """CIEDE2000 of colours in CIELAB, by Sharma, Wu & Dalal (2005), equations 2 to 22."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = np.where(c1 * c2 > 0, (h2 - h1 + 180) % 360 - 180, 0)
    middle = np.where(c1 * c2 > 0, (h1 + turn / 2) % 360, h1 + h2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    bend = (
        1
        - 0.17 * cos(radians(middle - 30))
        + 0.24 * cos(radians(2 * middle))
        + 0.32 * cos(radians(3 * middle + 6))
        - 0.20 * cos(radians(4 * middle - 63))
    )
    dl = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * sin(radians(turn / 2)) / (1 + 0.015 * chroma * bend)
    blue = 30 * np.exp(-(((middle - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * sin(radians(2 * blue))
    return np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh)


def apart(one, other):
    """CIEDE2000 of two colours in the vision that tells them worst."""
    first, second = np.moveaxis(seen([one, other]), 1, 0)
    return difference(first, second).min()


def arms(*rows):
    """Rows of a runs table: (method, signal) and further columns."""
    table = pd.DataFrame(
        [{"method": method, "signal": signal, **more} for method, signal, more in rows]
    )
    table["arm"] = table["arm"].fillna(table["method"]) if "arm" in table else table["method"]
    table["network"] = table["network"].fillna("mlp-32") if "network" in table else "mlp-32"
    return table.assign(default_network=table["network"] == "mlp-32")


@pytest.fixture(scope="module")
def methods():
    """Look of every method there is."""
    names = sorted(path.stem for path in CONF.glob("method/*.yaml"))
    return looks.looks(arms(*((name, load("method", name).signal.value, {}) for name in names)))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ],
)
def test_the_difference_of_colours_is_the_published_one(one, other, expected):
    assert difference(np.array(one), np.array(other)) == pytest.approx(expected, abs=5e-5)


def test_backpropagation_and_one_method_of_each_signal_are_told_apart_by_colour_alone():
    firsts = [looks.INK, *(shades[0] for shades in looks.SHADES.values())]
    assert min(apart(*pair) for pair in combinations(firsts, 2)) > 17
    any_shade = [
        apart(one, other)
        for first, second in combinations([(looks.INK,), *looks.SHADES.values()], 2)
        for one, other in product(first, second)
    ]
    assert min(any_shade) > 6.3


def test_all_methods_are_told_apart_by_colour_and_marker(methods):
    marks = [(look.colour, look.marker) for look in methods.values()]
    assert len(set(marks)) == len(methods) >= 32
    alike = [
        apart(one.colour, other.colour)
        for one, other in combinations(methods.values(), 2)
        if one.marker == other.marker
    ]
    assert min(alike) > 13
    shades = [pair for of_signal in looks.SHADES.values() for pair in combinations(of_signal, 2)]
    assert min(apart(*pair) for pair in shades) > 12


def test_lines_stand_out_from_white(methods):
    luminance = linear([look.colour for look in methods.values()]) @ TO_XYZ[1]
    assert (1.05 / (luminance + 0.05)).min() > 2.9  # WCAG 2.1 asks graphics for 3


def test_a_method_looks_the_same_whatever_else_is_in_the_study(methods):
    alone = looks.looks(
        arms(("genetic", "loss", {}), ("mine", "loss", {}), ("backprop", "gradient", {}))
    )
    assert alone["genetic"] == methods["genetic"]
    assert alone["backprop"].colour == looks.INK
    again = looks.looks(arms(("mine", "loss", {}), ("other", "reward", {})))
    assert again["mine"] == alone["mine"]
    assert alone["mine"].colour in looks.SHADES["loss"]
    known = [(look.colour, look.marker) for look in methods.values()]
    assert (alone["mine"].colour, alone["mine"].marker) not in known


def test_arms_of_one_method_share_its_colour_and_differ_otherwise():
    names = ["genetic", *(f"genetic [rate={rate}]" for rate in range(20))]
    found = looks.looks(arms(*(("genetic", "loss", {"arm": name}) for name in names)))
    assert {look.colour for look in found.values()} == {found["genetic"].colour}
    assert len({(look.marker, look.filling) for look in found.values()}) == len(names)
    first = looks.looks(arms(("genetic", "loss", {})))["genetic"]
    assert found["genetic"] == first  # the plain arm keeps what it has alone


def test_controls_are_grey():
    found = looks.looks(
        arms(
            ("constant", "targets", {}),
            ("random_search", "loss", {}),
            ("backprop", "gradient", {}),
            ("backprop", "gradient", {"arm": "backprop (linear)", "network": "linear"}),
        )
    )
    grey = {arm for arm, look in found.items() if look.colour == looks.CONTROL}
    assert grey == {"constant", "random_search", "backprop (linear)"}
    assert len({found[arm].marker for arm in grey}) == 3
    default = arms(("backprop", "gradient", {"network": "linear"})).assign(default_network=True)
    assert looks.looks(default)["backprop"].colour == looks.INK


def test_series_of_a_paper_stay_apart():
    found = [*looks.distinct([f"series {i}" for i in range(72)]).values()]
    assert len({(look.colour, look.line) for look in found[:40]}) == 40
    assert len({(look.colour, look.marker) for look in found}) == 72
    colours = [look.colour for look in found[:8]]
    assert min(apart(*pair) for pair in combinations(colours, 2)) > 9
