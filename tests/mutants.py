"""One deliberate fault a method, each of which that method's own test must catch.

A method's test names its fault: `FAULT = (text in the method's file, what replaces it)`. The fault is put into a copy
of the sources and the method's test is run on it: a test must fail, and not because the copy cannot be imported.
`python -m tests.mutants [method ...]` prints a line a method.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("analysis", "beyond", "methods", "tasks", "conf", "tests", "hydra_plugins", "pyproject.toml")
TESTS_FAILED = 1  # pytest's exit status; 2 and more: it could not run them


@dataclass(frozen=True)
class Fault:
    """A text in a file, its path from the root, and the faulty text that replaces it."""

    path: Path
    right: str
    wrong: str

    @property
    def method(self) -> str:
        """The method, where the file is a method's."""
        return self.path.stem

    @property
    def test(self) -> Path:
        """The method's test, from the root."""
        return Path("tests") / "methods" / f"test_{self.method}.py"

    def check(self) -> None:
        """Raise `ValueError` unless the fault would change one place of the file."""
        count = (ROOT / self.path).read_text().count(self.right)
        if count != 1 or self.right == self.wrong:
            raise ValueError(f"the fault of {self.path} must replace a text that occurs once, got {count} times")


def fault_of(method: str) -> Fault:
    """Return a method's fault; raise `ValueError` if it has none, or none that occurs in its file exactly once."""
    test = ROOT / "tests" / "methods" / f"test_{method}.py"
    named = [
        ast.literal_eval(node.value)
        for node in ast.parse(test.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAULT"
    ]
    if len(named) != 1:
        raise ValueError(f"{test.name} must name one FAULT, got {len(named)}")
    fault = Fault(Path("methods") / f"{method}.py", *named[0])
    fault.check()
    return fault


@contextmanager
def copied(*faults: Fault) -> Iterator[Path]:
    """A copy of the sources with faults in it."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in SOURCES:
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            (shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy))
        for fault in faults:
            target = copy / fault.path
            target.write_text(target.read_text().replace(fault.right, fault.wrong))
        yield copy


def verdict(fault: Fault) -> tuple[Fault, str, float]:
    """Run the method's test on the fault: caught, missed, or why neither can be said."""
    clock = perf_counter()
    with copied(fault) as copy:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-m",
            "not slow",
            "-p",
            "no:cacheprovider",
            str(fault.test),
        ]
        done = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        )
    said = {0: "missed", TESTS_FAILED: "caught"}.get(done.returncode, f"pytest exit {done.returncode}")
    if said == "caught" and "FAILED" not in done.stdout:
        said = "not run: " + done.stdout.strip().splitlines()[-1]
    return fault, said, perf_counter() - clock


def main(chosen: list[str]) -> int:
    """Print a line a method; the exit status is 1 unless every fault is caught."""
    every = [path.stem for path in sorted((ROOT / "methods").glob("[!_]*.py"))]
    own = [fault_of(method) for method in chosen or every]
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for fault, said, seconds in pool.map(verdict, own):
            change = " -> ".join(repr(" ".join(text.split())) for text in (fault.right, fault.wrong))
            print(f"{said:8s} {fault.method:28s} {seconds:5.1f} s  {change}", flush=True)  # noqa: T201
            missed += said != "caught"
    print(f"{len(own) - missed} of {len(own)} faults caught")  # noqa: T201
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
