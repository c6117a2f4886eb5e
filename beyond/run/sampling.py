"""What a tuning tries: how many trials, at which seeds, and the sampler that asks for them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Interval

from beyond.errors import require
from beyond.ledger import Budget
from beyond.run.display import spans
from beyond.search import Choice, LogUniform, Range
from beyond.settings import Positive, PositiveInt, Seed, settings

MOST = 4096  # trials of an arm


@settings(kw_only=True)
class Tuning:
    """How every arm is tuned.

    Parameters
    ----------
    n_trials : int in [1, 4096]
        Of every arm; the first has the defaults.
    epochs : float, > 0, optional
        Compute of all trials of an arm together, in backprop epochs: takes the place of `n_trials`,
        and buys as many trials as it pays for.
    sampler : {"quasi_random", "tpe"}
        Points of a scrambled Sobol sequence, which no score has moved; or tree-structured Parzen
        estimators (Bergstra et al., 2011), which look where trials were good.
    sampler_seed : int in [0, 2^63)
    n_seeds : int, >= 1
        Replicas of a trial.
    first_seed : int in [0, 2^63)
        Their seeds are those from here on: none of the report's.
    """

    n_trials: Annotated[int, Interval(ge=1, le=MOST)] = 20
    epochs: Positive | None = None
    sampler: Literal["quasi_random", "tpe"] = "quasi_random"
    sampler_seed: Seed = 0
    n_seeds: PositiveInt = 3
    first_seed: Seed = 1000

    @property
    def seeds(self) -> list[int]:
        """The seeds of every trial."""
        return list(range(self.first_seed, self.first_seed + self.n_seeds))

    @property
    def at_once(self) -> int:
        """How many trials are asked for before their scores are known, at most."""
        return 1 if self.sampler == "tpe" else MOST

    def require_apart(self, seeds: Sequence[int]) -> None:
        """Raise `InputError` if a trial has one of the report's seeds: its split and its luck."""
        shared = sorted(set(seeds).intersection(self.seeds))
        allowed = f"such that no seed of a trial is one of the report's ({spans(list(seeds))})"
        require("tune.first_seed", allowed, self.first_seed, not shared)

    def count(self, budget: Budget) -> int:
        """How many trials an arm has, each of such a budget; `InputError` if it is none."""
        if self.epochs is None:
            return self.n_trials
        allowed = "left out where the budget of a run is not in epochs"
        require("tune.epochs", allowed, self.epochs, budget.currency == "epochs")
        one = budget.amount * self.n_seeds
        allowed = f">= {one:g}, what one trial costs ({self.n_seeds} seeds of {budget.amount:g})"
        require("tune.epochs", allowed, self.epochs, self.epochs >= one)
        return int(self.epochs / one + 1e-9)


class Sampler:
    """Optuna's, over the settings that are searched of one arm.

    Parameters
    ----------
    searched : mapping of str to Range
        By dotted names, as `beyond.search.space` has them.
    default : mapping of str to value
        Of the same settings: what trial 0 tries.
    tuning : Tuning
    """

    def __init__(
        self, searched: Mapping[str, Range], default: Mapping[str, Any], tuning: Tuning
    ) -> None:
        import optuna  # half a second to import

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = {
            "quasi_random": lambda: optuna.samplers.QMCSampler(
                qmc_type="sobol", scramble=True, seed=tuning.sampler_seed
            ),
            "tpe": lambda: optuna.samplers.TPESampler(seed=tuning.sampler_seed),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(direction="maximize", sampler=made[tuning.sampler]())
        self._searched = dict(searched)
        self._default = dict(default)
        self._distributions = {
            name: _distribution(within) for name, within in self._searched.items()
        }
        for name, within in self._searched.items():
            require(
                f"the default of {name}", f"in {within}", default[name], default[name] in within
            )

    def begin(self, score: float) -> None:
        """Tell the score of the defaults, which must be known before others are asked for."""
        from optuna.trial import create_trial

        placed = {
            name: _place(self._searched[name], value) for name, value in self._default.items()
        }
        self._study.add_trial(
            create_trial(params=placed, distributions=self._distributions, value=score)
        )

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Return the next trial's number and settings."""
        trial = self._study.ask(self._distributions)
        values = {name: _value(self._searched[name], at) for name, at in trial.params.items()}
        return trial.number, values

    def tell(self, number: int, score: float) -> None:
        """Tell a trial's score, -inf if it failed."""
        self._study.tell(number, score)


def _distribution(within: Range) -> Any:
    """What Optuna draws: a number, or the place of a value, since points of a sequence have places.

    So alternatives are drawn as evenly as numbers are.
    """
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(within, Choice):
        return IntDistribution(0, len(within.values) - 1)
    whole = isinstance(within.low, int) and isinstance(within.high, int)
    made: Any = IntDistribution if whole else FloatDistribution
    return made(within.low, within.high, log=isinstance(within, LogUniform))


def _place(within: Range, value: Any) -> Any:
    return within.values.index(value) if isinstance(within, Choice) else value


def _value(within: Range, place: Any) -> Any:
    """A setting's value, of three figures: more would be read as if they mattered."""
    if isinstance(within, Choice):
        return within.values[place]
    return float(f"{place:.3g}") if isinstance(place, float) else place
