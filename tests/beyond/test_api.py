"""From Python and from the command line the same objects are trained, and to the same rows."""

import importlib
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

import beyond
from beyond import api, catalog
from beyond.architectures.mlp import MLP
from beyond.errors import BusyError, InputError
from beyond.ledger import Budget
from beyond.run.cell import Cell
from beyond.run.lock import held
from beyond.run.record import TRAINER, RunFolder
from beyond.settings import RunSettings
from methods.backprop import Backprop

FAULTS = [
    ("beyond/api.py", 'usual = catalog.brought("method", name).get("start", usual)', "pass"),
    ("beyond/api.py", 'checked("n_jobs", Jobs, n_jobs)', "pass"),
    # what is asked for is not what is trained
    ("beyond/api.py", "        run.threads,\n", "        1,\n"),
    ("beyond/api.py", "        run.test_also,\n", "        None,\n"),
    ("beyond/api.py", "usual if start is None else start", "usual"),
    ("beyond/api.py", '"budget": {arm.budget.currency:', '"budget": {"epochs":'),
    ("beyond/api.py", '"start": plain(start),', '"start": {},'),
    ("beyond/api.py", "reference, [cell.arm.id for cell in cells])", "reference, [])"),
    ("beyond/api.py", '"tuned": settings}', '"tuned": ""}'),
    ("beyond/api.py", "if name not in catalog.PARTS]", "if name in catalog.PARTS]"),
    ("beyond/run/chosen.py", "            found += stated(inner,", "            stated(inner,"),
    # who tunes beside another gives up
    ("beyond/api.py", "not progress, waits)", "not progress, False)"),
    # what could not be trained is not told
    ("beyond/api.py", 'if told := lost(statuses, "call"):', 'if told := "":'),
    ("beyond/api.py", "if not RunFolder(cell.folder).finished]", "if False]"),
    # classes that are typed are looked for in another process
    ("beyond/api.py", "    _ = once.sources, once.data", "    _ = once.data, once.data"),
    ("beyond/run/worker.py", "quiet=self.quiet)", "quiet=False)"),
    # a module of the package's name, where one in it was imported
    ("beyond/run/__init__.py", "sys.modules[__name__].__class__ = _Wing", "pass"),
    # what is refused leaves a file behind
    ("beyond/run/handed.py", "for place in (*made, *above):", "for place in ():"),
    ("beyond/run/plan.py", "give_up(self._given_up.values())", "pass"),
    ("beyond/run/provenance.py", "yield _definition(part).__mod", "yield type(part).__mod"),
    ("beyond/run/provenance.py", "waiting.append(value)", "pass"),
    ("beyond/run/provenance.py", "if not name.startswith(TYPED)", ""),
    ("beyond/run/runner.py", "root.setLevel(level)", "pass"),
    ("beyond/run/runner.py", "        torch.set_num_threads(before)", "        pass"),
    ("beyond/settings.py", "made.__getstate__ = _fields_alone", "pass"),
]


NETS = """
import torch

def twice(input_shape, n_outputs, width=8):
    n_features = torch.Size(input_shape).numel()
    layers = torch.nn.Linear(n_features, width), torch.nn.Tanh(), torch.nn.Linear(width, n_outputs)
    return torch.nn.Sequential(torch.nn.Flatten(), *layers)
"""


ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(beyond.__file__).parents[1]),
}


@pytest.fixture
def compare(tmp_path):
    def made(methods, tasks="image/digits", *rest, **settings):
        few = {"seeds": 2, "epochs": 1, "progress": False, "runs": str(tmp_path)}
        return beyond.compare(methods, tasks, *rest, **{**few, **settings})

    return made


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(90, 3)), columns=["a", "b", "c"])
    return made.assign(price=made["a"] - made["b"], kind=np.where(made["a"] > 0, "high", "low"))


def test_what_is_asked_for_is_trained_and_told(tmp_path):
    task = api._task({"name": "image/digits", "shots": 5}, tmp_path)
    also = {"prediction": ["sum", "last"]}
    run = RunSettings(threads=2, test_also=also, seeds=[3, 1])
    budget = Budget("steps", 3)
    cell = api._cell("mono_forward", task, "mlp", "related", budget, run)
    arm = cell.arm
    assert (arm.threads, arm.budget, arm.test_also) == (2, budget, also)
    assert arm.start is not None
    assert arm.start.source == "glyphs"
    assert Cell.of(cell.settings, arm.name).run_id == cell.run_id


@pytest.mark.once
def test_the_same_comparison_typed_is_known_to_be_finished(compare, tmp_path):
    study = compare(["fine_tuning", {"name": "backprop", "optimizer": {"name": "sgd"}}])
    typed = ["-m", "method=fine_tuning", "task=image/digits", "seeds=2", "budget.epochs=1"]
    other = ["-m", "method=backprop", "optimizer=sgd", "seeds=2", "budget.epochs=1"]
    for arguments in (typed, other):
        done = subprocess.run(
            [sys.executable, "-m", "beyond.run.main", *arguments, f"runs={tmp_path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "finished before" in done.stderr
    assert len(study.tables.manifests) == 2


def test_a_manifest_makes_the_same_cell_again(compare):
    study = compare(
        [Backprop(batch_size=8)], {"name": "image/digits", "shots": 5}, MLP(hidden=(8,))
    )
    (manifest,) = study.tables.manifests.values()
    again = Cell.of(manifest["settings"], manifest["identity"]["method"])
    assert again.run_id == manifest["run_id"]
    assert again.arm.label == (
        "image/digits, shots=5, 1 epochs: backprop (mlp-8) [batch_size=8, network.hidden=[8]]"
    )


def test_the_same_call_trains_nothing_and_more_seeds_those_alone(compare):
    first = compare("backprop")
    folders = {
        cell: (first.folder / cell / "manifest.json").stat().st_mtime_ns
        for cell in first.tables.manifests
    }
    compare("backprop")
    more = compare(["backprop", "backprop"], seeds=3)
    kept = {cell: (more.folder / cell / "manifest.json").stat().st_mtime_ns for cell in folders}
    assert kept == folders
    assert sorted(m["seeds"] for m in more.tables.manifests.values()) == [[0, 1], [2]]
    again = compare("backprop", rerun="all")
    assert all(
        (again.folder / cell / "manifest.json").stat().st_mtime_ns > before
        for cell, before in folders.items()
    )
    assert sorted(again.runs["seed"]) == [0, 1, 2]


def test_seeds_may_be_a_list_and_budgets_of_any_currency(compare):
    study = compare("backprop", seeds=[3, 7], epochs=None, budget={"steps": 2})
    assert study.runs["seed"].tolist() == [3, 7]
    assert study.runs["steps"].tolist() == [2, 2]


def test_a_figure_is_of_the_task_that_was_asked_for(compare, frame):
    compare("constant")
    study = compare(["constant"], beyond.table(frame, target="price"), seeds=3)
    assert len(study.tasks) == 2
    assert study.task() == "table/table"
    again = compare("constant", ["image/digits"])
    assert again.task() == "image/digits"
    with pytest.raises(ValueError, match="task must be one of image/digits; table/table; got noth"):
        beyond.load(study.folder).task()


def test_a_frame_is_a_task_and_its_file_is_read_from_the_command_line(compare, frame):
    study = compare("backprop", beyond.table(frame, target="price", name="houses"))
    (path,) = (study.folder / "data").glob("*/houses.parquet")
    assert study.tasks == ["table/houses"]
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame, check_dtype=False)
    again = catalog.load("task", "table", path=str(path), target="price")
    (manifest,) = study.tables.manifests.values()
    assert again.checksum() == manifest["data_sha256"]


def test_arrays_are_whatever_numpy_takes_for_one(compare):
    rows, classes = np.arange(24.0).reshape(12, 2), [0, 1] * 6
    given = [rows.tolist(), rows.astype(object), torch.tensor(rows, requires_grad=True)]
    study = compare("constant", [beyond.arrays(X, classes) for X in given])
    assert len({manifest["data_sha256"] for manifest in study.tables.manifests.values()}) == 1
    assert len(study.tasks) == 1


def test_seeds_may_be_numpy_s(compare):
    assert compare("constant", seeds=np.arange(3, 5)).runs["seed"].tolist() == [3, 4]
    assert sorted(compare("constant", seeds=np.int64(1)).runs["seed"]) == [0, 3, 4]


def test_other_data_of_the_same_name_are_another_task(compare, frame):
    compare("backprop", beyond.table(frame, target="kind"))
    study = compare("backprop", beyond.table(frame.assign(a=0.0), target="kind"))
    assert len(study.tasks) == 2
    assert len({m["data_sha256"] for m in study.tables.manifests.values()}) == 2


def test_a_pair_of_arrays_is_a_task(compare, frame):
    inputs = frame[["a", "b", "c"]]
    study = compare("backprop", [(inputs, frame["kind"]), (inputs.to_numpy(), frame["price"])])
    assert {name.partition(",")[0] for name in study.tasks} == {"arrays/arrays"}
    assert sorted(study.runs["headline_metric"].unique()) == ["accuracy_score", "r2_score"]


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["magic"], {}, r"^method must be one of actor_critic, .*; got 'magic'$"),
        ([{"name": "backprop", "rate": 1}], {}, r"^unknown setting 'rate' of Backprop; known: "),
        (["backprop", "image/none"], {}, r"^task must be one of .*; got 'image/none'$"),
        (["backprop", "image/digits", "magic"], {}, r"^network must be one of .*; got 'magic'$"),
        ([Backprop], {}, r"^method must be a name, a mapping with a name, or a method; got <class"),
        ([[]], {}, r"^a list must be of at least one value, got \[\]$"),
        (["backprop"], {"seeds": 0}, r"^seeds must be a count in \[1, 2\^20\] or a list"),
        (["backprop"], {"seeds": [1, 1]}, r"^seeds must be a count in .*; got|^seeds must be "),
        (["backprop"], {"sedes": 3}, r"^unknown setting 'sedes' of RunSettings; known: seeds, "),
        (
            ["backprop"],
            {"budget": {"flops": 1}},
            r"^budget must be left out where epochs are given",
        ),
        (
            ["backprop"],
            {"epochs": -1},
            r"^budget.epochs must be a number > 0|^budget.epochs must be > 0",
        ),
        (
            ["backprop"],
            {"epochs": None, "budget": "huge"},
            r"^budget must be one of examples, .*'huge'$",
        ),
        (["backprop"], {"n_jobs": 0}, r"^n_jobs must be -1, or an integer >= 1, got 0$"),
        (["backprop"], {"n_jobs": 1.5}, r"^n_jobs must be -1, or an integer >= 1, got 1.5$"),
        (["backprop"], {"n_jobs": None}, r"^n_jobs must be .*, got None$"),
        (["backprop"], {"seeds": "12"}, r"^seeds must be a count in .*, got '12'$"),
        (["backprop"], {"seeds": [1.5]}, r"^seeds must be a count in .*, got \[1.5\]$"),
        (["backprop"], {"seeds": [None]}, r"^seeds must be a count in .*, got \[None\]$"),
        (
            ["backprop", np.eye(60)],
            {},
            r"^task must be a name, .*; got array\(\[\[1\., 0\., [^\n]*\.$",
        ),
        (["backprop", (np.eye(9), np.arange(8))], {}, r"X has 9 rows, y has 8$"),
        (
            ["backprop", ([[1, 2], [3]], [0, 1])],
            {},
            r"^X must be an array, got \[\[1, 2\], \[3\]\]: ",
        ),
        (["backprop", (np.eye(9), [{}] * 9)], {}, r"^y must be an array of numbers or texts, got"),
        (["backprop", (csr_array(np.eye(9)), [0] * 9)], {}, r"^X must be an array of numbers or"),
        (["backprop", ((row for row in "ab"), [0, 1])], {}, r"^X must be an array of numbers or"),
        (
            ["backprop", beyond.arrays(np.eye(9), range(9), nosuch=3)],
            {},
            r"^unknown setting 'nosuch'",
        ),
        (
            ["backprop", beyond.table(pd.DataFrame({"a": [1j, 2j], "y": [1, 2]}), "y")],
            {},
            r"^frame 'table' cannot be kept as parquet: ",
        ),
        (
            ["backprop", beyond.table(pd.DataFrame([[1, 2]], columns=["a", "a"]), "a")],
            {},
            r"^frame 'table' cannot be kept as parquet: Duplicate column names",
        ),
        (["backprop"], {"starts": "warm"}, r"^start must be one of cold, related; got 'warm'$"),
        (
            ["backprop", pd.DataFrame({"a": [1]})],
            {},
            r"^a DataFrame must name its target: beyond.table",
        ),
    ],
)
def test_what_is_unknown_or_out_of_range_is_one_line_and_nothing_is_written(
    compare, tmp_path, arguments, settings, message
):
    with pytest.raises(InputError, match=message) as raised:
        compare(*arguments, **settings)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_reference_that_no_arm_will_have_is_refused_before_training(compare, tmp_path):
    with pytest.raises(InputError, match=r"^reference must be one of backprop, genetic; got 'x'$"):
        compare(["backprop", "genetic"], reference="x")
    assert list(tmp_path.iterdir()) == []
    compare("constant")
    rates = [{"name": "backprop", "optimizer": {"learning_rate": rate}} for rate in (0.02, 0.03)]
    name = "backprop [optimizer.learning_rate=0.02]"
    assert compare(rates, reference=name).reference == name
    assert compare("backprop", reference="constant").reference == "constant"


def test_a_folder_without_a_study_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^no such folder: .*nowhere$"):
        beyond.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"^no finished run in "):
        beyond.load(tmp_path)


@pytest.mark.once
def test_run_is_a_function_whatever_of_its_package_was_imported_before():
    for before in ("beyond.run.trained", "beyond.run", "beyond"):
        code = f"import {before}, beyond; beyond.run([], 'image/digits')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "InputError: method must be one value; compare takes lists" in done.stderr


def test_run_takes_one_of_each(tmp_path):
    with pytest.raises(InputError, match=r"^method must be one value; compare takes lists, got \["):
        beyond.run(["backprop"], "image/digits")
    for folder in (tmp_path / "path", f"{tmp_path}/text"):
        study = beyond.run(
            "constant", "image/digits", seeds=1, epochs=1, progress=False, runs=folder
        )
        assert study.arms == ["constant"]
        assert study.folder == Path(folder, "adhoc")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: beyond.table([1], "a"), r"^frame must be a pandas DataFrame, got list$"),
        (
            lambda: beyond.table(pd.DataFrame(), "a", "a/b"),
            r"^name must be a file's name, got 'a/b'$",
        ),
        (lambda: beyond.arrays([[1]], [1], name=3), r"^name must be a file's name, got 3$"),
        (lambda: beyond.arrays([[1]], [1], name=".."), r"^name must be a file's name, got '\.\.'$"),
        (lambda: beyond.arrays([[1]], [1], path="x"), r"^path must be left out: .*, got 'x'$"),
        (lambda: beyond.table(pd.DataFrame(), "a", path="x"), r"^path must be left out: "),
        (lambda: beyond.names("colour"), r"^group must be one of task, .*; got 'colour'$"),
    ],
)
def test_bad_data_and_names_are_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("column", [[1, "x", object()], [1j, 2j, 3j]])
def test_a_frame_that_parquet_cannot_hold_is_one_line(compare, column):
    mixed = pd.DataFrame({"a": column, "b": [1, 2, 3]})
    with pytest.raises(InputError, match=r"^frame 'table' cannot be kept as parquet: ") as raised:
        compare("backprop", beyond.table(mixed, target="b"))
    assert "\n" not in str(raised.value)


def test_names_are_those_of_the_command_line():
    assert "backprop" in beyond.names("method")
    assert beyond.names("study") == catalog.names("study")


def test_a_function_that_makes_a_module_is_a_network(compare, tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "nets_of_mine.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    twice = importlib.import_module("nets_of_mine").twice
    wider = {"name": "module", "factory": twice, "settings": {"width": 16}}
    study = compare("backprop", "image/digits", [twice, wider])
    assert set(study.runs["network"]) == {"twice"}
    assert len(study.arms) == 2
    assert all("nets_of_mine.py" in m["sources"] for m in study.tables.manifests.values())
    factories = [m["settings"]["network"]["factory"] for m in study.tables.manifests.values()]
    assert factories == ["nets_of_mine:twice"] * 2


@pytest.mark.parametrize("network", [lambda *_: None, torch.nn.Linear, str])
def test_a_function_without_a_name_or_that_makes_no_module_is_one_line(compare, tmp_path, network):
    with pytest.raises(InputError) as raised:
        compare("backprop", "image/digits", network)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_the_users_threads_and_log_stay_as_they_were(compare):
    import logging

    torch.set_num_threads(2)
    try:
        compare("backprop")
        assert torch.get_num_threads() == 2
        assert logging.getLogger().level == logging.WARNING
    finally:
        torch.set_num_threads(1)


def test_settings_are_copied_without_what_was_worked_out_of_them():
    task = catalog.load("task", "image/digits")
    task.at([0])
    for copy in (pickle.loads(pickle.dumps(task)), deepcopy(task)):
        assert copy == task
        assert set(vars(copy)) == {
            "split_seed",
            "train_size",
            "shots",
            "label_noise",
            "noisy_validation",
            "half",
            "shift",
            "noise_std",
            "metrics",
        }


SCRIPT = """
import sys
from typing import ClassVar
import beyond
from beyond.contracts import Signal
from beyond.kits.descent import Descent
from beyond.settings import settings

FACTOR = {factor}

def turned(x):
    return {sign}x  # a remark

@settings
class Turned(Descent):
    signal: ClassVar[Signal] = Signal.GRADIENT

    def direction(self, state, batch, problem, rng):
        return FACTOR * turned(problem.gradient(state["params"], batch, rng))

if __name__ == "__main__":
    study = beyond.compare([Turned(), "backprop"], "image/digits", seeds=2, epochs=1,
                           progress=False, runs=sys.argv[1], rerun="stale", n_jobs={n_jobs})
    rows = study.runs.set_index("arm")["best_test_score"]
    print(*rows["Turned"], *rows["backprop"])
    print(*sorted(name for m in study.tables.manifests.values() for name in m["sources"] if "__main__" in name))
    print(study.tables.stale)
"""


@pytest.mark.once
def test_a_rule_typed_in_a_script_is_compared_and_trained_again_when_it_changes(tmp_path):
    def run(**words):
        file = tmp_path / "mine.py"
        file.write_text(SCRIPT.format(**{"factor": 1.0, "sign": "", "n_jobs": 1, **words}))
        done = subprocess.run(
            [sys.executable, str(file), str(tmp_path / "runs")],
            capture_output=True,
            text=True,
            check=True,
            env=ENVIRONMENT,
        )
        scores, typed, stale = done.stdout.splitlines()
        assert stale == "{}"
        assert typed == "__main__.FACTOR __main__.Turned __main__.turned"
        return [float(score) for score in scores.split()]

    first = run(n_jobs=2)
    assert first[:2] == first[2:]  # it is backpropagation
    assert run(factor="1.0  # as before") == first
    away = run(factor=-1.0)
    assert away[2:] == first[2:]
    assert max(away[:2]) < min(first[:2])
    assert run(factor=-1.0, sign="-") == first


def test_runs_that_differ_in_a_rate_are_trained_as_one_program(compare):
    rates = [
        {"name": "backprop", "optimizer": {"learning_rate": rate}} for rate in (0.01, 0.02, 0.03)
    ]
    made = compare(rates).tables.manifests.values()
    assert [one["n_replicas"] for one in made] == [6, 6, 6]
    apart = compare(rates, seeds=[7], stacked=False).tables.manifests.values()
    assert sorted(one["n_replicas"] for one in apart) == [1, 1, 1, 6, 6, 6]


def test_a_run_that_cannot_be_trained_is_told_and_the_others_are(compare, monkeypatch, capsys):
    opened = RunFolder.resume

    def resume(folder):
        if "constant" in str(folder._origin):
            raise OSError(28, "No space left on device")
        return opened(folder)

    monkeypatch.setattr(RunFolder, "resume", resume)
    with pytest.raises(InputError, match=r"^1 run not trained, see above; the same call tries"):
        compare(["constant", "backprop"])
    assert capsys.readouterr().err.endswith("constant: No space left on device\n")
    monkeypatch.undo()
    assert compare(["constant", "backprop"]).arms == ["backprop", "constant"]


def test_what_another_process_trains_is_told(compare, tmp_path):
    first = compare(["constant"])
    (cell,) = first.tables.manifests
    (first.folder / cell / "manifest.json").unlink()
    with (
        RunFolder(first.folder / cell).locked([0, 1]),
        pytest.raises(BusyError, match=r"^another process is writing .* reads what it has done$"),
    ):
        compare(["constant"])


LONG = """
import os, sys
from pathlib import Path
from typing import ClassVar
import beyond
from beyond.contracts import Signal
from beyond.kits.descent import Descent
from beyond.settings import settings

@settings
class Fragile(Descent):
    signal: ClassVar[Signal] = Signal.GRADIENT
    marker: str = ""

    def direction(self, state, batch, problem, rng):
        if self.marker and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), 9)
        return problem.gradient(state["params"], batch, rng)

if __name__ == "__main__":
    runs, epochs, n_jobs, marker = sys.argv[1:]
    study = beyond.compare([Fragile(marker=marker), "backprop"], "image/digits", seeds=1,
                           epochs=float(epochs), runs=runs, n_jobs=int(n_jobs), save_every=3600)
    print(*sorted(study.runs["status"]))
"""


@pytest.fixture
def script(tmp_path):
    """Start a script that compares two rules, one of which may kill its process."""
    file, begun = tmp_path / "long.py", list[subprocess.Popen]()
    file.write_text(LONG)

    def start(epochs, n_jobs, marker=""):
        arguments = [tmp_path / "runs", epochs, n_jobs, marker and tmp_path / marker]
        begun.append(
            subprocess.Popen(
                [sys.executable, str(file), *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=ENVIRONMENT,
            )
        )
        return begun[-1]

    yield start
    for one in begun:
        one.kill()


@pytest.mark.once
def test_where_a_worker_is_killed_the_others_go_on_and_it_is_tried_again(script, tmp_path):
    out, _ = script(1, 2, "marker").communicate(timeout=600)
    assert out == "finished finished\n"  # by the other worker, or by one that is started anew
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.once
def test_ctrl_c_leaves_states_and_the_same_call_goes_on(n_jobs, script, tmp_path):
    started = script(150, n_jobs)
    deadline = time.monotonic() + 600
    while sum("spent" in log.read_text() for log in tmp_path.glob("runs/adhoc/*/log.txt")) < n_jobs:
        assert time.monotonic() < deadline
        assert started.poll() is None
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    told = started.communicate(timeout=300)[1]
    assert "Interrupted: interrupted by SIGINT" in told or "KeyboardInterrupt" in told
    assert "the same call goes on" in told
    begun = [path.parent for path in tmp_path.glob("runs/*/*/state.pt")]
    assert len(begun) == n_jobs
    out, told = script(150, n_jobs).communicate(timeout=600)
    assert out == "finished finished\n"
    for folder in begun:
        log = (folder / "log.txt").read_text().splitlines()
        spent = [float(line.split("spent ")[1].split()[0]) for line in log if "spent" in line]
        assert spent == sorted(spent)  # it does not begin again
        assert spent[-1] > 0.99


@pytest.fixture
def tune(tmp_path):
    def made(methods, tasks="image/digits", **settings):
        few = {"trials": {"n_trials": 3, "n_seeds": 2}, "seeds": 2, "epochs": 1, "progress": False}
        return beyond.tune(methods, tasks, **{**few, "runs": str(tmp_path), **settings})

    return made


@pytest.mark.once
def test_tuning_is_that_of_the_command_line(tune, tmp_path):
    study = tune(["backprop"], reference="backprop [tuned]")
    assert len(study.trials()) == 3
    assert set(study.tuning()) >= {"tuning_gains", "tuning_trials"}
    typed = ["+tune=equal", "method=backprop", "seeds=2", "budget.epochs=1", "tune.n_trials=3"]
    done = subprocess.run(
        [sys.executable, "-m", "beyond.run.main", *typed, "tune.n_seeds=2", f"runs={tmp_path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "finished, test" not in done.stderr
    assert len(beyond.load(study.folder).runs) == len(study.runs)


def test_own_data_and_typed_settings_are_tuned_and_what_was_stated_stays(tune, frame):
    methods = [
        {"name": "backprop", "optimizer": {"learning_rate": 0.02}},
        Backprop(batch_size=16),
    ]
    study = tune(methods, beyond.table(frame, target="price"), reference="backprop [batch_size=16]")
    tried = study.trials().groupby("arm")["settings"].agg(lambda each: set.union(*map(set, each)))
    assert tried.to_dict() == {
        "backprop [optimizer.learning_rate=0.02]": {"batch_size"},
        "backprop [batch_size=16]": {"optimizer.learning_rate"},
    }


def test_a_tuning_that_is_out_of_range_is_one_line_and_nothing_is_written(tune, tmp_path):
    for trials, message in (
        (0, r"^n_trials must be an integer in \[1, 4096\], got 0$"),
        ({"n_trails": 3}, r"^unknown setting 'n_trails' of Tuning; known: n_trials, "),
        ({"first_seed": 1}, r"^tune.first_seed must be such that no seed of a trial is one of"),
    ):
        with pytest.raises(InputError, match=message):
            tune("backprop", trials=trials)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
def test_trials_of_another_process_are_waited_for_and_taken_over(tune, tmp_path):
    """One that ends without having finished its trial."""
    study = tune(["backprop"], trials=1)
    (manifest,) = tmp_path.glob("*/trials/*-*/manifest.json")
    manifest.unlink()
    with ThreadPoolExecutor() as pool:
        with held(manifest.with_name("lock")):
            manifest.with_name(TRAINER).write_text('["elsewhere", 1]')
            waiting = pool.submit(tune, ["backprop"], trials=1)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=3)
        again = waiting.result()
    assert manifest.exists()
    assert again.trials()["trial"].tolist() == study.trials()["trial"].tolist()
