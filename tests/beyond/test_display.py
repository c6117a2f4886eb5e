"""What a terminal shows fits it, and lines of several processes stay whole."""

import io
import re
from time import sleep

import pytest
from rich.console import Console

from beyond.run import display
from beyond.run.display import bar, say, ticking
from beyond.run.status import TRAINER, Count, elsewhere

FAULTS = [
    ("beyond/run/display.py", 'sum(row["seconds"] for row in rows)', 'rows[0]["total_seconds"]'),
    (
        "beyond/run/display.py",
        "    with console:\n        _erase(console)\n        console.print(line",
        "    with console:\n        console.print(line",
    ),
    ("beyond/run/display.py", "soft_wrap=not console.is_terminal", "soft_wrap=True"),
    ("beyond/run/display.py", "no_wrap=True, overflow", "overflow"),
    ("beyond/run/display.py", "told()[: console.width - 1]", "told()"),
    ("beyond/run/status.py", "len(done) + sum(_share", "len(done) + 0 * sum(_share"),
    ("beyond/run/status.py", "gained >= min(1.0, len(names) / 20)", "gained > 0"),
    ("beyond/run/status.py", "gained, left = whole - self._first[1]", "gained, left = whole"),
    ("beyond/run/display.py", "else label.rpartition", "else label or label.rpartition"),
]
LABEL = "text/languages, 20 epochs: backprop (cnn1d-64-64) [optimizer.learning_rate=0.001, batch_size=64]"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def test_step_seconds_are_those_of_all_replicas_whether_trained_together_or_one_by_one():
    row = {"status": "finished", "headline_metric": "return", "best_test_score": 500.0}
    rows = [row | {"seconds": s, "total_seconds": s} for s in (6.02, 6.87, 6.19)]
    assert display.result(rows, [], 30).endswith("step seconds 19.1, 6.36 per replica")


def test_a_bar_fits_eighty_columns_whatever_its_label(terminal):
    with bar(terminal, LABEL) as move:
        move(0.5, 0.8125, "pre-training")
    shown = ESCAPES.sub("", terminal.file.getvalue()).replace("\r", "\n")
    lines = [line for line in shown.splitlines() if line.strip()]
    assert all(len(line) <= 80 for line in lines)
    assert {line.rstrip()[:15] for line in lines} == {"backprop (cnn1d"}  # the method is seen
    assert "validation" not in lines[0]
    assert "50 % of pre-training" in lines[-1]
    assert "validation 0.812" in lines[-1]


def test_what_fits_is_told_whole_and_a_score_when_there_is_one(terminal):
    label = "image/digits, 200 epochs: backprop"
    with bar(terminal, label) as move:
        move(0.5, 0.8125, "budget")
    shown = ESCAPES.sub("", terminal.file.getvalue()).replace("\r", "\n")
    assert label in shown
    assert "50 % validation 0.812" in shown
    assert "nan" not in shown


def test_a_line_takes_the_place_of_a_renewed_one_and_is_wrapped_between_words(terminal):
    say(terminal, f"{LABEL}: finished, in runs/adhoc/0123456789ab-012345")
    shown = terminal.file.getvalue()
    assert shown.startswith("\r\x1b[2K")
    lines = ESCAPES.sub("", shown).lstrip("\r").splitlines()
    assert len(lines) == 3
    assert " ".join(line.strip() for line in lines).split() == (
        f"{LABEL}: finished, in runs/adhoc/0123456789ab-012345".split()
    )
    plain = Console(file=io.StringIO(), width=80)
    say(plain, LABEL * 2)
    assert plain.file.getvalue() == f"{LABEL * 2}\n"


def test_a_renewed_line_ends_with_what_it_is_of(terminal, monkeypatch):
    monkeypatch.setattr(display, "RENEWED", 0.001)
    with ticking(terminal, lambda: "x" * 100):
        sleep(0.05)
    shown = terminal.file.getvalue()
    sleep(0.02)
    assert terminal.file.getvalue() == shown
    assert "\n" not in shown
    assert shown.endswith("\r\x1b[2K")
    assert max(map(len, ESCAPES.sub("", shown).split("\r"))) == 79


def test_cells_are_counted_with_what_is_begun_of_them(tmp_path):
    def log(name, *shares):
        (tmp_path / name).mkdir(exist_ok=True)
        lines = (
            f"2026-11-27 10:00:00,000 INFO spent {share:.4f} of budget, validation 0.1\n"
            for share in shares
        )
        (tmp_path / name / "log.txt").write_text("".join(lines))

    names = ["a", "b", "c", "d"]
    count = Count(tmp_path, names)
    begun = f"{tmp_path}: 0 of 4 cells done"
    assert count(5.0) == f"{begun}, 0 running"
    log("b", 0.1)
    assert count(6.0) == f"{begun}, 1 running"  # it cannot be told yet
    log("b", 0.25, 0.5)
    assert count(10.0) == f"{begun}, 1 running, about 35 s left"
    log("a", 1.0)
    (tmp_path / "a" / "manifest.json").touch()
    log("c")
    assert count(20.0) == f"{tmp_path}: 1 of 4 cells done, 2 running, about 25 s left"
    # what had been trained before it looked takes no time of this sweep's
    again = Count(tmp_path, names)
    assert again(0.0) == f"{tmp_path}: 1 of 4 cells done, 2 running"
    log("b", 0.75)
    assert again(2.0) == f"{tmp_path}: 1 of 4 cells done, 2 running, about 18 s left"


def test_a_cell_that_another_process_trains_is_known_by_its_trainer(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / TRAINER).touch()
    (tmp_path / "b" / TRAINER).touch()
    (tmp_path / "b" / "manifest.json").touch()
    assert elsewhere(tmp_path, ["a", "b", "c", "d"]) == ["a"]
