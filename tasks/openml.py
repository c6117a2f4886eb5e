"""A table of OpenML, by its number (Vanschoren, van Rijn, Bischl & Torgo, 2014).

Source      openml.org/d/ID, through scikit-learn's `fetch_openml`: downloaded once, its MD5
            verified, then read from scikit-learn's folder of data (`~/scikit_learn_data`, or as
            SCIKIT_LEARN_DATA or `cache` says). SIGKDD Explorations 15 (2), 49-60.
Licence     Of each data set: see its page there.
Examples    A row each; columns become inputs as in `task=table`, nominal ones as texts. What OpenML
            marks as a row's identifier, or to be ignored, is left out.
Splits      As in `task=table`: those that OpenML's tasks fix are not used.
Chance      The share of the most frequent class; R2 = 0.
"""

import warnings
from functools import lru_cache
from typing import Any, ClassVar

from beyond.architectures.mlp import suited
from beyond.contracts import TaskSpec
from beyond.data.columns import ColumnsTask
from beyond.data.given import first_line, listed
from beyond.data.tables import Frame
from beyond.errors import InputError, MissingDataError
from beyond.files import expanded
from beyond.settings import PositiveInt, Text, settings


@settings(kw_only=True)
class OpenML(ColumnsTask):
    """Predict one column of a data set of OpenML from the others.

    Parameters
    ----------
    id : int, >= 1
        Number of the data set: 31 is openml.org/d/31.
    target : str, optional
        Name of the column to predict; None: the one that OpenML names.
    cache : str, optional
        Folder of scikit-learn's data; None: scikit-learn's own choice.
    """

    PACKAGES: ClassVar = ("pandas", "scikit-learn")

    id: PositiveInt
    target: Text | None = None
    cache: Text | None = None

    @property
    def spec(self) -> TaskSpec:
        return self._spec(f"openml/{self._fetched.details['name']}", suited(len(self._frame)))

    def _told(self) -> list[str]:
        details = self._fetched.details
        odd = {key: details[key] for key in ("error", "warning") if key in details}
        if details["status"] != "active":
            odd["status"] = details["status"]
        return [*super()._told(), *(f"OpenML says: {key}: {said}" for key, said in odd.items())]

    @property
    def _fetched(self) -> Any:
        return _fetch(self.id, self.cache)

    @property
    def _frame(self) -> Frame:
        return self._fetched.frame

    @property
    def _where(self) -> str:
        return f"OpenML {self.id} ({self._fetched.details['name']})"

    @property
    def _target(self) -> str:
        names = self._fetched.target_names
        if self.target is None and len(names) != 1:
            named = f"it names {listed(names)}" if names else "it names none"
            raise InputError(f"{self._where}: task.target must be given: {named}")
        return self.target or names[0]


@lru_cache(maxsize=4)
def _fetch(number: int, cache: str | None) -> Any:
    """Read a data set, from the network if it is not there; one clear line if it cannot be."""
    from sklearn.datasets import fetch_openml

    home = None if cache is None else expanded(cache)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is told, or raised at last
            found: Any = fetch_openml(
                data_id=number,
                as_frame=True,
                data_home=home,
                n_retries=1,
                parser="liac-arff",  # the one by pandas 3 fails where categories are numbers
            )
    except OSError as error:  # of the network, too
        raise MissingDataError(
            f"OpenML {number} is not in {home or 'the folder of scikit-learn'}, and cannot be "
            f"fetched from openml.org: {first_line(error)}"
        ) from None
    except (ValueError, KeyError) as error:
        raise InputError(f"OpenML {number} cannot be used: {first_line(error)}") from None
    found.frame = found.frame.reset_index(drop=True).rename(columns=str)
    return found
