"""Where a worker is killed, what it was training is found, tried again, and failed in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from multiprocessing import active_children, get_context
from multiprocessing.connection import wait
from platform import node

import pandas as pd
import pytest

from beyond import catalog
from beyond.run.interruption import WORD, Interrupted, raising
from beyond.run.record import TRAINER, RunFolder
from beyond.run.runner import INTERRUPTED
from beyond.run.stack import home
from beyond.run.supervision import _training, _watched, shared
from beyond.run.worker import LOST, Planned, Worker

FAULTS = [
    ("beyond/run/supervision.py", "DEATHS = 2", "DEATHS = 1"),
    # whoever is killed, the first cell is at fault
    ("beyond/run/supervision.py", "if _trainer(stack) == pid)", "if stack)"),
    # all are started again for ever
    ("beyond/run/supervision.py", "        if vain == VAIN:", "        if vain < 0:"),
    (
        "beyond/run/supervision.py",
        "vain = vain + 1 if len(ended) == before else 0",
        "vain = vain + 1",
    ),
    ("beyond/run/supervision.py", "                vain = 0\n", ""),
    ("beyond/run/supervision.py", "[LOST] * sum(map(len, left))", "[LOST]"),
    ("beyond/run/supervision.py", "if len(cells) > 1 and home(cells).exists():", "if False:"),
    (
        "beyond/run/supervision.py",
        "if INTERRUPTED not in returned:",
        "if returned != [INTERRUPTED]:",
    ),
    ("beyond/run/supervision.py", "trainer in pids for folder", "trainer for folder"),
    # the cells of one program share its fate
    ("beyond/run/supervision.py", "return [[planned] for planned in stack]", "return []"),
    # the last to die is at fault
    ("beyond/run/supervision.py", "                self._watching = False\n", ""),
    # each worker's loss counts
    (
        "beyond/run/supervision.py",
        "[LOST] * min(len(missing), len(statuses) - len(others))",
        "[LOST] * (len(statuses) - len(others))",
    ),
    # Ctrl-C ends what begins, with a traceback
    (
        "beyond/run/supervision.py",
        "_watched(study) as watch, unheard():",
        "_watched(study) as watch:",
    ),
    # a signal is nobody's affair while workers work
    ("beyond/run/supervision.py", "if self._asked():", "if False:"),
]


@pytest.fixture
def study(composed, tmp_path):
    """A study's folder, and what plans a cell of it."""

    def plan(method="backprop", **settings):
        made = composed(method)
        return Planned({**made, "method": {**made["method"], **settings}}, method)

    return tmp_path / "adhoc", plan


class Launcher:
    """Runs a worker here; before, it dies at what it is told to die at, so often."""

    def __init__(self, *fatal, times=1, monkeypatch):
        self.fatal, self.times, self.pid, self.launched = fatal, times, os.getpid(), []
        monkeypatch.setattr("beyond.run.supervision._Watch.run", lambda thread: self.watch(thread))

    def watch(self, thread):
        self.thread = thread
        thread.over.wait()

    def __call__(self, worker):
        self.launched.append(worker.stacks)
        if len(self.launched) > self.times:
            return [worker(None)]
        for planned in self.fatal:
            folder = planned.cell.folder
            folder.mkdir(parents=True, exist_ok=True)
            (folder / TRAINER).write_text(json.dumps([node(), self.pid]))
        self.thread.killed = self.pid, "by SIGKILL (out of memory?)"
        raise BrokenExecutor


def status(planned):
    runs = pd.read_parquet(planned.cell.folder / "runs.parquet")
    return runs[["status", "reason"]].drop_duplicates().values.tolist()


@pytest.mark.parametrize("times", [1, 2])
def test_a_cell_that_kills_its_process_twice_has_failed(times, study, monkeypatch, capsys):
    folder, plan = study
    good, fatal = plan("constant"), plan("backprop")
    launch = Launcher(fatal, times=times, monkeypatch=monkeypatch)
    statuses = shared([[good], [fatal]], launch, folder)
    told = capsys.readouterr().err.splitlines()
    how = "by SIGKILL (out of memory?)"
    assert told[0] == f"image/digits, 2 steps: backprop: process killed {how}, trying again"
    assert status(good) == [["finished", ""]]
    if times == 1:
        assert sorted(statuses) == ["finished", "finished"]
        assert status(fatal) == [["finished", ""]]
    else:
        assert sorted(statuses) == ["failed", "finished"]
        assert status(fatal) == [["failed", f"its process was killed twice, {how}"]]
        assert launch.launched[-1] == [[good]]
    assert not list(folder.glob(f"*/{TRAINER}"))


def test_each_cell_that_kills_its_process_fails_by_itself(study, monkeypatch):
    folder, plan = study
    fatal = [plan("backprop"), plan("constant")]
    launch = Launcher(*fatal, times=4, monkeypatch=monkeypatch)
    assert shared([[one] for one in fatal], launch, folder) == ["failed"] * 2
    assert [len(stacks) for stacks in launch.launched] == [2, 2, 1, 1]


def test_cells_of_one_program_are_tried_one_by_one(study, monkeypatch):
    folder, plan = study
    stack = [plan(batch_size=size) for size in (8, 16)]
    where = home([planned.cell for planned in stack])
    where.mkdir(parents=True)
    launch = Launcher(*stack, times=2, monkeypatch=monkeypatch)
    assert shared([stack], launch, folder) == ["finished"] * 2
    assert launch.launched == [[stack], [stack], [[stack[0]], [stack[1]]]]
    assert not where.exists()


def test_deaths_of_nobody_knows_what_end_in_a_line(study, monkeypatch, capsys):
    folder, plan = study
    launch = Launcher(times=9, monkeypatch=monkeypatch)
    stacks = [[plan()], [plan(batch_size=size) for size in (8, 16)]]
    assert shared(stacks, launch, folder) == [LOST] * 3
    assert len(launch.launched) == 3
    told = "workers were killed 3 times, and nothing was finished in between"
    assert capsys.readouterr().err.splitlines()[-1] == told


def test_what_is_finished_when_a_worker_dies_counts(study, monkeypatch):
    folder, plan = study
    good, fatal = plan("constant"), plan("backprop")

    def launch(worker):
        Worker([[good]])(None)
        if len(worker.stacks) == 2:
            raise BrokenExecutor
        return [worker(None)]

    assert shared([[good], [fatal]], launch, folder) == ["finished"] * 2


def test_a_stack_that_was_begun_is_launched_again_as_it_was(study):
    folder, plan = study
    momentum = catalog.read("optimizer", "momentum")
    stack = [plan(optimizer={**momentum, "learning_rate": rate}) for rate in (0.1, 0.2)]
    home([planned.cell for planned in stack]).mkdir(parents=True)
    launched = []

    def launch(worker):
        launched.append(worker.stacks)
        if len(launched) == 1:
            Worker([stack[:1]])(None)
            raise BrokenExecutor
        return [worker(None)]

    assert shared([stack], launch, folder) == ["finished"] * 2
    assert launched == [[stack], [stack]]


def test_what_several_workers_were_interrupted_in_is_gone_on_with(study):
    folder, plan = study
    interrupted = iter([True])

    def launch(worker):
        return [[INTERRUPTED], [INTERRUPTED]] if next(interrupted, False) else [worker(None)]

    assert shared([[plan("constant")]], launch, folder) == ["finished"]


def test_what_another_command_trains_is_no_work_of_ours(tmp_path):
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / TRAINER).write_text(json.dumps([node(), os.getpid()]))
    assert not _training(tmp_path)


@pytest.mark.once
def test_workers_may_be_killed_as_often_as_something_is_finished_in_between(study):
    folder, plan = study
    stacks = [[plan("backprop", batch_size=size)] for size in (1, 2, 4, 8, 16)]

    def launch(worker):
        Worker(worker.stacks[:1])(None)
        raise BrokenExecutor

    assert shared(stacks, launch, folder) == ["finished"] * 5


def test_a_cell_is_lost_once_and_not_if_another_worker_trains_it(study):
    folder, plan = study
    good, lost = [plan("constant")], [plan("backprop")]

    def launch(worker):
        return [[LOST, *Worker([good])(None)], [LOST, LOST]]

    assert shared([good, lost], launch, folder) == ["finished", LOST]
    assert shared([good], lambda _: [[LOST], [LOST]], folder) == []


def wait_for(what):
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def children():
    """Return what starts two processes that do nothing."""
    started = []

    def start():
        for _ in range(2):
            started.append(get_context("fork").Process(target=time.sleep, args=[60]))
            started[-1].start()
        return started

    yield start
    for child in started:
        child.kill()
        child.join()


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGKILL, "by SIGKILL (out of memory?)"), (signal.SIGUSR1, "by SIGUSR1")],
)
@pytest.mark.once
def test_the_first_that_is_killed_is_seen(number, told, children, tmp_path, monkeypatch):
    seen = [0]

    def wait_(known, seconds):
        seen.append(len(known))
        return wait(known, seconds)

    monkeypatch.setattr("beyond.run.supervision.wait", wait_)
    with _watched(tmp_path) as watch:
        first, other = children()
        wait_for(lambda: seen[-1] == 2)
        os.kill(first.pid, number)
        wait_for(lambda: watch.killed)
        other.kill()
        time.sleep(0.2)
    assert watch.killed == (first.pid, told)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_of_several_that_end_at_once_none_is_at_fault(children, tmp_path, monkeypatch):
    asked = list[object]()

    def both(known, _):
        return known if len(known) == 2 else []

    monkeypatch.setattr("beyond.run.supervision.wait", both)
    monkeypatch.setattr("beyond.run.supervision._exit_code", lambda one: asked.append(one) or -9)
    with _watched(tmp_path) as watch:
        children()
        wait_for(lambda: len(asked) >= 2)
    assert watch.killed is None


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.once
def test_ctrl_c_reaches_a_parent_and_no_worker_that_begins(study):
    folder, plan = study
    begun = list[int]()

    def launch(_):
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
        started.send_signal(signal.SIGINT)
        begun.append(started.wait())
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: False)

    with pytest.raises(Interrupted, match="SIGINT"), raising():
        shared([[plan()]], launch, folder)
    assert begun == [0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_workers_are_told_of_a_signal_and_the_last_that_trains_is_waited_for(children, tmp_path):
    """Who has not begun to listen is not killed by it."""
    (tmp_path / "cell").mkdir()
    note = tmp_path / "cell" / TRAINER
    began = time.monotonic()
    with pytest.raises(Interrupted, match="SIGHUP"), raising(), _watched(tmp_path):  # noqa: PT012
        first, _ = children()
        note.write_text(json.dumps([node(), first.pid]))
        signal.raise_signal(signal.SIGHUP)
        while True:
            time.sleep(0.1)
            if time.monotonic() - began > 1:
                assert len(active_children()) == 2
                note.unlink(missing_ok=True)
            if time.monotonic() - began > 12:
                break
    assert 1 < time.monotonic() - began < 10
    assert RunFolder(tmp_path / "cell").trainer is None
    assert WORD
