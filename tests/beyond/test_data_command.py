"""`beyond-data check` tells what a task's data are, or in one line why they cannot be used."""

import sys
from types import SimpleNamespace

import pytest

from beyond import catalog
from beyond.ledger import Budget
from beyond.run import data

FAULTS = [
    # a step of backprop costs a pass
    ("beyond/run/data.py", '"examples": 3 * size', '"examples": size'),
    ("beyond/run/data.py", "MUCH / (step * n_examples / size)", "MUCH / step"),
    # an episode counts as one example
    ("beyond/run/data.py", "n_train * spec.n_scored", "n_train"),
    # what the task would have, whatever is chosen
    (
        "beyond/run/data.py",
        "*_planned(arm.task, arm.architecture",
        "*_planned(arm.task, arm.task.spec.network",
    ),
]


@pytest.fixture
def check(monkeypatch, capsys):
    """Return a function that runs the command: what it printed, or its one line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["beyond-data", *arguments])
        try:
            data.main()
        except SystemExit as end:
            return str(end.code)
        return capsys.readouterr().out

    return run


def test_it_tells_inputs_outputs_splits_and_levels(check):
    assert check("check", "task=image/digits", "task.train_size=100") == (
        "image/digits: inputs 1x8x8, 10 outputs (classes)\n"
        "splits: 100 train, 270 validation, 270 test\n"
        "network mlp-32, accuracy_score; levels 0.8, 0.9, 0.95\n"
        "budget: 100 backprop epochs a replica, as 312 steps of backprop on 32 examples, 1.0e+08 operations\n"
    )


def test_the_examples_of_episodes_are_their_queries(check):
    n_queries = catalog.load("task", "image/glyphs").spec.episode.n_query
    told = check("check", "task=image/glyphs", "task.train_size=50")
    assert f", as {round(100 * 50 * n_queries / 32):,} steps of backprop on 32 examples" in told


def test_it_tells_first_what_was_understood_of_a_file(check, tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("a,b,y\n" + "".join(f"{i},{'xz'[i % 3 > 0]},{i % 2}\n" for i in range(40)))
    assert check("check", "task=table", f"task.path={path}", "task.target=y").splitlines() == [
        f"{path}: 40 rows, 3 columns",
        "1 column of numbers, 1 input: a",
        "1 column of texts, 2 inputs: b",
        "target y: 2 classes (0 20, 1 20), chance 0.500",
        "splits: drawn by seed",
        "table/my: inputs 3, 2 outputs (classes)",
        "splits: 28 train, 6 validation, 6 test",
        "network mlp-32, accuracy_score; levels 0.75, 0.875, 0.95",
        "budget: 100 backprop epochs a replica, as 100 steps of backprop on 28 examples, 2.2e+06 operations",
    ]


@pytest.mark.parametrize(
    ("currency", "amount", "said"),
    [
        (
            "epochs",
            8,
            "8 backprop epochs a replica, as 15,000 steps of backprop on 32 examples, 4.8e+12 operations",
        ),
        (
            "epochs",
            100,
            "100 backprop epochs a replica, as 187,500 steps of backprop on 32 examples, 6.0e+13 operations; budget.epochs=8 would do with less",
        ),
        (
            "examples",
            960,
            "960 examples a replica, as 10 steps of backprop on 32 examples, 3.2e+09 operations",
        ),
        (
            "flops",
            1e10,
            "1e+10 flops a replica, as 31 steps of backprop on 32 examples, 1.0e+10 operations",
        ),
        (
            "steps",
            1000,
            "1,000 steps a replica, as 1,000 steps of backprop on 32 examples, 3.2e+11 operations",
        ),
        ("seconds", 10, "10 seconds a replica"),
    ],
)
def test_a_budget_is_told_in_steps_and_operations(currency, amount, said):
    network = SimpleNamespace(forward_flops=4_000_000, backward_flops=lambda: 6_000_000)
    assert data._spent(Budget(currency, float(amount)), network, 60_000) == said


@pytest.mark.parametrize(("n_examples", "epochs"), [(60_000, 8), (600, 800), (10**7, 1)])
def test_where_a_budget_is_much_a_smaller_one_is_named(n_examples, epochs):
    network = SimpleNamespace(forward_flops=4_000_000, backward_flops=lambda: 6_000_000)
    told = data._spent(Budget("epochs", 10_000.0), network, n_examples)
    assert told.endswith(f"; budget.epochs={epochs} would do with less")
    assert "would" not in data._spent(Budget("epochs", float(epochs)), network, n_examples)


@pytest.mark.once
def test_a_run_tells_its_budget_once_where_data_were_to_be_understood(beyond, tmp_path):
    (tmp_path / "my.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    table = ("task=table", "task.path=my.csv", "task.target=y", "seeds=1")
    line = "budget: 2 backprop epochs a replica, as 2 steps of backprop on 28 examples, "
    status, told, _ = beyond(*table, "budget.epochs=2")
    assert (status, told.count(line), told.count("network linear, ")) == (0, 1, 0)
    told = beyond("-m", *table, "method=backprop,constant", "network=linear", "budget.epochs=2,3")[
        1
    ]
    assert (told.count(line), told.count("budget: 3 "), told.count("network linear, ")) == (1, 1, 1)
    assert "budget: " not in beyond("budget.epochs=1", "seeds=1", "study_name=other")[1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chek"], "command must be one of list, fetch, verify, check; got 'chek'"),
        (["check"], "task must be one of "),
        (["check", "task=table"], "task.path must be given"),
        (["check", "task=image/digits", "shots=3"], "arguments must be task=NAME or task.SETTING="),
        (
            ["check", "task=image/digits", "task.shot=3"],
            "unknown setting 'shot' of Digits; known: ",
        ),
    ],
)
def test_bad_input_is_one_line(check, arguments, line):
    told = check(*arguments)
    assert told.startswith(f"beyond-data: {line}")
    assert "\n" not in told


@pytest.mark.parametrize("name", ["table", "text", "arrays", "images"])
@pytest.mark.parametrize("kind", ["missing", "of another kind", "locked"])
def test_a_path_that_cannot_be_opened_is_one_line_that_names_it(
    check, tmp_path, monkeypatch, name, kind
):
    path = tmp_path / ("my.npz" if name == "arrays" else "my.csv")
    if kind == "of another kind":
        path.write_text("a,y\n") if name == "images" else path.mkdir()
    if kind == "locked":  # permissions do not hold for those who test as root

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("pathlib.Path.stat", refuse)
    columns = {"table": ["task.target=y"], "text": ["task.target=y", "task.text=a"]}
    told = check("check", f"task={name}", f"task.path={path}", *columns.get(name, []))
    assert told.startswith("beyond-data: ")
    assert str(path) in told
    assert "\n" not in told


def test_help_says_how_it_is_used(check):
    assert data.USAGE in check("--help")
    assert data.USAGE in check()
