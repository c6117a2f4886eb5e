"""Downloads from a server on this machine: whole, cut off, wrong, gone, two at once."""

import errno
import gzip
import hashlib
import re
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from beyond.data.sources import File, Source
from beyond.errors import InputError
from beyond.run import data, fetch

FAULTS = [
    # it begins again, behind what is there
    ("beyond/run/fetch.py", '{"Range": f"bytes={begun}-"} if begun else {}', "{}"),
    # a server that begins is taken for one that goes on
    ("beyond/run/fetch.py", 'part.open("ab" if begun else "wb")', 'part.open("ab")'),
    # what was cut off is taken for the whole
    ("beyond/run/fetch.py", "there < begun + int(length)", "there < begun"),
    # two write one file
    ("beyond/run/fetch.py", "with held(path, patience=-1):", "if True:"),
    ("beyond/run/data.py", "if bad:", "if not bad:"),
]
CONTENTS = bytes(range(256)) * 2000


@pytest.fixture
def server(monkeypatch):
    """Serve files, with ranges; what is asked for is noted, and answers can be cut off."""
    monkeypatch.setattr(fetch, "PATIENCE", 5.0)
    state = SimpleNamespace(files={}, asked=[], cuts=[], ranges=True, gate=None)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.asked.append(asked)
            if state.gate:
                state.gate.wait(5)
            whole = state.files.get(self.path)
            if whole is None:
                return self.send_error(404)
            begin = int(asked[6:-1]) if asked and state.ranges else 0
            if asked and begin >= len(whole):
                return self.send_error(416)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(whole) - begin))
            self.end_headers()
            cut = state.cuts.pop(0) if state.cuts else None
            return self.wfile.write(whole[begin:cut])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    state.url, state.close = f"http://127.0.0.1:{server.server_port}", server.server_close
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def source(server, tmp_path, monkeypatch):
    monkeypatch.setenv("BEYOND_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    server.files["/a.bin.gz"] = gzip.compress(CONTENTS)
    sha256 = hashlib.sha256(CONTENTS).hexdigest()
    return Source("bytes", "CC0", (File("a.bin", sha256, 1000, (f"{server.url}/a.bin.gz",)),))


@pytest.fixture
def cached(tmp_path):
    return tmp_path / "cache/bytes/a.bin"


def bring(source, folder=None):
    told = []
    fetch.bring(source, folder, told.append)
    return told


def refused(source):
    with pytest.raises(InputError) as error:
        bring(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_downloaded_once(source, server, cached):
    assert bring(source) == []
    assert cached.read_bytes() == CONTENTS == source.read("a.bin")
    assert [path.name for path in cached.parent.iterdir() if path.name != ".lock"] == ["a.bin"]
    bring(source)
    assert server.asked == [None]


@pytest.mark.parametrize("n_cuts", [1, 2])
def test_what_is_cut_off_goes_on_where_it_was(source, server, n_cuts):
    server.cuts = [300, 700][:n_cuts]
    bring(source)
    assert source.read("a.bin") == CONTENTS
    assert server.asked == [None, "bytes=300-", "bytes=700-"][: n_cuts + 1]


def test_a_later_command_goes_on_too_and_a_whole_part_is_not_asked_for_again(
    source, server, cached
):
    server.cuts = [100, 200, 300]
    told = refused(source)
    size = len(server.files["/a.bin.gz"])
    assert told == (
        f"bytes: a.bin: it cannot be downloaded: {server.url}/a.bin.gz: "
        f"cut off after 300 of {size:,} bytes"
    )
    assert not cached.exists()
    bring(source)
    assert server.asked[3:] == ["bytes=300-"]
    cached.unlink()
    cached.with_name("a.bin.part").write_bytes(server.files["/a.bin.gz"])
    bring(source)  # the server has nothing behind it
    assert source.read("a.bin") == CONTENTS


def test_a_server_without_ranges_gives_the_whole_again(source, server):
    server.ranges, server.cuts = False, [300]
    bring(source)
    assert server.asked == [None, "bytes=300-"]
    assert source.read("a.bin") == CONTENTS


def test_what_was_not_published_is_refused_and_not_kept(source, server, cached):
    server.files["/a.bin.gz"] = gzip.compress(b"other")
    told = refused(source)
    assert told.endswith("/a.bin.gz is not the published file: its SHA-256 is another")
    assert not cached.exists()
    assert not cached.with_name("a.bin.part").exists()
    # nor is a part of another version
    cached.with_name("a.bin.part").write_bytes(b"other")
    server.files["/a.bin.gz"] = gzip.compress(CONTENTS)
    bring(source)
    assert source.read("a.bin") == CONTENTS


def test_a_spoilt_file_is_brought_again(source, cached):
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENTS[:-1])
    bring(source)
    assert source.read("a.bin") == CONTENTS


def test_where_one_address_fails_the_next_is_asked(source, server):
    file = source.files[0]
    urls = (f"{server.url}/gone", *file.urls)
    bring(replace(source, files=(replace(file, urls=urls),)))
    assert source.read("a.bin") == CONTENTS
    told = refused(replace(source, name="none", files=(replace(file, urls=urls[:1]),)))
    assert told == f"none: a.bin: it cannot be downloaded: {server.url}/gone: Not Found"


def test_a_server_that_is_gone_is_one_line(source, server):
    file = replace(source.files[0], urls=("http://127.0.0.1:9/a.bin",))
    told = refused(replace(source, files=(file,)))
    assert "127.0.0.1:9/a.bin: [Errno 111] Connection refused" in told
    assert "has no address" in refused(replace(source, files=(replace(file, urls=()),)))


def test_a_full_disk_names_the_file_and_what_is_there_stays(source, cached, monkeypatch):
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, chunk):
            self.file.write(chunk[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(opened(path, mode)))
    with pytest.raises(OSError, match="No space left on device") as error:
        bring(source)
    assert error.value.filename == str(cached.with_name("a.bin.part"))
    monkeypatch.setattr(Path, "open", opened)
    assert cached.with_name("a.bin.part").stat().st_size == 10
    bring(source)
    assert source.read("a.bin") == CONTENTS


def test_two_at_once_download_once(source, server):
    server.gate, told = threading.Event(), []
    both = [threading.Thread(target=lambda: told.append(bring(source))) for _ in range(2)]
    both[0].start()
    while not server.asked:
        both[0].join(0.01)
    both[1].start()
    both[1].join(0.5)  # it waits
    server.gate.set()
    for one in both:
        one.join()
    assert sorted(told) == [[], ["bytes: another process fetches it"]]
    assert server.asked == [None]
    assert source.read("a.bin") == CONTENTS


def test_a_users_folder_does_instead_of_the_internet(source, server, tmp_path, cached):
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    with pytest.raises(InputError, match=f"none of a.bin, a.bin.gz, a.bin.dz is below {folder}$"):
        bring(source, folder)
    (folder / "a.bin").write_bytes(b"other")
    with pytest.raises(InputError, match=f"{folder}/a.bin is not the published file: "):
        bring(source, folder)
    (folder / "deep/a.bin.gz").write_bytes(gzip.compress(CONTENTS))
    bring(source, folder)
    assert cached.read_bytes() == CONTENTS
    assert server.asked == []


@pytest.fixture
def command(source, monkeypatch, capsys):
    """Return a function that runs `beyond-data` where this is all that there is."""
    monkeypatch.setattr(data, "published", lambda: {"bytes": source})

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["beyond-data", *arguments])
        try:
            data.main()
        except SystemExit as end:
            return capsys.readouterr().out + str(end.code)
        return capsys.readouterr().out

    return run


def test_the_commands_tell_what_is_there_bring_it_and_verify_it(command, cached):
    missing = "missing: beyond-data fetch bytes"
    listed = [re.split("  +", line) for line in command("list").splitlines()]
    assert listed[0] == ["data", "size", "where", "licence", "tasks"]
    assert listed[1] == ["bytes", "0.0 MB", missing, "CC0"]
    known = f"with the Python package wordfreq {version('wordfreq')}"
    assert ["wordfreq", known, "text/languages"] in listed
    assert command("verify") == f"bytes: {missing}\n"
    assert command("fetch", "bytes") == f"bytes: 1 file in {cached.parent}\n"
    assert command("verify", "bytes") == f"bytes: as published, in {cached.parent}\n"
    cached.write_bytes(CONTENTS[1:])
    assert command("verify").splitlines() == [
        f"bytes: {cached} is not the published file: its SHA-256 is another; "
        "beyond-data fetch bytes",
        "beyond-data: 1 file must be as published",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["fetch", "bits"], "data must be one of bytes; got 'bits'"),
        (["verify", "bits"], "data must be one of bytes; got 'bits'"),
        (["fetch"], "fetch must be followed by a name of `beyond-data list`, got ''"),
        (["fetch", "bytes", "form=x"], "a setting of fetch must be one of from; got 'form'"),
        (["fetch", "bytes", "from=/no/such"], "from must be a folder, got '/no/such'"),
        (["list", "bytes"], "list must be alone, got 'bytes'"),
    ],
)
def test_bad_input_is_one_line(command, arguments, line):
    assert command(*arguments) == f"beyond-data: {line}"
