"""A thousand cells read, beside pandas one by one; a million metric rows made into a report.

`python -m benchmarks.loading` trains five arms on digits and copies their cells, a seed each. It
prints processor seconds of reading all tables and manifests: by pandas, and by what a report does,
for the first time and again. Then it draws out the curves to a million rows, and prints what their
report takes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import pandas as pd

from analysis.tables import load

CELLS = 1000
ROWS = 1_000_000
ARMS = ("backprop", "genetic", "evolution_strategy", "hebbian", "reinforce")
COSTS = ("epochs", "forward", "backward", "flops", "bytes_moved", "seconds")


def trained(folder: Path) -> list[Path]:
    """Train the arms, a seed each; return their cells."""
    typed = [f"method={','.join(ARMS)}", "task=image/digits", "budget.epochs=20", "seeds=1"]
    typed += [f"runs={folder}", "study_name=trained", "hydra.sweeper.publish=analysis.tables.load"]
    subprocess.run(
        [sys.executable, "-m", "beyond.run.main", "-m", *typed],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return sorted(path.parent for path in folder.glob("trained/*/manifest.json"))


def copied(cells: list[Path], folder: Path, times: int = 1) -> None:
    """Write a thousand cells, each with a seed of its arm, its curve so many times as long."""
    for number in range(CELLS):
        cell, seed = cells[number % len(cells)], number // len(cells)
        manifest = json.loads((cell / "manifest.json").read_bytes())
        run = f"{cell.name.partition('-')[0]}-{hashlib.sha256(b'%d' % seed).hexdigest()[:6]}"
        copy = folder / run
        copy.mkdir(parents=True)
        manifest |= {"run_id": run, "seeds": [seed]}
        manifest["identity"]["run_id"] = run
        for name in manifest["tables"]:
            table = pd.read_parquet(cell / f"{name}.parquet").assign(run_id=run, seed=seed)
            if name == "curves":
                table = longer(table, times)
            table.to_parquet(copy / f"{name}.parquet", index=False)
            content = (copy / f"{name}.parquet").read_bytes()
            manifest["tables"][name] = hashlib.sha256(content).hexdigest()
        (copy / "manifest.json").write_text(json.dumps(manifest))


def longer(curve: pd.DataFrame, times: int) -> pd.DataFrame:
    """Repeat a curve, the costs of each time after those of the one before."""
    spent = curve[list(COSTS)].max()
    last = curve["checkpoint"].max() + 1
    parts = [
        curve.assign(
            checkpoint=curve["checkpoint"] + turn * last,
            **{cost: curve[cost] + turn * spent[cost] for cost in COSTS},
        )
        for turn in range(times)
    ]
    return pd.concat(parts, ignore_index=True)


def one_by_one(folder: Path) -> dict[str, pd.DataFrame]:
    """Read what `load` reads, file by file."""
    for path in folder.glob("*/manifest.json"):
        json.loads(path.read_bytes())
    names = ("curves", "layers", "predictions", "runs")
    files = {name: sorted(folder.glob(f"*/{name}.parquet")) for name in names}
    return {name: pd.concat(map(pd.read_parquet, mine)) for name, mine in files.items()}


def seconds(work: Callable[[Path], Any], folder: Path) -> float:
    """Processor seconds that work on a folder takes."""
    begun = process_time()
    work(folder)
    return process_time() - begun


def main() -> None:
    """Print seconds, ratios and memory."""
    with TemporaryDirectory() as place:
        cells, many, wide = trained(Path(place)), Path(place, "many"), Path(place, "wide")
        copied(cells, many)
        pandas, first, again = (seconds(work, many) for work in (one_by_one, load, load))
        print(f"{CELLS} cells of a seed, processor time")
        print(f"  pandas, file by file     {pandas:6.2f} s")
        print(f"  a report, first          {first:6.2f} s, {pandas / first:.1f} times as fast")
        print(f"  a report, again          {again:6.2f} s, {pandas / again:.1f} times as fast")
        n_rows = len(load(many).curves)
        copied(cells, wide, -(-ROWS // n_rows))
        told = (
            f"import sys; from analysis.tables import load; print(len(load({str(wide)!r}).curves))"
        )
        rows = int(
            subprocess.run([sys.executable, "-c", told], check=True, capture_output=True).stdout
        )
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "analysis.report", str(wide)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        spent = getrusage(RUSAGE_CHILDREN)
        took = spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime
        print(f"{rows:,} rows of curves: their report takes {took:.0f} s of processor time,")
        print(f"  and at most {spent.ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
