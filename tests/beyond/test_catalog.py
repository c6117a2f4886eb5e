"""Names found in folders, and objects made from settings."""

import os
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from beyond import catalog
from beyond.errors import InputError
from beyond.settings import settings

FAULTS = [
    # what a choice brings is a setting; one that cannot be built is complete
    ("beyond/catalog.py", 'if key != "defaults"}', "}"),
    ("beyond/catalog.py", "if MISSING not in read(group, name).values()]", "]"),
    # two lambdas are one
    ("beyond/catalog.py", '    if "<" in name:\n', "    if False:\n"),
    (
        "beyond/catalog.py",
        "    if not _is_declared(module):\n        raise _refused(setting, target)\n",
        "",
    ),
    ("beyond/catalog.py", 'if not _is_declared(getattr(found, "__module__", "")):', "if False:"),
    ("beyond/catalog.py", 'module.partition(".")[0]\n', "module\n"),
    ("beyond/catalog.py", "entry_points(group=ENTRY_POINTS)", "[]"),
    ("beyond/catalog.py", "    if not is_settings(found):", "    if not isinstance(found, type):"),
    ("beyond/catalog.py", "CONTRACTS.get(group, ())", "()"),
]


@settings
class Box:
    content: Any = None
    size: int = 1


@dataclass(frozen=True)
class Undeclared:
    size: int = 1


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A catalogue of two boxes."""
    monkeypatch.setattr(catalog, "CONF", tmp_path)
    toys = SimpleNamespace(Box=Box, Undeclared=Undeclared, system=os.system, function=lambda: None)
    monkeypatch.setitem(sys.modules, "toy_boxes", toys)
    monkeypatch.setenv("BEYOND_PLUGINS", f"toy_boxes,{__name__.partition('.')[0]}")
    for name, text in {
        "small": "_target_: toy_boxes:Box\nsize: 2\n",
        "set/large": "_target_: toy_boxes:Box\nsize: 50\ncontent: [1, 2]\n",
        "empty": "",
    }.items():
        path = tmp_path / "box" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_names_are_paths_below_the_group_in_order():
    assert catalog.names("box") == ["empty", "set/large", "small"]
    assert catalog.names("nothing") == []


def test_read_gives_the_settings():
    assert catalog.read("box", "set/large") == {
        "_target_": "toy_boxes:Box",
        "size": 50,
        "content": [1, 2],
    }
    assert catalog.read("box", "empty") == {}


def test_what_a_choice_brings_is_none_of_its_settings(folder):
    """As Hydra writes it."""
    text = "defaults:\n- override /start@_global_.start: related\n_target_: toy_boxes:Box\n"
    (folder / "box" / "warm.yaml").write_text(text)
    assert catalog.brought("box", "warm") == {"start": "related"}
    assert catalog.brought("box", "small") == {}
    assert catalog.read("box", "warm") == {"_target_": "toy_boxes:Box"}


def test_a_choice_with_a_setting_that_must_be_given_is_not_complete(folder):
    (folder / "box" / "open.yaml").write_text("_target_: toy_boxes:Box\nsize: ???\n")
    assert catalog.complete("box") == ["empty", "set/large", "small"]


def test_a_function_without_a_name_has_no_place():
    assert catalog.place(os.path.join).endswith(":join")
    with pytest.raises(
        InputError, match=r"^a function must have a name in its module, got .*lambda"
    ):
        catalog.place(lambda: None)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r"^box must be one of empty, set/large, small; got 'huge'$"
    ):
        catalog.read("box", "huge")


def test_load_builds_with_some_settings_replaced():
    assert catalog.load("box", "small") == Box(size=2)
    assert catalog.load("box", "set/large", size=7) == Box((1, 2), 7)


def test_building_goes_depth_first_and_settings_make_lists_tuples():
    inner = {"_target_": "toy_boxes:Box", "content": "inner"}
    given = {"_target_": "toy_boxes:Box", "content": [{"a": inner}, [1, None]]}
    assert catalog.build(given) == Box(({"a": Box("inner")}, (1, None)))


def test_what_has_no_target_stays_plain():
    assert catalog.build({"a": 1, "b": "text"}) == {"a": 1, "b": "text"}
    assert catalog.build(None) is None


def test_building_leaves_the_settings_alone():
    given = {"_target_": "toy_boxes:Box", "content": [1]}
    catalog.build(given)
    assert given == {"_target_": "toy_boxes:Box", "content": [1]}


def test_a_dotted_target_is_found_too():
    assert (
        catalog.build({"_target_": "beyond.ledger.Budget", "currency": "steps", "amount": 3}).amount
        == 3
    )


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"^unknown setting 'colour' of Box; known: content, size$"
    ):
        catalog.load("box", "small", colour="red")


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "os:system", "subprocess.run", "antigravity.x", "builtins.eval"),
        *("torch.load", "system", "", 3, None, "beyond.run.cell.os.system"),
        *("beyond.run.cell:os", "beyond.run.cell.subprocess", "methods.genetic.torch"),
        "toy_boxes.system",
    ],
)
def test_code_that_nobody_declared_is_neither_imported_nor_called(target, tmp_path):
    """However deep it stands, and whatever its arguments are."""
    evil = {"_target_": target, "command": f"touch {tmp_path / 'called'}"}
    before = set(sys.modules)
    for given in (evil, {"_target_": "toy_boxes:Box", "content": [{"a": evil}]}):
        with pytest.raises(InputError, match=r"^_target_ must be [^\n]*, got [^\n]*$"):
            catalog.build(given)
    assert not (tmp_path / "called").exists()
    assert "antigravity" not in set(sys.modules) - before


@pytest.mark.parametrize(
    "target", ["toy_boxes.Undeclared", "toy_boxes.function", "beyond.run.record.RunFolder"]
)
def test_a_class_without_declared_settings_is_refused(target):
    with pytest.raises(
        InputError, match=rf"^_target_ must be a class made by beyond.settings, got '{target}'$"
    ):
        catalog.build({"_target_": target})


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("task", "a task"),
        ("method", "a method"),
        ("network", "a network"),
        ("optimizer", "an optimizer"),
    ],
)
def test_a_class_of_another_group_is_refused(group, message):
    with pytest.raises(
        InputError, match=rf"^_target_ must be {message}, got 'beyond.ledger.Budget'$"
    ):
        catalog.build({"_target_": "beyond.ledger.Budget", "currency": "steps", "amount": 3}, group)


def test_a_package_is_declared_by_the_environment_or_by_an_entry_point(monkeypatch, look_again):
    given = {"_target_": "toy_boxes:Box"}
    assert catalog.build(given) == Box()
    monkeypatch.delenv("BEYOND_PLUGINS")
    with pytest.raises(
        InputError,
        match=r"^_target_ must be in beyond, .* or a package that BEYOND_PLUGINS declares",
    ):
        catalog.build(given)
    points = [
        EntryPoint("mine", "toy_boxes", "beyond.plugins"),
        EntryPoint("all", f"{__name__}:x", "beyond.plugins"),
    ]
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [point for point in points if point.group == group],
    )
    look_again()
    assert catalog.build(given) == Box()


@pytest.mark.parametrize(
    "target", ["toy_boxes:system", "beyond.catalog:os", "beyond.catalog:import_module"]
)
def test_what_a_declared_module_has_from_elsewhere_is_not_its_own(target):
    with pytest.raises(InputError, match=rf"^factory must be in beyond, .*, got '{target}'$"):
        catalog.find("factory", target)
    assert catalog.find("factory", "toy_boxes:function")() is None


def test_a_missing_module_is_one_line():
    with pytest.raises(
        InputError,
        match=r"^_target_ must be package.module.name, got 'methods.nope.X' \(ModuleNotFoundError: No module",
    ):
        catalog.build({"_target_": "methods.nope.X"})
