"""Tell from a sentence about a film whether people find it good (Hutto & Gilbert, 2014).

Source      10,605 sentences of reviews at rottentomatoes.com, chosen by Pang & Lee (2004), each
            with the mean of twenty people's ratings from -4 to 4: VADER, ICWSM 8, 216-225. They are
            in the source archive of the Python package vaderSentiment 3.3.2:
            `beyond-data fetch movie_reviews`.
Licence     The package's is MIT; the sentences are their writers', quoted for research.
Examples    10,603 sentences of up to 51 words; two are there twice. An input is 32 symbols (or
            `length`): words in lower case without what is between them, then 0. The 5,000 most
            frequent words of a replica's training part that it has twice have a symbol (or `most`,
            `rare`); all others share one. `target=class`: whether a sentence is rated above 0, as
            5,241 are; `target=rating`: the mean rating.
Splits      7,423 train, 1,590 validation, 1,590 test, stratified by class.
Chance      0.506; R2 = 0.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression on TF-IDF of
            words 0.772; ridge regression on that of words and pairs R2 = 0.46. The default network
            trained by backpropagation for 10 epochs reaches 0.748, and R2 = 0.34. With seeds 0 and
            1, each with its split, after 6 epochs: `text_cnn` 0.747, `gru` and `lstm` of 32 units
            with `readout=mean` 0.751 and 0.754.

Source task `class` for `target=rating`: whether each of the same sentences is rated above 0, as the
            number 1 or 0, by least squares. It is split as the ratings are, and learns from their
            whole training part, also where `train_size` keeps few ratings of it: no sentence that
            validates or tests is read before. Words have the symbols that the ratings' task gives
            them. Measured here, the test R2 of `fine_tuning` and of `backprop`, mean of seeds 0 to
            2 after 10 epochs: of 100 ratings 0.12 and -0.03, of 500 0.26 and 0.00, of all 0.34 and
            0.39.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import ClassVar, Literal

import numpy as np

from beyond.architectures.bag import Bag
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import Examples
from beyond.data.sources import File, Source
from beyond.data.words import Texts, WordsTask
from beyond.settings import settings

FILE = "movieReviewSnippets_GroundTruth.txt"
PUBLISHED = Source(
    name="movie_reviews",
    licence="MIT; the sentences are their writers'",
    files=(
        File(
            FILE,
            "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
            2_466_783,
            (
                "https://files.pythonhosted.org/packages/77/8c/4a48c10a50f750ae565e341e697d74a38075a"
                "3e43ff0df6f1ab72e186902/vaderSentiment-3.3.2.tar.gz",
            ),
            (
                "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
                f"hutto_ICWSM_2014/{FILE}",
            ),
        ),
    ),
)


@settings(kw_only=True)
class MovieReviews(WordsTask):
    """Say whether a sentence about a film is rated good, or how good.

    Parameters
    ----------
    target : {"class", "rating"}
        Whether the mean rating is above 0, or the rating.
    """

    DATA: ClassVar = (PUBLISHED,)

    target: Literal["class", "rating"] = "class"

    @property
    def spec(self) -> TaskSpec:
        classes = self.target == "class"
        return TaskSpec(
            name="text/movie_reviews",
            input_shape=(self.length,),
            n_outputs=2 if classes else 1,
            target_kind=TargetKind.CLASSES if classes else TargetKind.VALUES,
            network=Bag(),
            score="accuracy_score" if classes else "r2_score",
            levels=(0.65, 0.70, 0.74) if classes else (0.1, 0.2, 0.3),
            n_symbols=self.n_symbols,
        )

    @property
    def classes(self) -> Sequence[str]:
        return ("not good", "good") if self.target == "class" else ()

    def texts(self) -> tuple[Texts, np.ndarray]:
        texts, ratings = _rated()
        return texts, _good(ratings) if self.target == "class" else ratings[:, None]

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        return {} if self.target == "class" else {"class": self._classes}

    def _classes(self) -> Examples:
        """All rows in their order, so that they are split alike, with the class as a value."""
        texts, ratings = _rated()
        return self.encoded(texts, _good(ratings)[:, None].astype(float), self.train_size)


def _good(ratings: np.ndarray) -> np.ndarray:
    """Class of each rating."""
    return (ratings > 0).astype(np.int64)


@cache
def _rated() -> tuple[Texts, np.ndarray]:
    """Sentences, and their mean ratings (N,)."""
    lines = PUBLISHED.read(FILE).decode().splitlines()
    _, ratings, texts = zip(*(line.split("\t") for line in lines), strict=True)
    return texts, np.array(ratings, float)
