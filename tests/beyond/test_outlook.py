"""What a command would do, and what it will cost, from what is there and what others took."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from beyond.run.cell import Cell
from beyond.run.display import duration
from beyond.run.lock import held
from beyond.run.outlook import Outlook, Speeds
from beyond.run.plan import Before, Plan
from beyond.run.provenance import short_hash
from beyond.run.status import progress

FAULTS = [
    # a study's speeds count as much as those of another machine
    ("beyond/run/outlook.py", 'if not one["release"]],', "],"),
    (
        "beyond/run/outlook.py",
        ' and _settings(one["variant"]) == ours],\n            [one for one in alike if not',
        "],\n            [one for one in alike if not",
    ),
    ("beyond/run/outlook.py", "return len(cell.seeds) * median(", "return median("),
    ("beyond/run/outlook.py", 'else one["replicas"]', "else 1"),
    ("beyond/run/outlook.py", "return len(self.rows) > ROWS", "return False"),
    ("beyond/run/outlook.py", "range(len(trials), len(trials) + n)", "range(len(trials), n)"),
    ("hydra_plugins/beyond_cells/sweeper.py", "if not done and arm.n_trials > 1", "if not done"),
    ("beyond/run/status.py", 'if last and last["of"] == "budget" else', "if last else"),
    # what is begun is paid for again
    ("beyond/run/outlook.py", "seconds * (1 - share))", "seconds)"),
    ("beyond/run/outlook.py", "(seconds or 0.0) * (1 - share)", "(seconds or 0.0)"),
    ("beyond/run/outlook.py", "row.unknown += seconds is None", "row.unknown += 0"),
    ("beyond/run/outlook.py", "n = min(self.n_processes, len(known))", "n = self.n_processes"),
    (
        "beyond/run/outlook.py",
        "max(sum(known) / self.n_processes, *known, 0.0)",
        "sum(known) / self.n_processes",
    ),
    (
        "hydra_plugins/beyond_cells/sweeper.py",
        "        self._paper()\n        every",
        "        every",
    ),
]
QUARTER = "2026-11-27 10:00:00,000 INFO spent 0.2500 of budget, validation 0.1000\n"
SILENT = "hydra.sweeper.publish=analysis.tables.load"
ONE = ("method=backprop", "budget.epochs=1", "seeds=2")


def cost(method="backprop", variant="", release="", wall=10.0, epochs=100.0, **others):
    identity = {"method": method, "task": "image/digits", "network": "mlp-32", "variant": variant}
    spent = {"epochs": epochs, "steps": 0.0}
    return {**identity, **spent, "replicas": 2, "wall": wall, "release": release, **others}


@pytest.fixture
def cell(tmp_path):
    from beyond import catalog

    def make(currency="epochs", amount=50.0, **method):
        shared = {"network": {}, **{part: {} for part in catalog.PARTS}}
        return Cell.of(
            {
                **shared,
                "task": catalog.read("task", "image/digits"),
                "method": {**catalog.read("method", "backprop"), **method},
                "start": catalog.read("start", "cold"),
                "budget": {currency: amount},
                "seeds": 4,
                "runs": str(tmp_path),
            },
            "backprop",
        )

    return make


def test_a_cell_takes_what_those_like_it_took_for_what_they_spent(cell):
    assert Speeds([]).seconds(cell()) is None
    assert Speeds([cost("genetic"), cost()]).seconds(cell()) == pytest.approx(10 / 100 * 50 * 4)
    # the study's before others', equal settings before others, of several the median
    like = [cost(wall=wall, variant="batch_size=64, budget.epochs=7") for wall in (1.0, 2.0, 9.0)]
    far = [
        cost(release="gallery", wall=50.0),
        cost(release="gallery", wall=70.0, variant="batch_size=64"),
    ]
    assert Speeds([*like, cost(), *far]).seconds(cell(batch_size=64)) == pytest.approx(4.0)
    assert Speeds([cost(), *far]).seconds(cell(batch_size=64)) == pytest.approx(20.0)
    assert Speeds(far).seconds(cell(batch_size=64)) == pytest.approx(140.0)
    assert Speeds(far[:1]).seconds(cell(batch_size=64)) == pytest.approx(100.0)


def test_what_spends_nothing_takes_what_its_replicas_took(cell):
    assert Speeds([cost()]).seconds(cell("steps", 3)) == pytest.approx(10 / 2 * 4)


@pytest.fixture
def outlook(tmp_path):
    """Return what looks at these cells, to be trained by two processes, and tells it."""

    def look(*planned, costs=()):
        made = Outlook(tmp_path, Speeds(costs), 2)
        for cell, todo in planned:
            made.add(cell, todo, {})
        console = Console(width=80, file=StringIO())
        console.print(made.table())
        return list(made.summary()), console.file.getvalue().splitlines()

    return look


def test_of_what_is_begun_the_rest_is_to_be_paid_for(cell, outlook):
    one, other = cell(), cell(batch_size=64)
    one.folder.mkdir(parents=True)
    (one.folder / "log.txt").write_text(QUARTER)
    (one.folder / "state.pt").touch()
    whole = [(made, Plan([], [], made.seeds)) for made in (one, other)]
    lines, table = outlook(*whole, costs=[cost()])  # 20 s a cell
    assert lines[1] == "about 35 s of training, 20 s by 2 processes"
    assert [row.split()[-2:] for row in table if "0 to 3" in row] == [["15", "s"], ["20", "s"]]
    assert outlook(whole[0], costs=[cost()])[0][1] == "about 15 s of training"
    lines, table = outlook(*whole)
    assert lines[1:] == ["no speed is recorded for any of these cells"]
    assert [row.split()[-1] for row in table if "0 to 3" in row] == ["unknown"] * 2


def test_what_is_there_of_two_cells_of_an_arm_counts_once(cell, outlook, tmp_path):
    whole = cell()
    there = Before(whole.folder, {"seeds": [0, 1], "status": "finished"}, [])
    few, more = (replace(whole, run=replace(whole.run, seeds=n)) for n in (2, 4))
    lines, table = outlook((few, Plan([there], [], [])), (more, Plan([there], [], [2, 3])))
    assert lines[0] == f"{tmp_path}: 2 in all: 1 finished, 1 to train, 2 replicas"
    assert any("0 to 1 2 to 3" in " ".join(line.split()) for line in table)


@pytest.mark.once
def test_a_plan_is_of_what_is_there_and_writes_nothing(beyond, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    sweep = ("-m", "method=backprop,genetic", "budget.epochs=1", "seeds=4")
    status, told, shown = beyond("plan", *sweep)
    assert (status, told) == (0, "")
    assert shown.splitlines()[0] == "runs/adhoc: 2 in all: 2 to train, 8 replicas"
    assert not list(tmp_path.iterdir())
    assert beyond(*ONE)[0] == 0
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status, told, shown = beyond("plan", *sweep)
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0] == "runs/adhoc: 3 in all: 1 finished, 2 to train, 6 replicas"
    assert lines[1].startswith("about ")
    assert lines[-3].split()[:7] == ["backprop", "0", "to", "1", "2", "to", "3"]
    assert lines[-2].split()[:4] == ["genetic", "0", "to", "3"]
    assert max(map(len, shown.splitlines())) <= 80
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    assert beyond("plan", *ONE)[2].splitlines()[0] == "runs/adhoc: 1 in all: 1 finished, 0 to train"


def test_what_has_changed_is_told_and_trained_again_when_asked(beyond, tmp_path):
    assert beyond(*ONE)[0] == 0
    (path,) = tmp_path.glob("runs/adhoc/*/manifest.json")
    manifest = json.loads(path.read_text())
    manifest["sources"]["methods/backprop.py"] = "0" * 12
    path.write_text(json.dumps(manifest))
    assert beyond("plan", *ONE)[2].splitlines()[0].endswith("1 in all: 1 stale, 0 to train")
    told = beyond("plan", *ONE, "rerun=stale")[2]
    assert told.splitlines()[0].endswith("1 in all: 1 to train, 2 replicas")
    assert "0 to 1, again" in told
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("method=backprop,genetic",), "Ambiguous value for argument"),
        (("-m", "method=nope"), "unknown method 'nope'; known: "),
        (
            ("-m", "method=backprop", "method.optimizer.learning_rate=1,-1"),
            "learning_rate must be > 0",
        ),
        (("+paper=all",), "plan takes one paper, of deep_linear, "),
        (("--info",), "plan takes what is run, setting=value; got --info"),
        (("+study=quick", "task=tabular/moons"), "no line of the study has task=tabular/moons"),
    ],
)
def test_what_a_run_refuses_is_refused(arguments, message, beyond, tmp_path):
    status, told, shown = beyond("plan", *arguments)
    assert (status, shown) == (1, "")
    assert told.startswith(f"beyond: {message}")
    assert not list(tmp_path.iterdir())


def test_what_is_begun_is_told_with_what_it_has_saved(tmp_path):
    stack = tmp_path / "stack_1"
    stack.mkdir()
    assert progress(tmp_path, stack) == (0.0, "")
    (tmp_path / "log.txt").write_text(QUARTER)
    assert progress(tmp_path, stack) == (0.0, "")
    (stack / "state.pt").touch()
    assert progress(tmp_path, stack) == (0.25, "25% done")
    with held(tmp_path / "lock"):
        assert progress(tmp_path, stack) == (0.0, "running")
    # what it learns first is not paid from its budget
    (tmp_path / "log.txt").write_text(QUARTER.replace("budget", "pre-training"))
    assert progress(tmp_path, stack) == (0.0, "begun")


def test_a_stack_that_is_begun_is_told_of_each_of_its_cells(beyond, tmp_path):
    rates = "method.optimizer.learning_rate=0.1,0.2"
    sweep = ("-m", "method=backprop", "budget=steps", "budget.steps=3", "seeds=2", rates)
    assert beyond(*sweep, SILENT)[0] == 0
    cells = [path.parent for path in tmp_path.glob("runs/adhoc/*/manifest.json")]
    rate = {
        json.loads((cell / "manifest.json").read_text())["settings"]["method"]["optimizer"][
            "learning_rate"
        ]: cell
        for cell in cells
    }
    stack = tmp_path / "runs/adhoc" / f"stack_{short_hash(repr([rate[0.1].name, rate[0.2].name]))}"
    stack.mkdir()
    (stack / "state.pt").touch()
    for cell in cells:
        (cell / "manifest.json").unlink()
        (cell / "log.txt").write_text(QUARTER)
    shown = beyond("plan", *sweep)[2]
    assert shown.splitlines()[0] == "runs/adhoc: 2 in all: 2 to train (2 begun), 4 replicas"
    assert shown.count("0 to 1, 25% done") == 2


@pytest.mark.once
def test_trials_are_counted_and_only_what_is_known_of_them_is_told(beyond, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    tune = ("+tune=equal", "tune.n_seeds=2", "method=backprop", "budget=steps", "budget.steps=1")
    first = beyond("plan", *tune, "seeds=2", "tune.n_trials=3")[2].splitlines()
    assert first[0] == "runs/adhoc: 1 in all: 1 to train, 2 replicas"
    assert first[1] == "tuning of 1 arm: 3 trials, 3 to train"
    rows = [" ".join(line.split()) for line in first]
    said = [
        "backprop, tuning 3 trials of 2 seeds ",
        "backprop 0 to 1 ",
        "backprop, tuned 0 to 1, unless its defaults are best ",
    ]
    begins = rows.index(next(row for row in rows if row.startswith("backprop")))
    assert all(map(str.startswith, rows[begins:], said))
    assert beyond(*tune, "seeds=2", "tune.n_trials=3", SILENT)[0] == 0
    done = beyond("plan", *tune, "seeds=2", "tune.n_trials=3")[2]
    assert "tuning of 1 arm: 3 trials, 0 to train" in done
    assert "0 to train" in done.splitlines()[0]
    assert ", tuned" not in done  # it is known, and there if it is another arm
    more = beyond("plan", *tune, "seeds=2", "tune.n_trials=5")[2]
    assert "tuning of 1 arm: 5 trials, 2 to train" in more
    assert "3 trials  2 trials of 2 seeds" in more


@pytest.mark.parametrize("arm", [["method=constant"], ["method=backprop", "tune.n_trials=1"]])
def test_what_has_one_trial_becomes_no_other_arm(arm, beyond):
    """Nothing is searched of it, or it is tried with its defaults alone."""
    shown = beyond("plan", "+tune=equal", "budget=steps", "budget.steps=1", *arm)[2]
    assert "1 trial, 1 to train" in shown
    assert ", tuned" not in shown


@pytest.mark.once
def test_more_arms_than_a_screen_has_room_for_are_told_together(beyond, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert beyond("method=constant", "task=tabular/moons", "budget.epochs=1", "seeds=2")[0] == 0
    sweep = ("-m", "task=tabular/moons", "budget.epochs=1", "seeds=2")
    status, told, shown = beyond("plan", *sweep, "method=glob(*)")
    assert (status, told) == (0, "")
    shown = shown.splitlines()
    n_arms = int(shown[0].split()[1])
    assert len(shown) < 12
    assert f" {n_arms - 1} arms " in "\n".join(shown)
    (there,) = [line.split() for line in shown if line.startswith(" constant ")]
    assert there == ["constant", "0", "to", "1"]
    assert shown[-1] == "the same with task=NAME or method=NAME tells of single arms"
    few = beyond("plan", *sweep, "method=backprop,genetic")[2]
    assert " arms " not in few
    assert "single arms" not in few


def test_tasks_stand_above_their_arms(beyond):
    sweep = ("-m", "method=backprop,genetic", "budget.epochs=1", "seeds=2")
    shown = beyond("plan", *sweep, "task=tabular/moons,image/digits")[2]
    names = [
        line.split()[0] for line in shown.splitlines() if line.startswith(" ") and line.split()
    ]
    arms = ["backprop", "genetic"]
    assert names[-6:] == ["tabular/moons", *arms, "image/digits", *arms]


def test_times_are_told_as_people_plan_with_them():
    times = (0.04, 8.49, 75.2, 720.0, 12_000.0, 700_000.0)
    assert [duration(one) for one in times] == [
        "0.0 s",
        "8.5 s",
        "75 s",
        "12 min",
        "3 h 20 min",
        "194 h",
    ]
