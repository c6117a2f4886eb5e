"""Every fault that a test file names can be tried; it is caught, missed or said not to have run."""

import re
import shutil
import subprocess
import sys
from datetime import date, timedelta

import pytest

from tests.mutants import ROOT, named_in, naming, sample

PLANTED = {
    "beyond/__init__.py": "",
    "beyond/sums.py": "def total(a, b):\n    return a + b\n",
    "tests/test_caught.py": 'FAULTS = [("beyond/sums.py", "a + b", "a - b"), ("beyond/sums.py", "a + b", "a + a")]\n'
    "from beyond.sums import total\n\ndef test_total():\n    assert total(1, 2) == 3\n",
    "tests/test_missed.py": 'FAULTS = [("beyond/sums.py", "a + b", "a - b")]\n'
    "from beyond.sums import total\n\ndef test_total():\n    assert total(1, 0) == 1\n",
    "tests/test_broken.py": 'FAULTS = [("beyond/sums.py", "a + b", "a +")]\n'
    "from beyond.sums import total\n\ndef test_total():\n    assert total(1, 2) == 3\n",
    "tests/test_ended.py": 'FAULTS = [("beyond/sums.py", "a + b", "raise_signal(SIGTERM)")]\n'
    "from signal import SIGTERM, raise_signal\n\nimport beyond.sums\n\n"
    "vars(beyond.sums).update(SIGTERM=SIGTERM, raise_signal=raise_signal)\n\n"
    "def test_total():\n    assert beyond.sums.total(1, 2) == 3\n",
    "tests/test_nothing.py": "def test_nothing():\n    pass\n",
}


@pytest.fixture
def plant(tmp_path):
    """Return a function that writes a small project, in which faults are tried."""

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "pyproject.toml").write_text(
            '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n'
        )
        shutil.copy(ROOT / "tests" / "mutants.py", tmp_path / "tests")
        return tmp_path

    return write


def tried(root, *arguments):
    command = [sys.executable, "-m", "tests.mutants", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


@pytest.mark.parametrize("test", naming(), ids=str)
def test_every_fault_applies_and_is_no_fault_of_syntax(test):
    for fault in named_in(test):
        text = fault.applied()
        if fault.path.suffix == ".py":
            compile(text, str(fault), "exec")


def test_a_fault_is_caught_or_missed_or_was_not_run(plant):
    root = plant(PLANTED)
    done = tried(root)
    assert done.returncode == 1, done.stderr
    said = {
        fault: verdict
        for verdict, fault in re.findall(r"^(\w+).*\d s  (.*)$", done.stdout, re.MULTILINE)
    }
    assert said == {
        "tests/test_caught.py: beyond/sums.py: 'a + b' -> 'a - b'": "caught",
        "tests/test_caught.py: beyond/sums.py: 'a + b' -> 'a + a'": "caught",
        "tests/test_ended.py: beyond/sums.py: 'a + b' -> 'raise_signal(SIGTERM)'": "caught",
        "tests/test_missed.py: beyond/sums.py: 'a + b' -> 'a - b'": "missed",
        "tests/test_broken.py: beyond/sums.py: 'a + b' -> 'a +'": "not",
    }
    assert re.fullmatch(r"3 of 5 faults caught in \d+ s", done.stdout.splitlines()[-1])
    # the sources stay as they are
    assert (root / "beyond" / "sums.py").read_text() == PLANTED["beyond/sums.py"]


def test_all_caught_is_success_and_a_text_chooses_the_test_files(plant):
    done = tried(plant(PLANTED), "caught")
    assert (done.returncode, done.stdout.count("caught ")) == (0, 3), done.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            '[("beyond/sums.py", "a * b", "b")]',
            r"'a \* b' -> 'b': the text must occur once and change, got 0 times",
        ),
        (
            '[("beyond/sums.py", "a", "b")]',
            r"'a' -> 'b': the text must occur once and change, got 3 times",
        ),
        (
            '[("beyond/sums.py", "def", "def")]',
            "'def' -> 'def': the text must occur once and change, got 1 times",
        ),
        ('[("beyond/none.py", "a", "b")]', "beyond/none.py: 'a' -> 'b': there is no such file"),
        (
            '("beyond/sums.py", "a + b", "b")',
            r"FAULTS must be a list of \(path, text, what replaces it\)",
        ),
        ('[("a + b", "b")]', r"FAULTS must be a list of \(path, text, what replaces it\)"),
        ("[1]", r"FAULTS must be a list of \(path, text, what replaces it\)"),
        ("named()", r"FAULTS must be a list of \(path, text, what replaces it\)"),
    ],
)
def test_faults_that_cannot_be_tried_are_refused_in_one_line(named, said, plant):
    done = tried(plant(PLANTED | {"tests/test_bad.py": f"FAULTS = {named}\n"}), "bad")
    assert done.returncode == 1
    assert re.fullmatch(rf"tests/test_bad.py: [^\n]*{said}\n", done.stderr), done.stderr


def test_a_sample_is_the_days_and_comes_round_to_every_fault():
    faults = [fault for test in naming() for fault in named_in(test)]
    day = date(2026, 11, 26)
    assert sample(faults, 12, day) == sample(list(reversed(faults)), 12, day)
    assert len(set(sample(faults, 12, day))) == 12
    assert not set(sample(faults, 12, day)) & set(sample(faults, 12, day + timedelta(1)))
    days = range(-(-len(faults) // 12))
    assert {fault for ahead in days for fault in sample(faults, 12, day + timedelta(ahead))} == set(
        faults
    )
    assert len(sample(faults[:5], 12, day)) == 5
