"""A file of the system's packages: the first folder that has it, what it holds, or none."""

import gzip
import hashlib

import pytest

from beyond.errors import InputError
from beyond.files import unpacked

SHA256 = hashlib.sha256(b"contents").hexdigest()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of packages' files, searched in this order."""
    both = [tmp_path / "first", tmp_path / "second"]
    monkeypatch.setenv("XDG_DATA_DIRS", ":".join(map(str, both)))
    for folder in both:
        folder.mkdir()
    return both


def test_contents_come_from_the_first_folder_that_has_the_file(folders):
    first, second = folders
    (second / "a.gz").write_bytes(gzip.compress(b"contents", compresslevel=1))
    assert unpacked("a.gz", SHA256, "some-package") == b"contents"
    (first / "a.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(InputError, match=f"^{first}/a.gz is not the published file"):
        unpacked("a.gz", SHA256, "some-package")


def test_a_missing_file_names_the_package_in_one_line(folders):
    with pytest.raises(
        InputError, match=r"^data/a\.gz is not on this machine: apt install some-package$"
    ):
        unpacked("data/a.gz", SHA256, "some-package")


@pytest.mark.parametrize("damage", ["not compressed", "empty", "cut off", "garbled"])
def test_a_damaged_file_is_refused_in_one_line(folders, damage):
    whole = gzip.compress(b"contents")
    stored = {
        "not compressed": b"contents",
        "empty": b"",
        "cut off": whole[:-9],
        "garbled": whole[:10] + b"\xff" * 9,
    }[damage]
    (folders[0] / "a.gz").write_bytes(stored)
    with pytest.raises(
        InputError, match=r"a.gz is not the published file: apt install --reinstall some-package$"
    ):
        unpacked("a.gz", SHA256, "some-package")


def test_without_the_variable_the_systems_folders_are_searched(folders, monkeypatch):
    monkeypatch.setenv("XDG_DATA_DIRS", "")
    monkeypatch.setattr("beyond.files.SHARED", f"{folders[0]}:{folders[1]}")
    (folders[1] / "a.gz").write_bytes(gzip.compress(b"contents"))
    assert unpacked("a.gz", SHA256, "some-package") == b"contents"
