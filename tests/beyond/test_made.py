import numpy as np
import pytest

from beyond.data.made import made_once
from beyond.errors import InputError

FAULTS = [
    # made anew each time
    ("beyond/data/made.py", "if not path.exists():", "if True:"),
]


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("BEYOND_DATA", str(tmp_path))
    return tmp_path


def test_it_is_made_once_for_each_key(cached):
    calls = []

    def make():
        calls.append(len(calls))
        return {"values": np.full(3, len(calls))}

    assert [made_once("x", key, make)["values"][0] for key in "aaba"] == [1, 1, 2, 1]
    assert sorted(path.name for path in (cached / "x").glob("*.npz")) == ["a.npz", "b.npz"]


def test_nothing_is_left_of_what_could_not_be_made(cached):
    with pytest.raises(ZeroDivisionError):
        made_once("x", "a", lambda: {"values": np.array(1 // 0)})
    assert list((cached / "x").glob("*.npz*")) == []
    assert made_once("x", "a", lambda: {"values": np.ones(1)})["values"] == 1


def test_what_is_spoilt_is_refused_by_name(cached):
    made_once("x", "a", lambda: {"values": np.arange(1000)})
    path = cached / "x" / "a.npz"
    for spoilt in (path.read_bytes()[:-50], b"", b"no arrays"):
        path.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"a\.npz is spoilt; without it, it is made again"):
            made_once("x", "a", dict)
    whole = bytearray(path.stat().st_size)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="spoilt"):
        made_once("x", "a", dict)


def test_a_cache_that_is_no_folder_is_told(cached, monkeypatch):
    (cached / "file").touch()
    monkeypatch.setenv("BEYOND_DATA", str(cached / "file"))
    with pytest.raises(InputError, match=r"^x is kept in BEYOND_DATA, which cannot be written"):
        made_once("x", "a", dict)
