"""What a user sees: help, one clear line for bad input, sweeps, studies."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from beyond.catalog import names

BEYOND = [sys.executable, "-m", "beyond.run"]


def beyond(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "COLUMNS": "200"}
    return subprocess.run([*BEYOND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_help_explains_the_groups_and_shows_three_examples(tmp_path):
    done = beyond("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("\n  beyond ") >= 3
    for group in ("task", "method", "network", "optimizer", "budget", "study"):
        assert f"\n  {group} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["method=nope"], "unknown method 'nope'; known: actor_critic, backprop,"),
        (["task=nope"], "unknown task 'nope'; known: image/digits, image/"),
        (["+study=nope"], "unknown study 'nope'; known: comparison, everything, quick"),
        (["+paper=nope"], "unknown paper 'nope'; known: deep_linear, double_descent, "),
        (["+paper=mnist1d", "scale=nope"], "scale must be one of fast, full; got 'nope'"),
        (["+paper=all", "scale=nope"], "scale must be one of fast, full; got 'nope'"),
        (["method.nope=1"], "unknown key 'method.nope'; known: batch_size, engine, gradient_noise, optimizer"),
        (["nope=1"], "unknown key 'nope'; known: budget,"),
        (["+nope=1"], "setting must be one of task, method,"),
        (["method.optimizer.learning_rate=-0.1"], "learning_rate must be > 0, got -0.1"),
        (["budget.epochs=0"], "budget.epochs must be > 0, got 0"),
        (["task.shots=500"], "shots must be at most "),
        (["method=fine_tuning", "task=regression/diabetes"], "regression/diabetes has no source task"),
        (["method=constant", "optimizer=adam"], "optimizer must be default for method constant"),
        (["network=cnn", "task=regression/diabetes"], "Conv2d input must be an image"),
        (["seeds=0"], "seeds must be a count >= 1 or a list of distinct seeds >= 0, got 0"),
        (["seeds=[1,1]"], "seeds must be a count >= 1 or a list of distinct seeds >= 0, got [1, 1]"),
        (["network=module"], "Missing mandatory value: factory"),
        (["network=module", "network.factory=math:nope"], "factory must be package.module:function, got 'math:nope'"),
        (["runs=/proc/nowhere"], "runs must be a folder that can be written, got '/proc/nowhere"),
        (["-m", "method=backprop,nope"], "unknown method 'nope'; known: "),
        (["-m", "method.optimizer.learning_rate=0.1,-1"], "learning_rate must be > 0, got -1"),
        (["-m", "seeds=1,0"], "seeds must be a count >= 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_before_any_training(arguments, message, tmp_path):
    done = beyond(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"beyond: {message}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_line_of_a_study_may_sweep_by_itself(tmp_path):
    arms = 'hydra.sweeper.arms=["method=glob(*feedback*)","method=backprop network=linear,default"]'
    tasks = 'hydra.sweeper.tasks=["task=image/digits budget.epochs=1"]'
    done = beyond("+study=everything", arms, tasks, "seeds=1", "hydra/launcher=basic", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("runs/everything/*/runs.parquet"))
    assert sorted(zip(runs["method"], runs["network"], strict=True)) == [
        ("backprop", "linear"), ("backprop", "mlp-32"),
        ("direct_feedback_alignment", "mlp-32"), ("feedback_alignment", "mlp-32"),
    ]  # fmt: skip


def test_the_methods_are_described(tmp_path):
    done = beyond("--methods", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in names("method"):
        assert f" {name} " in done.stdout
    assert "backward locking" in done.stdout


def test_a_sweep_has_a_row_for_every_cell_and_a_report(tmp_path):
    sweep = [
        "-m",
        "method=backprop,fine_tuning,constant",
        "task=image/digits,regression/diabetes",
        "seeds=2",
        "budget.epochs=1",
    ]
    done = beyond(*sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("runs/adhoc/*/runs.parquet"))
    assert len(runs) == 3 * 2 * 2
    skipped = runs[runs["status"] == "skipped"]
    assert set(zip(skipped["method"], skipped["task"], strict=True)) == {("fine_tuning", "regression/diabetes")}
    assert (tmp_path / "runs" / "adhoc" / "report" / "index.html").exists()
    assert "report" in done.stdout


def test_an_optimizer_of_choice_is_part_of_the_variant(tmp_path):
    done = beyond("optimizer=sgd", "optimizer.learning_rate=0.2", "seeds=[3]", "budget.epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = pd.read_parquet(next(tmp_path.glob("runs/adhoc/*/runs.parquet")))
    assert runs["variant"].tolist() == ["optimizer.learning_rate=0.2, optimizer=sgd"]
    assert runs["seed"].tolist() == [3]
