"""A signal is noted where there is something to save, and ends the process afterwards."""

import atexit
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread, Timer

import pandas as pd
import pytest
import torch
from rich.console import Console

from beyond.run.cell import Cell
from beyond.run.interruption import (
    ENDING,
    WORD,
    Interrupted,
    end_without_search,
    listening,
    noting,
    obedient,
    raising,
)
from beyond.run.runner import INTERRUPTED, run_cell, train_stack
from beyond.run.training import Training

FAULTS = [
    ("beyond/run/interruption.py", "signal.raise_signal(number)", "pass"),
    ("beyond/run/interruption.py", "and handled.issuperset(listener.told)", ""),
    ("beyond/run/interruption.py", "if callable(signal.getsignal(n))}", "}"),
    # who handled the signal before never hears of it; a second one is noted too
    (
        "beyond/run/interruption.py",
        "        if came and not raised:\n            signal.raise_signal(came[0])\n",
        "        pass\n",
    ),
    ("beyond/run/interruption.py", "if came or not heeded():", "if not heeded():"),
    # nohup is of no use
    ("beyond/run/interruption.py", "if former not in (signal.SIG_IGN, None):", "if True:"),
    # a worker goes on by itself, or ends because of its terminal
    (
        "beyond/run/interruption.py",
        "bool(self.told) or os.getppid() != self.parent",
        "bool(self.told)",
    ),
    ("beyond/run/interruption.py", "        if number in heeded:\n", "        if number:\n"),
    (
        "beyond/run/interruption.py",
        "Listening(home if parent_process() else os.getppid())",
        "Listening(home)",
    ),
    # each process takes a second to end
    ("beyond/run/interruption.py", "    atexit.register(gc.freeze)", "    pass"),
    ("beyond/run/main.py", "    end_without_search()\n", ""),
    # what is run meanwhile goes on, or is killed before it has saved
    ("beyond/run/interruption.py", "            child.send_signal(number)\n", "            pass\n"),
    ("beyond/run/main.py", "if obedient(command)]", "if command[9:]]"),
    # stopped without its state
    (
        "beyond/run/runner.py",
        "            state.save()\n            return [INTERRUPTED]",
        "            return [INTERRUPTED]",
    ),
]

TABLES = ("curves", "layers", "runs", "predictions")


@pytest.fixture
def cell(composed):
    """Return a small cell of a study by its name."""

    def make(study):
        return Cell.of(composed(budget={"steps": 9}, seeds=2, study_name=study), "backprop")

    return make


def handlers():
    return [signal.getsignal(number) for number in ENDING]


def test_what_is_under_way_ends_before_the_signal_does_what_it_did():
    before, done = handlers(), []
    with pytest.raises(KeyboardInterrupt) as caught, noting() as came:  # noqa: PT012
        assert not came()
        signal.raise_signal(signal.SIGINT)
        done.append(came())
    assert done == [True]
    assert not isinstance(caught.value, Interrupted)
    assert handlers() == before


def test_a_signal_is_not_lost_with_an_error():
    with pytest.raises(KeyboardInterrupt), noting():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("no room")


def test_a_second_signal_ends_at_once():
    before, done = handlers(), []
    with pytest.raises(Interrupted) as caught, raising(), noting():  # noqa: PT012
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        done.append("more")
    assert done == []
    assert caught.value.signal is signal.SIGTERM
    assert handlers() == before


def test_a_signal_that_nobody_heeds_ends_at_once():
    with pytest.raises(Interrupted), noting(lambda: False):  # noqa: PT012
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("went on")


@pytest.mark.parametrize("number", ENDING)
def test_every_signal_raises(number):
    told = f"^interrupted by {signal.Signals(number).name}$"
    with pytest.raises(Interrupted, match=told), raising(), noting():
        signal.raise_signal(number)


def test_what_is_ignored_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with raising():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_changes_no_handler():
    before, seen = handlers(), []

    def look():
        with noting() as came:
            seen.append((handlers(), came()))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


def test_a_worker_hears_its_parent_and_not_its_terminal():
    with listening(os.getppid()) as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop()
        signal.raise_signal(WORD)
        assert stop()
    with listening(os.getppid()) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_that_the_launcher_handles_is_handed_on_in_the_end(number):
    came, before = list[int](), signal.signal(number, lambda came_, _: came.append(came_))
    try:
        with listening(os.getppid()) as told:
            signal.raise_signal(number)
            assert told()
            assert came == []
        assert came == [number]
        assert told.passed_on
        with listening(os.getppid()) as told:
            signal.raise_signal(number)
            signal.raise_signal(WORD)
        assert not told.passed_on  # whoever started us lets nobody go on
    finally:
        signal.signal(number, before)


def test_a_signal_that_nobody_handles_is_left_alone():
    with listening(os.getppid()) as told:
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    assert not told.passed_on


def test_a_command_and_a_worker_end_without_a_search_for_garbage(beyond, monkeypatch):
    registered = list[object]()
    monkeypatch.setattr(atexit, "register", registered.append)
    for begin in (end_without_search, lambda: beyond("--version")):
        end_without_search.cache_clear()
        begin()
        assert registered == [gc.freeze]
        registered.clear()


@pytest.mark.parametrize(
    ("moment", "arguments"),
    [
        ("beyond.run.plan.Agenda.begin", ["-m"]),
        ("analysis.report.print_summary", ["-m"]),
        ("beyond.run.tuning.tune", ["+tune=equal"]),
    ],
)
def test_a_signal_ends_a_sweep_in_a_line_whatever_it_does(moment, arguments, beyond, monkeypatch):
    command = (*arguments, "method=constant", "budget=steps", "budget.steps=1", "seeds=1")
    with monkeypatch.context() as patched:
        patched.setattr(moment, lambda *_: signal.raise_signal(signal.SIGTERM))
        status, told, _ = beyond(*command)
    assert status == 128 + signal.SIGTERM
    line = "beyond: interrupted by SIGTERM; the same command goes on from what is saved"
    assert told.splitlines()[-1] == line
    if arguments == ["-m"]:
        assert beyond(*command, "hydra.sweeper.publish=analysis.tables.load")[0] == 0


CHILD = """
import signal, sys, time
from pathlib import Path

def save(number, _):
    time.sleep(1)
    Path("saved").touch()
    sys.exit({status})

signal.signal(signal.SIGTERM, save)
Path("begun").touch()
time.sleep(20)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize(
    ("status", "raised"), [(143, pytest.raises(SystemExit)), (0, pytest.raises(Interrupted))]
)
def test_what_a_command_runs_is_told_once_and_waited_for(status, raised, tmp_path, monkeypatch):
    """The line that tells of it is printed by one of them."""
    monkeypatch.chdir(tmp_path)

    def tell():
        while not Path("begun").exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    Timer(0, tell).start()
    with raising(), raised:
        obedient([sys.executable, "-c", CHILD.format(status=status)])
    assert Path("saved").exists()
    assert obedient([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_every_paper_is_told_of_signals(beyond, monkeypatch):
    commands = list[list[str]]()

    def interrupt(command):
        commands.append(command)
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("beyond.run.main.obedient", interrupt)
    status, told, _ = beyond("+paper=all", "seeds=2")
    assert status == 128 + signal.SIGTERM
    assert told == "beyond: interrupted by SIGTERM; the same command goes on from what is saved\n"
    assert [command[-2:] for command in commands] == [["+paper=deep_linear", "seeds=2"]]


@pytest.mark.parametrize("started_by", [None, "another process of ours"])
def test_a_worker_lives_as_long_as_who_launched_it_or_who_started_it(started_by, monkeypatch):
    """A cluster's job is started by another process than the one that asked for it."""
    monkeypatch.setattr("beyond.run.interruption.parent_process", lambda: started_by)
    monkeypatch.setattr("beyond.run.interruption._leave_with", lambda _: None)
    with listening(1234) as told:
        assert told.parent == (1234 if started_by else os.getppid())


def test_a_worker_ends_with_its_parent(monkeypatch):
    with listening(os.getppid()) as stop:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert stop()
        monkeypatch.undo()


def test_a_cell_that_is_interrupted_after_every_step_has_the_tables_of_one_that_is_not(
    cell, monkeypatch, capsys
):
    whole, cut = cell("whole"), cell("cut")
    run_cell(whole, keep_skipped=False, shown=False)
    advance, n_interrupted = Training.advance, 0

    def step(training):
        signal.raise_signal(signal.SIGTERM)
        return advance(training)

    monkeypatch.setattr(Training, "advance", step)
    while not (cut.folder / "manifest.json").exists():
        with pytest.raises(Interrupted), raising():
            run_cell(cut, keep_skipped=False, shown=False)
        n_interrupted += 1
        assert n_interrupted < 12
    assert n_interrupted == 9  # the last of which was finished
    for name in TABLES:
        tables = [pd.read_parquet(one.folder / f"{name}.parquet") for one in (whole, cut)]
        timeless = [table.filter(regex="^(?!.*second)(?!study)") for table in tables]
        pd.testing.assert_frame_equal(*timeless, check_exact=True)
    assert {path.name for path in cut.folder.iterdir()} == {
        *(f"{name}.parquet" for name in TABLES),
        *("manifest.json", "lock", "seeds.json", "log.txt"),
    }


def test_who_handles_signals_otherwise_is_told_that_it_was_interrupted(cell):
    asked = iter([False] * 4)
    told = train_stack([cell("x")], False, Console(quiet=True), stop=lambda: next(asked, True))
    assert told == [INTERRUPTED]
    assert (cell("x").folder / "state.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.once
def test_the_command_saves_says_so_and_ends_with_the_signals_status(number, tmp_path):
    root = Path(__file__).parents[2]
    arguments = ["method=backprop", "budget.epochs=100000", "seeds=1", "save_every=3600"]
    started = subprocess.Popen(
        [sys.executable, "-m", "beyond.run.main", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    try:
        n_told = 0
        while n_told < 2:  # the first is told before a step
            assert time.monotonic() < deadline
            time.sleep(0.05)
            n_told = sum(
                log.read_text().count("spent") for log in tmp_path.glob("runs/*/*/log.txt")
            )
        started.send_signal(number)
        told = started.communicate(timeout=20)[1]
    finally:
        started.kill()
    assert started.returncode == 128 + number
    name = signal.Signals(number).name
    line = f"beyond: interrupted by {name}; the same command goes on from what is saved"
    assert told.splitlines()[-1] == line  # before it, on a busy machine, how far it was
    assert "Traceback" not in told
    (state,) = tmp_path.glob("runs/adhoc/*/state.pt")
    assert torch.load(state, weights_only=True)["snapshot"]["ledger"]["steps"] > 0
