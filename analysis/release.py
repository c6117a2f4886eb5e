"""Published rows: of each replica of a finished study the row of its runs table, in one file.

`python -m analysis.release gallery runs/everything` writes `analysis/published/gallery.parquet`,
which `beyond-compare FOLDER --against gallery` reads. Each row has the manifest of its run, so that
whoever compares with it knows what it was made from. Curves and predictions stay in the study.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.runs import FOLDERS, RUN_COLUMNS, RUN_TEXT, Frame, completed
from analysis.tables import TableError, Tables, by_run, load, reason

FOLDER = Path(__file__).parent / "published"
_MANIFEST = "manifest"  # the column beside those of the runs table: JSON
_OF_FILES = ("tables", "files")  # in a manifest: checksums of what is not here


@dataclass(frozen=True)
class Release:
    """What was published under one name.

    Attributes
    ----------
    name : str
        That of a folder ends in a slash.
    runs : DataFrame
        One row per replica, as recorded, with all columns of `runs.completed`; `run_id` begins
        with the name and a slash, `release` is the name.
    manifests : dict of str to dict
        By run_id.
    tables : Tables, optional
        Of a folder: curves, layers, networks and predictions, by run_id.
    """

    name: str
    runs: Frame
    manifests: dict[str, dict[str, Any]]
    tables: Tables | None = None


def known() -> list[str]:
    """Names of what is published, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.parquet"))


def read(name: str) -> Release:
    """Read what was published under a name, a release of yours by its file, or a study's folder.

    Raises
    ------
    TableError
        In one line, if there is no such release, or the file or folder is none.
    """
    if name not in known() and Path(name).is_dir():
        return of_folder(Path(name))
    path = Path(name) if name.endswith(".parquet") else FOLDER / f"{name}.parquet"
    if not path.is_file():
        names = ", ".join(known()) or "none"
        raise TableError(
            f"no folder and no published rows named {name}; known: {names}, or the path of a "
            "study's folder or of a .parquet file"
        )
    try:
        table: Frame = pq.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    lacking = [name for name in (*RUN_TEXT, "seed", _MANIFEST) if name not in table]
    if lacking:
        raise TableError(f"{path} holds no published rows: it lacks {', '.join(lacking)}")
    table["run_id"] = path.stem + "/" + table["run_id"]
    told = table.drop_duplicates("run_id").set_index("run_id")[_MANIFEST]
    manifests = {run_id: json.loads(text) | {"run_id": run_id} for run_id, text in told.items()}
    runs = completed(table.drop(columns=_MANIFEST).assign(release=path.stem))
    return Release(path.stem, runs, manifests)


def of_folder(folder: Path) -> Release:
    """Take the rows of a study's folder as they would be published, and name them by the folder."""
    tables = load(folder)
    name = f"{folder.resolve().name}{FOLDERS}"
    runs = _begun(tables)
    runs = runs.assign(release=name, run_id=name + runs["run_id"])
    made = {name + run: made for run, made in by_run(tables.manifests).items()}
    manifests = {run: manifest | {"run_id": run} for run, manifest in made.items()}
    frames = {
        part: frame.assign(run_id=name + frame["run_id"].astype(str))
        for part in ("curves", "layers", "networks", "predictions")
        for frame in [getattr(tables, part)]
    }
    recorded = replace(tables, **frames)
    return Release(name, completed(runs[list(RUN_COLUMNS)]), manifests, recorded)


def write(name: str, folders: Sequence[Path], out: Path = FOLDER) -> Path:
    """Publish the rows of finished studies; return the file.

    A run that two of them have counts once; those that were skipped are left out.

    Raises
    ------
    TableError
        If a study is not finished, or of code or data that have changed since.
    """
    rows = pd.concat([_rows(folder) for folder in folders])
    rows = rows.drop_duplicates(["run_id", "seed"]).sort_values(["task", "run_id", "seed"])
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.parquet"
    table = pa.Table.from_pandas(rows, preserve_index=False)
    # so few rows are read as a whole: statistics of parts would be a third of a small file
    pq.write_table(table, path, compression="zstd", compression_level=19, write_statistics=False)
    return path


def _rows(folder: Path) -> Frame:
    """Replicas of a study that began, as recorded, with the manifest of each."""
    tables = load(folder)
    if lacking := (*tables.unfinished, *tables.damaged):
        raise TableError(f"{folder} is not finished: {', '.join(lacking)}")
    if stale := sorted(tables.stale):
        raise TableError(
            f"{folder} has runs of code or data that have changed since ({', '.join(stale)}): "
            "rerun=stale trains them again"
        )
    told = {run: _text(manifest) for run, manifest in by_run(tables.manifests).items()}
    recorded = _begun(tables)[list(RUN_COLUMNS)].drop(columns="release")
    return recorded.assign(**{_MANIFEST: recorded["run_id"].map(told)})


def _begun(tables: Tables) -> Frame:
    """Replicas that began, each with its task as recorded."""
    runs = tables.runs[tables.runs["status"] != "skipped"]
    return runs.assign(task=runs["task_name"])


def _text(manifest: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in manifest.items() if key not in _OF_FILES}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a release; a study that cannot be published is one line and exit status 1."""
    parser = argparse.ArgumentParser(
        "python -m analysis.release", description="Publish the rows of finished studies."
    )
    parser.add_argument("name", help="what it is published as, such as gallery")
    parser.add_argument("folders", type=Path, nargs="+", help="studies, such as runs/everything")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="where to write (default: %(default)s)"
    )
    try:
        path = write(**vars(parser.parse_args(arguments)))
    except (TableError, OSError) as error:
        sys.exit(f"analysis.release: {reason(error)}")
    release = read(str(path))
    sys.stdout.write(
        f"{path}: {len(release.manifests)} runs, {len(release.runs)} replicas, "
        f"{path.stat().st_size / 1000:,.0f} kB\n"
    )


if __name__ == "__main__":
    main()
