"""Names found in folders, and objects made from settings."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from beyond import catalog
from beyond.errors import InputError


@dataclass(frozen=True)
class Box:
    content: object = None
    size: int = 1


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A catalogue of two boxes."""
    monkeypatch.setattr(catalog, "CONF", tmp_path)
    monkeypatch.setitem(sys.modules, "toy_boxes", SimpleNamespace(Box=Box))
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
    assert catalog.read("box", "set/large") == {"_target_": "toy_boxes:Box", "size": 50, "content": [1, 2]}
    assert catalog.read("box", "empty") == {}


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"^box must be one of empty, set/large, small; got 'huge'$"):
        catalog.read("box", "huge")


def test_load_builds_with_some_settings_replaced():
    assert catalog.load("box", "small") == Box(size=2)
    assert catalog.load("box", "set/large", size=7) == Box((1, 2), 7)


def test_building_goes_depth_first_and_makes_lists_tuples():
    inner = {"_target_": "toy_boxes:Box", "content": "inner"}
    settings = {"_target_": "toy_boxes:Box", "content": [{"a": inner}, [1, None]]}
    assert catalog.build(settings) == Box(({"a": Box("inner")}, (1, None)))


def test_what_has_no_target_stays_plain():
    assert catalog.build({"a": 1, "b": "text"}) == {"a": 1, "b": "text"}
    assert catalog.build(None) is None


def test_building_leaves_the_settings_alone():
    settings = {"_target_": "toy_boxes:Box", "content": [1]}
    catalog.build(settings)
    assert settings == {"_target_": "toy_boxes:Box", "content": [1]}


def test_a_dotted_target_is_found_too():
    assert catalog.build({"_target_": "beyond.ledger.Budget", "currency": "steps", "amount": 3}).amount == 3


def test_an_unknown_setting_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        catalog.load("box", "small", colour="red")
