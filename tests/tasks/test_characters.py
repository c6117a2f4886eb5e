"""Oracles: a text written by hand, and counts of the characters before one, on the whole text."""

import numpy as np
import pytest

from beyond import catalog
from tasks import characters

FAULTS = [
    # a window reads what follows
    (
        "tasks/characters.py",
        "whole[:, :-1]), np.ascontiguousarray(whole[:, -1])",
        "whole[:, 1:]), np.ascontiguousarray(whole[:, -1])",
    ),
    # training reads on into what is held out
    ("tasks/characters.py", "[len(symbols) - 2 * n_held,", "[len(symbols) - n_held - 1,"),
    # held-out windows that training has stay
    ("tasks/characters.py", "read.update(contexts)", "read.update(())"),
]
HEAD, TAIL = "00-database\nnotice\nPREFACE\n", " abcdefghijklmnopqrstuvwxyz\n"


def publish_text(publish, body):
    publish(characters, f"{HEAD}{body}\n{TAIL}".encode("latin-1"))


def spell(symbols):
    return "".join(characters.ALPHABET[symbol] for symbol in symbols)


def test_windows_spell_the_text_and_are_followed_by_their_target(publish):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(200)]
    publish_text(publish, "\n\n".join(words))
    text = " ".join(["preface", *words])
    assert characters.text() == text
    raw = catalog.load("task", "text/characters", length=9).examples()
    n_held = round(0.1 * len(text))
    sizes = [len(raw.targets) - raw.n_validation - raw.n_test, raw.n_validation, raw.n_test]
    begin, row = 0, 0
    for n_windows, n_characters in zip(
        sizes, (len(text) - 2 * n_held, n_held, n_held), strict=True
    ):
        part = text[begin : begin + n_characters]
        assert n_windows == len(range(0, n_characters - 9, characters.STEP))
        for place in range(n_windows):
            at = place * characters.STEP
            assert spell(raw.inputs[row + place]) == part[at : at + 9]
            assert spell([raw.targets[row + place]]) == part[at + 9]
        begin, row = begin + n_characters, row + n_windows


def test_the_alphabet_is_small(publish):
    publish_text(publish, "ZOÖLOGY, n.  It's 3\n   _deep_; so?" * 9)
    assert characters.text().startswith("preface zo logy, n. it s deep so zo logy")


def test_what_training_has_too_is_not_held_out(publish):
    publish_text(publish, "a" * 600)
    raw = catalog.load("task", "text/characters", length=5).examples()
    assert raw.n_validation == raw.n_test == 0


def ngram(inputs, symbols, weights):
    """Probabilities (N, K) after contexts: counts of more and more characters, each smoothed by the
    last (Dirichlet, MacKay & Peto, 1995).
    """
    n = len(characters.ALPHABET)
    found = np.full((len(inputs), n), 1 / n)
    for order, weight in enumerate(weights):
        counts, power = np.zeros((n**order, n)), n ** np.arange(order)[::-1]
        before = np.lib.stride_tricks.sliding_window_view(symbols, order + 1)
        np.add.at(counts, (before[:, :-1] @ power, before[:, -1]), 1)
        seen = counts[inputs[:, inputs.shape[1] - order :] @ power]
        found = (seen + weight * found) / (seen.sum(1, keepdims=True) + weight)
    return found


@pytest.mark.parametrize(
    ("weights", "bits", "accuracy"),
    [
        ((0, 2), 3.41, 0.286),
        ((0, 2, 9), 2.86, 0.379),
        ((0, 2, 500, 7), 2.44, 0.481),
        pytest.param((0, 2, 500, 20, 7), 2.27, 0.532, marks=pytest.mark.slow),
    ],
    ids=["two", "three", "four", "five"],
)
def test_an_ngram_has_the_bits_of_the_datasheet(load_task, weights, bits, accuracy):
    raw = load_task("text/characters").examples()
    symbols = np.array([characters.ALPHABET.index(one) for one in characters.text()])
    train = symbols[: len(symbols) - 2 * round(0.1 * len(symbols))]
    found = ngram(raw.inputs[-raw.n_test :], train, weights)
    targets = raw.targets[-raw.n_test :]
    assert -np.log2(found[np.arange(raw.n_test), targets]).mean() == pytest.approx(bits, abs=0.01)
    assert (found.argmax(1) == targets).mean() == pytest.approx(accuracy, abs=0.002)
