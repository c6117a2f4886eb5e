"""Cells that are trained together: which, and that each is recorded as if trained alone."""

import pandas as pd
import pytest
from rich.console import Console

from beyond import catalog
from beyond.run import stack
from beyond.run.cell import Cell
from beyond.run.record import RunFolder
from beyond.run.runner import INTERRUPTED, train_cell, train_stack
from beyond.run.training import Training
from beyond.run.worker import Planned, Worker
from methods.backprop import Backprop

FAULTS = [
    # the first cell's network for all
    (
        "beyond/run/stack.py",
        "network=architecture.build",
        "network=cells[0].arm.architecture.build",
    ),
    (
        "beyond/run/stack.py",
        "if not run.stacked or clocked or in_turn:",
        "if not run.stacked or in_turn:",
    ),
    ("beyond/run/stack.py", "or clocked or in_turn:", "or clocked:"),
    ("beyond/run/stack.py", "if begun else [cell for cell", "if False else [cell for cell"),
    ("beyond/run/stack.py", "n_replicas * n_weights <= WEIGHTS", "n_weights <= WEIGHTS"),
    ("beyond/run/stack.py", "n_replicas <= REPLICAS", "n_replicas < REPLICAS"),
    (
        "beyond/run/stack.py",
        "n_replicas * n_weights <= WEIGHTS",
        "n_replicas * n_weights < WEIGHTS",
    ),
    # cells that are evaluated otherwise, begin otherwise or keep something else are one program
    ("beyond/run/stack.py", "arm.budget, arm.start)", "arm.budget)"),
    ("beyond/run/stack.py", "arm.task, family(arm.arch", "family(arm.arch"),
    ("beyond/run/stack.py", "replace(run, seeds=1)", "replace(run, seeds=1, keep_weights=False)"),
    # the state of another stack with the same first cell
    (
        "beyond/run/stack.py",
        "repr([cell.run_id for cell in cells])",
        "cells[0].run_id",
    ),
    (
        "beyond/run/stack.py",
        "also={name: stacked([setup.also[name] for setup in setups], sizes) for name in first.also}",
        "also=first.also",
    ),
    # the first cell's rates for all
    (
        "beyond/run/stack.py",
        "method=stacked([setup.method for setup in setups], sizes)",
        "method=first.method",
    ),
    # what a cell that diverged did not spend is on its bill
    ("beyond/run/loop.py", "self.ended[run_id] = training.ledger.copy()", "pass"),
    (
        "beyond/run/loop.py",
        'for run_id, costs in snapshot["ended"].items()',
        "for run_id, costs in ()",
    ),
    ("beyond/run/rows.py", "seconds * n_replicas", "seconds * len(setup.seeds)"),
    # zero is another program: momentum has a velocity then
    ("beyond/replicas.py", "bool(np.any(getattr(made, field.name)))", "True"),
    ("beyond/replicas.py", "[value] * size", "[value]"),
    (
        "beyond/run/runner.py",
        "            state.save()\n        parts",
        "            pass\n        parts",
    ),
    ("beyond/run/runner.py", "            if not folder.finished\n", ""),
    ("beyond/run/worker.py", "except (ApartError, InputError", "except (InputError"),
]
QUIET = Console(quiet=True)
CLOCKS = ("seconds", "wall", "study")
RUN = ("stacked", "time_limit", "threads", "keep_weights", "test_also", "task", "start", "network")


@pytest.fixture
def make(composed):
    """Return a cell of backpropagation with these settings of its optimizer, as typed."""

    def cell(folder="a", method=(), seeds=(0, 1), budget=("steps", 12), **settings):
        rule = {**catalog.read("method", "backprop"), **dict(method)}
        run = {name: settings.pop(name) for name in RUN if name in settings}
        rule["optimizer"] = {
            **catalog.read("optimizer", settings.pop("optimizer", "momentum")),
            **settings,
        }
        made = composed(seeds=list(seeds), study_name=folder, budget=dict([budget]), **run)
        return Cell.of({**made, "method": rule}, "backprop")

    return cell


def table(cell, name):
    """A table of a cell, without the clock."""
    found = pd.read_parquet(cell.folder / f"{name}.parquet")
    return found[[column for column in found if not any(word in column for word in CLOCKS)]]


def assert_alike(one, other, **tolerance):
    # the last in half precision
    for name, rtol in (("runs", 1e-4), ("curves", 1e-4), ("layers", 1e-4), ("predictions", 2e-3)):
        bounds = tolerance or {"rtol": rtol, "atol": 1e-5}
        pd.testing.assert_frame_equal(table(one, name), table(other, name), **bounds)


def test_cells_that_differ_in_seeds_and_rates_are_one_stack(make):
    cells = [make(learning_rate=0.1), make(momentum=0.5), make(seeds=[7])]
    assert stack.stacks(cells) == [cells]


@pytest.mark.parametrize(
    "other",
    [
        {"method": {"batch_size": 16}},
        {"method": {"engine": "autograd"}},
        {"optimizer": "sgd"},
        {"momentum": 0.0},
        {"budget": ("steps", 13)},
        {"folder": "b"},
        {"threads": 2},
        {"keep_weights": True},
        {"test_also": {"batch_size": [16]}},
        {"task": catalog.read("task", "tabular/moons")},
        {"start": catalog.read("start", "related")},
        {"network": {**catalog.read("network", "mlp"), "hidden": [8]}},
        {"network": {**catalog.read("network", "mlp"), "dropout": 0.1}},
    ],
)
def test_cells_that_differ_in_more_are_not(make, other):
    cells = [make(), make(**other)]
    assert stack.stacks(cells) == [[cell] for cell in cells]


@pytest.mark.parametrize(
    "alone",
    [
        {"stacked": False},
        {"time_limit": 60.0},
        {"budget": ("seconds", 1.0)},
        {"task": catalog.read("task", "control/cartpole")},
    ],
)
def test_cells_on_a_clock_or_in_episodes_or_so_asked_are_trained_alone(make, alone):
    cells = [make(learning_rate=rate, **alone) for rate in (0.1, 0.2)]
    assert stack.stacks(cells) == [[cell] for cell in cells]


@pytest.mark.parametrize(
    ("name", "most"),
    [("REPLICAS", 4), ("REPLICAS", 5), ("WEIGHTS", 4 * 2410), ("WEIGHTS", 6 * 2410 - 1)],
)
def test_a_stack_has_so_many_replicas_at_most(make, monkeypatch, name, most):
    monkeypatch.setattr(stack, name, most)
    cells = [make(learning_rate=rate) for rate in (0.1, 0.2, 0.3)]
    assert stack.stacks(cells) == [cells[:2], cells[2:]]


def test_a_program_has_the_settings_of_each_cell_for_its_replicas(make, monkeypatch):
    monkeypatch.setattr(Backprop, "PREDICTION", ("batch_size",))
    told = {"test_also": {"batch_size": [8]}}
    cells = [make(learning_rate=0.1, **told), make(learning_rate=0.2, seeds=[7], **told)]
    made = stack.joined(cells)
    assert made.seeds == [0, 1, 7]
    assert [one["run_id"] for one in made.identities] == [cells[n].run_id for n in (0, 0, 1)]
    assert made.method.optimizer.learning_rate == (0.1, 0.1, 0.2)
    also = made.also["batch_size_8"]
    assert (also.batch_size, also.optimizer.learning_rate) == (8, (0.1, 0.1, 0.2))


def test_a_stack_is_at_home_where_no_other_is(make):
    first, second, third = (make(learning_rate=rate) for rate in (0.1, 0.2, 0.3))
    stacks = [[first, second], [first, third], [first, second, third], [first]]
    assert len({stack.home(cells) for cells in stacks}) == len(stacks)
    assert stack.home([first]) == first.folder


def with_dropout(rate):
    return {**catalog.read("network", "mlp"), "dropout": rate}


def test_each_cell_is_recorded_as_if_trained_alone(make):
    told = [
        {"learning_rate": 0.1, "method": {"gradient_noise": 0.2}, "network": with_dropout(0.1)},
        {
            **{"momentum": 0.5, "seeds": [3], "network": with_dropout(0.5)},
            "method": {"gradient_noise": 0.5},
        },
        {"seeds": [1, 7, 5], "method": {"gradient_noise": 1.0}, "network": with_dropout(0.1)},
    ]
    together = [make("together", **one) for one in told]
    alone = [make("alone", **one) for one in told]
    assert train_stack(together, False, QUIET) == ["finished"] * 3
    for one, other in zip(together, alone, strict=True):
        assert train_cell(other, False, QUIET, shown=False) == "finished"
        assert_alike(one, other)
        assert RunFolder(one.folder).manifest()["n_replicas"] == 6
        assert RunFolder(one.folder).manifest()["seeds"] == one.seeds
    assert not list(together[0].study.glob("stack*"))
    seconds = [pd.read_parquet(cell.folder / "runs.parquet") for cell in together]
    for runs in seconds:
        assert (runs["total_seconds"] == runs["seconds"] * len(runs)).all()


def test_a_cell_that_diverges_is_charged_what_it_has_spent(make):
    told = [{"learning_rate": 1e12}, {}]
    together = [make("together", **one, budget=("epochs", 2)) for one in told]
    alone = make("alone", **told[0], budget=("epochs", 2))
    assert train_stack(together, False, QUIET) == ["diverged", "finished"]
    assert train_cell(alone, False, QUIET, shown=False) == "diverged"
    assert_alike(together[0], alone)
    assert table(alone, "runs")["unspent"].min() > 0.5
    cut = [make("cut", **one, budget=("epochs", 2)) for one in told]
    asked = iter([False] * 60)
    assert train_stack(cut, False, QUIET, stop=lambda: next(asked, True)) == [INTERRUPTED]
    assert train_stack(cut, False, QUIET) == ["diverged", "finished"]
    for one, other in zip(together, cut, strict=True):
        assert_alike(one, other, check_exact=True)


@pytest.mark.parametrize("n_recorded", [0, 1, 2])
def test_what_interrupts_the_recording_changes_nothing(make, monkeypatch, n_recorded):
    whole = [make("whole", learning_rate=rate) for rate in (0.1, 0.2)]
    train_stack(whole, False, QUIET)
    cut = [make("cut", learning_rate=rate) for rate in (0.1, 0.2)]
    closed, left = RunFolder.close, iter(range(n_recorded))

    def close(folder, *written):
        if next(left, None) is None:
            raise KeyboardInterrupt
        closed(folder, *written)

    monkeypatch.setattr(RunFolder, "close", close)
    monkeypatch.setattr(RunFolder, "remove", lambda _: None)
    if n_recorded < 2:
        with pytest.raises(KeyboardInterrupt):
            train_stack(cut, False, QUIET)
    else:
        train_stack(cut, False, QUIET)
    monkeypatch.undo()
    left = {cell.run_id for cell in cut if not RunFolder(cell.folder).finished}
    assert len(left) == 2 - n_recorded
    assert stack.to_train(cut, left) == [cut]
    steps = list[object]()
    monkeypatch.setattr(Training, "advance", steps.append)
    assert train_stack(cut, False, QUIET) == ["finished"] * (2 - n_recorded)
    assert steps == []  # all were taken before
    for one, other in zip(whole, cut, strict=True):
        assert_alike(one, other, check_exact=True)
    assert not list(cut[0].study.glob("stack*"))
    assert stack.to_train(cut, set()) == []


def test_a_stack_that_was_not_begun_leaves_finished_cells_out(make):
    cells = [make(learning_rate=rate) for rate in (0.1, 0.2, 0.3)]
    left = {cell.run_id for cell in cells[1:]}
    assert stack.to_train(cells, left) == [cells[1:]]


def test_a_program_that_fails_is_trained_cell_by_cell(make, monkeypatch):
    cells = [make(learning_rate=rate) for rate in (0.1, 0.2)]
    direction = Backprop.direction

    def failing(rule, *given):
        assert not isinstance(rule.optimizer.learning_rate, tuple), "of one cell, which none knows"
        return direction(rule, *given)

    monkeypatch.setattr(Backprop, "direction", failing)
    planned = [Planned(cell.settings, "backprop") for cell in cells]
    assert Worker([planned])(None) == ["finished", "finished"]
    assert not list(cells[0].study.glob("stack*"))
    manifests = [RunFolder(cell.folder).manifest() for cell in cells]
    assert [manifest["n_replicas"] for manifest in manifests] == [2, 2]
