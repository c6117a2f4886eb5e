"""Oracle: what was handed over, as pandas and NumPy read the file again."""

import numpy as np
import pandas as pd
import pytest

from beyond.run.handed import arrays, table

FAULTS = [
    # rows have their index as an input
    ("beyond/run/handed.py", "to_parquet(path, index=False)", "to_parquet(path)"),
    # a category that is a number becomes one
    ("beyond/run/handed.py", "_with_texts(named(frame))", "named(frame)"),
    # other data of one name take the place of the first
    ("beyond/run/handed.py", "sha256(part.read_bytes())", "sha256(part.name.encode())"),
    ("beyond/run/handed.py", "folder / digest / self.file_name", "folder / self.file_name"),
    # settings are lost; texts are cut; numbers lose digits
    ("beyond/run/handed.py", '{"target": target, **settings})', '{"target": target})'),
    ("beyond/run/handed.py", "np.array(array.tolist())", 'array.astype("U1")'),
    ("beyond/run/handed.py", "X=inputs, y", "X=inputs.astype(np.float32), y"),
]
N = 90


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", 7])
    return made.assign(kind=np.where(made["a"] > 0, "high", "low"), shop=np.arange(N) % 30)


def kinds(task):
    return {
        feature.name: (feature.kind, len(feature.standardised)) for feature in task._table.features
    }


def test_a_frame_is_kept_as_it_is_but_for_its_index(frame, tmp_path):
    task = table(frame.set_axis(np.arange(N) * 3 + 1), "kind", "x", group="shop").task(tmp_path)
    kept = pd.read_parquet(task.path)
    pd.testing.assert_frame_equal(kept, frame.rename(columns=str), check_dtype=False)
    assert kinds(task) == dict.fromkeys(["a", "b", "7"], ("number", 1))
    assert (task.spec.name, task.target, task.group) == ("table/x", "kind", "shop")


def test_data_have_a_place_for_each_of_their_contents(frame, tmp_path):
    folders = [
        table(made, "kind").task(tmp_path).path
        for made in (frame, frame.assign(a=frame["b"]), frame.copy())
    ]
    assert folders[0] == folders[2] != folders[1]
    assert sorted(file.parent.parent for file in tmp_path.rglob("*.parquet")) == [tmp_path] * 2


def test_categories_of_numbers_and_ranges_stay_categories(frame, tmp_path):
    made = frame.assign(
        a=pd.cut(frame["a"], [-9, -1, 0, 9]), shop=pd.Categorical(np.arange(N) % 4, [3, 2, 1, 0])
    )
    task = table(made, "shop").task(tmp_path)
    assert task._targets.counts == {"3": 22, "2": 22, "1": 23, "0": 23}
    assert kinds(task) == {
        "b": ("number", 1),
        "7": ("number", 1),
        "a": ("category", 3),
        "kind": ("category", 2),
    }


def test_arrays_are_kept_to_the_last_digit(frame, tmp_path):
    inputs = 1e6 + frame[["a", "b"]].to_numpy() / 1e3
    task = arrays(inputs, frame["kind"].astype(object), "x", kind="classes").task(tmp_path)
    with np.load(task.path) as kept:
        np.testing.assert_array_equal(kept["X"], inputs)
        assert kept["X"].dtype == np.float64
        assert kept["y"].tolist() == frame["kind"].tolist()
    assert (task.spec.name, task.kind) == ("arrays/x", "classes")
