"""Tell the language from the letters of one word (Speer, 2022).

Source      The most frequent 3,000 words of each language in `wordfreq` 3.1.1 (word list "small"),
            doi:10.5281/zenodo.7199437.
Licence     Code Apache 2.0; word lists CC BY-SA 4.0, with the acknowledgements in the package.
Examples    20,000 words of 3 to 12 letters, ten balanced classes: German, English, Spanish,
            Finnish, French, Hungarian, Italian, Dutch, Polish, Turkish. Words shared by two of them
            are left out; of the rest, the 2,000 most frequent. The lists are lower case (ß is ss).
            An input is 12 symbols: 0 after the word's end, otherwise a letter of 93, those of all
            twenty languages here.
Splits      14,000 train, 3,000 validation, 3,000 test, stratified. Inflected forms of one word may
            be in several.
Chance      0.10.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression on counts of
            letters 0.499, on letters at their places 0.573, on counts of one to three neighbouring
            letters 0.798. The default network trained by backpropagation for 20
            epochs reaches 0.60 on the validation split (mean of 3 seeds).
All         With `languages=all` the 42 languages of the lists in their scripts, 865 words of each:
            the most frequent of up to 12 letters and vowel signs that no other of the 42 has.
            36,330 words; 25,430 train, 5,450 validation, 5,450 test; chance 0.024. A letter that
            these words have five times has a symbol, all others share one. Reference: logistic
            regression on counts of letters 0.559, of one to three neighbouring letters 0.749; the
            default network reaches 0.561 in 20 epochs (mean of 3 seeds).
Source task The same question for ten other languages of the same alphabet: Czech, Danish,
            Indonesian, Icelandic, Lithuanian, Latvian, Portuguese, Romanian, Slovenian, Swedish.
            17,680 words; none is on a list of the ten (`other_languages`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from typing import ClassVar, Literal
from unicodedata import category

import numpy as np
import torch
from torch import Tensor

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import BelowOne, settings
from beyond.streams import Stream

LANGUAGES = ("de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "tr")
OTHER_LANGUAGES = ("cs", "da", "id", "is", "lt", "lv", "pt", "ro", "sl", "sv")
SHORTEST, LONGEST = 3, 12  # letters of a word
N_LISTED, N_KEPT = 3000, 2000  # words a language
FREQUENT = 5  # times that a letter of all languages is there to have a symbol


@settings(kw_only=True)
class Languages(ArrayTask):
    """Name the language of a word.

    Parameters
    ----------
    languages : {"ten", "all"}
        Ten that are written in the Latin alphabet, or all 42 of the word lists.
    letter_drop_rate : float, in [0, 1)
        Probability with which each letter of a training word is left out; the word closes up.
    """

    PACKAGES: ClassVar = ("wordfreq",)

    languages: Literal["ten", "all"] = "ten"
    letter_drop_rate: BelowOne = 0.0

    @property
    def spec(self) -> TaskSpec:
        ten = self.languages == "ten"
        return TaskSpec(
            name="text/languages",
            input_shape=(LONGEST,),
            n_outputs=len(LANGUAGES if ten else all_words()),
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(64,), embedding=8),
            score="accuracy_score",
            levels=(0.40, 0.50, 0.58) if ten else (0.40, 0.50, 0.55),
            n_symbols=len(alphabet()) + 1 if ten else len(frequent_letters()) + 2,
        )

    @property
    def classes(self) -> Sequence[str]:
        return LANGUAGES if self.languages == "ten" else [*all_words()]

    def examples(self) -> Examples:
        if self.languages == "ten":
            return _encode(LANGUAGES)
        return _as_symbols(list(all_words().values()), frequent_letters())

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        if self.languages == "ten":
            return {"other_languages": partial(_encode, OTHER_LANGUAGES)}
        return {}

    def augment(self, inputs: Tensor, rng: Stream) -> Tensor:
        if not self.letter_drop_rate:
            return inputs
        dropped = rng.uniform(*inputs.shape[1:]) < self.letter_drop_rate
        # what stays keeps its order, what goes is padding at the end
        order = dropped.byte().argsort(dim=-1, stable=True)
        return torch.where(dropped, 0, inputs).gather(-1, order)


@cache
def alphabet() -> str:
    """Letters of all twenty languages, in code point order: symbol i + 1 is letter i."""
    return "".join(
        sorted({letter for words in _words().values() for word in words for letter in word})
    )


def _encode(languages: tuple[str, ...]) -> Examples:
    """Equally many words of each of ten languages, the most frequent ones."""
    vocabularies = [_words()[language] for language in languages]
    n_words = min(N_KEPT, *map(len, vocabularies))
    return _as_symbols([words[:n_words] for words in vocabularies], alphabet())


def _as_symbols(vocabularies: list[list[str]], letters: str) -> Examples:
    """Words of each language as symbols (N, LONGEST), and the language of each."""
    symbol = {letter: index for index, letter in enumerate(letters, start=1)}
    inputs = np.zeros((sum(map(len, vocabularies)), LONGEST), np.int64)
    for row, word in zip(inputs, chain.from_iterable(vocabularies), strict=True):
        row[: len(word)] = [symbol.get(letter, len(letters) + 1) for letter in word]
    labels = np.repeat(np.arange(len(vocabularies)), [len(words) for words in vocabularies])
    return Examples(inputs, labels, scaling="none")


@cache
def all_words() -> dict[str, list[str]]:
    """Equally many words of each language there is, the most frequent that no other has."""
    from wordfreq import available_languages, top_n_list

    listed = {
        language: [word for word in top_n_list(language, N_LISTED, wordlist="small") if _fits(word)]
        for language in sorted(available_languages("small"))
    }
    counts = Counter(chain.from_iterable(listed.values()))
    found = {
        language: [word for word in words if counts[word] == 1]
        for language, words in listed.items()
    }
    n_words = min(map(len, found.values()))
    return {language: words[:n_words] for language, words in found.items()}


def _fits(word: str) -> bool:
    """Whether a word is short enough, and of letters and their signs: a Hindi vowel is a sign."""
    return len(word) <= LONGEST and all(category(letter)[0] in "LM" for letter in word)


@cache
def frequent_letters() -> str:
    """Letters of all languages that are there often enough for a symbol, in code point order."""
    counts = Counter(chain.from_iterable(chain.from_iterable(all_words().values())))
    return "".join(sorted(letter for letter, count in counts.items() if count >= FREQUENT))


@cache
def _words() -> dict[str, list[str]]:
    """Words of each language that no other of its ten has, nor, for the other ten, the first."""
    listed = {language: _listed(language) for language in LANGUAGES + OTHER_LANGUAGES}
    n_first = Counter(word for language in LANGUAGES for word in listed[language])
    n_other = Counter(word for language in OTHER_LANGUAGES for word in listed[language])
    first = {
        language: [word for word in listed[language] if n_first[word] == 1]
        for language in LANGUAGES
    }
    other = {
        language: [word for word in listed[language] if n_other[word] == 1 and not n_first[word]]
        for language in OTHER_LANGUAGES
    }
    return first | other


def _listed(language: str) -> list[str]:
    from wordfreq import top_n_list

    words = top_n_list(language, N_LISTED, wordlist="small")
    return [word for word in words if word.isalpha() and SHORTEST <= len(word) <= LONGEST]
