"""Faults of disks, files, folders, clocks and typing: each one clear line, and a status; or none.

Each table has what is done, what is told, and the exit status. What other files test is not here:

- of files: `test_cell` (a state, manifest or table that is cut or another cell's), `test_record`
  (locks, and drives without; a process that ends while it writes), `test_memo` (what was told),
  `test_status` and `test_data_command`;
- of processes: `test_interruption` (signals), `test_supervision` and `test_launchers` (workers that
  are killed), `test_worker` (a cell that another process has);
- of what is typed: `test_command_line` and `test_bad_settings` (which hold code of a stranger too);
- of data: `test_data`, `test_added` and the tasks' tests; of names: the analysis's.

`tests/soak.py` kills a study at random and fills its disk.
"""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from analysis import report, verify
from beyond.files import write_whole
from beyond.run import data, runner
from beyond.run.lock import held
from beyond.run.main import main

FAULTS = [
    # a manifest with a word among its seeds
    ("beyond/run/record.py", "if whole and told else None", "if whole else None"),
    ("beyond/run/record.py", "all(isinstance(seed, int) for", "all(True for"),
    # a home folder of that name, and tables elsewhere
    (
        "beyond/run/cell.py",
        "str(expanded(runs)) if runs else runs",
        "runs",
    ),
    # where there is no room
    (
        "beyond/files.py",
        "raise type(error)(error.errno, error.strerror, str(path)) from error",
        "raise",
    ),
    # an empty manifest is a finished run
    ("beyond/run/record.py", "set(RECORDED) <= set(named) and all(", "all("),
    (
        "beyond/run/record.py",
        "except (OSError, ValueError, TypeError):  # nobody",
        "except KeyError:  # nobody",
    ),
    # Hydra's words in place of ours
    (
        "beyond/run/explain.py",
        "    if (refused := _refused(error)) is not None:",
        "    if refused := None:",
    ),
    (
        "beyond/run/main.py",
        'return swept if SWEEP.intersection(swept) else ["-m", *swept]',
        "return swept",
    ),
    (
        "beyond/run/merge.py",
        "    if not any([*there.values(), *new.values()]):\n",
        "    if False:\n",
    ),
    (
        "analysis/tables.py",
        "    if not isinstance(told, kind) or not all(",
        "    if False and not all(",
    ),
]

STEPS = ("budget=steps", "budget.steps=2", "seeds=1")
ONE = ("method=constant", *STEPS)
# without figures, which take long
SWEEP = ("-m", "method=constant,backprop", *STEPS, "hydra/launcher=basic")
PLAIN = (*SWEEP, "hydra.sweeper.publish=analysis.tables.load")
TUNE = ("+tune=equal", "method=backprop", *STEPS, "hydra/launcher=basic")
NO_ROOM = os.strerror(errno.ENOSPC)
SPOILT = {
    "empty": b"",
    "cut": b"{",
    "a list": b"[3]",
    "a number": b"3",
    "not text": b"\xff\xfe\x00",
}


def cases(text):
    """Pairs of a command and its line: `command -> line`."""
    return [tuple(part.strip() for part in line.split("->")) for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A study of two finished cells."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(sys, "argv", ["beyond", *PLAIN])
        main()
    return folder / "runs"


@pytest.fixture
def study(recorded, tmp_path):
    """A copy of it in the working folder, as `runs/adhoc`; what is told of it is not."""
    shutil.copytree(recorded, tmp_path / "runs", ignore=shutil.ignore_patterns(".told"))
    return tmp_path / "runs" / "adhoc"


@pytest.fixture
def cell(study):
    """Folder of the cell that `ONE` asks for."""
    return next(
        path.parent
        for path in study.glob("*/manifest.json")
        if '"method": "constant"' in path.read_text()
    )


@pytest.fixture
def call(beyond, monkeypatch, capsys):
    """Return what runs a command of any of our scripts, and returns its status and what it told."""
    scripts = {
        "beyond-report": report.main,
        "beyond-compare": report.compare,
        "beyond-verify": verify.main,
        "beyond-data": data.main,
    }

    def run(line):
        script, *arguments = line.split(" ")
        if script == "beyond":
            return beyond(*arguments)[:2]
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as ended:
            scripts[script]()
        capsys.readouterr()
        return int(isinstance(ended.value.code, str)), f"{ended.value.code}\n"

    return run


@pytest.mark.parametrize(
    ("line", "told"),
    cases(
        f"""
        device=cuda -> device must be cpu here, got 'cuda': torch finds no CUDA device
        -m device=cuda -> device must be cpu here, got 'cuda': torch finds no CUDA device
        plan device=cuda -> device must be cpu here, got 'cuda': torch finds no CUDA device
        device=gpu -> device must be one of cpu, cuda, auto; got 'gpu'
        draws=disk -> draws must be one of host, device, or null; got 'disk'
        precision=float16 -> precision must be one of float32, float64, bfloat16; got 'float16'
        max_memory=0 -> max_memory must be > 0, or null, got 0
        max_memory=much -> max_memory must be a number > 0, or null, got 'much'
        threads=1000 -> threads must be an integer in [1,
        -m hydra/launcher=nope -> unknown hydra/launcher 'nope'; known: basic, joblib, ray
        -m hydra.sweeper.n_workers=0 -> hydra.sweeper.n_workers must be an integer >= 1, or null, got 0
        -m hydra/launcher=joblib hydra.launcher.n_jobs=0 -> hydra.launcher.n_jobs must be an integer other than 0, got 0
        plan hydra/launcher=joblib hydra.launcher.n_jobs=0 -> hydra.launcher.n_jobs must be an integer other than 0, got 0
        -m hydra/launcher=joblib hydra.launcher.n_jobs=x -> hydra.launcher.n_jobs=x: Value 'x' of type 'str' could not be converted to Integer
        +live=foo -> unknown live 'foo'; known: mlflow, tensorboard, wandb
        follow=foo -> follow must be in beyond, methods, tasks, analysis or a package that BEYOND_PLUGINS declares, got 'foo'
        follow=os.system -> follow must be in beyond, methods, tasks, analysis or a package that BEYOND_PLUGINS
        plan follow=os.system -> follow must be in beyond, methods, tasks, analysis or a package that BEYOND_PLUGINS
        follow=methods.backprop.Backprop -> follow must be a class derived from beyond.run.live.Live, got 'methods.
        +tune=nope {STEPS[1]} budget=steps -> unknown tune 'nope'; known: equal
        +study=nope {STEPS[1]} budget=steps -> unknown study 'nope'; known: capabilities, comparison,
        +study=quick method.nope=3 -> unknown key 'method.nope' of method
        +tune=equal tune.n_trials=0 -> n_trials must be an integer in [1, 4096], got 0
        +tune=equal tune.n_seeds=0 -> n_seeds must be an integer >= 1, got 0
        +tune=equal tune.sampler=grid -> sampler must be one of quasi_random, tpe; got 'grid'
        +tune=equal tune.first_seed=9 -> tune.first_seed must be such that no seed of a trial is one of the report's (0 to 9), got 9
        +tune=equal tune.epochs=1 -> tune.epochs must be >= 300, what one trial costs (3 seeds of 100), got 1.0
        +tune=equal tune.nope=3 -> unknown key 'tune.nope'; known: n_trials, epochs, sampler,
        satus runs/adhoc -> an argument must be setting=value, or plan, status or merge in the first place, got 'satus'
        tune.n_trials=3 -> tune.n_trials must be left out without +tune=equal
        +tune=equal tuned=true -> tuned must be left out where arms are tuned, got True
        tuned=missing -> tuned must be true, false, or a folder that is there, got 'missing'
        tuned=. method=constant -> no tuned settings of constant on image/digits (mlp-32) in '.': beyond +tune=equal
        status -> one folder of a study must be given; usage: beyond status FOLDER [--watch]
        merge one -> two folders or more must be given; usage: beyond merge FOLDER [FOLDER ...] INTO
        plan +paper=all -> plan takes one paper, of
        """
    ),
)
def test_what_is_typed_is_refused_in_one_line_and_nothing_is_written(line, told, beyond, tmp_path):
    status, found, shown = beyond(*line.split())
    assert found.startswith(f"beyond: {told}")
    assert (status, found.count("\n"), shown) == (1, 1, "")
    assert not list(tmp_path.iterdir())


def test_a_launcher_that_is_not_installed_is_one_line(beyond, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    status, told, _ = beyond("-m", *ONE, "hydra/launcher=ray")
    line = "hydra/launcher=ray needs the package ray: pip install 'beyond-backprop[ray]'"
    assert (status, told) == (1, f"beyond: {line}\n")


LONG = "x" * 300
PLACES = cases(
    f"""
    beyond status missing -> beyond: no cell of a study in 'missing'
    beyond status empty -> beyond: no cell of a study in 'empty'
    beyond status file -> beyond: no cell of a study in 'file'
    beyond status loop -> beyond: no cell of a study in 'loop'
    beyond status {LONG} -> beyond: File name too long: 'xxx
    beyond merge missing into -> beyond: no cell of a study in 'missing'
    beyond merge file into -> beyond: no cell of a study in 'file'
    beyond merge loop into -> beyond: no cell of a study in 'loop'
    beyond merge broken into -> beyond: no finished cell in broken
    beyond merge {LONG} into -> beyond: File name too long: 'xxx
    beyond merge runs/adhoc file -> beyond: INTO must be a folder, there or to be made, got 'file'
    beyond merge runs/adhoc file/x -> beyond: INTO must be a folder, there or to be made, got 'file/x'
    beyond merge runs/adhoc loop -> beyond: Too many levels of symbolic links: 'loop/trials/
    beyond-report missing -> beyond-report: no such folder: missing
    beyond-report empty -> beyond-report: no finished run in empty: no <cell>/manifest.json there
    beyond-report file -> beyond-report: no such folder: file
    beyond-report loop -> beyond-report: no such folder: loop
    beyond-report broken -> beyond-report: no finished run in broken: no <cell>/manifest.json there
    beyond-report {LONG} -> beyond-report: File name too long: 'xxx
    beyond-report runs/adhoc --reference nope -> beyond-report: no arm has the name nope; known: backprop, constant
    beyond-report runs/adhoc --out file -> beyond-report: Not a directory: 'file/tables'
    beyond-report runs/adhoc --out loop -> beyond-report: Too many levels of symbolic links: 'loop
    beyond-report runs/adhoc nope -> beyond-report: no folder and no published rows named nope; known: gallery, or
    beyond-report runs/adhoc empty -> beyond-report: no finished run in empty: no <cell>/manifest.json there
    beyond-compare missing --against gallery -> beyond-compare: no such folder: missing
    beyond-compare runs/adhoc --against nope -> beyond-compare: no folder and no published rows named nope; known: gallery, or
    beyond-compare runs/adhoc --against rubbish.parquet -> beyond-compare: cannot read rubbish.parquet:
    beyond-compare runs/adhoc --against gallery -> beyond-compare: nothing in gallery can be compared with adhoc.
    beyond-verify missing -> beyond-verify: no such page: missing
    beyond-verify loop -> beyond-verify: no such page: loop
    beyond-verify file --runs runs/adhoc -> beyond-verify: no runs of a paper in runs/adhoc: expected
    beyond-verify missing.html -> beyond-verify: no such page: missing.html
    beyond-data check task=arrays task.path=missing.npz -> beyond-data: task.path: No such file or directory: 'missing.npz'
    beyond-data check task=arrays task.path=folder.npz -> beyond-data: task.path must be a file, got 'folder.npz'
    beyond-data check task=table task.path=folder.csv task.target=y -> beyond-data: task.path must be a file, got 'folder.csv'
    beyond-data check task=images task.path=missing -> beyond-data: task.path must be a folder that is there, got 'missing'
    beyond-data check task=images task.path=loop -> beyond-data: task.path must be a folder that is there, got 'loop'
    beyond-data check task=images task.path={LONG} -> beyond-data: File name too long: 'xxx
    beyond method=constant {" ".join(STEPS)} runs=file -> beyond: runs must be a folder that can be written, got 'file/adhoc/
    beyond method=constant {" ".join(STEPS)} runs=loop -> beyond: runs must be a folder that can be written, got 'loop/adhoc/
    beyond method=constant {" ".join(STEPS)} runs={LONG} -> beyond: File name too long: 'xxx
    beyond method=constant {" ".join(STEPS)} study_name={LONG} -> beyond: File name too long: 'runs/xxx
    beyond -m method=constant {" ".join(STEPS)} runs=file -> beyond: runs must be a folder that can be written, got 'file/adhoc' (Not a directory)
    beyond -m method=constant {" ".join(STEPS)} runs=loop -> beyond: runs must be a folder that can be written, got 'loop/adhoc' (Too many
    """
)


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(("line", "told"), PLACES, ids=[line[:60] for line, _ in PLACES])
def test_a_place_where_nothing_can_be_is_one_line(line, told, call, tmp_path):
    for name in ("empty", "folder.npz", "folder.csv", "broken/abc-def"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("file", "rubbish.parquet", "broken/abc-def/lock", "broken/abc-def/manifest.json"):
        (tmp_path / name).write_text("rubbish")
    (tmp_path / "loop").symlink_to("loop")
    status, found = call(line)
    assert found.startswith(told)
    assert (status, found.count("\n")) == (1, 1)


def test_a_sweep_makes_no_folder_but_its_study(beyond, tmp_path):
    assert beyond(*PLAIN, "runs=else where", "study_name=a/b")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["else where"]


def test_the_home_folder_is_one_folder_for_all_that_a_study_writes(beyond, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert beyond(*ONE, "runs=~/x")[0] == 0
    status, told, _ = beyond(*PLAIN, "runs=~/x")
    assert (status, told.count("constant: finished before")) == (0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (tmp_path / "home/x/adhoc/multirun.yaml").is_file()


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize(
    ("name", "command", "told"),
    [
        # what is only a note of what was
        ("planned.json", "beyond status runs/adhoc", None),
        ("stale.json", "beyond status runs/adhoc", None),
        (
            "stale.json",
            "beyond-report runs/adhoc",
            "beyond-report: cannot read runs/adhoc/stale.json: ",
        ),
        (
            "tuned.json",
            "beyond-report runs/adhoc",
            "beyond-report: cannot read runs/adhoc/tuned.json: ",
        ),
        (
            "paper.json",
            "beyond-verify runs/adhoc/paper.json --runs runs/adhoc",
            "beyond-verify: cannot read runs/adhoc/paper.json: ",
        ),
        (
            "multirun.yaml",
            "beyond merge runs/adhoc runs/adhoc",
            "beyond: merged, but without a report: 'runs/adhoc/multirun.yaml' is no sweep's; ",
        ),
    ],
)
def test_a_studys_file_that_is_spoilt_is_named_or_not_needed(
    name, command, told, spoilt, call, study
):
    (study / name).write_bytes(spoilt)
    status, found = call(command)
    if told is None:
        assert (status, found) == (0, "")
    else:
        assert found.startswith(told)
        assert (status, found.count("\n")) == (1, 1)


@pytest.mark.parametrize("spoilt", [b"{", b"[3]"])
def test_a_sweep_writes_anew_what_is_spoilt_beside_its_cells(spoilt, beyond, study):
    names = ("planned.json", "stale.json", "multirun.yaml")
    before = {name: (study / name).read_bytes() for name in names}
    for name in names:
        (study / name).write_bytes(spoilt)
    assert beyond(*PLAIN)[0] == 0
    assert {name: (study / name).read_bytes() for name in names[:2]} == {
        name: before[name] for name in names[:2]
    }


@pytest.mark.parametrize("name", ["trials/trials.json", "tuned.json"])
@pytest.mark.parametrize("spoilt", [b"{", b"[3]", b'[{"a": 1}]'])
def test_a_tunings_file_that_is_spoilt_is_one_line(name, spoilt, beyond, tmp_path):
    path = tmp_path / "runs/adhoc" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(spoilt)
    status, told, _ = beyond(*TUNE, "tune.n_trials=1", "tune.n_seeds=1")
    assert status == 1
    assert told.splitlines()[-1].startswith(f"beyond: 'runs/adhoc/{name}' cannot be read: ")
    assert not list(tmp_path.glob("runs/adhoc/trials/*/manifest.json"))


@pytest.mark.parametrize("spoilt", [b"{", b"3"])
def test_seeds_that_cannot_be_read_are_anybodys_while_their_folder_is_held(spoilt, beyond, cell):
    (cell / "seeds.json").write_bytes(spoilt)
    more = (*ONE[:-1], "seeds=[1]")
    with held(cell / "lock"):
        status, told, _ = beyond(*more)
    assert (status, told.count("another process is writing")) == (1, 1)
    status, told, _ = beyond(*more)
    assert (status, told.count("finished, test")) == (0, 1)


def test_a_manifest_that_lacks_what_made_it_is_of_no_finished_run(beyond, cell):
    path = cell / "manifest.json"
    for lacking in ("sources", "seeds"):
        made = json.loads(path.read_text())
        path.write_text(json.dumps({key: made[key] for key in made if key != lacking}))
        status, told, _ = beyond(*ONE)
        assert (status, told.count("Traceback"), told.count("finished, test")) == (0, 0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", ["0"]), ("seeds", 1), ("reasons", [1]), ("sources", []), ("status", None)],
)
def test_a_manifest_that_says_what_none_says_is_of_no_finished_run(name, value, beyond, cell):
    path = cell / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    status, told, _ = beyond(*ONE)
    assert (status, told.count("Traceback"), told.count("finished, test")) == (0, 0, 1)


@pytest.mark.parametrize("kept", [(), ("seeds",), None])
def test_a_manifest_that_names_no_table_is_of_no_finished_run(kept, beyond, cell):
    path = cell / "manifest.json"
    told = json.loads(path.read_text())
    rest = told if kept is None else {name: told[name] for name in kept}  # None keeps all else
    path.write_text(json.dumps({**rest, "tables": {}}))
    status, told, _ = beyond(*ONE)
    again = "its tables are not those that its manifest names, starting again"
    assert (status, told.count(again), told.count("finished, test")) == (0, 1, 1)


@pytest.mark.parametrize("name", ["manifest.json", "runs.parquet", "lock"])
def test_a_folder_in_a_files_place_is_named(name, beyond, cell):
    (cell / "manifest.json").unlink()
    (cell / name).unlink(missing_ok=True)
    (cell / name).mkdir()
    status, told, _ = beyond(*ONE)
    line = told.splitlines()[-1]
    assert line.startswith("beyond: ")
    assert "s a directory" in line
    assert str(Path(*cell.parts[-3:])) in line
    assert status == 1


WRITTEN = (
    *("seeds.json", "trainer.json", "state.pt", "manifest.json"),
    *("curves.parquet", "layers.parquet", "runs.parquet", "predictions.parquet"),
)
WRITERS = ("files", "run.record")


@pytest.fixture
def full(monkeypatch):
    """Return what lets no file of a name be written."""

    def refuse(name):
        def write(path, writes):
            if path.name != name:
                return write_whole(path, writes)
            return write_whole(path, lambda part: fail(part))

        def fail(part):
            part.write_bytes(b"half")
            raise OSError(errno.ENOSPC, NO_ROOM)

        for module in WRITERS:
            monkeypatch.setattr(f"beyond.{module}.write_whole", write)

    return refuse


@pytest.mark.parametrize("name", WRITTEN)
def test_a_run_without_room_names_the_file_and_goes_on_when_there_is(name, full, beyond, tmp_path):
    full(name)
    status, told, _ = beyond(*ONE, "save_every=0")
    line = told.splitlines()[-1]
    assert (status, line.startswith("beyond: "), NO_ROOM in line) == (1, True, True)
    assert "runs/adhoc/" in line
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob("manifest.json")]
    full("")
    status, told, _ = beyond(*ONE, "save_every=0")
    assert (status, told.count("finished, test"), told.count("\n")) == (0, 1, 1)


@pytest.mark.parametrize("name", ["runs.parquet", "planned.json", "stale.json", "multirun.yaml"])
def test_a_sweep_without_room_names_the_file(name, full, beyond, tmp_path):
    full(name)
    status, told, _ = beyond(*PLAIN)
    lines = [line for line in told.splitlines() if NO_ROOM in line]
    assert status == 1
    assert all(name in line for line in lines)
    assert len(lines) == (2 if name == "runs.parquet" else 1)  # of each cell
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "place", ["pathlib.Path.mkdir", "beyond.run.runner._LogFile", "pathlib.Path.write_text"]
)
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_may_not_be_written_is_one_line(number, place, beyond, monkeypatch):
    """Permissions do not hold for those who test as root."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "runs/x")

    with monkeypatch.context() as patched:
        patched.setattr(place, refuse)
        status, told, _ = beyond(*ONE)
    assert (status, told.startswith("beyond: "), told.count("\n")) == (1, True, 1)
    assert os.strerror(number) in told


@pytest.mark.parametrize("arguments", [ONE, (*ONE, "save_every=0"), PLAIN], ids=len)
def test_a_study_that_is_deleted_while_it_trains_is_told(arguments, beyond, monkeypatch):
    def train(*of):
        for progress in whole(*of):
            yield progress
            shutil.rmtree("runs", ignore_errors=True)

    whole = runner.train
    monkeypatch.setattr(runner, "train", train)
    status, told, _ = beyond(*arguments)
    lines = told.splitlines()
    assert (status, lines[-1].startswith("beyond: ")) == (1, True)
    assert len(lines) == (3 if arguments is PLAIN else 1)


@pytest.mark.parametrize("step", [-1e6, 1e6])
def test_a_wall_clock_that_jumps_changes_nothing(step, beyond, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("time.time", lambda: 2e9 + step * (next(now) % 2))
    status, told, _ = beyond(*ONE, "time_limit=600", "save_every=0")
    assert (status, told.count("finished, test")) == (0, 1)


@pytest.mark.usefixtures("study")
def test_a_report_that_is_interrupted_costs_no_run(beyond, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("beyond.run.memo.printed", stop)
        status, told, _ = beyond(*PLAIN)
    line = "beyond: interrupted by SIGINT; the same command goes on from what is saved"
    assert (status, told.splitlines()[-1]) == (130, line)
    status, told, _ = beyond(*PLAIN)
    assert (status, "finished before" in told, "finished, test" in told) == (0, True, False)


@pytest.mark.parametrize("arguments", [ONE, PLAIN], ids=["run", "sweep"])
def test_of_two_commands_at_once_one_trains_a_cell(arguments, beyond, cell):
    (cell / "manifest.json").unlink()
    with held(cell / "lock"):
        status, told, _ = beyond(*arguments)
    if arguments is ONE:
        assert status == 1
        assert told.startswith("beyond: another process is writing 'runs/adhoc/")
    else:  # it is left to the other
        assert status == 0
        assert "constant" not in told
    status, told, _ = beyond(*arguments)
    assert (status, "finished, test" in told) == (0, True)
