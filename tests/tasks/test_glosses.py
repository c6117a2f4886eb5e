"""Oracles: a small file in WordNet's format, and logistic regression of TF-IDF on the whole one."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from beyond.data.words import _encoded
from tasks import glosses

FAULTS = [
    # the examples of use are read too
    ("tasks/glosses.py", """gloss.partition('; "')[0]""", "gloss"),
    # the first are taken, which are alike
    ("tasks/glosses.py", "np.arange(n_each) * len(row) // n_each", "np.arange(n_each)"),
    ("tasks/glosses.py", "FIRST_FILE = 3", "FIRST_FILE = 4"),
]
LICENCE = "  1 This software and database is being provided to you, the LICENSEE  \n"


def entry(file, gloss):
    """Write a line as `man 5 wndb` describes it."""
    return f"00001740 {file:02} n 01 entity 0 001 ~ 00001930 n 0000 | {gloss}  \n"


@pytest.fixture
def small(publish):
    """Publish 12 definitions of food, 8 of animals, 4 of times, one of them twice."""
    lines = [entry(13, f'dish number{i}; "a helping of dish"') for i in range(12)]
    lines += [entry(5, f"beast; a kind number{i}") for i in range(8)]
    lines += [entry(28, f"hour number{i % 3}") for i in range(4)]
    publish(glosses, "".join([LICENCE, LICENCE, *lines]).encode())


@pytest.mark.usefixtures("small")
def test_topics_are_the_largest_and_have_equally_many_definitions_from_all_over():
    assert glosses.topics()[:3] == ["food", "animal", "time"]
    texts, classes = glosses._balanced(2)
    assert classes.tolist() == [0] * 8 + [1] * 8
    numbers = [0, 1, 3, 4, 6, 7, 9, 10]
    assert list(texts[:8]) == [f"dish number{number}" for number in numbers]
    assert list(texts[8:]) == [f"beast; a kind number{number}" for number in range(8)]
    assert np.bincount(glosses._balanced(3)[1]).tolist() == [3, 3, 3]
    task = catalog.load("task", "text/glosses", n_topics=2)
    assert task.classes == ["food", "animal"]
    inputs = task.examples().inputs
    assert (inputs > 0).sum(1).tolist() == [2] * 8 + [4] * 8


@pytest.mark.slow
def test_the_published_definitions_and_a_linear_model_of_their_words(load_task):
    task = load_task("text/glosses", split_seed=0)
    assert glosses.topics()[:3] == ["artifact", "person", "plant"]
    texts = np.array(task.texts()[0], object)[_encoded(task.texts()[0], task.length)[1]]
    targets, splits = task.examples().targets, task.at([0])
    train, test = (
        splits.ids(split, torch.arange(splits.size(split)).unsqueeze(0))[0].numpy()
        for split in ("train", "test")
    )
    seen = TfidfVectorizer(sublinear_tf=True)
    model = LogisticRegression(C=4, max_iter=500).fit(
        seen.fit_transform(texts[train]), targets[train]
    )
    assert model.score(seen.transform(texts[test]), targets[test]) == pytest.approx(0.85, abs=0.005)
