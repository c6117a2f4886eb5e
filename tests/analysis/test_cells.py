"""Cells that are kept as one file are read as from their files, one by one: pandas is the oracle."""

import hashlib
import json
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import cells
from analysis.cells import KEPT, TableError, finished, stacked

FAULTS = [
    # stamps of one file, rows of another; a damaged page stops the study
    ("analysis/cells.py", "return _told(table.schema), table", "return _stamps(path), table"),
    ("analysis/cells.py", "except (OSError, pa.ArrowException) as", "except pa.ArrowException as"),
    ("analysis/cells.py", "[cell.name for cell in known] != [*stamps] or", ""),
    ("analysis/cells.py", "or not all(", "or all("),
    ("analysis/cells.py", "(self.changed, self.size) ==", "(self.changed, 0) == (0, 0) or ()=="),
    ("analysis/cells.py", "hexdigest(), table.num_rows)", "hexdigest(), table.num_columns)"),
    ("analysis/cells.py", "place += n_rows", "place += 0"),
    ("analysis/cells.py", "if before and before.fits(path)", "if before"),
    ("analysis/cells.py", "len(fresh) < MANY", "len(fresh) < 0"),
    (
        "analysis/cells.py",
        "cells, lambda cell: cell.parent)",
        "cells, lambda cell: cells[0].parent)",
    ),
]


@pytest.fixture(autouse=True)
def two_are_many(monkeypatch):
    monkeypatch.setattr(cells, "MANY", 2)


def write(folder, name, rows):
    """Write a finished cell whose one table has these values; with no rows it has no column."""
    cell = folder / name
    cell.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(
        {"cell": name, **rows} if rows else {}, range(len(next(iter(rows.values()), [])))
    )
    table.to_parquet(cell / "runs.parquet", index=False)
    digest = hashlib.sha256((cell / "runs.parquet").read_bytes()).hexdigest()
    (cell / "manifest.json").write_text(json.dumps({"tables": {"runs": digest}}))
    return cell


def require_as_in_files(folder):
    """Require what is stacked to be what pandas reads, and every cell to be finished."""
    files = sorted(folder.glob("*/runs.parquet"))
    parts = [part for part in map(pd.read_parquet, files) if len(part)]
    found = list(finished(folder))
    assert found == [file.parent for file in files]
    pd.testing.assert_frame_equal(
        stacked(found, "runs").to_pandas(), pd.concat(parts, ignore_index=True), check_dtype=False
    )


def kept(folder):
    return pq.read_table(folder / KEPT / "runs")


@pytest.fixture
def study(tmp_path):
    write(tmp_path, "b", {"x": [1, 2]})
    write(tmp_path, "d", {})
    write(tmp_path, "f", {"x": [3.5], "y": ["text"]})
    (tmp_path / "g").mkdir()
    require_as_in_files(tmp_path)
    assert kept(tmp_path)["x"].to_pylist() == [1, 2, 3.5]
    return tmp_path


def test_what_is_kept_is_read_in_place_of_the_files(study, monkeypatch):
    read = []
    whole = cells._read
    monkeypatch.setattr(cells, "_read", lambda path: read.append(path) or whole(path))
    require_as_in_files(study)
    assert not read


@pytest.mark.parametrize("name", ["a", "c", "e", "g"])
def test_a_cell_that_is_new_stands_in_its_place(study, name):
    write(study, name, {"x": [7, 8, 9]})
    require_as_in_files(study)
    assert kept(study).num_rows == 3  # it is one: not many


def test_cells_that_are_longer_than_wide_are_told_apart(tmp_path):
    for name in "ac":
        write(tmp_path, name, {"x": [1, 2, 4, 5]})
    require_as_in_files(tmp_path)
    write(tmp_path, "b", {"x": [7]})
    require_as_in_files(tmp_path)


def test_many_that_are_new_are_kept(study):
    for name in ("a", "c", "e"):
        write(study, name, {"x": [7, 8, 9], "z": [0.5, 1.5, 2.5]})
    for _ in range(2):
        require_as_in_files(study)
        assert kept(study).num_rows == 12


def test_a_cell_that_changed_is_read_anew(study):
    before = (study / "b" / "runs.parquet").stat()
    write(study, "b", {"x": [5, 6]})
    assert (study / "b" / "runs.parquet").stat().st_size == before.st_size
    require_as_in_files(study)
    # as long, or as old: each alone tells
    write(study, "b", {"x": [5, 6, 7]})
    require_as_in_files(study)
    now = (study / "b" / "runs.parquet").stat()
    write(study, "b", {"x": np.arange(100)})
    os.utime(study / "b" / "runs.parquet", ns=(now.st_atime_ns, now.st_mtime_ns))
    require_as_in_files(study)


def test_a_cell_that_is_gone_is_gone(study):
    for file in (study / "b").iterdir():
        file.unlink()
    (study / "b").rmdir()
    require_as_in_files(study)


def test_a_table_that_is_not_its_manifests_is_not_finished(study):
    runs = study / "b" / "runs.parquet"
    runs.write_bytes((study / "f" / "runs.parquet").read_bytes())
    assert [cell.name for cell in finished(study)] == ["d", "f"]


def test_what_another_process_keeps_meanwhile_is_not_taken_for_what_was_kept(study, monkeypatch):
    """Whenever the file is opened a second time it is another one."""
    asked, read, opened = list(finished(study)), pq.ParquetFile, []

    def another(file):
        opened.append(file)
        monkeypatch.setattr(pq, "ParquetFile", read)
        table = read(file)
        for name in ("a", "c"):
            write(study, name, {"x": [7, 8, 9]})
        stacked(list(finished(study)), "runs")
        return table

    monkeypatch.setattr(pq, "ParquetFile", another)
    assert stacked(asked, "runs")["x"].to_pylist() == [1, 2, 3.5]
    assert len(opened) == 1
    assert kept(study).num_rows == 9


def test_a_damaged_page_of_what_is_kept_is_left_and_of_a_cell_named(study):
    for path in (study / KEPT / "runs", study / "b" / "runs.parquet"):
        content = bytearray(path.read_bytes())
        content[4:40] = bytes(36)
        path.write_bytes(content)
    assert stacked([study / "f"], "runs")["x"].to_pylist() == [3.5]
    with pytest.raises(TableError, match=r"cannot read .*b/runs\.parquet"):
        stacked([study / "b"], "runs")


@pytest.mark.parametrize("stamps", [b"no JSON", b"[]", b'{"b": 3}'])
def test_what_is_kept_may_say_nothing_of_its_cells(study, stamps):
    place = study / KEPT / "runs"
    pq.write_table(pq.read_table(place).replace_schema_metadata({cells._STAMPS: stamps}), place)
    require_as_in_files(study)


@pytest.mark.parametrize("damage", [b"", b"PAR1 no more", None])
def test_what_is_kept_may_be_damaged_or_another_table(study, damage):
    place = study / KEPT / "runs"
    place.write_bytes((study / "b" / "runs.parquet").read_bytes() if damage is None else damage)
    require_as_in_files(study)
    assert kept(study).num_rows == 3


def test_where_nothing_can_be_kept_all_is_read(tmp_path):
    (tmp_path / KEPT).write_text("a file in the folder's place")
    for name in "abc":
        write(tmp_path, name, {"x": [1]})
    require_as_in_files(tmp_path)


def test_cells_of_two_studies_are_kept_each_with_its_study(study, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write(other, "b", {"x": [40]})
    write(other, "c", {"x": [50]})
    both = [*finished(study), *finished(other)]
    for _ in range(2):
        assert stacked(both, "runs")["x"].to_pylist() == [1, 2, 3.5, 40, 50]
    assert (kept(study).num_rows, kept(other).num_rows) == (3, 2)


def test_in_another_order_than_kept(study):
    turned = list(finished(study))[::-1]
    assert stacked(turned, "runs")["x"].to_pylist() == [3.5, 1, 2]


def test_a_file_that_cannot_be_read_is_named(study):
    (study / "b" / "runs.parquet").write_bytes(b"no table")
    with pytest.raises(TableError, match=r"cannot read .*b/runs\.parquet"):
        stacked([study / "b"], "runs")


def test_nothing_has_no_table(tmp_path):
    assert stacked([], "runs") is None
    assert stacked([write(tmp_path, "a", {})], "runs") is None
