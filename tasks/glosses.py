"""Tell from the definition of a noun what kind of thing it names (Miller, 1995).

Source      The 82,115 nouns of WordNet 3.0, with the lexicographers' file that each is in:
            Debian's package `wordnet-base`, or `beyond-data fetch glosses`. Communications of the
            ACM 38(11), 39-41.
Licence     WordNet's: free to use, copy and change, with its notice.
Examples    25,238 definitions, without their examples of use, of the eight topics that have most
            (or `n_topics`): artifact, person, plant, animal, act, communication, state, location,
            about 3,155 each from all over the lexicographers' file. An input is 24 symbols (or
            `length`): words in lower case without what is between them, then 0. The 5,000 most
            frequent words of a replica's training part that it has twice have a symbol (or `most`,
            `rare`); all others share one.
Splits      17,666 train, 3,786 validation, 3,786 test, stratified by class.
Chance      0.125.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression on TF-IDF of
            words 0.85. The default network trained by backpropagation for 10 epochs reaches
            0.804 (mean of 3 seeds).
"""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval

from beyond.architectures.bag import Bag
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.sources import File, Source
from beyond.data.words import Texts, WordsTask
from beyond.settings import PositiveInt, settings

POOL = "pool/main/w/wordnet/wordnet-base_3.0-37_all.deb"
PUBLISHED = Source(
    name="glosses",
    licence="WordNet's",
    files=(
        File(
            "data.noun",
            "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
            6_467_132,
            (
                f"https://deb.debian.org/debian/{POOL}",
                f"https://snapshot.debian.org/archive/debian/20230611T000000Z/{POOL}",
            ),
            ("usr/share/wordnet/data.noun",),
        ),
    ),
    package="wordnet-base",
    folder="wordnet",
)
TOPICS = (  # lexicographers' files of nouns, from number 3 on: `man 5 lexnames`
    *("tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication"),
    *("event", "feeling", "food", "group", "location", "motive", "object", "person"),
    *("phenomenon", "plant", "possession", "process", "quantity", "relation", "shape", "state"),
    *("substance", "time"),
)
FIRST_FILE = 3


@settings(kw_only=True)
class Glosses(WordsTask):
    """Name the topic of a definition.

    Parameters
    ----------
    n_topics : int, in [2, 26]
        Those with the most definitions; each has as many examples as the smallest of them.
    """

    DATA: ClassVar = (PUBLISHED,)

    length: PositiveInt = 24
    n_topics: Annotated[int, Interval(ge=2, le=26)] = 8

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="text/glosses",
            input_shape=(self.length,),
            n_outputs=self.n_topics,
            target_kind=TargetKind.CLASSES,
            network=Bag(),
            score="accuracy_score",
            levels=(0.65, 0.75, 0.80),
            n_symbols=self.n_symbols,
        )

    @property
    def classes(self) -> Sequence[str]:
        return topics()[: self.n_topics]

    def texts(self) -> tuple[Texts, np.ndarray]:
        return _balanced(self.n_topics)


@cache
def topics() -> list[str]:
    """Names of the topics, the largest first: the classes of a task are the first of them."""
    counts = np.bincount(_defined()[1], minlength=len(TOPICS))
    return [TOPICS[topic] for topic in np.argsort(-counts, kind="stable")]


@cache
def _balanced(n_topics: int) -> tuple[Texts, np.ndarray]:
    """Equally many definitions of each topic, from all over its file, and their classes (N,)."""
    texts, numbers = _defined()
    rows = [np.flatnonzero(numbers == TOPICS.index(topic)) for topic in topics()[:n_topics]]
    n_each = len(rows[-1])
    chosen = np.concatenate([row[np.arange(n_each) * len(row) // n_each] for row in rows])
    return tuple(texts[row] for row in chosen), np.repeat(np.arange(n_topics), n_each)


@cache
def _defined() -> tuple[Texts, np.ndarray]:
    """Definitions of all nouns, each once, and the numbers of their topics (N,)."""
    lines = PUBLISHED.read("data.noun").decode().splitlines()
    entries = [line for line in lines if not line.startswith("  ")]  # behind the licence
    found = dict[str, int]()
    for entry in entries:
        gloss = entry.partition(" | ")[2].strip()
        found.setdefault(gloss.partition('; "')[0], int(entry.split()[1]) - FIRST_FILE)
    return tuple(found), np.array(list(found.values()))
