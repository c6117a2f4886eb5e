import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from beyond.errors import MissingDataError
from beyond.run.trained import Trained
from tasks.spoken_digits import HUMAN, VOICES, WORDS, Utterance, _spoken, utterances

FAULTS = [
    # clips are held out, not voices
    (
        "tasks/spoken_digits.py",
        "n_held = N_HELD * len(WORDS) * len(ACCENTS)",
        "n_held = N_HELD * 31",
    ),
    # every word is said by the next voice's name for it
    ("tasks/spoken_digits.py", "WORDS.index(one.word)", "9 - WORDS.index(one.word)"),
]


@pytest.fixture(scope="module")
def task(load_task):
    return load_task("speech/spoken_digits", split_seed=0)


def test_no_voice_is_in_two_splits(task):
    voices = np.array([said.voice.partition("+")[2] for said in utterances()])
    splits = task.at([0])
    of = {
        split: set(voices[splits.ids(split, torch.arange(splits.size(split))[None])[0]])
        for split in ("train", "validation", "test")
    }
    assert [len(names) for names in of.values()] == [44, 10, 10]
    assert set.union(*of.values()) == set(VOICES)


def test_it_is_called_synthetic_where_it_is_shown(task):
    told = "speech/spoken_digits: synthetic speech, 44 voices train, 10 others validate, 10 test"
    assert task.told() == [told]
    assert "synthetic" in type(task).__doc__.partition("\n")[0]


def test_each_voice_says_each_word_in_three_accents(task):
    said, digits = utterances(), task.examples().targets
    assert len({(one.word, one.voice) for one in said}) == len(said) == 1920
    assert [WORDS[digit] for digit in digits] == [one.word for one in said]
    assert np.bincount(digits).tolist() == [192] * 10


def test_a_voice_says_the_same_again_and_no_two_alike(task):
    speaker = "espeak-ng"
    clips = {
        voice: _spoken(speaker, Utterance("one", f"en-us+{voice}", 160, 50)) for voice in VOICES
    }
    assert len(set(clips.values())) == len(VOICES)
    again = _spoken(speaker, Utterance("one", f"en-us+{VOICES[0]}", 160, 50))
    assert again == clips[VOICES[0]]


def test_without_the_synthesiser_a_line_says_what_brings_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        MissingDataError, match="espeak-ng is not on this machine: apt install espeak-ng"
    ):
        catalog.load("task", "speech/spoken_digits").examples()


def test_without_the_human_clips_too(task, monkeypatch):
    monkeypatch.setenv("XDG_DATA_DIRS", "/nowhere")
    with pytest.raises(MissingDataError, match="apt install asterisk-core-sounds-en-wav"):
        task.human()


def test_the_layouts_have_the_same_numbers(task):
    sequence = dataclasses.replace(task, layout="sequence")
    assert (task.spec.input_shape, sequence.spec.input_shape) == ((1, 13, 32), (13, 32))
    assert (sequence.examples().inputs == task.examples().inputs[:, 0]).all()


def humans(task):
    if HUMAN.lies(HUMAN.files[0]) is None:
        pytest.skip(f"{HUMAN.remedy}")
    return task.at([0]).prepared(torch.from_numpy(task.human()))[0]


def test_the_linear_reference_is_that_of_the_datasheet(task, arrays):
    linear = LogisticRegression(max_iter=300).fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.950, abs=0.01)
    named = linear.predict(humans(task).flatten(1).numpy())
    assert 7 <= (named == np.arange(10)).sum() <= 9  # of ten clips


@pytest.mark.slow
def test_the_default_network_names_unseen_voices_and_most_of_what_a_person_says(
    task, beyond, tmp_path
):
    command = ("task=speech/spoken_digits", "method=backprop", "budget.epochs=20", "seeds=3")
    status, told, _ = beyond(*command, "keep_weights=true")
    assert status == 0, told
    (rows,) = tmp_path.glob("runs/adhoc/*/runs.parquet")
    scores = pd.read_parquet(rows)["best_test_score"]
    assert scores.mean() == pytest.approx(0.97, abs=0.015)
    assert (scores > 0.95).all()
    trained = Trained.load(rows.parent)
    humans(task)
    named = [trained.predict(task.human(), seed) for seed in trained.seeds]
    right = [(answers == np.arange(10)).sum() for answers in named]
    assert 6 <= min(right) <= max(right) <= 9
