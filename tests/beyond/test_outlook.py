"""What a command would do, and what it will cost, from what is there and what others took."""

import json

import pytest

from beyond.run.cell import Cell
from beyond.run.display import duration
from beyond.run.lock import held
from beyond.run.outlook import Speeds
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
    # what is begun is paid for again
    ("beyond/run/outlook.py", "seconds * (1 - share))", "seconds)"),
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
    ("analysis/speeds.py", 'runs[runs["status"] == "finished"]', "runs"),
]
ONE = ("method=backprop", "budget.epochs=1", "seeds=2")


def cost(method="backprop", variant="", release="", wall=10.0, epochs=100.0, **others):
    identity = {"method": method, "task": "image/digits", "network": "mlp-32", "variant": variant}
    spent = {"epochs": epochs, "steps": 0.0}
    return {**identity, **spent, "replicas": 2, "wall": wall, "release": release, **others}


@pytest.fixture
def cell():
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
        (("--help",), "plan takes what is run, setting=value; got --help"),
        (("+study=quick", "task=tabular/moons"), "no line of the study has task=tabular/moons"),
    ],
)
def test_what_a_run_refuses_is_refused(arguments, message, beyond, tmp_path):
    status, told, shown = beyond("plan", *arguments)
    assert (status, shown) == (1, "")
    assert told.startswith(f"beyond: {message}")
    assert not list(tmp_path.iterdir())


def test_what_is_begun_is_told_with_what_it_has_saved(tmp_path):
    assert progress(tmp_path) == (0.0, "")
    log = "2026-11-27 10:00:00,000 INFO spent 0.2500 validation 0.1000 of budget\n"
    (tmp_path / "log.txt").write_text(log)
    assert progress(tmp_path) == (0.0, "")
    (tmp_path / "state.pt").touch()
    assert progress(tmp_path) == (0.25, "25% done")
    with held(tmp_path / "lock"):
        assert progress(tmp_path) == (0.0, "running")


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
