"""`python -m benchmarks.sweeps small large`: how studies share the cores, as ratios within one run.

Each study is trained cell by cell by one process, by joblib with two, and by two equal commands at
once in one folder; then by one process that stacks its cells. In turn. The report is left out: it
is one process's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

SHARED = ("-m", "task=image/digits", "hydra.sweeper.publish=analysis.tables.load")
RATES = ",".join(f"{0.001 * step:.3f}" for step in range(1, 26))
MANY = ",".join(f"{0.0005 * step:.4f}" for step in range(1, 65))
STUDIES = {  # cells, and what is typed
    "small": (
        100,
        ("seeds=[0],[1],[2],[3]", f"method.optimizer.learning_rate={RATES}", "budget.epochs=20"),
    ),
    "large": (
        20,
        (
            "seeds=10",
            "method=backprop,genetic,reinforce,last_layer,random_search",
            "budget.epochs=100,125,150,200",
        ),
    ),
    "rates": (
        256,
        ("seeds=[0],[1],[2],[3]", f"method.optimizer.learning_rate={MANY}", "budget.epochs=60"),
    ),
    "tiny": (8, ("seeds=[0],[1],[2],[3]", "method=constant,backprop", "budget.epochs=1")),
}
TWO = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def seconds(
    study: str, n_commands: int = 1, launcher: tuple[str, ...] = (), stacked: str = "false"
) -> float:
    """How long equal commands take that begin at once in an empty folder."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "beyond.run.main", *SHARED, f"runs={folder}"]
        command += [f"stacked={stacked}"]
        command += [*STUDIES[study][1], *(launcher or ("hydra/launcher=basic",))]
        began = perf_counter()
        started = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(n_commands)
        ]
        told = [process.communicate()[1].decode() for process in started]
        took = perf_counter() - began
        finished = len([*Path(folder).glob("*/*/manifest.json")])
        trained = sum(line.count(": finished, ") for line in told)
        if any(process.returncode for process in started) or finished != STUDIES[study][0]:
            sys.exit("".join(told))
        if not launcher and trained != finished:
            sys.exit(f"{trained} cells were trained for {finished}")
    return took


def main() -> None:
    """Print cells a minute, and ratios."""
    parser = argparse.ArgumentParser("python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("studies", nargs="+", choices=STUDIES, metavar="STUDY")
    for study in parser.parse_args().studies:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        n_cells = STUDIES[study][0]
        print(f"{study}: {n_cells} cells, {os.cpu_count()} cores, load {load:.1f}")
        one, two, both = seconds(study), seconds(study, 1, TWO), seconds(study, 2)
        print(f"  one process            {one:6.1f} s, {60 * n_cells / one:5.0f} cells a minute")
        print(f"  joblib with two        {two:6.1f} s, {one / two:.2f} times the cells a minute")
        print(f"  two commands at once   {both:6.1f} s, {both / one:.2f} of one alone")
        stacked = seconds(study, stacked="true")
        print(f"  one process, stacked   {stacked:6.1f} s, {one / stacked:.2f} times as fast")


if __name__ == "__main__":
    main()
