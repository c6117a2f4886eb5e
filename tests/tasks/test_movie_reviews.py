"""Oracles: sentences written by hand, and linear models of TF-IDF on the published ones."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from beyond import catalog
from beyond.data.texts import FIRST, UNKNOWN
from beyond.data.words import _encoded
from tasks import movie_reviews

FAULTS = [
    ("tasks/movie_reviews.py", "(ratings > 0)", "(ratings < 0)"),
    ("tasks/movie_reviews.py", '("not good", "good")', '("good", "not good")'),
    # a sentence that is there twice is in two splits
    (
        "beyond/data/words.py",
        "return encoded, np.sort(first)",
        "return encoded, np.arange(len(texts))",
    ),
    # sentences and ratings are of different rows
    ("beyond/data/words.py", "targets[kept], scaling", "targets[: len(kept)], scaling"),
    # classes are learnt from sentences that test: one row less is split otherwise; in more words
    # than the ratings' task knows
    (
        "tasks/movie_reviews.py",
        "return self.encoded(texts, _g",
        "return self.encoded(texts[1:], _g",
    ),
    ("tasks/movie_reviews.py", ".astype(float), self.train_size)", ".astype(float))"),
    ("beyond/data/texts.py", "self.values[part[: self.n_read]]", "self.values[part]"),
]
WORD = r"(?u)\b\w+(?:['\u2019]\w+)*\b"  # as the task has them


@pytest.fixture
def small(publish):
    """Publish 60 sentences, of which the 3rd is as the 1st but for what is between words."""
    rng = np.random.default_rng(0)
    rows = [("Good, film", 2.5), ("Bad film", -1.25), ("good FILM!", 3.0)]
    for index in range(57):
        words = " ".join(f"w{word}" for word in rng.integers(0, 30, 5))
        rows.append((f"{('bad', 'good')[index % 2]} {words} n{index}", (-1.0, 1.0)[index % 2]))
    lines = [f"{number}\t{rating}\t{text}" for number, (text, rating) in enumerate(rows, start=1)]
    publish(movie_reviews, "\n".join(lines).encode())
    return rows


def test_a_sentence_is_its_words_and_its_rating(small):
    kept = [row for index, row in enumerate(small) if index != 2]
    task = catalog.load("task", "text/movie_reviews", length=7)
    raw = task.examples()
    assert raw.targets.tolist() == [int(rating > 0) for _, rating in kept]
    assert [task.classes[target] for target in raw.targets[:3]] == ["good", "not good", "not good"]
    assert (raw.inputs > 0).sum(1).tolist() == [len(text.split()) for text, _ in kept]
    assert len(np.unique(raw.inputs, axis=0)) == len(kept) == 59
    rated = catalog.load("task", "text/movie_reviews", length=7, target="rating").examples()
    assert catalog.load("task", "text/movie_reviews", target="rating").classes == ()
    assert rated.targets[:, 0].tolist() == [rating for _, rating in kept]
    np.testing.assert_array_equal(rated.inputs, raw.inputs)
    np.testing.assert_array_equal(task.encode(["bad film", small[0][0]]), raw.inputs[[1, 0]])


def test_a_replica_knows_the_words_of_its_training_part(small):
    task = catalog.load("task", "text/movie_reviews", length=7, most=8, rare=2)
    assert task.spec.n_symbols == FIRST + 8
    for seed in (0, 1):
        splits = task.at([seed])
        batch = {
            split: splits.batch(split, torch.arange(splits.size(split)).unsqueeze(0)).inputs[0]
            for split in ("train", "test")
        }
        # good and bad are in nearly every sentence: the two most frequent words
        assert set(batch["test"][:, 0].tolist()) == {FIRST, FIRST + 1}
        assert set(batch["train"].unique().tolist()) == set(range(FIRST + 8))
        long = batch["train"][batch["train"][:, 6] > 0]
        assert (long[:, 6] == UNKNOWN).all()  # each was there once


@pytest.mark.parametrize("train_size", [None, 12])
def test_ratings_start_from_classes_of_their_whole_training_part_alone(small, train_size):
    settings = {"length": 7, "target": "rating"}
    task = catalog.load("task", "text/movie_reviews", train_size=train_size, **settings)
    whole, source = catalog.load("task", "text/movie_reviews", **settings), task.source("class")
    seeds = [0, 1, 2]
    places = {
        split: torch.arange(whole.at(seeds).size(split)).unsqueeze(0)
        for split in ("train", "validation", "test")
    }
    learnt = source.at(seeds).ids("train", places["train"])
    assert torch.equal(learnt, whole.at(seeds).ids("train", places["train"]))
    for split in ("validation", "test"):
        held_out = task.at(seeds).ids(split, places[split])
        assert not (learnt.unsqueeze(2) == held_out.unsqueeze(1)).any()
        assert torch.equal(
            source.at(seeds).batch(split, places[split]).inputs,
            task.at(seeds).batch(split, places[split]).inputs,
        )
    classes = source.at(seeds).in_units(source.at(seeds).batch("train", places["train"]).targets)
    ratings = torch.tensor([rating for index, (_, rating) in enumerate(small) if index != 2])
    torch.testing.assert_close(classes[:, :, 0], (ratings[learnt] > 0).float())
    assert not catalog.load("task", "text/movie_reviews").sources


def linear(task, model, n_words):
    """Score of a linear model of TF-IDF, on the test split."""
    texts = np.array(task.texts()[0], object)[_encoded(task.texts()[0], task.length)[1]]
    targets, splits = task.examples().targets, task.at([0])
    train, test = (
        splits.ids(split, torch.arange(splits.size(split)).unsqueeze(0))[0].numpy()
        for split in ("train", "test")
    )
    seen = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, n_words), token_pattern=WORD)
    model.fit(seen.fit_transform(texts[train]), targets[train].squeeze())
    return model.score(seen.transform(texts[test]), targets[test].squeeze())


def test_the_published_sentences_and_a_linear_model_of_their_words(load_task):
    task = load_task("text/movie_reviews", split_seed=0)
    raw = task.examples()
    assert np.bincount(raw.targets).tolist() == [5362, 5241]
    assert linear(task, LogisticRegression(C=4, max_iter=500), 1) == pytest.approx(0.772, abs=0.005)


@pytest.mark.slow
def test_a_linear_model_of_words_and_pairs_explains_ratings(load_task):
    task = load_task("text/movie_reviews", split_seed=0, target="rating")
    assert linear(task, Ridge(alpha=0.3), 2) == pytest.approx(0.460, abs=0.005)
