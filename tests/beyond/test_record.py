"""A run's folder: whole files only, one writer, and nothing lost in between."""

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock

from beyond.contracts import TargetKind
from beyond.errors import InputError
from beyond.files import write_whole
from beyond.run import record
from beyond.run.lock import held, is_held
from beyond.run.loop import Progress
from beyond.run.predictions import columns, joined
from beyond.run.record import DECISIVE, TABLES, TRAINER, RunFolder
from beyond.run.rows import write_rows

FAULTS = [
    ("beyond/run/record.py", "self._rows, self._before = rows, before", "self._rows = rows"),
    ("beyond/run/record.py", "        self._begun_at = monotonic()\n", ""),
    ("beyond/run/record.py", "if not outdated:", "if self._origin:"),
    (
        "beyond/run/record.py",
        "== digest for name, digest in named.items()",
        '!= "" for name, digest in named.items()',
    ),
    ("beyond/run/record.py", "            manifest.unlink()", "            pass"),
    ("beyond/run/record.py", '"tables": tables}', '"tables": {}}'),
    ("beyond/run/record.py", '("run_id", "status", "data_sha256")', '("run_id", "status")'),
    # what a drive refuses for a moment is deleted
    (
        "beyond/run/record.py",
        "        except OSError:\n            raise\n        except Exception:",
        "        except Exception:",
    ),
    ("beyond/run/record.py", "json.dumps(list(seeds))", "json.dumps([])"),
    ("beyond/run/record.py", '(is_held(self.path / "lock") or self.finished)', "True"),
    ("beyond/run/lock.py", "        _acquire(lock := SoftFileLock(marker), patience)\n", ""),
    ("beyond/run/lock.py", "if error.errno not in UNSUPPORTED:", "if error.errno is None:"),
    ("beyond/run/rows.py", "map(float, values) if kind is float else values", "values"),
    (
        "beyond/run/rows.py",
        "{float: pa.float64(), bool: pa.bool_(), int:",
        "{bool: pa.bool_(), int:",
    ),
    ("beyond/run/record.py", "rows[self._n_written[name] :]", "rows"),
    ("beyond/run/record.py", "                self._n_written[name] = len(rows)\n", ""),
    ("beyond/run/record.py", "return pid if machine == node() else None", "return pid"),
    ("beyond/run/record.py", "(self.path / TRAINER).unlink(missing_ok=True)", "pass"),
    (
        "beyond/run/record.py",
        "    torch.save(saved, buffer)\n    path.write_bytes(buffer.getbuffer())",
        "    torch.save(saved, path)",
    ),
    ("beyond/files.py", "        part.unlink(missing_ok=True)\n", "        pass\n"),
    ("beyond/run/lock.py", "PATIENCE = 0.2", "PATIENCE = 0"),
]
MANIFEST: dict = {name: kind() for name, kind in sorted(DECISIVE.items())}

HOLDER = """
import errno, os, sys, warnings
from pathlib import Path

def flock(*of):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

if sys.argv[2] == "drive without":
    import fcntl
    fcntl.flock = flock
elif sys.argv[2] == "system without":
    sys.modules["fcntl"] = None
    warnings.simplefilter("ignore")
from beyond.run import record
from beyond.run.lock import held, is_held

try:
    with held(Path(sys.argv[1])) as caveat:
        print("holds", caveat, flush=True)
        input()
except TimeoutError:
    print("refused", flush=True)
"""


def progress(step, snapshot=True):
    row = {
        "seed": 0,
        "step": step,
        "value": math.inf if step else math.nan,
        "split": "train",
        "default": True,
    }
    state = {
        "state": {"params": torch.full((2, 3), float(step))},
        "ledger": {"steps": step},
        "kept": {step: step},
    }
    if snapshot:
        return Progress(0.1 * step, 0.5, [row], [row, row], [], state)
    one = columns(
        TargetKind.CLASSES, "a", 0, torch.tensor([5]), torch.tensor([1]), torch.tensor([[0.0, 1.0]])
    )
    return Progress(0.1 * step, 0.5, [row], [row, row], [row], {}, one)


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "study" / "cell", save_every=0)
    with made.locked():
        yield made


def files(folder):
    return {path.name for path in folder.path.iterdir()}


def test_a_closed_run_has_its_tables_and_manifest_and_nothing_else(folder):
    folder.add(progress(0))
    folder.add(progress(1, snapshot=False))
    folder.close(MANIFEST | {"status": "finished", "seeds": [0]})
    tables = {f"{name}.parquet" for name in (*TABLES, "predictions")}
    assert files(folder) == {*tables, "manifest.json", "lock", "seeds.json", TRAINER}
    assert {name: len(pd.read_parquet(folder.path / f"{name}.parquet")) for name in TABLES} == {
        "curves": 2,
        "layers": 4,
        "runs": 1,
    }
    predictions = pd.read_parquet(folder.path / "predictions.parquet")
    assert predictions[["run_id", "example", "target", "prediction"]].values.tolist() == [
        ["a", 5, 1, 1]
    ]
    manifest = json.loads((folder.path / "manifest.json").read_text())
    named = manifest.pop("tables")
    assert manifest == MANIFEST | {"status": "finished", "seeds": [0]}
    assert named == {
        name: hashlib.sha256((folder.path / f"{name}.parquet").read_bytes()).hexdigest()
        for name in (*TABLES, "predictions")
    }


def test_it_is_finished_once_it_has_a_manifest(folder):
    assert not folder.finished
    folder.add(progress(0))
    folder.add(progress(1, snapshot=False))
    assert not folder.finished
    folder.close(MANIFEST)
    assert folder.finished
    assert RunFolder(folder.path).finished


def test_what_was_saved_comes_back(folder):
    folder.add(progress(0))
    folder.add(progress(1))
    other = RunFolder(folder.path, save_every=0)
    torch.testing.assert_close(other.resume(), progress(1).snapshot)
    other.add(progress(2, snapshot=False))
    other.close(MANIFEST)
    curves = pd.read_parquet(folder.path / "curves.parquet")
    expected = pd.DataFrame([progress(step).curves[0] for step in range(3)])
    pd.testing.assert_frame_equal(curves, expected)
    assert RunFolder(folder.path).resume() is None


def test_seconds_of_attempts_that_were_interrupted_count(tmp_path, monkeypatch):
    now = iter([0.0, 1.0, 4.0, 4.0, 100.0, 101.0, 107.0])
    monkeypatch.setattr("beyond.run.record.monotonic", lambda: next(now))
    first = RunFolder(tmp_path)
    first.resume()
    first.save()  # three seconds after it was begun
    second = RunFolder(tmp_path)
    assert second.resume() is not None
    assert second.seconds == pytest.approx(3 + 6)


def test_a_state_of_other_code_is_not_gone_on_from(tmp_path):
    first = RunFolder(tmp_path, save_every=0, origin={"a.py": "1", "b.py": "2"})
    first.add(progress(0))
    same = RunFolder(tmp_path, origin={"b.py": "2", "a.py": "1"})
    assert same.resume()["ledger"]["steps"] == 0
    assert same.unusable == ""
    other = RunFolder(tmp_path, origin={"a.py": "1", "b.py": "3"})
    assert other.resume() is None
    assert other.unusable == "what began it has changed (b.py)"
    assert not other.begun
    other.add(progress(0))
    other.close(MANIFEST)
    assert len(pd.read_parquet(tmp_path / "curves.parquet")) == 1


@pytest.mark.parametrize("length", [0, 100, -9])
def test_a_state_that_is_cut_is_not_gone_on_from(length, tmp_path):
    first = RunFolder(tmp_path, save_every=0)
    first.add(progress(0))
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:length])
    other = RunFolder(tmp_path, save_every=0)
    assert other.resume() is None
    assert other.unusable == "its saved state cannot be read"


def test_a_state_that_cannot_be_read_just_now_stays(tmp_path, monkeypatch):
    RunFolder(tmp_path, save_every=0).add(progress(0))

    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output error"):  # noqa: PT012
        patched.setattr(torch, "load", fail)
        RunFolder(tmp_path).resume()
    assert RunFolder(tmp_path).resume() is not None


def test_a_state_of_another_kind_is_not_gone_on_from(tmp_path):
    torch.save([1, 2], tmp_path / "state.pt")
    other = RunFolder(tmp_path)
    assert other.resume() is None
    assert other.unusable == "its saved state cannot be read"


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{",
        "rubbish",
        "[]",
        "{}",
        "null",
        '{"tables": 3}',
        '{"tables": {"gone": ""}}',
        '{"tables": TABLES}',
    ],
)
def test_a_manifest_that_is_none_leaves_the_run_unfinished(manifest, folder):
    folder.add(progress(0, snapshot=False))
    folder.close(MANIFEST)
    path = folder.path / "manifest.json"
    tables = json.loads(path.read_text())["tables"]
    path.write_text(manifest.replace("TABLES", json.dumps(tables)))
    assert folder.manifest() is None
    assert not folder.finished
    assert folder.resume() is None
    assert folder.unusable == "its tables are not those that its manifest names"
    assert "manifest.json" not in files(folder)


@pytest.mark.parametrize(
    "lacking",
    ["run_id", "status", "reasons", "identity", "settings", "seeds", "sources", "data_sha256"],
)
def test_a_manifest_that_lacks_what_plans_read_leaves_the_run_unfinished(lacking, folder):
    folder.add(progress(0, snapshot=False))
    folder.close({name: told for name, told in MANIFEST.items() if name != lacking})
    assert folder.manifest() is None


@pytest.mark.parametrize("table", [*TABLES, "predictions"])
def test_a_run_of_which_a_table_is_cut_or_gone_is_not_finished(table, folder):
    folder.add(progress(0, snapshot=False))
    folder.close(MANIFEST)
    path = folder.path / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert not folder.finished
    path.unlink()
    assert not folder.finished


@pytest.mark.parametrize("at", range(6))
def test_a_process_that_ends_while_it_writes_leaves_the_run_unfinished(at, folder, monkeypatch):
    """Whichever file is the last, even over the tables of an earlier, finished run."""
    folder.add(progress(0, snapshot=False))
    folder.close(MANIFEST)
    (folder.path / "manifest.json").unlink()
    written = []

    def cut(path, write):
        if len(written) == at:
            raise KeyboardInterrupt
        written.append(path.name)
        write_whole(path, write)

    for module in ("files", "run.record"):
        monkeypatch.setattr(f"beyond.{module}.write_whole", cut)
    again = RunFolder(folder.path)
    again.add(progress(1, snapshot=False))
    if at < 5:
        with pytest.raises(KeyboardInterrupt):
            again.close(MANIFEST)
    else:
        again.close(MANIFEST)
    assert again.finished == (at == 5)
    assert written[4:] == ["manifest.json"][: max(0, at - 4)]


def test_seeds_are_claimed_by_who_trains_them_and_by_who_has(tmp_path):
    folder = RunFolder(tmp_path / "cell")
    assert not folder.claims([1])
    with folder.locked([0, 1]):
        assert RunFolder(folder.path).claims([1, 2])
        assert not RunFolder(folder.path).claims([2, 3])
    assert not folder.claims([1])  # its process ended before the run did
    folder.close(MANIFEST)
    assert folder.claims([1, 2])
    assert not folder.claims([2, 3])


def test_rows_newer_than_the_saved_state_are_not_taken_up(tmp_path):
    first = RunFolder(tmp_path, save_every=0)
    first.add(progress(0))
    first._save_every = math.inf
    first.add(progress(1))
    second = RunFolder(tmp_path)
    assert second.resume()["ledger"]["steps"] == 0
    second.add(progress(1, snapshot=False))
    second.close(MANIFEST)
    assert pd.read_parquet(tmp_path / "curves.parquet")["step"].tolist() == [0, 1]


def test_a_new_run_has_nothing_to_resume(folder):
    assert folder.resume() is None


def test_the_state_is_saved_no_more_often_than_asked(tmp_path):
    folder = RunFolder(tmp_path, save_every=3600)
    folder.add(progress(0))
    assert not list(tmp_path.iterdir())


def test_a_write_that_is_cut_off_leaves_the_old_file_whole(folder, monkeypatch):
    folder.add(progress(0))
    before = (folder.path / "state.pt").read_bytes()

    def half(saved, path):
        path.write_bytes(before[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr("beyond.run.record._save", half)
    with pytest.raises(KeyboardInterrupt):
        folder.add(progress(1))
    assert (folder.path / "state.pt").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_state_that_finds_no_room_is_an_error_of_the_system(tmp_path, monkeypatch):
    """Torch raises another."""
    folder = RunFolder(tmp_path, save_every=0)
    (tmp_path / "state.pt.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        folder.add(progress(0))
    assert not list(tmp_path.iterdir())


def test_tables_that_cannot_be_written_leave_the_run_unfinished(folder, monkeypatch):
    folder.add(progress(0))

    def full(rows, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_rows", full)
    with pytest.raises(OSError, match="No space left"):
        folder.close(MANIFEST)
    assert not any(name.endswith(".parquet") or name == "manifest.json" for name in files(folder))
    assert RunFolder(folder.path).resume() is not None


@pytest.mark.parametrize(
    "values",
    [
        ["", "a"],
        [True, False],
        [1, 2**60],
        [0.5, math.nan],
        [math.nan, math.nan],
        [3, math.inf],
        [3, math.nan],
        [2**60 + 1, 0.5],
        [np.float64(0.1), 1],
    ],
)
def test_rows_are_stored_as_pandas_stores_them(values, tmp_path):
    rows = [{"seed": 0, "value": value} for value in values]
    write_rows(rows, tmp_path / "ours")
    pd.DataFrame(rows).to_parquet(tmp_path / "theirs", index=False)
    ours, theirs = (pq.read_table(tmp_path / name) for name in ("ours", "theirs"))
    assert ours.equals(theirs)  # types, and null for what is no number
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "ours"), pd.read_parquet(tmp_path / "theirs")
    )


def test_a_skipped_run_closes_without_curves(folder):
    folder.add(
        Progress(0.0, math.nan, [], [], progress(0).curves, {}, joined(TargetKind.CLASSES, []))
    )
    folder.close(MANIFEST)
    assert len(pd.read_parquet(folder.path / "predictions.parquet")) == 0
    assert len(pd.read_parquet(folder.path / "curves.parquet")) == 0
    assert len(pd.read_parquet(folder.path / "runs.parquet")) == 1


@contextmanager
def process(path, locks):
    """Another process, which tries to hold a lock until it is told to end; and what it says."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), locks],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        yield started, started.stdout.readline().strip()
        started.kill()


def test_another_process_is_refused_until_the_holder_is_gone(tmp_path):
    folder = RunFolder(tmp_path)
    with process(tmp_path / "lock", "native") as (holder, said):
        assert said == "holds"
        with (
            pytest.raises(InputError, match=rf"^another process is writing '{tmp_path}'$"),
            folder.locked(),
        ):
            pass
        holder.kill()
    with folder.locked() as caveat:
        assert caveat == ""


@pytest.mark.parametrize("locks", ["drive without", "system without"])
def test_without_locks_a_file_keeps_others_out_until_its_process_is_gone(locks, tmp_path):
    path = tmp_path / "lock"
    caveat = f"{tmp_path} has no locks (No locks available), lock.held is in place of one"
    holds = f"holds {caveat}" if locks == "drive without" else "holds"
    with process(path, locks) as (_, said):
        assert said == holds
        with process(path, locks) as (_, said):
            assert said == "refused"
    with process(path, locks) as (holder, said):
        assert said == holds
        holder.communicate("end")
    assert {file.name for file in tmp_path.iterdir()} <= {"lock"}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_drive_without_locks_is_told_and_written(number, tmp_path, monkeypatch):
    """Rather than that another process is writing."""

    def flock(*of):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    folder = RunFolder(tmp_path)
    with folder.locked([0]) as caveat:
        assert caveat == (
            f"{tmp_path} has no locks ({os.strerror(number)}), lock.held is in place of one"
        )
        assert RunFolder(tmp_path).claims([0])
        with pytest.raises(InputError, match=r"^another process is writing "):
            RunFolder(tmp_path).locked().__enter__()
    assert not folder.claims([0])


def test_a_lock_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "lock").mkdir()
    message = r"^runs must be a folder that can be written, got [^\n]* \(Is a directory\)$"
    with pytest.raises(InputError, match=message), RunFolder(tmp_path).locked():
        pass


def test_a_folder_names_its_trainer_while_it_is_held(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.trainer is None
    with folder.locked([0]):
        assert RunFolder(tmp_path).trainer == os.getpid()
    assert folder.trainer is None
    for foreign in ('["another machine", 1]', "", "3"):
        (tmp_path / TRAINER).write_text(foreign)
        assert folder.trainer is None


def test_what_a_killed_process_left_half_written_is_gone_at_the_end(folder):
    (folder.path / "state.pt.part").write_bytes(b"half")
    folder.add(progress(0, snapshot=False))
    folder.close(MANIFEST)
    assert not list(folder.path.glob("*.part"))


def test_what_could_not_be_written_leaves_nothing(tmp_path):
    def full(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", full)
    assert not list(tmp_path.iterdir())


def test_who_only_looks_keeps_nobody_out(tmp_path):
    path = tmp_path / "lock"
    looks = FileLock(path, thread_local=False)
    looks.acquire()
    Timer(0.05, looks.release).start()
    with held(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_removed_folder_is_gone_once_it_is_not_held(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "study" / "cell")
    with suppress(InputError), folder.locked():
        folder.remove()
        raise InputError("unfit")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_released_after_a_fault(tmp_path):
    with pytest.raises(RuntimeError, match="boom"), RunFolder(tmp_path).locked():
        raise RuntimeError("boom")
    with RunFolder(tmp_path).locked():
        pass


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    message = (
        r"^runs must be a folder that can be written, got '[^\n]*/file/cell' \(Not a directory\)$"
    )
    with pytest.raises(InputError, match=message), RunFolder(tmp_path / "file" / "cell").locked():
        pass
