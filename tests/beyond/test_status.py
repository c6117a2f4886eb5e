"""What a study's folder tells of its cells, at any moment."""

import json

import pytest

from beyond.errors import InputError
from beyond.run import status
from beyond.run.lock import held

FAULTS = [
    ("beyond/run/status.py", '"running" if running else', '"running" if not running else'),
    ("beyond/run/status.py", "(1 - float(spent)) / share", "float(spent) / share"),
    # the pace of what was trained before an interruption
    ("beyond/run/status.py", "[-RECENT:]", ""),
    ("beyond/run/status.py", 'or of != "budget"', ""),
    # cells that other seeds took the place of are missing for ever
    ("beyond/run/status.py", 'or name.partition("-")[0] not in arms', "or True"),
    ("beyond/run/status.py", "seconds / len(running)", "seconds"),
]


def log(*lines):
    return "".join(f"2026-11-27 {when} INFO spent {rest}\n" for when, rest in lines)


@pytest.fixture
def study(tmp_path):
    """Returns what makes a cell: its files, by name, and whether it is planned."""

    def make(name, label="", manifest=None, text=""):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "lock").touch()
        if manifest:
            (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "log.txt").write_text(text)
        if label:
            status.note_planned(tmp_path, {name: label})
        return folder

    make.folder = tmp_path
    return make


def test_every_state_is_told(study):
    study("a-1", "digits: done", {"status": "finished", "reasons": [], "wall_seconds": 30.0})
    study("b-1", "digits: lost", {"status": "failed", "reasons": ["RuntimeError: no"]})
    study("c-1", "digits: left out", {"status": "skipped", "reasons": ["needs classes"]})
    begun = log(("10:00:00,000", "0.0000 validation 0.1000 of budget"))
    study("d-1", "digits: cut", text=begun)
    pace = [
        ("09:00:00,000", "0.5000 validation 0.0900 of budget"),  # before it was interrupted
        *((f"10:00:{s:02},000", f"0.{s:02}00 validation 0.2000 of budget") for s in range(10, 26)),
    ]
    running = study("e-1", "digits: going", text=log(*pace))
    status.note_planned(study.folder, {"f-1": "digits: to come"})
    (study.folder / "stale.json").write_text(json.dumps({"a-1": ["methods/backprop.py"]}))
    with held(running / "lock"):
        told = list(status.lines(study.folder))
    assert told == [
        f"{study.folder}: 6 cells: 1 running, 1 interrupted, 1 failed, 1 missing, 1 finished, "
        "1 skipped, 1 stale; about 135 s left, if cells are alike",  # 75, and twice 30
        "running: digits: going: 25% of budget, validation 0.2000, about 75 s left",
        "interrupted: digits: cut: 0% of budget, validation 0.1000",
        "failed: digits: lost: RuntimeError: no",
        "missing: digits: to come",
        "stale: digits: done: methods/backprop.py changed; rerun=stale trains it again",
    ]


def test_what_is_left_is_shared_by_what_is_running(study):
    study("a-1", "done", {"status": "finished", "reasons": [], "wall_seconds": 30.0})
    status.note_planned(study.folder, {"d-1": "to come"})
    text = log(
        ("10:00:00,000", "0.0000 validation 0.1 of budget"),
        ("10:00:10,000", "0.5000 validation 0.5 of budget"),
    )
    with (
        held(study("b-1", "first", text=text) / "lock"),
        held(study("c-1", "second", text=text) / "lock"),
    ):
        first = next(status.lines(study.folder))
    assert first.endswith("; about 25 s left, if cells are alike")  # (10 + 10 + 30) / 2


def test_what_is_learnt_first_says_nothing_of_what_is_left(study):
    text = log(
        ("10:00:00,000", "0.1000 validation nan of pre-training"),
        ("10:00:09,000", "0.9000 validation nan of pre-training"),
    )
    folder = study("a-1", "digits: tuned", text=text)
    with held(folder / "lock"):
        told = list(status.lines(study.folder))
    assert told[1:] == ["running: digits: tuned: 90% of pre-training, validation nan"]


def test_a_plan_with_other_seeds_takes_the_place_of_what_was_not_begun(study):
    study("a-1", "one", {"status": "finished", "reasons": []})
    status.note_planned(study.folder, {"a-2": "one", "b-2": "two"})
    status.note_planned(study.folder, {"a-3": "one"})
    assert [one.state for one in status.states(study.folder)] == ["missing", "missing", "finished"]
    assert set(json.loads((study.folder / "planned.json").read_text())) == {"a-1", "a-3", "b-2"}


@pytest.mark.parametrize("spoilt", ["", "{", "[1]", "null"])
def test_files_that_are_cut_are_as_if_they_were_not_there(spoilt, study):
    folder = study("a-1", "one")
    for name in ("manifest.json", "log.txt", "../stale.json"):
        (folder / name).write_text(spoilt)
    assert [one.state for one in status.states(study.folder)] == ["interrupted"]


def test_no_study_is_one_line(tmp_path, beyond):
    with pytest.raises(InputError, match=r"^no cell of a study in"):
        list(status.lines(tmp_path))
    usage = "beyond: one folder of a study must be given; usage: beyond status FOLDER [--watch]\n"
    assert beyond("status")[:2] == (1, usage)


def test_from_a_sweep_to_its_status(beyond, tmp_path):
    silent = "hydra.sweeper.publish=analysis.tables.load"
    sweep = ("-m", "method=constant,maml", "budget=steps", "budget.steps=1", "seeds=1", silent)
    assert beyond(*sweep)[0] == 0
    shown = beyond("status", "runs/adhoc")
    assert shown == (0, "", "runs/adhoc: 2 cells: 1 finished, 1 skipped\n")
