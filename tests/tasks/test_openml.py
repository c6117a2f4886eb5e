"""Oracle: a data set in scikit-learn's cache, written here, is the same table as in a file."""

import gzip
import hashlib
import json
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch

from beyond import catalog
from beyond.contracts import SPLITS, TargetKind
from beyond.errors import InputError, MissingDataError

FAULTS = [
    # numbers that name kinds are numbers
    ("beyond/data/features.py", "if isinstance(column.dtype, pd.CategoricalDtype):", "if False:"),
    # the last column, whatever OpenML says
    ("tasks/openml.py", "self.target or names[0]", "self.target or self._frame.columns[-1]"),
    # another number, the same data
    ("tasks/openml.py", "return _fetch(self.id, self.cache)", "return _fetch(31, self.cache)"),
    ("tasks/openml.py", 'if details["status"] != "active":', "if False:"),
]
N = 90
KINDS = {
    "row": ("numeric", "NUMERIC"),
    "good": ("nominal", "{bad,good,fair}"),
    "age": ("numeric", "NUMERIC"),
    "zone": ("nominal", "{1,2,3}"),
}


def frame(seed=0):
    rng = np.random.default_rng(seed)
    ages, zones = rng.integers(18, 80, N), rng.integers(1, 4, N)
    good = np.where(ages + 10 * zones > 65, "good", "bad")
    return pd.DataFrame({"row": np.arange(N), "good": good, "age": ages, "zone": zones})


@pytest.fixture
def put(tmp_path):
    """Return a function that puts a data set into a cache; offline from here on."""

    def written(number, made, targets=("good",), **described):
        lines = ["@RELATION my"]
        lines += [f"@ATTRIBUTE {name} {form}" for name, (_, form) in KINDS.items()]
        rows = made.to_csv(index=False, header=False, lineterminator="\n")
        arff = ("\n".join([*lines, "@DATA"]) + "\n" + rows).encode()
        features = [
            {
                "index": str(index),
                "name": name,
                "data_type": kind,
                "is_target": str(name in targets).lower(),
                "is_ignore": "false",
                "number_of_missing_values": "0",
                "is_row_identifier": str(name == "row").lower(),
            }
            for index, (name, (kind, _)) in enumerate(KINDS.items())
        ]
        description = {
            "id": str(number),
            "name": f"credit{number}",
            "version": "1",
            "description": "of credits",
            "format": "ARFF",
            "status": "active",
            "url": f"https://www.openml.org/data/v1/download/{number}/my.arff",
            "md5_checksum": hashlib.md5(arff).hexdigest(),
            **described,
        }
        quality = [{"name": "NumberOfInstances", "value": str(len(made))}]
        texts = {
            f"api/v1/json/data/{number}": {"data_set_description": description},
            f"api/v1/json/data/features/{number}": {"data_features": {"feature": features}},
            f"api/v1/json/data/qualities/{number}": {"data_qualities": {"quality": quality}},
        }
        contents = {path: json.dumps(text).encode() for path, text in texts.items()}
        contents[f"data/v1/download/{number}/my.arff"] = arff
        for path, content in contents.items():
            file = tmp_path / "openml" / "openml.org" / f"{path}.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(content))
        return str(tmp_path)

    return written


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_):
        raise URLError("no route to host")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", refuse)
    monkeypatch.setattr("time.sleep", lambda _: None)


def task(number, cache, **settings):
    return catalog.load("task", "openml", id=number, cache=cache, **settings)


def test_it_is_the_table_that_a_file_would_hold(put, tmp_path):
    made = task(31, put(31, frame()))
    assert made.spec.name == "openml/credit31"
    assert made.told() == [
        "OpenML 31 (credit31): 90 rows, 3 columns",
        "1 column of numbers, 1 input: age",
        "1 column of texts, 3 inputs: zone",
        made.told()[3],
        "splits: drawn by seed",
    ]
    assert made.told()[3].startswith("target good: 2 classes (bad ")
    same = frame()[["age", "zone", "good"]].assign(
        zone=lambda table: "z" + table["zone"].astype(str)
    )
    same.to_csv(tmp_path / "my.csv", index=False)
    other = catalog.load("task", "table", path=str(tmp_path / "my.csv"), target="good")
    for split in SPLITS:
        places = torch.arange(other.at([0]).size(split)).unsqueeze(0)
        ours, theirs = (each.at([0]).batch(split, places) for each in (made, other))
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def test_another_number_or_target_is_another_task(put):
    cache = put(31, frame())
    put(32, frame(1))
    assert task(31, cache).checksum() != task(32, cache).checksum()
    assert task(31, cache, target="age").spec.target_kind is TargetKind.VALUES


def test_what_openml_says_of_its_data_is_told(put):
    told = task(33, put(33, frame(), status="in_preparation", warning="odd")).told()
    assert told[-3:-1] == ["OpenML says: warning: odd", "OpenML says: status: in_preparation"]


def test_what_cannot_be_used_is_one_clear_line(put, tmp_path):
    bad = {
        41: ("OpenML 41 is not in .*, and cannot be fetched from openml.org: .*no route", None),
        42: (r"OpenML 42 \(credit42\): task.target must be given: it names none", {"targets": ()}),
        43: ("task.target must be given: it names good, zone", {"targets": ("good", "zone")}),
        45: ("OpenML 45 cannot be used: Sparse ARFF", {"format": "Sparse_ARFF"}),
    }
    for number, (line, described) in bad.items():
        cache = str(tmp_path) if described is None else put(number, frame(), **described)
        with pytest.raises(InputError, match=line) as refused:
            task(number, cache)
        assert "\n" not in str(refused.value)
        assert isinstance(refused.value, MissingDataError) is (described is None)
    with pytest.raises(InputError, match=r"OpenML 44 (cannot be used|is not in).*"):
        task(44, put(44, frame(), md5_checksum="0"))
    with pytest.raises(InputError, match=r"task\.target must be one of good, age, zone;"):
        task(46, put(46, frame()), target="y")
    with pytest.raises(InputError, match="id must be an integer >= 1, got 0"):
        task(0, None)
    with pytest.raises(InputError, match="every row is of the class bad"):
        task(47, put(47, frame().assign(good="bad")))
    with pytest.raises(InputError, match="the class fair has 1 row, fewer than one for each split"):
        task(48, put(48, frame().assign(good=["fair", *frame()["good"][1:]])))


def test_from_a_number_to_a_run_in_one_command(beyond, put):
    cache = put(31, frame())
    status, told, _ = beyond("task=openml", "task.id=31", f"task.cache={cache}", "budget.epochs=2")
    assert status == 0
    assert "openml/credit31" in told
