"""Tables of a study's finished cells, `folder/<cell>/{curves,...}.parquet, manifest.json`.

Where many had to be read one by one, all are kept in one file a table besides, which says of each
cell what its file was then. As long as they are as they were it is read in their place: a thousand
cells take the time of a few.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.files import write

KEPT = ".tables"  # in a study's folder; not named as tables are, or some would read both
MANY = 100  # cells that are read one by one before all are kept
_STAMPS = b"beyond.cells"  # in the metadata of what is kept
_KINDS = {  # of a manifest
    **dict.fromkeys(("identity", "settings", "sources", "cited", "packages"), dict),
    **dict.fromkeys(("seeds", "reasons", "classes"), list),
    **dict.fromkeys(("run_id", "status", "data_sha256", "commit"), str),
    "wall_seconds": (int, float),
    "best_known": (dict, type(None)),
}
# what reading raises where it is not there, no table, or another's
_DAMAGED = (OSError, pa.ArrowException, AttributeError, KeyError, TypeError, ValueError)


class TableError(ValueError):
    """The tables cannot be analysed. The message is one line."""


class _Stamp(NamedTuple):
    """What a cell's file of one table was when it was read; all 0 where it had none."""

    changed: int = 0  # ns
    size: int = 0  # bytes
    digest: str = ""  # SHA-256
    rows: int = 0

    def fits(self, path: Path) -> bool:
        return (self.changed, self.size) == _changed(path)


def finished(folder: Path) -> dict[Path, dict[str, Any]]:
    """Folders of a study's finished cells, and their manifests.

    A cell without a manifest, or whose tables are not those that it names, is not finished.
    """
    known = {
        folder / cell / f"{path.name}.parquet": stamp
        for path in folder.glob(f"{KEPT}/*")
        for cell, stamp in _stamps(path).items()
    }
    found = {path.parent: _manifest(path, known) for path in sorted(folder.glob("*/manifest.json"))}
    return {cell: manifest for cell, manifest in found.items() if manifest}


def stacked(cells: Sequence[Path], name: str) -> pa.Table | None:
    """Stack one table of cells in their order; a skipped cell may lack rows, columns or the file.

    Returns
    -------
    pyarrow.Table or None
        None where no cell has a row.

    Raises
    ------
    TableError
        If a file cannot be read.
    """
    of_study = groupby(cells, lambda cell: cell.parent)
    return _stack([part for study, mine in of_study for part in _of_study(study, [*mine], name)])


def _of_study(study: Path, cells: Sequence[Path], name: str) -> list[pa.Table]:
    """One table of cells of a study, in their order: from what is kept of them, and from files."""
    kept, file = study / KEPT / name, f"{name}.parquet"
    stamps, before = _kept(kept)
    known = [cell for cell in cells if cell.name in stamps]
    if [cell.name for cell in known] != [*stamps] or not all(
        stamps[cell.name].fits(cell / file) for cell in known
    ):
        stamps = {}
    fresh = {cell.name: _read(cell / file) for cell in cells if cell.name not in stamps}
    parts = [*_in_order(cells, stamps, before, fresh)]
    whole = _stack(parts)
    if whole is None or len(fresh) < MANY:
        return parts
    now = stamps | {cell: stamp for cell, (stamp, _) in fresh.items()}
    told = json.dumps({cell.name: now[cell.name] for cell in cells})
    _keep(whole.replace_schema_metadata({_STAMPS: told.encode()}), kept)
    return [whole]


def _in_order(
    cells: Sequence[Path],
    stamps: Mapping[str, _Stamp],
    kept: pa.Table,
    fresh: Mapping[str, tuple[_Stamp, pa.Table]],
) -> Iterator[pa.Table]:
    """Tables of cells: those between two fresh ones are one piece of what is kept."""
    place = 0
    for known, mine in groupby(cells, lambda cell: cell.name in stamps):
        if known:
            n_rows = sum(stamps[cell.name].rows for cell in mine)
            yield kept.slice(place, n_rows)
            place += n_rows
        else:
            yield from (fresh[cell.name][1] for cell in mine)


def _stack(parts: Sequence[pa.Table]) -> pa.Table | None:
    """Return parts as one table with all of their columns; None where none has a row."""
    parts = [part for part in parts if part.num_rows]
    return pa.concat_tables(parts, promote_options="permissive") if parts else None


def _read(path: Path) -> tuple[_Stamp, pa.Table]:
    """Read a table, and what its file was just before; without a file an empty one."""
    changed, size = _changed(path)
    if not size:
        return _Stamp(), pa.table({})
    try:
        content = path.read_bytes()
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    return _Stamp(changed, size, hashlib.sha256(content).hexdigest(), table.num_rows), table


def _changed(path: Path) -> tuple[int, int]:
    """When a file was changed, in ns, and its size; 0 where there is none."""
    try:
        known = path.stat()
    except FileNotFoundError:
        return 0, 0
    return known.st_mtime_ns, known.st_size


def _kept(path: Path) -> tuple[dict[str, _Stamp], pa.Table]:
    """Return which cells are kept, in their order, and their table; none if it is damaged.

    Both are of one reading: another process may replace the file at any time.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read()
        return _told(table.schema), table
    except _DAMAGED:
        return {}, pa.table({})


def _stamps(path: Path) -> dict[str, _Stamp]:
    """Return which cells are kept, in their order; none if nothing is, or it is damaged."""
    try:
        return _told(pq.read_schema(path))
    except _DAMAGED:
        return {}


def _told(schema: pa.Schema) -> dict[str, _Stamp]:
    stamps = json.loads(schema.metadata[_STAMPS])
    return {cell: _Stamp(*stamp) for cell, stamp in stamps.items()}


def _keep(table: pa.Table, path: Path) -> None:
    """Keep a table; in a folder that is full, or not ours, nothing is kept."""
    content = BytesIO()
    pq.write_table(table, content)
    with suppress(OSError):
        write(path, content.getvalue())


def _manifest(path: Path, known: Mapping[Path, _Stamp]) -> dict[str, Any]:
    """Read a cell's manifest; empty if it cannot be, or if a table is not the one that it names."""
    try:
        manifest = json.loads(path.read_bytes())
        tables = manifest.get("tables", {}).items()
        whole = all(
            _digest(path.with_name(f"{name}.parquet"), known) == digest for name, digest in tables
        )
    except (OSError, ValueError, AttributeError):
        return {}
    return manifest if whole and _is_ours(manifest) else {}


def _is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether what a manifest has is of the kinds that a run writes."""
    known = _KINDS.keys() & manifest.keys()
    return all(isinstance(manifest[name], _KINDS[name]) for name in known)


def _digest(path: Path, known: Mapping[Path, _Stamp]) -> str:
    """SHA-256 of a file, which need not be read again where it is as it was."""
    before = known.get(path)
    if before and before.fits(path):
        return before.digest
    return hashlib.sha256(path.read_bytes()).hexdigest()
