"""A command is answered from memory only if nothing that it followed from has changed."""

import json
import os
import platform
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from beyond.run import memo

FAULTS = [
    ("beyond/run/memo.py", 'known["world"] == self.world\n', "True\n"),
    ("beyond/run/memo.py", 'and known["study"] == contents(self.study)', ""),
    ("beyond/run/memo.py", "[code, _distributions(), _terminal(),", "[code, _terminal(),"),
    ("beyond/run/memo.py", "[code, _distributions(), _terminal(),", "[code, _distributions(),"),
    (
        "beyond/run/memo.py",
        "[code, _distributions(), _terminal(),",
        "[_distributions(), _terminal(),",
    ),
    ("beyond/run/memo.py", "if todo.seeds or theirs", "if theirs"),
    ("beyond/run/memo.py", " and _place(cell) is None", " and False"),
    ("beyond/run/memo.py", "_digest(Path(place)) == one for", "True for"),
    ("beyond/run/memo.py", "_changed(place) < self.begun for", "True for"),
    ("beyond/run/memo.py", "os.walk(place, followlinks=True)", "os.walk(place)"),
    ("hydra_plugins/beyond_cells/sweeper.py", '            self.said.append(f"{line}\\n")\n', ""),
    ("beyond/run/memo.py", "or theirs or not ours", "or theirs"),
    ("beyond/run/memo.py", "if None in told or not settled or", "if None in told or"),
    ("beyond/run/memo.py", 'report not in ("", tables_of(known))', "False"),
    ("beyond/run/memo.py", "if os.environ.get(catalog.PATH) or", "if"),
]
ONE = ("method=constant", "budget=steps", "budget.steps=1", "seeds=1")
SWEEP = (
    "-m",
    "hydra/launcher=basic",
    "seeds=1",
    "budget=steps",
    "budget.steps=1",
    "method=constant,maml",
)


@pytest.fixture
def recalled(beyond, monkeypatch):
    """Return what runs a command, and says whether it was answered from memory."""

    def forbidden():
        raise AssertionError

    def run(*arguments):
        with monkeypatch.context() as patched:
            patched.setattr("beyond.run.main._register_plugins", forbidden)
            try:
                return beyond(*arguments)
            except AssertionError:
                return None

    return run


@pytest.fixture
def done(beyond, recalled):
    """A run that has ended well, and is answered from memory."""
    told = [beyond(*ONE) for _ in range(2)]
    assert told[0][0] == 0
    assert recalled(*ONE) == told[1]


def cell(tmp_path):
    return next(tmp_path.glob("runs/adhoc/*/manifest.json")).parent


@pytest.mark.once
def test_a_sweep_and_its_report_are_told_again_as_they_were(beyond, recalled, tmp_path):
    assert beyond(*SWEEP)[0] == 0
    quick = recalled(*SWEEP)
    assert quick is not None
    shutil.rmtree(tmp_path / "runs/adhoc" / memo.FOLDER)
    assert recalled(*SWEEP) is None
    assert beyond(*SWEEP) == quick
    assert "Report: " in quick[2]
    assert recalled(*SWEEP[:-1], "method=constant") is None


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("file", ["runs.parquet", "predictions.parquet", "manifest.json"])
def test_a_table_that_is_touched_is_looked_at(file, recalled, tmp_path):
    path = cell(tmp_path) / file
    times, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert recalled(*ONE) is None


@pytest.mark.usefixtures("done")
def test_what_is_deleted_or_begun_is_looked_at(recalled, tmp_path):
    shutil.copytree(cell(tmp_path), tmp_path / "kept")
    (cell(tmp_path).parent / "x-1").mkdir()
    (cell(tmp_path).parent / "x-1" / "lock").touch()
    assert recalled(*ONE) is None
    (cell(tmp_path).parent / "x-1" / "lock").unlink()
    assert recalled(*ONE) is not None
    shutil.rmtree(cell(tmp_path))
    assert recalled(*ONE) is None


@pytest.mark.usefixtures("done")
def test_another_python_terminal_or_package_is_another_world(recalled, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr(platform, "python_version", lambda: "3.99.0")
        assert recalled(*ONE) is None
    with monkeypatch.context() as patched:
        patched.setenv("NO_COLOR", "1")
        patched.setenv("COLUMNS", "77")
        assert recalled(*ONE) is None
    (tmp_path / "site" / "torch-99.dist-info").mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
        assert recalled(*ONE) is None
    with monkeypatch.context() as patched:
        patched.setenv("BEYOND_PATH", str(tmp_path / "site"))
        assert memo.Command.of(ONE) is None
    assert recalled(*ONE) is not None


@pytest.mark.parametrize("file", ["methods/x.py", "conf/budget/standard.yaml", "tasks/new.py"])
def test_a_changed_source_or_setting_is_another_world(file, tmp_path, monkeypatch):
    for name in ("methods/x.py", "conf/budget/standard.yaml"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("a: 1\n")
    monkeypatch.setattr(memo, "ROOT", tmp_path)
    monkeypatch.setattr(memo, "CONF", tmp_path / "conf")
    before = memo.world()
    (tmp_path / "methods/__pycache__").mkdir()
    (tmp_path / "methods/__pycache__/x.pyc").touch()
    assert memo.world() == before
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("a: 2\n")
    assert memo.world() != before


def test_what_has_failed_or_is_asked_again_is_never_remembered(beyond, recalled, tmp_path):
    fails = (*ONE, "time_limit=1e-9")
    assert [beyond(*fails)[0] for _ in range(2)] == [1, 1]
    assert recalled(*fails) is None
    again = ("method=constant", "budget=steps", "budget.steps=2", "seeds=1", "rerun=all")
    assert beyond(*again)[0] == 0
    assert recalled(*again) is None
    assert not (tmp_path / "runs/adhoc" / memo.FOLDER).exists()


@pytest.fixture
def own(tmp_path):
    """A run on a file of one's own."""
    rows = [f"{index},{index % 2}" for index in range(40)]
    (tmp_path / "my.csv").write_text("\n".join(["a,y", *rows]))
    return ("task=table", "task.path=my.csv", "task.target=y", *ONE)


def test_a_file_of_data_is_looked_at(own, beyond, recalled, tmp_path):
    told = [beyond(*own) for _ in range(2)][1]
    assert "my.csv: " in told[1]  # what is understood of it
    assert recalled(*own) == told
    data, times = (tmp_path / "my.csv").read_text(), (tmp_path / "my.csv").stat()
    (tmp_path / "my.csv").write_text(data.replace("39,1", "39,0"))
    os.utime(tmp_path / "my.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert recalled(*own) is None
    (tmp_path / "my.csv").write_text(data)
    assert recalled(*own) == told
    (tmp_path / "my.csv").unlink()
    assert recalled(*own) is None


def test_a_file_that_may_have_changed_meanwhile_is_not_remembered(
    own, beyond, recalled, monkeypatch, tmp_path
):
    monkeypatch.setattr(memo, "time_ns", lambda: (tmp_path / "my.csv").stat().st_mtime_ns)
    command = memo.Command.of(own)
    command.begun = memo.time_ns()
    monkeypatch.setattr(memo.Command, "of", lambda _: command)
    assert beyond(*own)[0] == 0
    assert recalled(*own) is None


@pytest.fixture
def images(tmp_path):
    """A run on a folder of images, one of which is behind a link."""
    for name, folder in (("light", "images/light"), ("dark", "elsewhere")):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(6):
            shade = number + 200 * (name == "light")
            Image.new("L", (4, 4), shade).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "images/dark").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    return ("task=images", "task.path=images", *ONE)


@pytest.mark.parametrize("place", ["images/light", "elsewhere"])
def test_a_folder_of_data_is_looked_at(place, images, beyond, recalled, tmp_path):
    told = [beyond(*images) for _ in range(2)][1]
    assert "images: 12 images" in told[1]
    assert recalled(*images) == told
    image = tmp_path / place / "3.png"
    before = image.read_bytes()
    Image.new("L", (4, 4), 100).save(image)
    assert recalled(*images) is None
    image.write_bytes(before)
    assert recalled(*images) == told
    image.rename(image.with_name("9.png"))
    assert recalled(*images) is None
    image.with_name("9.png").rename(image)
    os.mkfifo(image.with_name("pipe"))
    assert recalled(*images) is None


def test_a_folder_that_may_have_changed_meanwhile_is_not_remembered(
    images, beyond, recalled, monkeypatch, tmp_path
):
    command = memo.Command.of(images)
    command.begun = (tmp_path / "elsewhere/5.png").stat().st_ctime_ns
    monkeypatch.setattr(memo.Command, "of", lambda _: command)
    assert beyond(*images)[0] == 0
    assert recalled(*images) is None


def test_data_that_may_be_anywhere_are_looked_at_each_time(own, beyond, recalled, monkeypatch):
    monkeypatch.setattr(memo, "_place", lambda _: None)
    assert beyond(*own)[0] == 0
    assert recalled(*own) is None


@pytest.mark.once
def test_a_tuning_is_told_again_as_it_was(beyond, recalled, tmp_path):
    tune = ("+tune=equal", "tune.n_trials=3", "tune.n_seeds=1", *ONE[1:], "method=backprop")
    assert beyond(*tune)[0] == 0
    quick = recalled(*tune)
    shutil.rmtree(tmp_path / "runs/adhoc" / memo.FOLDER)
    assert beyond(*tune) == quick
    assert quick[1].startswith("tuning: 1 trials of 1 arms, 1 seeds each\n")
    assert quick[1].count("finished before") >= 4
    trial = next(tmp_path.glob("runs/adhoc/trials/*/runs.parquet"))
    trial.unlink()
    assert recalled(*tune) is None


def test_code_that_changes_while_a_command_runs_is_not_taken_for_what_it_read(
    beyond, recalled, monkeypatch
):
    world = iter(["before", *["after"] * 9])
    with monkeypatch.context() as patched:
        patched.setattr(memo, "world", lambda: next(world))
        assert beyond(*ONE)[0] == 0
        assert recalled(*ONE) is None


@pytest.mark.once
def test_a_report_of_other_tables_is_not_remembered(beyond, recalled, monkeypatch):
    tables = iter("ab")
    with monkeypatch.context() as patched:
        patched.setattr(memo, "tables_of", lambda _: next(tables))
        assert beyond(*SWEEP)[0] == 0
    assert recalled(*SWEEP) is None


def test_a_rule_that_is_not_ours_is_looked_at_each_time(beyond, recalled, monkeypatch, tmp_path):
    from beyond.run.cell import Cell

    monkeypatch.setattr(Cell, "sources", {"mine.py": "0"})
    assert beyond(*ONE)[0] == 0
    assert recalled(*ONE) is None


@pytest.mark.parametrize(
    ("arguments", "study"),
    [
        (("method=genetic",), "runs/adhoc"),
        (("-m", "seeds=1,2", "runs=/a b", "study_name=x/y"), "/a b/x/y"),
        (("+study=quick", "hydra/launcher=basic", "hydra.launcher.n_jobs=2"), "runs/quick"),
        (("hydra.sweeper.publish=x.y",), None),
        (("hydra.searchpath=[x]",), None),
        (("--cfg", "job"), None),
        (("status", "runs/adhoc"), None),
        (("+tune=equal", "tune.n_trials=3"), "runs/adhoc"),
        (("tuned.settings=true",), None),
        (("+paper=mnist1d",), None),
        (("runs=${oc.env:HOME}",), None),
    ],
)
def test_the_study_is_known_from_what_is_typed_or_not_at_all(arguments, study):
    assert memo.study_of(arguments) == (study and Path(study))


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"world": 1}'])
def test_a_memory_that_is_cut_is_none(spoilt, recalled, beyond, tmp_path):
    (path,) = tmp_path.glob(f"runs/adhoc/{memo.FOLDER}/*.json")
    whole = json.loads(path.read_text())
    path.write_text(spoilt)
    assert recalled(*ONE) is None
    assert beyond(*ONE)[0] == 0
    assert json.loads(path.read_text()) == whole
