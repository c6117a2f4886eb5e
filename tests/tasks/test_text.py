"""Oracles: a vocabulary counted by hand in each replica's training part, logistic regression on
counts of words, and one clear line for every file that cannot be used.
"""

from collections import Counter
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from beyond.contracts import SPLITS, TargetKind
from beyond.data.texts import encode, units
from beyond.errors import InputError

FAULTS = [
    # symbols that no training part can have
    ("beyond/data/texts.py", "FIRST + min(how.most, n_known),", "FIRST + how.most,"),
    ("beyond/data/texts.py", "for word in text[:length])", "for word in text)"),
    # the vocabulary is that of all texts
    (
        "beyond/data/texts.py",
        "self._read(self.values[part[: self.n_read]]) for",
        "self._read(self.values) for",
    ),
    # every replica reads as the first does
    (
        "beyond/data/texts.py",
        "starts = n_places * torch.arange(n_replicas, device=rows.device).view(-1, 1, 1)",
        "starts = 0",
    ),
    ("beyond/data/texts.py", "counts[frequent] >= self.rare", "counts[frequent] > self.rare"),
    # the rarest are known
    ("beyond/data/texts.py", "argsort(descending=True, stable=True)", "argsort(stable=True)"),
    # what is unknown looks like an end
    ("beyond/data/texts.py", "(self.n_places,), UNKNOWN)", "(self.n_places,), NOTHING)"),
    # an end counts as a word
    ("beyond/data/texts.py", "counts[:FIRST] = 0", "counts[:0] = 0"),
    # the longest decides
    ("beyond/data/texts.py", "100 - MOST_CUT", "100"),
    ("beyond/data/texts.py", "lower = text.lower()", "lower = text"),
    # other words in the same places go unseen
    ("beyond/data/texts.py", 'np.array("\\n".join(encoded.alphabet))', "np.zeros(1)"),
]
N, WORDS = 240, 60


def frame(n=N, seed=0):
    """Texts of 5 to 20 words, of which one decides."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, WORDS + 1)
    rows = []
    for index in range(n):
        label = index % 2
        words = [
            f"word{place}"
            for place in rng.choice(WORDS, rng.integers(4, 20), p=share / share.sum())
        ]
        words.insert(int(rng.integers(len(words))), ("Don't", "GREAT")[label])
        rows.append((" ".join(words) + "!", ("bad", "good")[label], int(rng.integers(1, 6)), index))
    return pd.DataFrame(rows, columns=["review", "label", "stars", "id"])


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a table, or a text, and gives its path."""

    def written(made, name="my.csv"):
        path = tmp_path / name
        if isinstance(made, str):
            path.write_text(made)
        elif name.endswith("parquet"):
            made.to_parquet(path)
        else:
            made.to_csv(path, index=False)
        return str(path)

    return written


def task(path, text="review", target="label", **settings):
    return catalog.load("task", "text", path=path, text=text, target=target, **settings)


def whole(made, split, seeds=(0, 1)):
    splits = made.at(seeds)
    places = torch.arange(splits.size(split)).expand(len(seeds), -1)
    batch = splits.batch(split, places)
    return batch.inputs, batch.targets, splits.ids(split, places)


@pytest.mark.parametrize(
    ("unit", "found"),
    [
        ("words", ["don't", "stop", "über", "all", "o\u2019clock", "x_1", "42"]),
        ("characters", list("don't stop... über-all! o\u2019clock x_1 42")),
    ],
)
def test_words_and_characters_are_these(unit, found):
    assert units("Don't  STOP... Über-all!\no\u2019clock x_1 42 ", unit) == found


@pytest.mark.parametrize("split_seed", [None, 3])
@pytest.mark.parametrize(
    ("rare", "most", "unit"), [(7, 1000, "words"), (4, 25, "words"), (9, 12, "characters")]
)
def test_the_vocabulary_is_that_of_the_training_part(write, split_seed, rare, most, unit):
    source = frame()
    made = task(write(source), rare=rare, most=most, unit=unit, split_seed=split_seed, length=12)
    texts = [units(text, unit)[:12] for text in source["review"]]
    _, _, trained = whole(made, "train")
    vocabularies = set()
    for replica in range(2):
        counts = Counter(word for row in trained[replica].tolist() for word in texts[row])
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        vocabulary = [word for word in ordered[:most] if counts[word] >= rare]
        symbols = {word: symbol for symbol, word in enumerate(vocabulary, start=2)}
        assert most < 1000 or rare in counts.values()
        vocabularies.add(tuple(vocabulary))
        for split in SPLITS:
            inputs, targets, rows = whole(made, split)
            places = torch.from_numpy(made.examples().inputs)[rows[replica]]
            prepared = made.at([0, 1]).prepared(places).expand_as(inputs)
            assert torch.equal(prepared[replica], inputs[replica])
            for row, seen, label in zip(
                rows[replica].tolist(),
                inputs[replica].tolist(),
                targets[replica].tolist(),
                strict=True,
            ):
                expected = [symbols.get(word, 1) for word in texts[row]]
                assert seen == expected + [0] * (12 - len(expected))
                assert label == (source["label"][row] == "good")
        assert max(symbols.values()) < made.spec.n_symbols
    assert len(vocabularies) == (2 if split_seed is None else 1)
    could_be = [count for count in Counter(chain.from_iterable(texts)).values() if count >= rare]
    assert made.spec.n_symbols == 2 + min(most, len(could_be))


def test_ten_replicas_hold_one_copy_of_the_texts(write):
    splits = task(write(frame())).at(range(10))
    held = splits.inputs.values.numel() + splits.inputs.symbols.numel()
    assert held <= N * 20 + 10 * (WORDS + 4)


def test_the_length_is_what_few_texts_exceed(write):
    texts = frame()
    texts["review"] = ["word " * (3 if index % 24 else 50) for index in range(N)]
    assert task(write(texts)).spec.input_shape == (3,)
    texts["review"] = ["word " * 100] * N
    assert task(write(texts)).spec.input_shape == (64,)
    assert task(write(texts), length=80).spec.input_shape == (80,)


def test_what_was_understood_is_told(write):
    texts = frame()
    texts.loc[3, "review"] = None
    texts.loc[4, "review"] = "..."
    texts.loc[5, "review"] = "Once upon word1"
    path = write(texts)
    assert task(path).told() == [
        f"{path}: 240 rows, 4 columns",
        "text review: 0 to 20 words, of which 20 are read; 62 of 64 different ones are there 2 times or more",
        "empty: 2 texts without words",
        "dropped stars, id: only the text is read",
        "target label: 2 classes (bad 120, good 120), chance 0.500",
        "splits: drawn by seed",
    ]


def test_splits_follow_time_or_keep_groups_as_in_a_table(write):
    source = frame().assign(writer=[index % 30 for index in range(N)])
    path = write(source)
    made = task(path, time="id")
    assert made.told()[-1] == "splits: in order of id"
    assert made.told()[2] == "dropped stars, writer: only the text is read"
    _, _, tested = whole(made, "test")
    assert tested.tolist() == [list(range(N - 36, N))] * 2
    made = task(path, group="writer")
    assert made.told()[-1] == "splits: drawn by seed, whole groups of writer"
    writers = [
        {source["writer"][row] for row in whole(made, split)[2][0].tolist()} for split in SPLITS
    ]
    assert not set.intersection(*writers[:2])
    assert not set.intersection(*writers[1:])


def test_targets_are_classes_or_values(write):
    path = write(frame())
    assert task(path, target="stars").spec.n_outputs == 5
    assert task(path, target="stars", kind="values").spec.target_kind is TargetKind.VALUES
    assert task(path, target="id").spec.target_kind is TargetKind.VALUES


def test_the_same_texts_in_another_file_are_the_same_and_others_are_not(write):
    plain = task(write(frame())).checksum()
    assert task(write(frame(), "my.parquet")).checksum() == plain
    renamed = frame()
    renamed["review"] = renamed["review"].str.replace("word", "ward")
    assert task(write(renamed, "other.csv")).checksum() != plain


def test_it_holds_what_logistic_regression_finds(write):
    made = task(write(frame(600)))
    assert made.spec.network.name == "bag-32"
    counted = [
        [torch.bincount(row, minlength=made.spec.n_symbols) for row in whole(made, split)[0][0]]
        for split in ("train", "test")
    ]
    fitted = LogisticRegression(max_iter=1000).fit(
        torch.stack(counted[0]), whole(made, "train")[1][0]
    )
    assert fitted.score(torch.stack(counted[1]), whole(made, "test")[1][0]) > 0.95
    words = CountVectorizer(token_pattern=r"(?u)\w+(?:'\w+)*").fit(frame(600)["review"])
    assert len(words.vocabulary_) == encode(frame(600)["review"], "words", None, 2).n_different


BAD = {
    "an empty file": ("", {}, "my.csv is empty"),
    "a header alone": ("review,label\n", {}, "has a header and no row"),
    "no such text": (
        frame(),
        {"text": "body"},
        "task.text must be one of review, label, stars, id",
    ),
    "no such target": (frame(), {"target": "y"}, "task.target must be one of review, label, "),
    "the text itself": (
        frame(),
        {"target": "review"},
        "task.text must be another than task.target, 'review', got 'review'",
    ),
    "numbers for texts": (
        frame(),
        {"text": "stars"},
        "column 'stars' has no texts but int64; task=",
    ),
    "a target missing": (
        frame().assign(label=[None, *frame()["label"][1:]]),
        {},
        "row 1, column 'label': the target is missing",
    ),
    "one class": (frame().assign(label="good"), {}, "every row is of the class good"),
    "a class of one": (
        frame().assign(label=["odd", *frame()["label"][1:]]),
        {},
        "the class odd has 1 row",
    ),
    "texts as values": (frame(), {"kind": "values"}, "task.kind must be classes for the column"),
    "no text": (frame().assign(review="?!"), {}, "none of 0 words is there 2 times (task.rare)"),
    "rare words alone": (
        frame().assign(review=[f"only{index}" for index in range(N)]),
        {},
        "my.csv, column 'review': none of 240 words is there 2 times (task.rare)",
    ),
    "a unit that is none": (frame(), {"unit": "letters"}, "unit must be one of words, characters"),
    "no length": (frame(), {"length": 0}, "length must be an integer >= 1, or null, got 0"),
    "another delimiter": ("review;label\na;b\n", {}, "task.delimiter=';' gives 2"),
    "a row too long": ("review,label\nx,a\nwell, x,a\n", {}, "line 3: 3 fields instead of 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(write, name):
    made, settings, message = BAD[name]
    path = write(made)
    with pytest.raises(InputError) as refused:
        task(path, **settings).at([0])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_from_a_file_to_a_run_in_one_command(beyond, write):
    status, told, _ = beyond(
        "task=text",
        f"task.path={write(frame())}",
        "task.text=review",
        "task.target=label",
        "seeds=2",
        "budget.epochs=2",
    )
    assert status == 0
    assert "text/my" in told
