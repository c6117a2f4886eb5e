"""The YAML of the choices is what the classes say."""

from types import ModuleType
from typing import Annotated

import pytest
import yaml
from annotated_types import Ge

from beyond import catalog
from beyond.kits.optimizers import Adam, Optimizer
from beyond.run.choices import CONF, WIDTH, named, page, pages
from beyond.settings import Positive, PositiveInt, RunSettings, settings

PAGES = {path.as_posix(): text for path, text in pages().items()}


@settings
class Walk:
    """Step about at random.

    Further words.

    Parameters
    ----------
    optimizer : Optimizer
        Takes the steps.
    length, width : float, > 0
        Of a step. More of it.
    n_steps : int, >= 2
    hidden : tuple of int
        Widths
        of layers; as they are.
    """

    start: str
    optimizer: Optimizer = Adam(learning_rate=1e-8)
    length: Positive = 3.0
    width: Positive | None = None
    n_steps: Annotated[int, Ge(2)] = 10
    hidden: tuple[PositiveInt, ...] = (3, 4)


@settings
class Pause:
    """Stands behind `Walk` in its file."""


def test_a_file_of_several_classes_is_the_choice_of_its_first(monkeypatch):
    file = ModuleType(Walk.__module__)
    file.Walk, file.Pause = Walk, Pause
    monkeypatch.setattr("beyond.run.choices.modules", lambda _: {"walk": file})
    assert named("method") == {"walk": (Walk, "")}


def test_the_files_are_what_the_classes_say():
    on_disk = {
        path.relative_to(CONF).as_posix(): path.read_text()
        for group in {name.partition("/")[0] for name in PAGES}
        for path in (CONF / group).rglob("*.yaml")
    }
    assert on_disk == PAGES, "run `make conf`"


def test_a_cell_has_a_choice_of_every_group_and_the_method_its_parts():
    assert set(catalog.choices()) == set(catalog.GROUPS)
    assert {catalog.choices()[part] for part in catalog.PARTS} == {"default"}


def test_every_choice_of_a_part_is_of_its_group():
    for part in catalog.PARTS:
        made = [choice for choice, _ in named(part).values() if choice is not None]
        assert made
        assert all(catalog.belongs(part, choice) for choice in made)


def test_the_settings_of_a_run_have_the_defaults_of_their_class():
    written = yaml.safe_load((CONF / "config.yaml").read_text())
    assert {
        key: value for key, value in written.items() if key not in ("defaults", "hydra", "tuned")
    } == vars(RunSettings())


def test_a_page_has_every_setting_with_what_is_allowed_and_what_it_means():
    assert page(Walk) == (
        "# Step about at random.\n"
        f"_target_: {__name__}.Walk\n"
        "start: ???  # text\n"
        "optimizer:\n"
        "  _target_: beyond.kits.optimizers.Adam\n"
        "  learning_rate: 1.0e-08  # > 0\n"
        "  schedule: constant  # one of constant, cosine, linear, exponential, step: How the learning "
        "rate falls\n"
        "  decay_steps: null  # an integer >= 1, or null: Steps until it has fallen so far\n"
        "  decay_factor: 0.1  # in [0, 1]: What it then is multiplied by\n"
        "  warmup_steps: 0  # an integer >= 0: Steps in which it first rises\n"
        "  max_gradient_norm: null  # > 0, or null: Longer gradients of a replica are shortened to "
        "it\n"
        "  beta1: 0.9  # in [0, 1)\n"
        "  beta2: 0.999  # in [0, 1)\n"
        "  epsilon: 1.0e-08  # > 0\n"
        "length: 3.0  # > 0: Of a step\n"
        "width: null  # > 0, or null: Of a step\n"
        "n_steps: 10  # an integer >= 2\n"
        "hidden: [3, 4]  # a list, each an integer >= 1: Widths of layers; as they are\n"
    )
    assert page(Walk("here"), "A remark.").startswith(
        f"# A remark.\n_target_: {__name__}.Walk\nstart: here  # text\n"
    )


@pytest.mark.parametrize(
    "name", [name for name, text in PAGES.items() if "_target_" in text and "???" not in text]
)
def test_a_page_builds_what_it_was_made_from(name):
    group, _, choice = name.removesuffix(".yaml").partition("/")
    built = catalog.build(catalog.read(group, choice), group)
    made, *said = named(group)[choice]
    assert built == made
    assert page(built, *said) == PAGES[name]
    assert max(map(len, PAGES[name].splitlines())) <= WIDTH
