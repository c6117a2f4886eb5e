"""What every method promises (`beyond.testing.methods`), and what its files say.

The folder is walked: a new method is covered without an edit.
"""

import dataclasses
import importlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from beyond import catalog
from beyond.errors import InputError, UnsupportedError
from beyond.run.describe import describe, markdown
from beyond.testing import methods, steps
from beyond.testing.checks import of
from beyond.testing.trial import TASKS, Trial
from tests.mutants import named_in

ROOT = Path(__file__).parent.parent
METHODS = sorted(path.stem for path in (ROOT / "methods").glob("*.py") if path.stem != "__init__")
MADE_OF_SETTINGS = [
    (group, name)
    for group in ("method", *catalog.PARTS)
    for name in catalog.names(group)
    if name != "default"
]
CHOICES = catalog.names("method")  # more than there are files: some differ in settings alone
FOR_PREDICTION = [
    (name, setting) for name in CHOICES for setting in catalog.load("method", name).PREDICTION
]


@cache
def trial(name: str) -> Trial:
    return Trial(catalog.load("method", name), name)


def test_every_method_has_its_three_files():
    assert set(METHODS) <= set(CHOICES)
    for name in METHODS:
        assert (ROOT / "tests" / "methods" / f"test_{name}.py").exists(), name


@pytest.mark.parametrize("name", METHODS)
def test_settings_equal_the_fields_and_their_defaults(name):
    settings = catalog.read("method", name)
    module, _, class_name = settings.pop("_target_").rpartition(".")
    fields = {
        field.name: field
        for field in dataclasses.fields(getattr(importlib.import_module(module), class_name))
        if field.init
    }
    assert set(settings) == set(fields)
    for key, field in fields.items():
        if field.default is not dataclasses.MISSING:
            assert getattr(catalog.load("method", name), key) == field.default, key


@pytest.mark.parametrize("name", METHODS)
def test_the_file_says_where_it_comes_from(name):
    described = describe(name)
    assert described.title
    for heading in ("departures", "cost", "check", "source"):
        assert getattr(described, heading), heading
    assert f"tests/methods/test_{name}.py" in described.check


@pytest.mark.parametrize("name", METHODS)
def test_its_test_names_a_fault_to_catch(name):
    assert any(
        fault.path == Path(f"methods/{name}.py")
        for fault in named_in(Path(f"tests/methods/test_{name}.py"))
    )


def test_the_page_of_methods_is_made_from_the_files():
    assert (ROOT / "docs" / "methods.md").read_text() == markdown(), "run `make methods`"


@pytest.mark.parametrize(("group", "name"), MADE_OF_SETTINGS)
def test_bad_settings_are_refused_in_one_line(group, name):
    settings = catalog.read(group, name)
    numbers = [
        key
        for key, value in settings.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    names = [key for key, value in settings.items() if isinstance(value, str) and key != "_target_"]
    for key, bad in [*((key, -3) for key in numbers), *((key, "no such thing") for key in names)]:
        with pytest.raises(InputError, match=rf"^[^\n]*{key}[^\n]*{bad}[^\n]*$"):
            catalog.load(group, name, **{key: bad})
    if "optimizer" in settings:
        settings["optimizer"]["learning_rate"] = -0.1
        with pytest.raises(InputError, match=r"^learning_rate must be > 0, got -0.1$"):
            catalog.build(settings)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", CHOICES)
def test_it_trains_or_says_why_not(name, task):
    with suppress(UnsupportedError):
        of(methods.trains_on, trial(name), task)()


def test_every_task_in_episodes_is_tried():
    specs = {name: catalog.load("task", name).spec for name in catalog.complete("task")}
    assert {name for name, spec in specs.items() if spec.episode} <= set(TASKS)


@pytest.mark.parametrize("check", methods.WHOLE_RUNS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CHOICES)
def test_it_keeps_its_promises(name, check):
    of(check, trial(name))()


@pytest.mark.parametrize(("name", "setting"), FOR_PREDICTION)
def test_a_setting_of_the_prediction_changes_no_step(name, setting):
    of(methods.tests_other_predictions, trial(name), setting)()


@pytest.mark.parametrize("kind", ["mlp", "values"])
@pytest.mark.parametrize("name", CHOICES)
def test_what_is_called_unbiased_is_the_gradient(name, kind):
    if not getattr(trial(name).method, "UNBIASED", False):
        pytest.skip("it claims no gradient")
    of(steps.follows_the_gradient, trial(name), kind)()
