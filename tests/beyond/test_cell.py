"""Oracles: a run killed at a random moment, or run again, ends in the same tables."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice

import pandas as pd
import pytest

from beyond import catalog, installed
from beyond.errors import InputError
from beyond.run.cell import Cell, prepare
from beyond.run.display import figures, spans
from beyond.run.loop import train
from beyond.run.outcome import worst
from beyond.run.plan import Plan, give_up, plan
from beyond.run.provenance import digest
from beyond.run.record import RunFolder
from beyond.run.runner import run_cell
from beyond.run.status import states

FAULTS = [
    (
        "beyond/run/runner.py",
        'return {**cell.sources, DATA: cell.data, "its',
        'return {**cell.sources, "its',
    ),
    ("beyond/run/runner.py", 'DATA: cell.data, "its settings": settings}', "DATA: cell.data}"),
    ("beyond/run/runner.py", "if several or not state.begun:", "if True:"),
    (
        "beyond/run/display.py",
        'f"{seconds:.3g}" if seconds < 999.5',
        'f"{seconds:.1f}" if seconds < 999.5',
    ),
    (
        "beyond/run/cell.py",
        "method if made == chosen else made",
        "method",
    ),
    ("beyond/run/cell.py", "time_limit=cell.run.time_limit", "time_limit=None"),
    (
        "beyond/run/cell.py",
        '"default_network": arm.default_network',
        '"default_network": True',
    ),
    # a start's rule may change unseen
    (
        "beyond/run/cell.py",
        "arm.task, arm.architecture, arm.start)",
        "arm.task, arm.architecture, None)",
    ),
]

CHILD = (
    "import json, sys; from beyond.run.cell import Cell; from beyond.run.runner import run_cell; "
    "run_cell(Cell.of(**json.loads(sys.argv[1])), True, False)"
)


@pytest.fixture
def cell(composed, tmp_path):
    def make(method, runs, epochs=40.0, name="image/digits", **task):
        settings = composed(
            method,
            task={**catalog.read("task", name), **task},
            start=catalog.read("start", catalog.brought("method", method).get("start", "cold")),
            budget={"epochs": epochs},
            seeds=2,
            threads=1,
            time_limit=None,
            save_every=0,
            rerun="none",
            study_name="test",
            runs=str(tmp_path / runs),
        )
        return Cell.of(settings, method=method)

    return make


def tables(cell):
    for name in ("curves", "layers", "runs", "predictions"):
        table = pd.read_parquet(cell.folder / f"{name}.parquet")
        yield table[[column for column in table.columns if "seconds" not in column]]


def assert_same_tables(a, b):
    for one, other in zip(tables(a), tables(b), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_the_same_settings_twice_give_the_same_bytes_but_for_the_clock(cell):
    first, second = cell("backprop", "first", epochs=3), cell("backprop", "second", epochs=3)
    assert first.run_id == second.run_id
    for one in (first, second):
        run_cell(one, keep_skipped=False, shown=False)
    assert_same_tables(first, second)
    assert (first.folder / "layers.parquet").read_bytes() == (
        second.folder / "layers.parquet"
    ).read_bytes()


def test_a_finished_cell_is_left_alone(cell):
    one = cell("backprop", "once", epochs=1)
    run_cell(one, keep_skipped=False, shown=False)
    before = {path: path.stat().st_mtime_ns for path in one.folder.iterdir()}
    assert run_cell(one, keep_skipped=False, shown=False) == "finished"
    assert {path: path.stat().st_mtime_ns for path in one.folder.iterdir()} == before


def test_what_can_change_a_result_changes_the_cell_and_nothing_else_does(cell):
    assert cell("backprop", "a").run_id == cell("backprop", "b").run_id
    assert cell("backprop", "a").run_id != cell("backprop", "a", epochs=41).run_id
    assert cell("backprop", "a").run_id != cell("backprop", "a", label_noise=0.1).run_id


def test_a_class_in_place_of_a_choice_goes_by_its_own_name(cell):
    one = cell("constant", "a")
    swapped = {**one.settings, "method": catalog.read("method", "backprop")}
    other = Cell.of(swapped, method="constant")
    assert [one.arm.label, other.arm.label] == [
        "image/digits, 40 epochs: constant",
        "image/digits, 40 epochs: methods.backprop.Backprop",
    ]


def test_what_a_run_is_told_are_the_settings_and_where_they_differ(cell):
    plain = cell("backprop", "a")
    changed = {"time_limit": 7.5, "network": catalog.read("network", "linear")}
    told = [prepare(one) for one in (plain, Cell.of({**plain.settings, **changed}, "backprop"))]
    assert [one.time_limit for one in told] == [None, 7.5]
    assert [one.identities[0]["default_network"] for one in told] == [True, False]
    assert [one.identities[0]["network"] for one in told] == ["mlp-32", "linear"]


def test_the_rule_of_a_start_decides_the_result(cell):
    one = cell("fine_tuning", "a")
    start = {**one.settings["start"], "method": catalog.read("method", "feedback_alignment")}
    other = Cell.of({**one.settings, "start": start}, "fine_tuning")
    file = "methods/feedback_alignment.py"
    assert [any(name.endswith(file) for name in it.sources) for it in (one, other)] == [False, True]


def begin(one, monkeypatch, **changed):
    """Train some steps as a process that is cut off, and that had `changed` instead of today's."""
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        for name, value in changed.items():
            patch.setattr(Cell, name, value)
        patch.setattr(
            "beyond.run.runner.train",
            lambda *of: chain(islice(train(*of), 5), map(cut_off, [None])),
        )
        run_cell(one, keep_skipped=False, shown=False)
    left = {path.name for path in one.folder.iterdir()}
    assert left == {"state.pt", "log.txt", "lock", "seeds.json"}
    assert one.arm.label in [state.label for state in states(one.study)]  # no sweep has noted it


def cut_off(_):
    raise KeyboardInterrupt


def test_a_run_that_was_cut_off_goes_on_without_a_word(cell, monkeypatch, capsys):
    begun = cell("backprop", "begun", epochs=3)
    begin(begun, monkeypatch)
    run_cell(begun, keep_skipped=False, shown=False)
    assert "anew" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "told"), [("sources", "methods/backprop.py"), ("data", "its data")]
)
def test_a_run_that_other_code_or_data_began_starts_anew_and_says_so(
    part, told, cell, monkeypatch, capsys
):
    whole, begun = cell("backprop", "whole", epochs=3), cell("backprop", "begun", epochs=3)
    run_cell(whole, keep_skipped=False, shown=False)
    before = {"sources": {**whole.sources, "methods/backprop.py": "0"}, "data": "0"}
    begin(begun, monkeypatch, **{part: before[part]})
    begun = replace(begun)  # which has looked at no source yet
    run_cell(begun, keep_skipped=False, shown=False)
    assert f"what began it has changed ({told}), starting again" in capsys.readouterr().err
    assert_same_tables(whole, begun)


def test_a_refusal_leaves_nothing_of_a_new_run_and_all_of_one_that_has_begun(cell, monkeypatch):
    def refuse(*_):
        raise InputError("n must be > 0, got 0")

    new, begun = cell("constant", "new"), cell("backprop", "begun", epochs=3)
    begin(begun, monkeypatch)
    monkeypatch.setattr("beyond.run.runner.train", refuse)
    for one in (new, begun):
        with pytest.raises(InputError, match="n must be"):
            run_cell(one, keep_skipped=True, shown=False)
    assert not new.study.parent.exists()
    assert (begun.folder / "state.pt").exists()


def test_a_state_of_another_cell_is_not_gone_on_from(cell, monkeypatch, capsys):
    """Copied by hand, as folders are: of other seeds, or of weights of other shapes."""
    whole, begun = cell("backprop", "whole", epochs=3), cell("backprop", "begun", epochs=3)
    run_cell(whole, keep_skipped=False, shown=False)
    network = catalog.read("network", "mlp") | {"hidden": [8, 8]}
    wider = Cell.of({**begun.settings, "network": network}, "backprop")
    for other in (begun.of_seeds([5, 6]), wider):
        begin(other, monkeypatch)
        begun.folder.mkdir(exist_ok=True)
        shutil.copy(other.folder / "state.pt", begun.folder)
        capsys.readouterr()
        run_cell(begun, keep_skipped=False, shown=False)
        assert "what began it has changed (its settings), starting again" in capsys.readouterr().err
        assert_same_tables(whole, begun)
        shutil.rmtree(begun.folder)


@pytest.mark.parametrize("name", ["state.pt", "manifest.json", "runs.parquet"])
@pytest.mark.parametrize("spoil", [b"", b"rubbish", None])
def test_a_file_that_is_cut_costs_that_cell_alone_and_no_traceback(
    name, spoil, cell, monkeypatch, capsys
):
    one = cell("constant", "spoilt", epochs=1)
    if name == "state.pt":
        begin(one, monkeypatch)
    else:
        run_cell(one, keep_skipped=False, shown=False)
    path = one.folder / name
    path.write_bytes(path.read_bytes()[:-20] if spoil is None else spoil)
    capsys.readouterr()
    assert run_cell(one, keep_skipped=False, shown=False) == "finished"
    told = capsys.readouterr().err.splitlines()
    assert [line.endswith("starting again") for line in told] == [True, False]
    assert "finished before" not in "".join(told)
    assert run_cell(one, keep_skipped=False, shown=False) == "finished"
    assert "finished before" in capsys.readouterr().err


def test_a_seed_that_another_process_trains_is_refused(cell):
    one = cell("backprop", "shared", epochs=1)
    other = one.of_seeds([1, 2, 3])
    assert other.arm.id == one.arm.id
    with (
        RunFolder(other.folder).locked(other.seeds),
        pytest.raises(InputError, match="another process is writing"),
    ):
        run_cell(one, keep_skipped=False, shown=False)
    with RunFolder(other.folder).locked([4]):
        assert run_cell(one, keep_skipped=False, shown=False) == "finished"


def test_a_cell_that_another_process_has_finished_since_it_was_planned_is_left_alone(
    cell, monkeypatch
):
    one = cell("backprop", "once", epochs=1)
    run_cell(one, keep_skipped=False, shown=False)
    written = (one.folder / "runs.parquet").stat().st_mtime_ns
    monkeypatch.setattr("beyond.run.runner.plan", lambda cell: Plan([], [], cell.seeds))
    assert run_cell(one, keep_skipped=False, shown=False) == "finished"
    assert (one.folder / "runs.parquet").stat().st_mtime_ns == written


def test_a_cell_that_another_process_trains_again_is_not_deleted_under_it(cell):
    one = cell("backprop", "once", epochs=1)
    run_cell(one, keep_skipped=False, shown=False)
    again = plan(replace(one, run=replace(one.run, rerun="all"))).again
    with (
        RunFolder(one.folder).locked(one.seeds),
        pytest.raises(InputError, match="another process is writing"),
    ):
        give_up(again)
    assert (one.folder / "manifest.json").exists()
    give_up(again)
    assert not one.folder.exists()


def test_equal_numbers_are_equal_settings(cell):
    assert cell("backprop", "a", epochs=40).run_id == cell("backprop", "a", epochs=40.0).run_id
    assert (
        cell("backprop", "a", label_noise=0).run_id == cell("backprop", "a", label_noise=0.0).run_id
    )
    assert cell("backprop", "a").of_seeds([0, 1]).run_id == cell("backprop", "a").run_id
    assert cell("backprop", "a").of_seeds([2]).run_id != cell("backprop", "a").run_id
    assert cell("backprop", "a").of_seeds([2]).arm.id == cell("backprop", "a").arm.id


def test_a_run_in_which_no_step_was_taken_is_not_finished(cell, capsys):
    one = cell("genetic", "untrained", epochs=0.1)
    for told in ("untrained, one step costs ", "untrained before (one step costs "):
        assert run_cell(one, keep_skipped=False, shown=False) == "untrained"
        assert told in capsys.readouterr().err


def test_statuses_from_best_to_worst():
    assert worst(["finished", "untrained", "skipped"]) == "untrained"
    assert worst(["untrained", "failed", "diverged"]) == "failed"


def test_seeds_are_written_as_spans():
    assert spans([0, 1, 2, 4, 7, 8]) == "0 to 2, 4, 7 to 8"


def test_a_time_of_any_size_has_its_figures():
    """A run of 0.03 s was told as one of 0.0 s, less than its steps took."""
    told = [figures(time) for time in (0, 0.03142, 12.34, 999.4, 8640.2)]
    assert told == ["0", "0.0314", "12.3", "999", "8640"]


def test_the_manifest_says_where_the_tables_come_from(cell):
    one = cell("backprop", "manifest", epochs=1)
    run_cell(one, keep_skipped=False, shown=False)
    manifest = json.loads((one.folder / "manifest.json").read_text())
    assert manifest["settings"] == one.settings
    assert manifest["status"] == "finished"
    assert len(manifest["data_sha256"]) == 64
    assert manifest["packages"]["torch"]
    assert manifest["version"] == installed.version()
    assert manifest["commit"] == installed.commit()["commit"]
    assert manifest["wall_seconds"] > 0
    assert manifest["sources"] == one.sources
    assert manifest["split"] == "own"
    assert manifest["source_digest"] == digest(one.sources)
    assert manifest["identity"]["variant"] == "budget.epochs=1"
    assert manifest["cited"]["method"]["source"].startswith("Nature 323, 533-536, doi:10.1038/3235")
    assert manifest["cited"]["task"]["title"].endswith("(Alpaydin & Kaynak, 1998).")
    assert manifest["best_known"] is None


def test_a_method_that_cannot_serve_is_a_skipped_row_in_a_study(cell):
    one = cell("fine_tuning", "skipped", name="regression/diabetes")
    assert run_cell(one, keep_skipped=True, shown=False) == "skipped"
    runs = pd.read_parquet(one.folder / "runs.parquet")
    assert runs["status"].tolist() == ["skipped"] * 2
    assert (
        runs["reason"].tolist()
        == ["regression/diabetes has no source task to learn from first"] * 2
    )
    assert runs["best_test_score"].isna().all()


def kinds_of_state():
    """Every method; one of each kind of state in the quick tests, the others are slow ones."""
    quick = {"backprop", "cma_es", "fine_tuning", "genetic", "maml", "q_learning", "spiking_stdp"}
    for name in catalog.names("method"):
        yield pytest.param(name, marks=() if name in quick else pytest.mark.slow)


@pytest.mark.parametrize("method", list(kinds_of_state()))
@pytest.mark.once
def test_killed_at_a_random_moment_and_started_again_it_ends_in_the_same_tables(method, cell):
    for of in (
        {"epochs": 150},
        {"epochs": 2, "name": "regression/sinusoids"},
        {"epochs": 2, "name": "image/glyphs"},
    ):
        whole = cell(method, "whole", **of)
        if run_cell(whole, keep_skipped=True, shown=False) != "skipped":
            break
    killed = cell(method, "killed", **of)
    arguments = {"settings": killed.settings, "method": method}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while child.poll() is None and not (killed.folder / "state.pt").exists():
        time.sleep(0.002)
    time.sleep(random.Random(method).uniform(0, 0.2))
    child.send_signal(signal.SIGKILL)
    child.wait()
    if method != "constant":  # which has a single step
        assert not (killed.folder / "manifest.json").exists()
    run_cell(killed, keep_skipped=True, shown=False)
    assert_same_tables(killed, whole)
    left = {path.name for path in killed.folder.iterdir()}
    tables_of_a_run = {f"{name}.parquet" for name in ("curves", "layers", "runs", "predictions")}
    assert left == {*tables_of_a_run, "manifest.json", "log.txt", "lock", "seeds.json"}
