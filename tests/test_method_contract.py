"""What every method promises. The folder is walked: a new method is covered without an edit."""

import dataclasses
import importlib
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from beyond import catalog
from beyond.contracts import Method, Signal
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import Budget
from beyond.problem import Problem
from beyond.run.describe import describe, markdown
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from tests.mutants import named_in

TABLES = ("curves", "layers", "runs")
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
SPECS = {name: catalog.load("task", name).spec for name in catalog.complete("task")}
# the smaller network first: the tests of methods that need episodes run on it
EPISODES = sorted(
    (name for name, spec in SPECS.items() if spec.episode),
    key=lambda name: SPECS[name].network.build(SPECS[name]).n_weights,
)
TASKS = ("image/digits", "text/languages", "regression/friedman", *EPISODES)


@cache
def small(task: str):
    return catalog.load("task", task, train_size=300)


@cache
def home(method: str) -> str:
    """The first task that a method can serve."""
    for task in TASKS:
        made = small(task)
        network, signal = made.spec.network.build(made.spec), catalog.load("method", method).signal
        try:
            catalog.load("method", method).init(
                Problem(network, made.spec, signal=signal),
                network.init(Stream("init", [0])),
                Stream("step", [0]),
            )
        except UnsupportedError:
            continue
        return task
    raise AssertionError(f"{method} serves no task at all")


def setup(method: str, task: str | None = None, seeds=(0, 1, 2), steps: int = 8) -> Setup:
    """Equal steps, not equal costs: a budget below one generation would show nothing."""
    made = small(task or home(method))
    return Setup(
        catalog.load("method", method),
        made,
        made.spec.network.build(made.spec),
        list(seeds),
        Budget("steps", steps),
        {"method": method, "run_id": method},
    )


def run(of: Setup, snapshot=None, before=None) -> dict[str, pd.DataFrame]:
    """All that is recorded; `before` has rows from before the snapshot."""
    rows = {name: list((before or {}).get(name, [])) for name in TABLES}
    for progress in train(of, snapshot):
        for name, table in rows.items():
            table += getattr(progress, name)
    return {
        **{name: without_clock(pd.DataFrame(table)) for name, table in rows.items()},
        "predictions": pd.DataFrame(progress.predictions),
    }


def without_clock(table: pd.DataFrame) -> pd.DataFrame:
    return table[[column for column in table.columns if "seconds" not in column]]


def others(method: Method, setting: str) -> list:
    """Values that a setting does not have: a larger number, or all other choices."""
    usual = getattr(method, setting)
    if isinstance(usual, int):
        return [usual + 2]
    return [value for value in get_args(get_type_hints(type(method))[setting]) if value != usual]


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


@pytest.mark.parametrize("name", CHOICES)
def test_it_is_an_immutable_method_with_a_signal(name):
    method = catalog.load("method", name)
    assert isinstance(method, Method)
    assert isinstance(method.signal, Signal)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.batch_size = 7


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
    try:
        tables = run(setup(name, task, steps=2))
    except UnsupportedError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert set(tables["runs"]["status"]) == {"finished"}
    assert tables["curves"]["value"].notna().all()


@pytest.mark.parametrize("name", CHOICES)
def test_same_seed_same_rows(name):
    first, second = run(setup(name)), run(setup(name))
    for table in first:
        pd.testing.assert_frame_equal(first[table], second[table], check_exact=True)


@pytest.mark.parametrize("name", CHOICES)
def test_a_replica_equals_the_same_seed_alone(name):
    stacked, alone = run(setup(name)), run(setup(name, seeds=[1]))
    # the last in half precision
    for table, tolerance in (("curves", 1e-4), ("runs", 1e-4), ("predictions", 2e-3)):
        replica = stacked[table].query("seed == 1").reset_index(drop=True)
        pd.testing.assert_frame_equal(
            replica, alone[table], check_exact=False, rtol=tolerance, atol=1e-5
        )


@pytest.mark.parametrize("name", CHOICES)
def test_a_replica_that_is_lost_ends_alone(name, monkeypatch):
    """Whatever becomes of one replica's weights, the others end as they would without it."""
    of = setup(name, steps=4)
    whole, draw = run(of), of.network.init

    def init(rng, *arguments):
        params = draw(rng, *arguments)
        if not arguments:  # not a method's candidates
            params[1] = float("nan")
        return params

    monkeypatch.setattr(of.network, "init", init)
    spoiled = run(of)
    for table in ("curves", "runs"):
        kept = [of[table].query("seed != 1").reset_index(drop=True) for of in (whole, spoiled)]
        pd.testing.assert_frame_equal(
            *kept, check_exact=False, check_dtype=False, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", CHOICES)
def test_resumed_anywhere_it_ends_where_the_uninterrupted_run_ends(name, tmp_path):
    rows: dict[str, list] = {table: [] for table in TABLES}
    saved = []
    for progress in train(setup(name)):
        for table, listed in rows.items():
            listed += getattr(progress, table)
        if progress.snapshot:
            path = tmp_path / f"{len(saved)}.pt"
            torch.save(progress.snapshot, path)
            saved.append((path, {table: list(listed) for table, listed in rows.items()}))
    whole = {table: without_clock(pd.DataFrame(listed)) for table, listed in rows.items()}
    whole["predictions"] = pd.DataFrame(progress.predictions)
    for path, before in saved[:: max(1, len(saved) // 3)]:
        resumed = run(setup(name), torch.load(path, weights_only=True), before)
        for table, listed in whole.items():
            pd.testing.assert_frame_equal(resumed[table], listed, check_exact=True)


@pytest.mark.parametrize("name", CHOICES)
def test_the_ledger_equals_the_operations_that_torch_counts(name, monkeypatch):
    """Every product of matrices in a step is charged, network's and method's; evaluation is not."""
    of = setup(name, seeds=[0, 1])
    method_step = type(of.method).step
    steps: list[int] = []

    def step(self, *arguments):
        with FlopCounterMode(display=False) as counter:
            state = method_step(self, *arguments)
        steps.append(counter.get_total_flops())
        return state

    monkeypatch.setattr(type(of.method), "step", step)
    row = run(of)["runs"].iloc[0]
    taken = steps[1 : 1 + row["steps"]]  # the first warms up, uncharged
    assert row["flops"] == pytest.approx(sum(taken) / 2, rel=1e-9)


@pytest.mark.parametrize("name", CHOICES)
def test_passes_through_the_whole_network_are_counted(name, monkeypatch):
    of = setup(name, seeds=[0, 1])
    counted = {"forward": 0, "backward": 0}
    network_forward, network_backward, method_step = (
        of.network.forward,
        of.network.backward,
        type(of.method).step,
    )
    stepping = []

    def forward(params, inputs, rng=None):
        if stepping:
            counted["forward"] += len(params) * inputs.shape[1]
        return network_forward(params, inputs, rng)

    def backward(tape, error, *arguments, **named):
        if stepping:
            counted["backward"] += len(error) * error.shape[1]
        return network_backward(tape, error, *arguments, **named)

    def step(self, *arguments):
        stepping.append(True)
        before = dict(counted)
        state = method_step(self, *arguments)
        stepping.clear()
        steps.append({key: counted[key] - before[key] for key in counted})
        return state

    steps: list[dict[str, int]] = []
    monkeypatch.setattr(of.network, "forward", forward)
    monkeypatch.setattr(of.network, "backward", backward)
    monkeypatch.setattr(type(of.method), "step", step)
    row = run(of)["runs"].iloc[0]
    taken = steps[1 : 1 + row["steps"]]
    for key in counted:  # passes through parts of it, and through the tangent, come on top
        assert row[key] >= sum(one[key] for one in taken) / 2
        assert row[key] > 0 or not row["flops"] or key == "backward"


@pytest.mark.parametrize(("name", "setting"), FOR_PREDICTION)
def test_a_setting_of_the_prediction_changes_no_step(name, setting):
    of = setup(name)
    values = others(of.method, setting)
    assert values
    whole = run(of)
    for value in values:
        other = dataclasses.replace(of.method, **{setting: value})
        changed = run(dataclasses.replace(of, method=other))
        pd.testing.assert_frame_equal(changed["layers"], whole["layers"], check_exact=True)
        assert not changed["curves"].equals(whole["curves"]), "a prediction does not use it"
        also = run(dataclasses.replace(of, also={"other": other}))["curves"]
        scores = also[also["metric"].str.startswith("other_")]
        expected = changed["curves"].query("split == 'test'")
        at_the_end = [
            part[part["checkpoint"] == part["checkpoint"].max()]["value"]
            for part in (scores, expected)
        ]
        assert at_the_end[0].tolist() == at_the_end[1].tolist()


@pytest.mark.parametrize("name", CHOICES)
def test_a_step_leaves_the_state_it_was_given_alone(name):
    of = setup(name)
    seen = []

    def copy(value):
        if isinstance(value, torch.Tensor):
            return value.clone()
        if isinstance(value, dict):
            return {key: copy(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(copy(item) for item in value)
        return value

    class Watching(type(of.method)):
        def step(self, state, *arguments):
            seen.append((state, copy(state)))
            return super().step(state, *arguments)

    watched = Watching(
        **{
            field.name: getattr(of.method, field.name)
            for field in dataclasses.fields(of.method)
            if field.init
        }
    )
    run(dataclasses.replace(of, method=watched))
    for given, before in seen:
        torch.testing.assert_close(given, before, rtol=0, atol=0)
