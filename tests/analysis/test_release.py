"""Published rows are those of the study, and say where they come from."""

import json

import pandas as pd
import pytest

from analysis import release
from analysis.release import known, read
from analysis.runs import RUN_COLUMNS
from analysis.tables import TableError, load
from beyond import catalog

FAULTS = [
    ("analysis/release.py", 'runs["status"] != "skipped"', 'runs["status"] == "finished"'),
    ("analysis/release.py", 'rows.drop_duplicates(["run_id", "seed"])', "rows"),
    (
        "analysis/release.py",
        "    if lacking := (*tables.unfinished, *tables.damaged):",
        "    if lacking := ():",
    ),
    ("analysis/release.py", "if stale := sorted(tables.stale):", "if stale := []:"),
    ("analysis/release.py", 'assign(task=runs["task_name"])', "assign()"),
    ("analysis/release.py", 'path.stem + "/" + table["run_id"]', 'table["run_id"]'),
    ("analysis/release.py", "if key not in _OF_FILES", ""),
]
LARGEST = 300_000  # bytes of a release: a clone, and a wheel, stay small


@pytest.fixture
def published(small, tmp_path):
    return release.write("small", [small], tmp_path)


def test_every_replica_that_began_is_there_as_recorded(published, small):
    tables, found = load(small), release.read(str(published))
    began = tables.runs[tables.runs["status"] != "skipped"]
    assert set(began["status"]) == {"finished", "diverged"}
    expected = began.assign(run_id="small/" + began["run_id"], task=began["task_name"])
    key, same = ["run_id", "seed"], [name for name in RUN_COLUMNS if name != "release"]
    pd.testing.assert_frame_equal(
        found.runs.sort_values(key, ignore_index=True)[same],
        expected.sort_values(key, ignore_index=True)[same],
    )
    assert set(found.runs["release"]) == {"small"}


def test_a_task_is_published_by_its_name_whatever_its_study_compared(study, tmp_path):
    study.cell("backprop", variant="task.shift=1")
    study.cell("backprop", seeds=range(5, 9))
    assert load(study.folder).tasks == ["image/digits", "image/digits, shift=1"]
    path = release.write("two", [study.folder], tmp_path)
    assert set(release.read(str(path)).runs["task"]) == {"image/digits"}


def test_a_row_says_where_it_comes_from_and_nothing_of_files_that_are_not_here(study, tmp_path):
    cell = study.folder / study.cell("backprop").replace("/", "-")
    manifest = json.loads((cell / "manifest.json").read_text())
    (cell / "manifest.json").write_text(json.dumps(manifest | {"tables": {}, "files": {}}))
    found = release.read(str(release.write("one", [study.folder], tmp_path)))
    run_id = f"one/{manifest['run_id']}"
    assert found.manifests == {run_id: manifest | {"run_id": run_id}}


def test_the_same_study_makes_the_same_file(small, tmp_path):
    paths = [release.write("small", [small], tmp_path / name) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_run_that_two_studies_have_counts_once(small, tmp_path, published):
    twice = release.write("twice", [small, small], tmp_path)
    assert len(release.read(str(twice)).runs) == len(release.read(str(published)).runs)


def test_what_is_not_finished_is_not_published(study, tmp_path):
    study.cell("backprop")
    (study.folder / "begun").mkdir()
    (study.folder / "begun" / "lock").touch()
    with pytest.raises(TableError, match=r"synthetic is not finished: begun$"):
        release.write("one", [study.folder], tmp_path)


def test_what_has_changed_since_is_not_published(study, tmp_path):
    run_id = study.cell("backprop")
    (study.folder / "stale.json").write_text(json.dumps({run_id: ["methods/backprop.py"]}))
    with pytest.raises(TableError, match=r"changed since \(backprop-.+\): rerun=stale trains"):
        release.write("one", [study.folder], tmp_path)


def test_a_name_that_nothing_has_is_one_line(monkeypatch, tmp_path, published):
    monkeypatch.setattr(release, "FOLDER", tmp_path)
    assert release.known() == ["small"]
    assert len(release.read("small").runs) == 40
    line = r"^no folder and no published rows named none; known: small, or the path of a study's "
    with pytest.raises(TableError, match=line):
        release.read("none")


def test_a_file_that_is_no_release_is_one_line(tmp_path):
    broken, other = tmp_path / "broken.parquet", tmp_path / "other.parquet"
    broken.write_bytes(b"nothing")
    with pytest.raises(TableError, match=r"^cannot read .+broken\.parquet: [^\n]+$"):
        release.read(str(broken))
    pd.DataFrame({"run_id": ["a"], "seed": [0]}).to_parquet(other)
    with pytest.raises(TableError, match=r"holds no published rows: it lacks study, method, "):
        release.read(str(other))


def test_it_is_written_by_one_command(small, tmp_path, capsys):
    release.main(["small", str(small), "--out", str(tmp_path)])
    assert "small.parquet: 8 runs, 40 replicas, " in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^analysis\.release: no such folder: nowhere$"):
        release.main(["small", "nowhere"])


def test_what_is_published_here_can_be_read_and_is_small():
    for name in release.known():
        found = release.read(name)
        assert set(found.runs["run_id"]) == set(found.manifests)
        assert (release.FOLDER / f"{name}.parquet").stat().st_size < LARGEST
        for manifest in found.manifests.values():
            assert manifest["commit"]


def test_what_is_published_stands_beside_runs_of_today():
    """A setting of a task that has another default today would leave its rows out."""
    for name in known():
        told = {made["identity"]["task"]: made for made in read(name).manifests.values()}
        for task, made in told.items():
            then, now = made["settings"]["task"], catalog.read("task", task)
            assert {key: now[key] for key in then} == then
