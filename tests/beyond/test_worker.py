"""What workers of a study share: each cell is trained once, whoever else is at it."""

import pytest

from beyond.errors import BusyError
from beyond.run.record import RunFolder
from beyond.run.runner import train_stack
from beyond.run.worker import Planned, Worker

FAULTS = [
    # what another process trains is waited for, for ever
    ("beyond/run/worker.py", "(patience and len(busy) == len(waiting))", "False"),
    # what `beyond status` looks at in that moment is trained by nobody
    ("beyond/run/worker.py", "(patience and len(busy)", "(len(busy)"),
    ("beyond/run/worker.py", "            return False\n", "            return True\n"),
    # the first that cannot be trained ends the others
    (
        "beyond/run/worker.py",
        "except (ApartError, InputError, UnsupportedError, OSError)",
        "except KeyError",
    ),
]


@pytest.fixture
def planned(composed):
    """Return cells of some steps of these methods, as they travel to a worker."""

    def plan(*methods):
        return [[Planned(composed(method), method)] for method in methods]

    return plan


def test_every_cell_is_trained_once(planned, capsys):
    cells = planned("backprop", "constant", "maml")
    assert Worker(cells)(None) == ["finished", "finished", "skipped"]
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in told] == ["backprop", "constant", "maml"]
    assert Worker(cells)(None) == []
    assert capsys.readouterr().err == ""


def test_what_tells_a_cell_from_the_others_begins_its_line(planned, capsys):
    assert Worker([[planned("constant")[0][0]._replace(short="seeds 0")]])(None) == ["finished"]
    assert capsys.readouterr().err.startswith("seeds 0: finished, ")


def test_a_cell_that_another_process_trains_is_left_to_it(planned, monkeypatch):
    cells, tries = planned("backprop", "constant"), list[object]()

    def tried(stack, *others, **more):
        tries.append(stack)
        assert len(tries) < 10, "it is tried again and again"
        return train_stack(stack, *others, **more)

    monkeypatch.setattr("beyond.run.worker.train_stack", tried)
    first = cells[0][0].cell
    with RunFolder(first.folder).locked(first.seeds):
        assert Worker(cells)(None) == ["finished"]
        assert not RunFolder(first.folder).finished
    assert RunFolder(cells[1][0].cell.folder).finished
    assert Worker(cells)(None) == ["finished"]


def test_a_cell_that_is_let_go_meanwhile_is_trained_in_the_end(planned, monkeypatch):
    cells = planned("backprop", "constant")
    first = RunFolder(cells[0][0].cell.folder)
    holder = first.locked([0])
    holder.__enter__()
    closed = RunFolder.close

    def close(folder, *written):
        closed(folder, *written)
        if folder.path != first.path:
            holder.__exit__(None, None, None)

    monkeypatch.setattr(RunFolder, "close", close)
    assert Worker(cells)(None) == ["finished", "finished"]


def test_a_cell_that_another_process_only_looks_at_is_trained(planned, monkeypatch):
    def looked_at(*cell, patience, stop):
        if not patience:
            raise BusyError("another process is looking")
        return train_stack(*cell, patience=patience, stop=stop)

    monkeypatch.setattr("beyond.run.worker.train_stack", looked_at)
    assert Worker(planned("backprop", "constant"))(None) == ["finished", "finished"]


def test_a_cell_that_cannot_be_trained_is_told_and_the_others_go_on(planned, monkeypatch, capsys):
    cells = planned("backprop", "constant")
    opened = RunFolder.resume

    def resume(folder):
        if folder.path == cells[0][0].cell.folder:
            raise OSError(28, "No space left on device")
        return opened(folder)

    monkeypatch.setattr(RunFolder, "resume", resume)
    assert Worker(cells)(None) == ["lost", "finished"]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "image/digits, 2 steps: backprop: No space left on device"
