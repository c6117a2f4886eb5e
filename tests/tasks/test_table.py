"""Oracles: scaling by hand of each replica's training part, scikit-learn on the same columns, and
one clear line for every file that cannot be used.
"""

import gzip
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from beyond.contracts import SPLITS, TargetKind
from beyond.data import given
from beyond.errors import InputError

FAULTS = [
    # what is learnt is learnt from all rows
    (
        "beyond/data/features.py",
        "self._moments_of(self.values[part])",
        "self._moments_of(self.values)",
    ),
    # a number that is missing counts as 0
    (
        "beyond/data/features.py",
        "torch.where(known, values - first, 0.0)",
        "(values.nan_to_num(0.0) - first)",
    ),
    # it becomes 0 in the column's units
    ("beyond/data/features.py", "super().at(rows).nan_to_num_(0.0)", "super().at(rows)"),
    # rare texts have columns too
    ("beyond/data/features.py", ">= self.rare)", ">= 0)"),
    # 0 and 1 are standardised
    ("beyond/data/features.py", "std = torch.where(self.standardised, std, 1.0)", "std = std + 0"),
    # rows in one group are in two splits
    (
        "beyond/data/columns.py",
        "order = np.argsort(places[members]",
        "order = np.argsort(rng.random(n_rows)",
    ),
    # the first rows in time are the test split
    (
        "beyond/data/columns.py",
        "train, validation, test = np.split(order, [",
        "test, validation, train = np.split(order, [",
    ),
    # the day of the week starts anew each day
    ("beyond/data/features.py", "YEAR, WEEK = 365.2425, 7.0", "YEAR, WEEK = 365.2425, 1.0"),
    # a column of t and f is nothing but f
    ("beyond/data/features.py", 'TRUE = ("true", "yes", "t", "y")', 'TRUE = ("true", "yes")'),
    # chance of classes that are equally frequent
    (
        "beyond/data/given.py",
        "max(self.counts.values()) / len(self.values)",
        "1 / len(self.counts)",
    ),
    # the line within what was decoded at once
    ("beyond/data/tables.py", "            line += text.count(NEWLINE)", "            line = 1"),
    # what is over is an index, and all columns are moved
    ("beyond/data/tables.py", "None if lacks else 2", "None if lacks else 1"),
    # what is not there is missing
    ("beyond/data/tables.py", "None if lacks else 2", "2"),
    # a pipe is waited for
    ("beyond/data/given.py", "str(file), S_ISREG(stat.st_mode))", "str(file), True)"),
    # one wrong day makes texts of all
    ("beyond/data/features.py", ".notna().mean() >= MOST", ".notna().all()"),
    # fewer examples are the oldest ones
    (
        "beyond/data/columns.py",
        "self._thin(rng.permutation(train), raw.targets)",
        "self._thin(train, raw.targets)",
    ),
    # validation and test share a group
    (
        "beyond/data/columns.py",
        "test_end = int(ends[np.searchsorted(ends, n_test)])",
        "test_end = n_test",
    ),
    # what splits follow is an input
    ("beyond/data/columns.py", "in (self.group, self.time) if name}", "in (self.group,) if name}"),
    ("beyond/data/columns.py", "in (self.group, self.time) if name}", "in (self.time,) if name}"),
    # a spread that is rounding counts as one; a truth may be rare
    (
        "beyond/data/features.py",
        "varies = std > NOISE * precision * mean.abs()",
        "varies = std > 0",
    ),
    (
        "beyond/data/features.py",
        'feature.kind == "category" for feature',
        'feature.kind != "number" for feature',
    ),
    # what is asked for is not heard; one whole number fewer makes classes
    ("beyond/data/features.py", "(kind is None and numeric and not few)", "(numeric and not few)"),
    ("beyond/data/features.py", "column.nunique() <= FEW", "column.nunique() < FEW"),
    # texts are refused, as two in three are numbers
    ("beyond/data/features.py", "MOST = 0.9", "MOST = 0.5"),
    # rows of one time are in any order
    (
        "beyond/data/features.py",
        'np.argsort(column.to_numpy(), kind="stable")',
        "np.argsort(column.to_numpy())",
    ),
    # one text, or none, is always the same; blanks count
    ("beyond/data/features.py", "different < 2 and not column.isna().any()", "different < 2"),
    (
        "beyond/data/features.py",
        "words: Any = column.astype(str).str.strip()",
        "words: Any = column.astype(str)",
    ),
    (
        "beyond/data/features.py",
        "texts: Any = column[~missing].astype(str).str.strip()",
        "texts: Any = column[~missing].astype(str)",
    ),
    # nothing says which entries were missing
    ("beyond/data/features.py", "if self.gaps else []", "if False else []"),
    ("beyond/data/tables.py", "delimiter = reading.delimiter or", "delimiter ="),
    # other answers are the same data; a file that changed within a second is the same
    ("beyond/data/given.py", "digest(raw.inputs, raw.targets, *self", "digest(raw.inputs, *self"),
    ("beyond/data/given.py", "return stat.st_mtime_ns,", "return stat.st_mtime_ns // 10**9,"),
    ("beyond/data/given.py", "VALUES: (0.25, 0.5, 0.75)", "VALUES: (0.5, 0.75, 0.9)"),
    # entries that stand for nothing do so in text files alone; or a number never does
    (
        "beyond/data/tables.py",
        "_marked(pd.read_parquet(file), reading.missing)",
        "pd.read_parquet(file)",
    ),
    ("beyond/data/tables.py", "markers = [*missing, *numbers.dropna()]", "markers = missing"),
    # a list is taken for an entry
    ("beyond/data/features.py", "all(isinstance(entry, Hashable) for", "all(True for"),
]
N = 300


def frame(n=N, seed=0):
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(
        {
            "name": [f"row {index}" for index in range(n)],
            "age": rng.integers(18, 80, n).astype(float),
            "income": 1e6 + rng.normal(0, 5, n),
            "member": rng.choice(["yes", "no"], n),
            "city": rng.choice(["Berlin", "Paris", "Rome"], n, p=[0.5, 0.3, 0.2]),
            "since": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 2000, n), "D"),
            "unit": "kg",
            "shop": rng.integers(0, 40, n),
        }
    )
    made.loc[rng.choice(n, 30, replace=False), "age"] = np.nan
    score = made["age"].fillna(50) / 20 + 2 * (made["member"] == "yes") + (made["city"] == "Rome")
    made["price"] = (10 * score + rng.normal(0, 1, n)).round(3)
    made["buys"] = np.where(score > score.median(), "buys", "leaves")
    return made


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table and gives its path."""

    def written(made, name="shop.csv", **how):
        path = tmp_path / name
        if isinstance(made, bytes):
            path.write_bytes(made)
        elif isinstance(made, str):
            path.write_text(made)
        elif path.suffix == ".parquet":
            made.to_parquet(path)
        else:
            made.to_csv(path, index=False, **how)
        return str(path)

    return written


def task(path, target="buys", **settings):
    return catalog.load("task", "table", path=path, target=target, **settings)


def shown(made, split, seeds=(0, 1)):
    """Inputs and targets of a whole split, and the rows of the file that they are."""
    splits = made.at(seeds)
    places = torch.arange(splits.size(split)).expand(len(seeds), -1)
    batch = splits.batch(split, places)
    return batch.inputs, batch.targets, splits.ids(split, places)


def test_columns_are_taken_for_what_they_are(write):
    made = task(write(frame()), ignore=["price"])
    table = made._table
    kinds = {feature.name: (feature.kind, len(feature.standardised)) for feature in table.features}
    assert kinds == {
        "age": ("number", 2),
        "income": ("number", 1),
        "member": ("truth", 1),
        "city": ("category", 3),
        "since": ("date", 5),
        "shop": ("number", 1),
    }
    assert table.dropped == {
        "name": "300 different texts: names or prose",
        "unit": "every row has the same",
        "price": "ignored",
    }
    assert made.spec.input_shape == (13,)
    assert made.spec.name == "table/shop"
    assert made._targets.counts == frame()["buys"].value_counts().to_dict()


@pytest.mark.parametrize("split_seed", [None, 3])
def test_what_is_learnt_is_learnt_from_the_training_part(write, split_seed):
    made, source = task(write(frame()), split_seed=split_seed), frame()
    _, _, trained = shown(made, "train")
    for split in SPLITS:
        inputs, targets, rows = shown(made, split)
        for replica in range(2):
            part, here = source.iloc[trained[replica]], source.iloc[rows[replica]]
            age = (here["age"] - part["age"].mean()) / part["age"].std(ddof=0)
            income = (here["income"] - part["income"].mean()) / part["income"].std(ddof=0)
            week = 2 * np.pi * (here["since"] - pd.Timestamp("2000-01-01")).dt.days / 7
            known = pd.DataFrame(
                {
                    "age": age.fillna(0),
                    "age is missing": here["age"].isna().astype(float),
                    "income": income,
                    "member": (here["member"] == "yes").astype(float),
                    "Berlin": (here["city"] == "Berlin").astype(float),
                    "Paris": (here["city"] == "Paris").astype(float),
                    "Rome": (here["city"] == "Rome").astype(float),
                }
            )
            np.testing.assert_allclose(inputs[replica, :, :7], known, rtol=1e-4, atol=1e-5)
            all_weeks = 2 * np.pi * (part["since"] - pd.Timestamp("2000-01-01")).dt.days / 7
            cosine = (np.cos(week) - np.cos(all_weeks).mean()) / np.cos(all_weeks).std(ddof=0)
            np.testing.assert_allclose(inputs[replica, :, 11], cosine, rtol=1e-3, atol=1e-4)
            assert targets[replica].tolist() == (here["buys"] == "leaves").astype(int).tolist()
            others = torch.from_numpy(made._table.inputs[rows[replica]])
            prepared = made.at([0, 1]).prepared(others).expand_as(inputs)
            assert torch.equal(prepared[replica], inputs[replica])


def test_a_text_that_is_rare_or_unseen_in_the_training_part_is_none(write):
    made = frame()
    made["city"] = np.where(np.arange(N) < 4, "Oslo", "Rome")
    made.loc[4:100, "city"] = "Paris"
    table = task(write(made), rare=4, ignore=["price"])
    found = set()
    for split in SPLITS:
        inputs, _, rows = shown(table, split, range(20))
        trained = shown(table, "train", range(20))[2]
        for replica in range(20):
            n_trained = int((trained[replica] < 4).sum())
            oslo = inputs[replica, :, 4]
            expected = (rows[replica] < 4).float() if n_trained >= 4 else torch.zeros(len(oslo))
            assert torch.equal(oslo, expected)
            found.add(n_trained >= 4)
    assert found == {True, False}


def test_a_column_that_the_training_part_does_not_vary_in_is_off_everywhere(write):
    made = frame().sort_values("since").reset_index(drop=True)
    made["rounded"] = np.where(np.arange(N) % 2, 0.3, 0.1 + 0.2)
    made["late"] = np.where(np.arange(N) < 250, 5.0, np.arange(N) * 1000.0)
    table = task(write(made), time="since", ignore=["price"])
    assert not shown(table, "test")[0][..., -2:].any()


def test_a_truth_that_is_rare_is_still_one(write):
    made = frame().assign(member=np.where(np.arange(N) % 50, "no", "yes"))
    inputs, _, rows = shown(task(write(made), rare=20), "train")
    assert torch.equal(inputs[..., 3], (rows % 50 == 0).float())


def test_groups_stay_together_and_splits_have_the_same_size_at_every_seed(write):
    made, source = task(write(frame()), group="shop"), frame()
    sizes = set()
    tested = []
    for seed in range(5):
        groups = {
            split: set(source["shop"].iloc[shown(made, split, [seed])[2][0]]) for split in SPLITS
        }
        assert not groups["train"] & groups["test"]
        assert not groups["train"] & groups["validation"]
        assert not groups["validation"] & groups["test"]
        rows = [shown(made, split, [seed])[2][0] for split in SPLITS]
        sizes.add(tuple(map(len, rows)))
        assert len(set(torch.cat(rows).tolist())) == sum(map(len, rows))
        tested.append(set(rows[2].tolist()))
    assert len(sizes) == 1
    assert next(iter(sizes))[1:] == (45, 45)
    assert tested[0] != tested[1]


@pytest.mark.parametrize(("setting", "column"), [("group", "shop"), ("time", "since")])
def test_what_splits_follow_is_no_input(write, setting, column):
    made = task(write(frame()), **{setting: column})
    assert column not in [feature.name for feature in made._table.features]
    assert made._table.dropped[column] == "splits follow it"


@pytest.mark.parametrize("column", ["since", "price"])
def test_in_order_of_time_the_last_rows_are_tested(write, column):
    source = frame()
    made = task(write(source), "shop" if column == "price" else "price", time=column, kind="values")
    times = [source[column].iloc[shown(made, split)[2][0]] for split in SPLITS]
    assert times[0].max() <= times[1].min()
    assert times[1].max() <= times[2].min()
    assert made.at([0]).origin == "source"
    assert torch.equal(shown(made, "test")[2][0], shown(made, "test")[2][1])


def test_rows_of_one_time_are_in_the_order_of_the_file(write):
    tested = shown(task(write(frame()), time="shop"), "test")[2][0]
    assert tested.tolist() == frame()["shop"].sort_values(kind="stable").index[-45:].tolist()


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("shop.csv", ","), ("shop.csv", ";"), ("shop.tsv", "\t"), ("shop.parquet", None)],
)
def test_the_same_table_in_another_file_is_the_same(write, name, delimiter):
    how = {} if delimiter is None else {"sep": delimiter}
    other, plain = (
        task(write(frame(), name, **how), delimiter=delimiter),
        task(write(frame(), "plain.csv")),
    )
    assert torch.equal(shown(other, "train")[0], shown(plain, "train")[0])
    assert other.checksum() == plain.checksum()


def test_a_sheet_is_read(write, tmp_path):
    pytest.importorskip("openpyxl")
    frame().to_excel(tmp_path / "shop.xlsx", index=False)  # with a digit less than a float has
    sheet, plain = task(str(tmp_path / "shop.xlsx")), task(write(frame()))
    assert torch.equal(shown(sheet, "train")[0], shown(plain, "train")[0])


def test_targets_are_values_or_classes(write):
    path = write(frame())
    kinds = {name: task(path, name).spec.target_kind for name in ("price", "buys", "member")}
    assert list(kinds.values()) == [TargetKind.VALUES, TargetKind.CLASSES, TargetKind.CLASSES]
    assert task(path, "shop").spec.target_kind is TargetKind.VALUES  # forty whole numbers
    few = frame().assign(shop=lambda made: made["shop"] % 5)
    path = write(few, "few.csv")
    assert task(path, "shop").spec.n_outputs == 5
    assert task(path, "shop", kind="values").spec.target_kind is TargetKind.VALUES
    for n_different, kind in ((20, TargetKind.CLASSES), (21, TargetKind.VALUES)):
        counted = frame().assign(shop=np.arange(N) % n_different)
        path = write(counted, f"{n_different}.csv")
        assert task(path, "shop").spec.target_kind is kind
    assert task(path, "shop", kind="classes").spec.n_outputs == 21


def test_categories_that_the_file_declares_stay_so(write):
    """Some look like numbers, and of some there are no rows."""
    declared = frame().assign(
        shop=lambda made: pd.Categorical((made["shop"] % 5).astype(str)),
        buys=lambda made: pd.Categorical(made["buys"], ["leaves", "returns", "buys"]),
    )
    made = task(write(declared, "shop.parquet"), ignore=["price"])
    kinds = {
        feature.name: (feature.kind, len(feature.standardised)) for feature in made._table.features
    }
    assert kinds["shop"] == ("category", 5)
    assert list(made._targets.counts) == ["leaves", "buys"]


@pytest.mark.parametrize("name", ["shop.csv", "shop.parquet"])
def test_entries_that_stand_for_nothing_are_missing_in_every_kind_of_file(write, name):
    made = frame()
    made.loc[::7, "city"] = None
    plain = task(write(made, "plain.csv"), ignore=["price"])
    marked = made.assign(age=made["age"].fillna(-1), city=made["city"].fillna("?"))
    other = task(write(marked, name), ignore=["price"], missing=["?", "-1"])
    assert other._table.inputs.shape == (N, 14)
    assert other.checksum() == plain.checksum()


def test_blanks_do_not_count_and_numbers_may_be_texts(write):
    made = frame()
    age = made["age"].map(lambda number: None if np.isnan(number) else f" {number}")
    blank = made.assign(city=made["city"] + " ", member=" " + made["member"], age=age)
    blank.loc[::2, "city"] = made["city"]
    plain, other = task(write(made)), task(write(blank, "shop.parquet"))
    np.testing.assert_array_equal(other._table.inputs, plain._table.inputs)


def test_one_text_or_none_is_something_to_learn_from(write):
    late = np.arange(N) % 3 > 0
    table = task(write(frame().assign(note=np.where(late, "late", None))))._table
    assert table.features[-1].name == "note"
    np.testing.assert_array_equal(table.inputs[:, -2:], np.stack([late, ~late], 1))


def test_columns_of_lists_are_left_out(write):
    made = frame()
    made["tags"] = [[place % 3, place] if place else None for place in range(N)]
    path = write(made, "shop.parquet")
    assert task(path)._table.dropped["tags"] == "lists, no single entries"
    assert task(path, ignore=["tags"])._table.dropped["tags"] == "ignored"
    for setting in ("target", "group"):
        with pytest.raises(
            InputError, match=rf"^task\.{setting} must be a column of single entries"
        ):
            task(path, **{setting: "tags"})


@pytest.mark.parametrize("texts", [["1", "2", "x"], ["2020-13-45", "2021-14-01", "2022-02-30"]])
def test_what_is_neither_all_numbers_nor_all_dates_is_a_category(write, texts):
    made = frame().assign(city=np.array(texts)[np.arange(N) % 3])
    kinds = {
        feature.name: (feature.kind, len(feature.standardised))
        for feature in task(write(made))._table.features
    }
    assert kinds["city"] == ("category", 3)


def test_it_holds_what_logistic_regression_finds(write):
    made = task(write(frame(2000)), ignore=["price"])
    (train, targets, _), (test, answers, _) = shown(made, "train"), shown(made, "test")
    fitted = LogisticRegression(max_iter=1000).fit(train[0], targets[0])
    assert fitted.score(test[0], answers[0]) > 0.9


def test_a_file_that_changed_is_read_again(write):
    """Even if one target alone did, within the same second, and the size stayed."""
    made, found = frame(), set()
    for nanoseconds, rows in ((10**18, [0, 1]), (10**18 + 1000, [1, 0])):
        changed = made.assign(buys=made["buys"].iloc[rows + list(range(2, N))].to_numpy())
        path = write(changed)
        os.utime(path, ns=(nanoseconds, nanoseconds))
        found.add((Path(path).stat().st_size, task(path).checksum()))
    assert len({size for size, _ in found}) == 1
    assert len(found) == 2


def header(*names, rows=("1,2,a",)):
    return "\n".join([",".join(names), *rows]) + "\n"


BAD = {
    "an empty file": (b"", {}, "shop.csv is empty"),
    "a header alone": ("a,b,y\n", {}, "has a header and no row"),
    "a name twice": (header("a", "a", "y"), {}, "shop.csv, line 1: two columns are named 'a'"),
    "the target ignored": (
        header("a", "b", "y"),
        {"ignore": ["y"]},
        "task.ignore must be another than task.target, 'y', got 'y'",
    ),
    "the target for time": (
        header("a", "b", "y"),
        {"time": "y"},
        "task.time must be another than task.target, 'y', got 'y'",
    ),
    "the target alone": (
        header("y", rows=("1", "2", "3")),
        {"kind": "values"},
        "no column to learn from besides those set aside",
    ),
    "another delimiter": ("a;b;y\n1;2;x\n", {}, "task.delimiter=';' gives 3"),
    "a row too long": (
        header("a", "b", "y", rows=("1,2,x", "1,2,3,x")),
        {},
        "line 3: 4 fields instead of 3",
    ),
    "another encoding": (
        "a,y\nMünchen,x\nKöln,z\n".encode("latin-1"),
        {},
        "line 2: not utf-8 (byte 0xfc)",
    ),
    "an unknown encoding": (
        header("a", "b", "y"),
        {"encoding": "klingon"},
        "unknown encoding: klingon",
    ),
    "no such target": (
        header("a", "b", "y"),
        {"target": "z"},
        "task.target must be one of a, b, y; got 'z'",
    ),
    "no such ignored": (
        header("a", "b", "y"),
        {"ignore": ["z"]},
        "task.ignore must be one of a, b, y; got 'z'",
    ),
    "no such group": (
        header("a", "b", "y"),
        {"group": "z"},
        "task.group must be one of a, b, y; got 'z'",
    ),
    "a target missing": (
        header("a", "y", rows=("1,x", "2,", "3,z")),
        {},
        "row 2, column 'y': the target is missing",
    ),
    "one class": (header("a", "y", rows=("1,x", "2,x")), {}, "every row is of the class x"),
    "a class of one": (
        header("a", "y", rows=["1,x", "2,x", "3,x", "4,z"]),
        {},
        "the class z has 1 row, fewer than one for each",
    ),
    "one value": (header("a", "y", rows=["1,2.5", "2,2.5"]), {}, "every row has the same target"),
    "texts as values": (
        header("a", "y", rows=["1,x", "2,z"]),
        {"kind": "values"},
        "task.kind must be classes for the column 'y'",
    ),
    "an error among numbers": (
        header("a", "y", rows=[f"{i},{i % 2}" for i in range(20)] + ["12b,1"]),
        {},
        "row 21, column 'a': '12b' is no number, as the others are; task.missing=['12b'] takes it as missing",
    ),
    "an infinite number": (
        header("a", "y", rows=["1,0", "inf,1"] * 5),
        {},
        "row 2, column 'a': inf is no finite number",
    ),
    "nothing to learn from": (
        header("a", "y", rows=["1,0", "1,1"] * 5),
        {},
        "has no column to learn from: a",
    ),
    "no order": (
        header("a", "b", "y", rows=["1,x,0", "2,z,1"] * 5),
        {"time": "b"},
        "task.time must be a column of numbers, or",
    ),
    "time and group": (
        header("a", "b", "y", rows=["1,x,0", "2,z,1"] * 5),
        {"time": "b", "group": "a"},
        "task.time must be null where",
    ),
    "one large group": (
        header("a", "b", "y", rows=["1,x,0", "2,z,1"] * 50),
        {"group": "b"},
        "whose largest group is at most 10 of 100",
    ),
    "bytes of something else": (gzip.compress(b"a,y\n1,2\n"), {}, "shop.csv is no text but gzip"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0", {}, "line 1: not utf-8 (byte 0x89); task.encoding"),
    "a character 0": (b"a,y\n1,x\n2\0,z\n", {}, "shop.csv, line 3: not utf-8 (byte 0x00)"),
    "utf-16 with its mark": (
        "a,y\n1,\u00e9\n".encode("utf-16"),
        {},
        "line 1: not utf-8 (byte 0xff); task.encoding names another, as utf-16",
    ),
    "utf-16 without it": (
        "a,y\n1,\u00e9\n".encode("utf-16-le"),
        {},
        "line 1: not utf-8 (byte 0x00); task.encoding names another, as utf-16",
    ),
    "a text cut within a character": (
        "a,y\n1,\u00e9".encode()[:-1],
        {},
        "line 2: not utf-8 (byte 0xc3)",
    ),
    "another encoding far behind": (
        b"a,y\n" + b"1,x\n" * 700_000 + b"2,\xfc\n",
        {},
        "line 700002: not utf-8 (byte 0xfc); task.encoding names another, as latin-1",
    ),
    "a row too short": (
        header("a", "b", "y", rows=("1,2,x", "1", "1,2,x")),
        {},
        "line 3: 1 field instead of 3",
    ),
    "rows longer than the header": (
        header("a", "b", "y", rows=("1,2,x,", "3,4,z,")),
        {},
        "line 2: 4 fields instead of 3",
    ),
    "rows longer than the header, and full": (
        header("a", "b", "y", rows=("0,2,x,5", "1,4,z,6")),
        {},
        "line 2: 4 fields instead of 3",
    ),
    "a quote that is not closed": (
        header("a", "b", "y", rows=("1,2,x", '1,"2,x', "1,2,x")),
        {},
        "shop.csv, row 2: a quote is not closed",
    ),
    "a delimiter of two": (
        header("a", "y"),
        {"delimiter": "::"},
        "delimiter must be one character, or null, got '::'",
    ),
    "a whole number beyond all": (
        header("a", "y", rows=[f"{i},{i % 2}" for i in range(20)] + [f"1{'0' * 400},1"]),
        {},
        "row 21, column 'a': inf is no finite number",
    ),
    "a day that is none": (
        header("a", "y", rows=[f"2020-02-{i + 1},{i % 2}" for i in range(20)] + ["2020-02-30,1"]),
        {},
        "row 21, column 'a': '2020-02-30' is no date, as the others are; task.missing=",
    ),
    "too many columns": (
        header(*(f"c{i}" for i in range(10_001)), "y", rows=(",".join("1" * 10_002),)),
        {},
        "10,002 columns; at most 10,000",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(write, name):
    text, settings, message = BAD[name]
    path = write(text)
    with pytest.raises(InputError) as refused:
        task(path, **{"target": "y", **settings}).at([0])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "InputError" not in str(refused.value)
    assert str(refused.value).count("shop.csv") <= 1


def test_an_entry_may_be_long_and_a_line_blank_and_the_last_column_have_gaps(write):
    rows = [f"{'word ' * 40_000},{index},{'' if index % 3 else index}" for index in range(9)]
    path = write(header("text", "y", "b", rows=[*rows, "", "  "]))
    assert len(task(path, "y", kind="values", ignore=["text"])._frame) == 9


@pytest.mark.parametrize("suffix", ["parquet", "xlsx"])
def test_a_name_twice_is_refused_in_every_kind_of_file(tmp_path, monkeypatch, suffix):
    made = pd.DataFrame([["a", "a", "y"], [1, 2, 3]])
    path = tmp_path / f"shop.{suffix}"
    path.touch()
    if suffix == "parquet":
        columns = [pa.array([1]), pa.array([2]), pa.array([3])]
        pq.write_table(pa.table(columns, names=["a", "a", "y"]), path)
    monkeypatch.setattr(pd, "read_excel", lambda *_, nrows=None, **__: made[:nrows])
    with pytest.raises(InputError, match=r"shop\..*, line 1: two columns are named 'a'$"):
        task(str(path), "y")


def test_names_of_several_levels_are_texts(tmp_path):
    made = frame()[["age", "buys"]].set_axis([["a", "b"], ["c", "d"]], axis=1)
    made.to_parquet(tmp_path / "levels.parquet")
    assert task(str(tmp_path / "levels.parquet"), "('b', 'd')").spec.input_shape == (2,)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "a.csv").mkdir()
    os.mkfifo(tmp_path / "b.csv")
    (tmp_path / "c.csv").symlink_to("/dev/zero")
    for name in "abc":
        with pytest.raises(InputError, match=rf"^task.path must be a file, got '.*{name}\.csv'$"):
            task(str(tmp_path / f"{name}.csv"))
    (tmp_path / "d.csv").symlink_to("d.csv")
    with pytest.raises(InputError, match=r"^task.path: Too many levels of symbolic links: "):
        task(str(tmp_path / "d.csv"))
    for path, line in (("~nobody_/a.csv", "'~nobody_/a.csv': "), ("a\0.csv", "a path must be ")):
        with pytest.raises(InputError, match=f"^{line}"):
            task(path)


def test_a_file_that_is_not_there_or_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^task.path: No such file or directory: '.*none.csv'$"):
        task(str(tmp_path / "none.csv"))
    with pytest.raises(
        InputError, match=r"^the ending of task.path must be one of \.csv, .*; got '\.pdf'$"
    ):
        task(str(tmp_path / "none.pdf"))


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "shop.xlsx", "w") as archive:  # as far as pandas looks
        archive.writestr("xl/workbook.xml", "")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"shop\.xlsx needs the library openpyxl, which the extra"):
        task(str(tmp_path / "shop.xlsx"))


def test_a_file_too_large_to_hold_is_refused(write, monkeypatch):
    monkeypatch.setattr(given, "LARGEST", 100)
    with pytest.raises(InputError, match=r"shop\.csv has 0\.0 GB; at most 2 can be held$"):
        task(write(frame()))


def test_from_a_file_to_a_run_in_one_command(beyond, write):
    status, told, _ = beyond(
        "task=table",
        f"task.path={write(frame())}",
        "task.target=buys",
        "task.ignore=[price]",
        "seeds=2",
        "budget.epochs=3",
    )
    assert status == 0
    assert "table/shop" in told


def test_what_is_not_given_is_asked_for(beyond):
    assert beyond("task=table")[1] == "beyond: task.path must be given\n"
    with pytest.raises(InputError, match=r"^task\.path must be given$"):
        catalog.load("task", "table")


@pytest.mark.parametrize("words", [("true", "false"), ("Yes", "No"), ("T", "F"), ("y", "n")])
def test_truth_is_the_same_however_it_is_written(write, words):
    made = frame()
    made["member"] = np.where(made["member"] == "yes", *words)
    plain, other = task(write(frame())), task(write(made, "other.csv"))
    assert torch.equal(shown(other, "train")[0], shown(plain, "train")[0])


def test_levels_lie_between_the_share_of_the_largest_class_and_1(write):
    made = task(write(frame()), "city")
    chance = frame()["city"].value_counts(normalize=True).max()
    assert chance > 0.4
    assert made.spec.levels == tuple(round(chance + s * (1 - chance), 3) for s in (0.5, 0.75, 0.9))
    assert task(write(frame()), "price").spec.levels == (0.25, 0.5, 0.75)


def test_fewer_examples_are_drawn_from_all_of_the_time_that_trains(write):
    made = task(write(frame()), time="since", train_size=30)
    kept = [set(shown(made, "train", [seed])[2][0].tolist()) for seed in range(2)]
    assert len(kept[0]) == len(kept[1]) == 30
    assert kept[0] != kept[1]
