"""`beyond-data check` tells what a task's data are, or in one line why they cannot be used."""

import sys

import pytest

from beyond.run import data


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
    )


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
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chek"], "command must be check, got 'chek'; usage: beyond-data check task=NAME "),
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


def test_help_says_how_it_is_used(check):
    assert data.USAGE in check("--help")
    assert data.USAGE in check()
