"""What a user sees: help, one clear line for bad input, sweeps, studies."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import yaml

from beyond.catalog import CONF, names
from beyond.run.explain import GROUPS
from beyond.settings import RunSettings

FAULTS = [
    ("beyond/run/main.py", "if any(map(SHOWN.match, arguments)):", "if False:"),
    ("beyond/run/main.py", "if command in COMMANDS and", "if False and"),
    ("beyond/errors.py", "cutoff=ALIKE) if len(names) > GLANCE", "cutoff=ALIKE) if False"),
    # settings of ours in place of a launcher's
    ("beyond/run/explain.py", 'if unknown[1].startswith("hydra."):', "if False:"),
    (
        "hydra_plugins/beyond_cells/grammar.py",
        "for typed in (argument, f",
        "for typed in (argument, argument or f",
    ),
    (
        "beyond/run/main.py",
        "from beyond import catalog\n",
        "from beyond import catalog, contracts\n",
    ),
]


def test_help_explains_the_groups_and_shows_three_examples(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "COLUMNS": "200"}
    command = [sys.executable, "-m", "beyond.run.main", "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.count("\n  beyond ") >= 3
    for group in ("task", "method", "network", "optimizer", "budget", "study"):
        assert f"\n  {group} " in done.stdout


def test_help_has_every_setting_and_every_group_in_eighty_columns():
    template = yaml.safe_load((CONF / "config.yaml").read_bytes())["hydra"]["help"]["template"]
    explained = template.partition("What they are:")[2].partition("Settings of this run:")[0]
    names = [field.name for field in fields(RunSettings)] + ["tuned", *GROUPS, "live"]
    assert [name for name in names if not re.search(rf"\b{name}\b", explained)] == []
    assert max(map(len, template.splitlines())) <= 80


@pytest.mark.parametrize("shown", [("--cfg", "job"), ("--cfg=job",), ("-c", "job")])
def test_the_settings_of_a_sweep_are_printed_as_those_of_a_run(shown, beyond, tmp_path):
    status, told, printed = beyond("-m", "+study=quick", *shown)
    assert (status, told) == (0, "")
    assert "study_name: quick" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["plan", "status", "merge"])
@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_each_command_has_a_short_help(command, asked, beyond, tmp_path):
    status, told, shown = beyond(command, asked)
    assert (status, told) == (0, "")
    assert shown.startswith(f"usage: beyond {command} ")
    assert f"\n  beyond {command} " in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["--help", "--version", "--cfg=job"])
def test_what_computes_nothing_loads_nothing_that_computes(argument, tmp_path):
    program = (
        "import sys; from contextlib import suppress; from beyond.run.main import main\n"
        f"sys.argv = ['beyond', {argument.partition('=')[0]!r}, *{argument.split('=')[1:]!r}]\n"
        "with suppress(SystemExit): main()\n"
        "print('loaded', *sorted({'torch', 'pandas', 'scipy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "loaded"


SEEDS = "seeds must be a count in [1, 2^20] or a list of distinct seeds in [0, 2^63)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["method=nope"], "unknown method 'nope'; known: actor_critic, backprop,"),
        (["method=backprp"], "unknown method 'backprp'; known: backprop, actor_critic, "),
        (["keep_weigths=true"], "unknown key 'keep_weigths'; known: keep_weights, baseline, "),
        (["task=nope"], "unknown task 'nope'; known: arrays, control/acrobot, "),
        (
            ["+study=nope"],
            "unknown study 'nope'; known: capabilities, comparison, coverage, currencies, everything, fields, gradient_flow, local_minima, optimizers, overfitting, parity, quick, scaling, shots",
        ),
        (["+paper=nope"], "unknown paper 'nope'; known: deep_linear, double_descent, "),
        (["+paper=mnist1d", "scale=nope"], "scale must be one of fast, full; got 'nope'"),
        (["method=null"], "method must be one of actor_critic, "),
        (["-m", "method=backprop,null"], "method must be one of backprop, actor_critic, "),
        (
            ["-m", "task=[image/digits]"],
            "task must be one of image/digits, arrays, control/acrobot, ",
        ),
        (["budget=3"], "budget must be one of examples, "),
        (["seeds=18446744073709551616"], f"{SEEDS}, got 18446744073709551616"),
        (["+paper=all", "scale=nope"], "scale must be one of fast, full; got 'nope'"),
        (
            ["method.nope=1"],
            "unknown key 'method.nope' of method backprop; known: batch_size, engine, ",
        ),
        (["nope=1"], "unknown key 'nope'; known: baseline, budget,"),
        (
            ["hydra.launcher.n_jobs=3"],
            "unknown key 'hydra.launcher.n_jobs' of BasicLauncher; known: none; hydra/launcher=joblib takes n_jobs",
        ),
        (
            ["+study=quick", "hydra.launcher.jobs=3"],
            "unknown key 'hydra.launcher.jobs' of JoblibLauncher; known: backend, batch_size, ",
        ),
        (["hydra.nope=1"], "unknown key 'hydra.nope' of Hydra; known: "),
        (["+nope=1"], "setting must be one of task, method,"),
        (["method.optimizer.learning_rate=-0.1"], "learning_rate must be > 0, got -0.1"),
        (["budget.epochs=0"], "budget.epochs must be > 0, got 0"),
        (["task.shots=500"], "shots must be at most "),
        (
            ["method=fine_tuning", "task=regression/diabetes"],
            "regression/diabetes has no source task",
        ),
        (["method=constant", "optimizer=adam"], "optimizer must be default for method constant"),
        (["network=cnn", "task=regression/diabetes"], "Conv2d input must be an image"),
        (["seeds=0"], f"{SEEDS}, got 0"),
        (["seeds=[1,1]"], f"{SEEDS}, got [1, 1]"),
        (["seeds=[]"], f"{SEEDS}, got []"),
        (["seeds=2.0"], f"{SEEDS}, got 2.0"),
        (["seeds=null"], f"{SEEDS}, got None"),
        (["seeds=true"], f"{SEEDS}, got True"),
        (["seeds=[0,1.5]"], f"{SEEDS}, got [0, 1.5]"),
        (["seeds=[0,9223372036854775808]"], f"{SEEDS}, got [0, 9223372036854775808]"),
        (["threads=0"], "threads must be an integer in [1, "),
        (["threads=1.5"], "threads must be an integer in [1, "),
        (["threads=null"], "threads must be an integer in [1, "),
        (["threads=1000000"], "threads must be an integer in [1, "),
        (["time_limit=0"], "time_limit must be > 0"),
        (["time_limit=abc"], "time_limit must be a number > 0"),
        (["save_every=null"], "save_every must be a number >= 0"),
        (["save_every=-1"], "save_every must be >= 0, got -1"),
        (["rerun=yes"], "rerun must be one of none, stale, failed, all; got 'yes'"),
        (["budget.epochs=true"], "budget.epochs must be a number > 0, got True"),
        (
            ["-m", "method.batchsize=32", "method=backprop,constant"],
            "unknown key 'method.batchsize' of method backprop; known: batch_size, engine, ",
        ),
        (
            ["-m", "method=backprop,genetic", "method.optimizer.learning_rate=0.001,0.01"],
            "unknown key 'method.optimizer.learning_rate' of method genetic; known: batch_size, crossover, init_std, ",
        ),
        (
            ["method=genetic", "method.tournament_size=5"],
            "unknown key 'method.tournament_size' of method genetic; known: batch_size, crossover, init_std, mutation, ",
        ),
        (
            ["method=genetic", "selection.size=5"],
            "unknown key 'selection.size' of selection default; known: none; it is a key of tournament; "
            "method.selection.size tunes the method's own",
        ),
        (
            ["-m", "method=backprop,genetic", "optimizer.learning_rate=0.001,0.01"],
            "unknown key 'optimizer.learning_rate' of optimizer default; known: none; it is a key of adam, adamw, lion, "
            "momentum, muon, nesterov, rmsprop, sgd; method.optimizer.learning_rate tunes the method's own",
        ),
        (
            ["network.hidden=[64,64]"],
            "unknown key 'network.hidden' of network default; known: none; it is a key of bag, deep, gru, linear, lstm, mlp, rnn",
        ),
        (
            ["-m", "method=backprop,genetic", "method=constant"],
            "method must be given once, got backprop,genetic and constant",
        ),
        (
            ["+study=quick", "method=genetic", "task=tabular/moons"],
            "no line of the study has task=tabular/moons and method=genetic; its lines have task: image/digits, ",
        ),
        (["--methods", "nope"], "method must be one of actor_critic, "),
        (["network=module"], "network.factory must be given"),
        (
            ["network=module", "network.factory=methods:nope"],
            "factory must be package.module.name, got 'methods:nope'",
        ),
        (["runs=/proc/nowhere"], "runs must be a folder that can be written, got '/proc/nowhere"),
        (["-m", "method=backprop,nope"], "unknown method 'nope'; known: "),
        (["seeds=2", "-m", "method=backprop,nope"], "unknown method 'nope'; known: "),
        (["-m", "method.optimizer.learning_rate=0.1,-1"], "learning_rate must be > 0, got -1"),
        (["-m", "seeds=1,0"], "seeds must be a count in [1, 2^20]"),
    ],
)
def test_bad_input_is_one_clear_line_before_any_training(arguments, message, beyond, tmp_path):
    status, told, shown = beyond(*arguments)
    assert status == 1
    assert told.startswith(f"beyond: {message}")
    assert told.count("\n") == 1
    assert shown == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sweep", [[], ["-m", "hydra/launcher=basic"]])
# before training, and in it
@pytest.mark.parametrize("place", ["beyond.data.arrays.ArrayTask.at", "beyond.run.runner.train"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/data/x.gz"), "Permission denied: '/data/x.gz'"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("not a table"), "not a table"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(error, message, place, sweep, beyond, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(place, fail)
    told = beyond(*sweep, "method=constant", "budget=steps", "budget.steps=1", "seeds=1")[:2]
    if sweep and place.endswith("train"):  # others go on
        cell = f"image/digits, 1 steps: constant: {message}"
        message = "1 run not trained, see above; the same command tries again"
        assert told == (1, f"{cell}\nbeyond: {message}\n")
    else:
        assert told == (1, f"beyond: {message}\n")


@pytest.mark.skipif(find_spec("submitit") is not None, reason="it is installed")
def test_a_launcher_that_is_not_installed_is_told_with_its_extra(beyond):
    told = beyond("-m", "hydra/launcher=submitit_slurm")[1]
    package = "the package hydra-submitit-launcher: pip install 'beyond-backprop[slurm]'"
    assert told == f"beyond: hydra/launcher=submitit_slurm needs {package}\n"


def test_a_line_of_a_study_may_sweep_by_itself(beyond, tmp_path):
    arms = 'hydra.sweeper.arms=["method=glob(*feedback*)","method=backprop network=linear,default"]'
    tasks = 'hydra.sweeper.tasks=["task=image/digits budget.epochs=1"]'
    status, told, _ = beyond("+study=everything", arms, tasks, "seeds=1", "hydra/launcher=basic")
    assert status == 0, told
    runs = pd.concat(
        pd.read_parquet(path) for path in tmp_path.glob("runs/everything/*/runs.parquet")
    )
    assert sorted(zip(runs["method"], runs["network"], strict=True)) == [
        ("backprop", "linear"),
        ("backprop", "mlp-32"),
        ("direct_feedback_alignment", "mlp-32"),
        ("feedback_alignment", "mlp-32"),
    ]


def test_the_methods_are_described(beyond):
    status, told, shown = beyond("--methods")
    assert status == 0, told
    for name in names("method"):
        assert f" {name} " in shown
    assert "backward locking" in shown


def test_one_method_is_described(beyond):
    status, told, shown = beyond("--methods", "genetic")
    assert status == 0, told
    assert " genetic " in shown
    assert " backprop " not in shown


def test_a_sweep_has_a_row_for_every_cell_and_a_report(beyond, tmp_path):
    methods, tasks = "method=backprop,fine_tuning,constant", "task=image/digits,regression/diabetes"
    status, told, shown = beyond("-m", methods, tasks, "seeds=2", "budget.epochs=1")
    assert status == 0, told
    runs = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("runs/adhoc/*/runs.parquet"))
    assert len(runs) == 3 * 2 * 2
    skipped = runs[runs["status"] == "skipped"]
    assert set(zip(skipped["method"], skipped["task"], strict=True)) == {
        ("fine_tuning", "regression/diabetes")
    }
    assert (tmp_path / "runs" / "adhoc" / "report" / "index.html").exists()
    assert "report" in shown


def test_a_setting_of_a_sweep_may_be_one_that_the_standing_choices_lack(beyond, tmp_path):
    sweep = [
        "-m",
        "method=genetic,cma_es",
        "method.population_size=8",
        "budget=steps",
        "budget.steps=1",
        "seeds=1",
    ]
    status, told, _ = beyond(*sweep, "hydra.sweeper.publish=analysis.tables.load")
    assert status == 0, told
    runs = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("runs/adhoc/*/runs.parquet"))
    assert set(runs["variant"]) == {"population_size=8, budget.steps=1"}


def test_what_takes_long_is_told(beyond, monkeypatch):
    monkeypatch.setattr("beyond.run.display.SILENCE", 0.001)
    sweep = ("-m", "hydra/launcher=basic", "budget.epochs=3", "seeds=1")
    status, told, _ = beyond(*sweep, "method=constant,backprop,genetic")
    assert status == 0
    lines = told.splitlines()
    assert any(
        re.fullmatch(r"checked \d of 3 runs before the first is trained", one) for one in lines
    )
    counts = [one for one in lines if one.startswith("runs/adhoc: ")]
    assert any(
        re.fullmatch(r"runs/adhoc: \d of 3 cells done, \d running(, about \S+ s left)?", one)
        for one in counts
    )
    assert counts[-1] == "runs/adhoc: writing the report"
    status, told, _ = beyond("method=hebbian", "budget.epochs=3", "seeds=2")
    label = "image/digits, 3 epochs: hebbian"
    one = re.escape(label) + r": \d+% of budget(, validation \d\.\d{3})?, [\d.]+ s"
    lines = told.splitlines()
    assert len(lines) > 1
    assert all(re.fullmatch(one, line) for line in lines[:-1])
    assert lines[-1].startswith(f"{label}: finished, ")


def test_a_finished_run_is_told_in_one_line_with_what_it_took(beyond):
    status, told, _ = beyond(
        "method=backprop", "task=regression/diabetes", "budget.epochs=2", "seeds=4"
    )
    assert status == 0
    assert told.count("\n") == 1
    assert "finished, test r2_score " in told
    assert "(4 of 4 replicas)" in told
    cost = re.search(r"wall time (\S+) s, step seconds (\S+), (\S+) per replica", told)
    wall, total, share = map(float, cost.groups())
    assert share == pytest.approx(total / 4, rel=0.02)
    assert 0 < total < wall


@pytest.mark.parametrize("name", ["data (1).csv", 'é = "x".csv', "it's {so}.csv"])
def test_a_path_is_typed_as_it_is(name, beyond, tmp_path):
    task = ("task=table", f"task.path={tmp_path / name}", "task.target=y", "method=constant")
    for sweep in ((), ("-m",)):
        line = f"beyond: task.path: No such file or directory: {str(tmp_path / name)!r}\n"
        assert beyond(*sweep, *task) == (1, line, "")
    rows = [f"{index},{'pq'[index % 2]}" for index in range(30)]
    (tmp_path / name).write_text("\n".join(["a,y", *rows]), encoding="utf-8")
    status, told, _ = beyond(*task, "seeds=1", "budget.epochs=1")
    assert status == 0, told
