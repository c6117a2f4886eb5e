"""Where published data are looked for, what is read of them, and what is told of the rest."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import pytest

from beyond.data.sources import File, Source, cache, folders, program
from beyond.errors import InputError, MissingDataError

FAULTS = [
    # a user's folder goes before the system's
    (
        "beyond/data/sources.py",
        "        for folder in folders():\n            yield folder / self.name\n",
        "",
    ),
    # any contents are taken
    ("beyond/data/sources.py", ".hexdigest() == self.sha256", ".hexdigest()"),
    # the members of a Debian package begin at even places
    ("beyond/data/sources.py", "at += length + length % 2", "at += length"),
]
TEXT = b"contents"
FILE = File("a.txt", hashlib.sha256(TEXT).hexdigest(), 1_230_000, ("https://x.org/a.txt",))
SOURCE = Source("letters", "MIT", (FILE,), "some-package", "some/folder")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Folders in which files are looked for, in this order."""
    mine = [tmp_path / "cache", tmp_path / "mine"]
    shared = [tmp_path / "first", tmp_path / "second"]
    monkeypatch.setenv("BEYOND_DATA", ":".join(map(str, mine)))
    monkeypatch.setenv("XDG_DATA_DIRS", ":".join(map(str, shared)))
    found = [folder / "letters" for folder in mine] + [folder / "some/folder" for folder in shared]
    for folder in found:
        folder.mkdir(parents=True)
    return found


def tar(members, mode="w:xz"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, contents in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return stream.getvalue()


def ar(members):
    """Write an archive as `ar` does: a header of 60 bytes each, then the file, on even places."""
    written = b"!<arch>\n"
    for name, contents in members.items():
        written += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"100644", len(contents))
        written += contents + b"\n" * (len(contents) % 2)
    return written


def test_the_first_place_that_has_a_copy_counts(places):
    for place in reversed(places):
        (place / "a.txt.gz").write_bytes(gzip.compress(TEXT, compresslevel=1))
        assert SOURCE.lies(FILE) == place / "a.txt.gz"
        assert SOURCE.read("a.txt") == TEXT
    (places[0] / "a.txt").write_bytes(b"other")
    assert SOURCE.lies(FILE) is None
    with pytest.raises(InputError, match=f"^{places[0]}/a.txt is not the published file: "):
        SOURCE.read("a.txt")


def test_what_is_missing_is_told_in_one_line_with_what_brings_it_and_the_licence():
    with pytest.raises(MissingDataError) as missing:
        SOURCE.read("a.txt")
    told = "letters is not on this machine: apt install some-package or beyond-data fetch letters"
    assert str(missing.value) == f"{told} (1.2 MB, MIT)"
    packaged = replace(SOURCE, files=(replace(FILE, urls=(), size=0),))
    with pytest.raises(MissingDataError, match=r": apt install some-package \(MIT\)$"):
        packaged.read("a.txt")
    with pytest.raises(MissingDataError, match=r": beyond-data fetch letters \(1.2 MB, MIT\)$"):
        replace(SOURCE, package="", folder="").read("a.txt")


DAMAGED = {
    "another file": b"content",
    "empty": b"",
    "another file, compressed": gzip.compress(b"other"),
    "cut off": gzip.compress(TEXT)[:-9],
    "garbled": gzip.compress(TEXT)[:10] + b"\xff" * 9,
    "an archive without it": tar({"other": TEXT}),
    "a package without files": ar({b"debian-binary": b"2.0\n"}),
    "a package cut off": ar({b"data.tar.xz": tar({"./d/a.txt": TEXT})})[:-100],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_or_swapped_file_is_refused_in_one_line(places, kind):
    file = replace(FILE, inside=("d/a.txt",))
    (places[2] / "a.txt").write_bytes(DAMAGED[kind])
    again = "apt install --reinstall some-package or beyond-data fetch letters"
    with pytest.raises(InputError) as refused:
        replace(SOURCE, files=(file,)).read("a.txt")
    assert str(refused.value) == (
        f"{places[2]}/a.txt is not the published file: its SHA-256 is another; {again}"
    )


def test_a_file_is_taken_out_of_archives_in_archives(places):
    inner = tar({"d/a.txt": TEXT}, "w:gz")
    file = replace(FILE, urls=("https://x.org/all-1.0.tar.gz",), inside=("p/in.tgz", "d/a.txt"))
    source = replace(SOURCE, files=(file,))
    (places[1] / "all-1.0.tar.gz").write_bytes(tar({"p/in.tgz": inner, "p/b": b"b"}, "w:gz"))
    assert source.read("a.txt") == TEXT


@pytest.mark.parametrize("name", ["some_1.0_all.deb", "some_1%3a2.0_all.deb"])
def test_a_file_is_taken_out_of_a_debian_package(places, name):
    file = replace(FILE, urls=("https://x.org/some_1.0_all.deb",), inside=("usr/a.txt",))
    members = {b"debian-binary": b"2.0", b"control.tar.xz": tar({"./control": b"x"})}
    for contents in (TEXT, gzip.compress(TEXT)):
        package = ar({**members, b"data.tar.xz": tar({"./usr/a.txt": contents})})
        (places[0] / name).write_bytes(package)
        assert replace(SOURCE, files=(file,)).read("a.txt") == TEXT


def test_an_archive_that_holds_several_files_counts_once():
    archive = replace(FILE, urls=("https://x.org/all.tar",), inside=("a",))
    both = (archive, replace(archive, name="b.txt", inside=("b",)))
    assert replace(SOURCE, files=both).size == archive.size
    assert replace(SOURCE, files=(FILE, replace(FILE, urls=("https://x.org/b",)))).size == 2_460_000


def test_without_variables_the_users_cache_and_the_systems_folders_are_meant(
    tmp_path, monkeypatch, places
):
    monkeypatch.setenv("BEYOND_DATA", "")
    monkeypatch.setenv("XDG_DATA_DIRS", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("beyond.data.sources.SHARED", f"{tmp_path}/first:{tmp_path}/second")
    assert folders() == [tmp_path / ".cache/beyond-backprop"]
    (places[3] / "a.txt").write_bytes(TEXT)
    assert SOURCE.lies(FILE) == places[3] / "a.txt"
    assert cache("clips") == tmp_path / ".cache/beyond-backprop/clips"
    assert cache("clips").is_dir()


def test_a_missing_program_names_its_package():
    assert program("sh", "dash").name == "sh"
    with pytest.raises(MissingDataError, match=r"^no-such is not on this machine: apt install x$"):
        program("no-such", "x")
