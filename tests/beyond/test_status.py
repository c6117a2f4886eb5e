"""What a study's folder tells of its cells, at any moment."""

import json

import pytest

from beyond.errors import InputError
from beyond.run import status
from beyond.run.lock import held
from beyond.run.provenance import _present

FAULTS = [
    ("beyond/run/status.py", '"running" if running else', '"running" if not running else'),
    ("beyond/run/status.py", "(1 - spent) / share", "spent / share"),
    # the pace of what was trained before an interruption
    ("beyond/run/status.py", "[-RECENT:]", ""),
    ("beyond/run/status.py", 'or last["of"] != "budget"', ""),
    # cells that other seeds took the place of are missing for ever
    ("beyond/run/status.py", 'or name.partition("-")[0] not in arms', "or True"),
    ("beyond/run/status.py", "seconds / len(running)", "seconds"),
    ("beyond/run/status.py", ' and one.state != "skipped"]', "]"),
    ("beyond/run/status.py", "one.left or mean(done) for", "one.left or 0.0 for"),
    ("beyond/run/status.py", '("missing", "interrupted") for', '("missing",) for'),
    ("beyond/run/status.py", 'errors="replace"', 'errors="strict"'),
    ("beyond/run/status.py", "{**earlier, **labels}", "{**labels, **earlier}"),
    ("beyond/run/status.py", ' and not (study / name / "manifest.json").exists()', ""),
    ("beyond/run/status.py", "[DATA] * other_data", "[]"),
    ("beyond/run/status.py", "in (study / TRIALS, study)", "in (study,)"),
    ("beyond/run/status.py", "alike[:LISTED]", "alike"),
    ("beyond/run/status.py", '"" if isnan(score) else', '"" if score else'),
    ("beyond/run/status.py", "if begun and not at_it", "if begun"),
    ("beyond/run/status.py", "if begun and not at_it", "if not at_it"),
]


SILENT = "hydra.sweeper.publish=analysis.tables.load"
DONE = {"status": "finished", "reasons": [], "wall_seconds": 30.0}


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
    study("a-1", "digits: done", {**DONE, "sources": {"methods/backprop.py": "0" * 12}})
    study("b-1", "digits: lost", {"status": "failed", "reasons": ["RuntimeError: no"]})
    study("c-1", "digits: left out", {"status": "skipped", "reasons": ["needs classes"]})
    begun = log(("10:00:00,000", "0.0000 of budget, validation 0.1000"))
    study("d-1", "digits: cut", text=begun)
    pace = [
        ("09:00:00,000", "0.5000 of budget, validation 0.0900"),  # before it was interrupted
        *((f"10:00:{s:02},000", f"0.{s:02}00 of budget, validation 0.2000") for s in range(10, 26)),
    ]
    running = study("e-1", "digits: going", text=log(*pace))
    status.note_planned(study.folder, {"f-1": "digits: to come"})
    with held(running / "lock"):
        told = list(status.lines(study.folder))
    assert told == [
        f"{study.folder}: 6 cells: 1 running, 1 interrupted, 1 failed, 1 missing, 1 finished, "
        "1 skipped, 1 stale; about 2 min left, if cells are alike",  # 75 s, and twice 30
        "running: digits: going: 25% of budget, validation 0.2000, about 75 s left",
        "interrupted: digits: cut: 0% of budget, validation 0.1000",
        "failed: digits: lost: RuntimeError: no",
        "missing: digits: to come",
        "stale: digits: done: methods/backprop.py changed; rerun=stale trains it again",
    ]


def test_what_is_stale_is_seen_before_a_sweep_has_looked_and_told_once(study, monkeypatch):
    changed = {f"methods/x{number}.py": "0" * 12 for number in range(12)}
    for name in ("a-1", "b-1"):
        study(name, name, {**DONE, "sources": changed})
    sources = {"methods/backprop.py": outdated_hash("methods/backprop.py")}
    for name in ("c-1", "d-1"):
        study(name, name, {**DONE, "sources": sources})
    # what a sweep has seen: other data still count, a file that is as it was does not
    found = {"c-1": ["its data"], "d-1": ["methods/backprop.py"]}
    (study.folder / "stale.json").write_text(json.dumps(found))
    files = ", ".join(sorted(changed)[:10])
    assert list(status.lines(study.folder)) == [
        f"{study.folder}: 4 cells: 4 finished, 3 stale",
        f"stale: 2 cells: {files} and 2 more changed; rerun=stale trains them again",
        "stale: c-1: its data changed; rerun=stale trains it again",
    ]


def outdated_hash(path):
    return _present(path.removesuffix(".py").replace("/", "."))[1]


def test_trials_are_told_first_and_many_cells_in_part(study):
    trials = study.folder / status.TRIALS
    trials.mkdir()
    status.note_planned(trials, {f"{n:02}-1": f"trial {n:02}" for n in range(12)})
    status.note_planned(study.folder, {"a-1": "digits"})
    assert list(status.lines(study.folder)) == [
        f"{trials}: 12 cells: 12 missing",
        *(f"missing: trial {n:02}" for n in range(10)),
        "missing: and 2 more",
        f"{study.folder}: 1 cell: 1 missing",
        "missing: digits",
    ]


def test_a_cell_that_no_sweep_has_planned_is_told_by_its_log(study):
    begun = "2026-11-27 10:00:00,000 INFO begins image/digits: backprop\n"
    study("a-1", text=begun + log(("10:00:01,000", "0.5000 of budget, validation 0.7")))
    told = list(status.lines(study.folder))
    assert told[1] == "interrupted: image/digits: backprop: 50% of budget, validation 0.7"


def test_the_last_score_is_told_where_a_line_has_none(study):
    study(
        "a-1",
        "one",
        text=log(("10:00:01,000", "0.5000 of budget, validation 0.7"))
        + log(("10:00:02,000", "0.6000 of budget")),
    )
    told = list(status.lines(study.folder))[1]
    assert told == "interrupted: one: 60% of budget, validation 0.7, about 4.0 s left"


def test_what_another_process_trains_is_not_finished(study):
    for name, manifest in (("a-1", DONE), ("b-1", None), ("c-1", None)):
        folder = study(name, name, manifest)
        if name != "c-1":  # a killed process leaves it
            (folder / status.TRAINER).touch()
    assert status.elsewhere(study.folder, ["a-1", "b-1", "c-1", "d-1"]) == ["b-1"]


def test_a_log_is_read_as_it_is_written():
    for share, score, of in ((0.25, 0.5, "budget"), (0.1, float("nan"), "pre-training")):
        found = status.SPENT.match("2026-11-27 10:00:00,000 INFO " + status.said(share, score, of))
        assert (float(found["share"]), found["of"]) == (share, of)
        assert float(found["score"] or "nan") == pytest.approx(score, nan_ok=True)


@pytest.fixture
def watched(study, monkeypatch):
    """Returns what watches a study while something happens between two looks, one after another."""

    def watch(*happening):
        coming = iter(happening)
        monkeypatch.setattr(status, "sleep", lambda _: next(coming, lambda: None)())
        first = [shown[0] for shown in status._watched(study.folder)]
        return [line.removeprefix(f"{study.folder}: ").partition(";")[0] for line in first]

    return watch


def test_a_study_that_is_not_there_yet_is_waited_for(study, watched):
    told = watched(lambda: None, lambda: study("a-1", "one", DONE))
    assert told == ["no cell of a study yet, waiting for the first", "1 cell: 1 finished"]


@pytest.mark.once
def test_a_study_is_watched_until_it_is_done_or_nobody_is_at_it(study, watched):
    status.note_planned(study.folder, {"a-1": "one"})
    nothing = [lambda: None] * status.IDLE
    done = watched(*nothing, lambda: study("a-1", "one", DONE))
    assert done == ["1 cell: 1 missing"] * (status.IDLE + 1) + ["1 cell: 1 finished"]
    status.note_planned(study.folder, {"b-1": "two"})
    left = watched()
    assert left == ["2 cells: 1 missing, 1 finished"] * status.IDLE
    folder = study("c-1", "three")
    with held(folder / "lock"):
        more = watched(*nothing, lambda: (folder / "manifest.json").write_text(json.dumps(DONE)))
    assert (
        more[status.IDLE :]
        == ["3 cells: 1 running, 1 missing, 1 finished"]
        + ["3 cells: 1 missing, 2 finished"] * status.IDLE
    )


def test_what_is_left_is_shared_by_what_is_running(study):
    study("a-1", "done", {"status": "finished", "reasons": [], "wall_seconds": 30.0})
    status.note_planned(study.folder, {"d-1": "to come"})
    text = log(
        ("10:00:00,000", "0.0000 of budget, validation 0.1"),
        ("10:00:10,000", "0.5000 of budget, validation 0.5"),
    )
    with (
        held(study("b-1", "first", text=text) / "lock"),
        held(study("c-1", "second", text=text) / "lock"),
    ):
        first = next(status.lines(study.folder))
    assert first.endswith("; about 25 s left, if cells are alike")  # (10 + 10 + 30) / 2


def test_a_cell_of_which_no_pace_is_known_takes_what_others_took(study):
    study("a-1", "done", DONE)
    study("b-1", "left out", {**DONE, "status": "skipped", "wall_seconds": 0.1})
    study("c-1", "cut")
    with held(study("d-1", "begun") / "lock"):
        first = next(status.lines(study.folder))
    assert first.endswith("; about 60 s left, if cells are alike")


def test_what_is_learnt_first_says_nothing_of_what_is_left(study):
    text = log(
        ("10:00:00,000", "0.1000 of pre-training"),
        ("10:00:09,000", "0.9000 of pre-training"),
    )
    folder = study("a-1", "digits: tuned", text=text)
    with held(folder / "lock"):
        told = list(status.lines(study.folder))
    assert told[1:] == ["running: digits: tuned: 90% of pre-training"]


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


def test_a_log_that_is_no_text_in_part_is_read_as_far_as_it_is(study):
    folder = study("a-1", "one")
    (folder / "log.txt").write_bytes(b"\xff\n" + log(("10:00:00,000", "0.5000 of budget")).encode())
    assert [one.told for one in status.states(study.folder)] == ["50% of budget"]


def test_the_label_of_the_last_plan_counts(study):
    study("a-1", "backprop")
    status.note_planned(study.folder, {"a-1": "digits: backprop"})
    assert [one.label for one in status.states(study.folder)] == ["digits: backprop"]


def test_no_study_is_one_line(tmp_path, beyond):
    with pytest.raises(InputError, match=r"^no cell of a study in"):
        list(status.lines(tmp_path))
    assert beyond("status", "--nope")[0] == 1
    usage = "beyond: one folder of a study must be given; usage: beyond status FOLDER [--watch]\n"
    assert beyond("status")[:2] == (1, usage)


def test_a_cell_that_another_process_trains_is_told_before_the_report(beyond, tmp_path):
    sweep = ("-m", "method=constant", "budget=steps", "budget.steps=1,2", "seeds=1", SILENT)
    assert beyond(*sweep)[0] == 0
    folder = sorted(tmp_path.glob("runs/adhoc/*/manifest.json"))[0].parent
    label = json.loads((tmp_path / "runs/adhoc" / status.PLANNED).read_text())[folder.name]
    (folder / "manifest.json").unlink()
    (folder / status.TRAINER).touch()
    with held(folder / "lock"):
        told = beyond(*sweep)
    assert told[0] == 0
    assert f"{label}: another process trains it, the report is without it\n" in told[1]


def test_from_a_sweep_to_its_status(beyond, tmp_path):
    sweep = ("-m", "method=constant,maml", "budget=steps", "budget.steps=1", "seeds=1", SILENT)
    assert beyond(*sweep)[0] == 0
    shown = beyond("status", "runs/adhoc")
    assert shown == (0, "", "runs/adhoc: 2 cells: 1 finished, 1 skipped\n")
