"""Deliberate faults, each of which the test file that names it must catch.

A test file names its faults as literals, `FAULTS = [(path of the source from the root, text, what
replaces it), ...]`. Each fault is put into a copy of the sources and the file that names it is run
there until a test fails: one must, and not because the copy cannot be imported. `python -m
tests.mutants [text ...]` tries the faults of the test files whose path contains one of the texts,
or all; `--sample 12` tries twelve of them, chosen by the date.
"""

import argparse
import ast
import importlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    *("analysis", "beyond", "methods", "tasks", "conf"),
    *("tests", "hydra_plugins", "pyproject.toml"),
    *("hatch_build.py", "README.md", "LICENSE"),  # to build a wheel
    *("docs", "CONTRIBUTING.md", "CHANGELOG.md"),  # the site
)
TESTS_FAILED = 1  # pytest's exit status; 2 and more: it could not run them
SECONDS = 300  # a fault may make an endless loop
OFTEN_IMPORTED = (
    *("torch", "pandas", "pyarrow", "scipy.stats"),
    *("seaborn", "sklearn.datasets", "hydra"),
)


@dataclass(frozen=True)
class Fault:
    """A text in a source file, what replaces it, the test file that must notice; from the root."""

    path: Path
    right: str
    wrong: str
    test: Path | None = None

    def __str__(self) -> str:
        change = " -> ".join(repr(" ".join(text.split())) for text in (self.right, self.wrong))
        return f"{self.test}: {self.path}: {change}"

    def applied(self, root: Path = ROOT) -> str:
        """The file's text with the fault in it; raise `ValueError` unless it changes one place."""
        try:
            text = (root / self.path).read_text()
        except OSError:
            raise ValueError(f"{self}: there is no such file") from None
        count = text.count(self.right)
        if count != 1 or self.right == self.wrong:
            raise ValueError(f"{self}: the text must occur once and change, got {count} times")
        return text.replace(self.right, self.wrong)


def named_in(test: Path, root: Path = ROOT) -> list[Fault]:
    """Return the faults that a test file names; raise `ValueError` if one is ill-made."""
    faults: list[Fault] = []
    for node in ast.parse((root / test).read_text()).body:
        if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "FAULTS":
            continue
        try:
            rows = ast.literal_eval(node.value)
            named = [Fault(Path(path), right, wrong, test) for path, right, wrong in rows]
        except (TypeError, ValueError):
            named = []
        if not named or not isinstance(rows, list):
            raise ValueError(f"{test}: FAULTS must be a list of (path, text, what replaces it)")
        faults += named
    return faults


def naming(root: Path = ROOT) -> list[Path]:
    """Return the test files that name faults, from the root."""
    files = (path.relative_to(root) for path in sorted((root / "tests").rglob("test_*.py")))
    return [path for path in files if named_in(path, root)]


def sample(faults: Sequence[Fault], size: int, day: date) -> list[Fault]:
    """Choose faults by the day: the same ones all day, each of them once before any comes again."""
    mixed = sorted(faults, key=lambda fault: blake2b(str(fault).encode()).digest())
    start = day.toordinal() * size
    return [mixed[index % len(mixed)] for index in range(start, start + min(size, len(mixed)))]


@contextmanager
def copied(*faults: Fault) -> Iterator[Path]:
    """A copy of the sources with faults in it."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for source in (ROOT / name for name in SOURCES if (ROOT / name).exists()):
            ignore = shutil.ignore_patterns("__pycache__")
            if source.is_dir():
                shutil.copytree(source, copy / source.name, ignore=ignore)
            else:
                shutil.copy(source, copy)
        for fault in faults:
            (copy / fault.path).write_text(fault.applied(copy))
        yield copy


@dataclass(frozen=True)
class Trial:
    """A test file that runs on a fault, in a copy that it has for itself.

    Attributes
    ----------
    clean : str
        The source without the fault, as the copy has it: the project's may change meanwhile.
    """

    fault: Fault
    copy: Path
    clock: float
    clean: str

    @property
    def output(self) -> Path:
        """What pytest printed."""
        return self.copy / "output.txt"

    def run(self) -> None:
        """Run the test file on the fault, in a process that ends here."""
        os.chdir(self.copy)
        sys.path[0] = str(self.copy)
        for name in [name for name in sys.modules if name.partition(".")[0] in SOURCES]:
            del sys.modules[name]  # the copy's are meant
        with self.output.open("w") as output:
            os.dup2(output.fileno(), sys.stdout.fileno())
            os.dup2(output.fileno(), sys.stderr.fileno())
        signal.alarm(SECONDS)
        status = 3
        with suppress(SystemExit):
            status = pytest.main(
                ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", str(self.fault.test)]
            )
        sys.stdout.flush()
        os._exit(status)

    def end(self, status: int) -> str:
        """Take the fault out of the copy; was it caught or missed, or why can neither be said?"""
        (self.copy / self.fault.path).write_text(self.clean)
        if status == -signal.SIGALRM:
            return f"not done in {SECONDS} s"
        # the last: what the tests send themselves, with the fault nobody handles; no other knows them
        ends = {0: "missed", TESTS_FAILED: "caught", -signal.SIGTERM: "caught"}
        said = ends.get(status, f"pytest exit {status}")
        printed = self.output.read_text().strip().splitlines()
        failed = any(line.startswith("FAILED") for line in printed)
        if status > TESTS_FAILED or (status == TESTS_FAILED and not failed):
            return "not run: " + (printed or [said])[-1]
        return said


def trials(faults: Sequence[Fault]) -> Iterator[tuple[Fault, str, float]]:
    """Try faults on all cores; yield each with what came of it and its seconds, as they end.

    What takes long to import is imported once, and each trial is a fork of this process.
    """
    for name in OFTEN_IMPORTED:
        importlib.import_module(name)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with ExitStack() as stack:
        free = [stack.enter_context(copied()) for _ in range(min(len(faults), os.cpu_count() or 1))]
        running: dict[int, Trial] = {}
        waiting = list(reversed(faults))
        while waiting or running:
            if waiting and free:
                fault, copy = waiting.pop(), free.pop()
                trial = Trial(fault, copy, perf_counter(), (copy / fault.path).read_text())
                (trial.copy / trial.fault.path).write_text(trial.fault.applied(trial.copy))
                sys.stdout.flush()
                process = os.fork()
                if not process:
                    trial.run()
                running[process] = trial
            else:
                process, status = os.wait()
                trial = running.pop(process)
                yield (
                    trial.fault,
                    trial.end(os.waitstatus_to_exitcode(status)),
                    perf_counter() - trial.clock,
                )
                free.append(trial.copy)


def main(arguments: Sequence[str]) -> int:
    """Print a line a fault; the exit status is 1 unless every fault is caught."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Try deliberate faults."
    )
    parser.add_argument(
        "texts",
        nargs="*",
        help="in the paths of the test files whose faults are tried; all otherwise",
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="only this many, chosen by the date"
    )
    parser.add_argument(
        "--date", type=date.fromisoformat, default=date.today(), metavar="YYYY-MM-DD", help="today"
    )
    chosen = parser.parse_args(arguments)
    try:
        tests = [
            test
            for test in naming()
            if not chosen.texts or any(text in str(test) for text in chosen.texts)
        ]
        faults = [fault for test in tests for fault in named_in(test)]
        for fault in faults:
            fault.applied()
    except ValueError as error:
        sys.exit(str(error))
    if chosen.sample is not None:
        faults = sample(faults, chosen.sample, chosen.date)
    clock, caught = perf_counter(), 0
    for fault, said, seconds in trials(faults):
        print(f"{said:8s} {seconds:5.1f} s  {fault}", flush=True)  # noqa: T201
        caught += said == "caught"
    seconds = perf_counter() - clock
    print(f"{caught} of {len(faults)} faults caught in {seconds:.0f} s")  # noqa: T201
    return int(caught < len(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
