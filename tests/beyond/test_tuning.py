"""Equal tuning: the same trials for all, chosen on validation scores, at seeds of no report."""

import json
import re
from copy import deepcopy
from math import inf

import pandas as pd
import pytest
import yaml

from beyond import catalog
from beyond.errors import InputError
from beyond.ledger import Budget
from beyond.run.cell import Cell
from beyond.run.notes import rows_of
from beyond.run.sampling import Sampler, Tuning
from beyond.run.tuned import PUBLISHED, file_of, fixed_by, folder_of, overlaid, read
from beyond.run.tuning import Outcome, Tuned, best, outcome, searched, tune
from beyond.run.worker import Planned, Worker
from beyond.search import Choice, LogUniform, Uniform, space

FAULTS = [
    # selection: its sign, its split, failed trials
    ("beyond/run/tuning.py", "scores.index(max(scores)) if", "scores.index(min(scores)) if"),
    ("beyond/run/tuning.py", 'rows["best_validation_score"].mean()', 'rows["best_test_score"].mean()'),
    ("beyond/run/tuning.py", 'if status == "finished" else -inf', 'if status != "failed" else -inf'),
    # a trial at seeds of the report's, or at other trials'
    ("beyond/run/sampling.py", "self.first_seed, not shared)", "self.first_seed, True)"),
    ("beyond/run/tuning.py", "            seeds=self.tuning.seeds,\n", ""),
    ("beyond/run/sampling.py", "range(self.first_seed, self.first_seed + self.n_seeds)", "range(self.n_seeds)"),
    ("beyond/run/tuning.py", 'rows["seed"].isin(cell.seeds)', 'rows["seed"] >= 0'),
    # one trial more, or one less
    ("beyond/run/tuning.py", "len(self.trials) < self.n_trials", "len(self.trials) <= self.n_trials"),
    # a trial's line tells its test score
    ("beyond/run/cell.py", 'return "validation" if self.study.name == TRIALS else "test"', 'return "test"'),
    ("beyond/run/sampling.py", "budget.amount * self.n_seeds", "budget.amount"),
    # what the sampler is told
    ("beyond/run/sampling.py", 'direction="maximize"', 'direction="minimize"'),
    ("beyond/run/tuning.py", "self._sampler.begin(first.score)", "self._sampler.begin(0.0)"),
    ("beyond/run/sampling.py", "log=isinstance(within, LogUniform)", "log=False"),
    ("beyond/run/sampling.py", "TPESampler(seed=tuning.sampler_seed)", "TPESampler(seed=0)"),
    ("beyond/run/sampling.py", "within.values.index(value) if", "0 if"),
    ("beyond/run/sampling.py", "within.low, int) and isinstance(within.high, int)", "within.low, int)"),
    ("beyond/run/sampling.py", 'float(f"{place:.3g}")', "float(place)"),
    # a trial less than was paid for
    ("beyond/run/sampling.py", "int(self.epochs / one + 1e-9)", "int(self.epochs / one)"),
    ("beyond/run/sampling.py", "self.epochs >= one)", "self.epochs > one)"),
    # a trial that is not whole, or keeps what is the report's
    ("beyond/run/tuning.py", "        if RunFolder(path.parent).finished\n", ""),
    ("beyond/run/tuning.py", 'worst(list(rows["status"]))', 'rows["status"].iloc[0]'),
    ("beyond/run/tuning.py", "            keep_weights=False,\n", ""),
    ("beyond/run/tuning.py", "            test_also=None,\n", ""),
    # where settings come from
    ("beyond/run/tuning.py", "round(outcomes[0].score, 6)", "round(outcomes[chosen].score, 6)"),
    ("beyond/run/tuning.py", "sum(one.costs[name] for one in outcomes)", "outcomes[chosen].costs[name]"),
    ("beyond/run/tuning.py", '("default", "sampler", "sampler_seed", "seeds", "trial")', '("default", "sampler_seed", "seeds", "trial")'),
    ("beyond/run/tuning.py", '("default", "sampler", "sampler_seed", "seeds", "trial")', '("default", "sampler", "sampler_seed", "trial")'),
    # a part of what was typed is searched all the same
    ("beyond/run/tuning.py", 'name == one or name.startswith(f"{one}.")', "name == one"),
    ("beyond/run/tuned.py", '            reduce(getattr, name.split("."), arm.method)', "            _"),
    ("beyond/run/tuned.py", "if not any(name == one or", "if any(name == one or"),
    ("beyond/run/tuned.py", ' or name.startswith(f"{one}.") for one in fixed', " for one in fixed"),
    ("beyond/run/tuned.py", ' or (key.partition(".")[0] in PARTS and "." in key)', ""),
    ("beyond/run/tuned.py", 'override.lstrip("+")', "override"),
    ("beyond/run/tuned.py", '(file_of(folder, arm), file_of(folder, arm, ""))', '(file_of(folder, arm, ""), file_of(folder, arm))'),
    ("beyond/run/tuned.py", """ and f"{part}=" not in str(origin.get("variant", ""))""", ""),
    ("beyond/run/tuned.py", "method=method, test_also=other.test_also", "method=method"),
    ("beyond/run/tuned.py", "    ours |= {part: _replaced", "    _ = {part: _replaced"),
    ("beyond/run/tuned.py", "made = deepcopy(dict(settings))", "made = dict(settings)"),
    ("beyond/run/tuned.py", "name if part in PARTS and settings[part] else", "name if part in PARTS else"),
]  # fmt: skip
ORIGIN = "origin: {n_trials: 6, budget: {steps: 2}}"
SPACE = {
    "rate": LogUniform(1e-4, 1.0),
    "share": Uniform(0, 1.0),
    "size": Choice(8, 16, 32),
    "n": LogUniform(1, 64),
}
DEFAULT = {"rate": 0.01, "share": 0.5, "size": 16, "n": 8}


@pytest.fixture
def cell(tmp_path):
    """Return what makes a cell of a few steps."""

    def make(method, typed=(), part=None, **settings):
        described = {
            "task": catalog.read("task", "image/digits"),
            "network": {},
            **{one: {} for one in catalog.PARTS},
            "start": catalog.read("start", "cold"),
            "budget": {"steps": 2},
            "seeds": 2,
            "runs": str(tmp_path),
            "study_name": "s",
            "method": {**catalog.read("method", method), **dict(typed)},
            **({part[0]: catalog.read(*part)} if part else {}),
            **settings,
        }
        return Cell.of(described, method)

    return make


def listed(path):
    """Rows of a file of trials."""
    return list(rows_of(path, repr).values())


def train(cells):
    Worker([[Planned(cell.settings, method)] for cell, method in cells])(None)


def tuning(**settings):
    return Tuning(**{"n_trials": 4, "n_seeds": 2, **settings})


def asked(n, **settings):
    sampler = Sampler(SPACE, DEFAULT, tuning(**settings))
    sampler.begin(0.5)
    return [sampler.ask() for _ in range(n)]


def test_trials_lie_in_the_ranges_each_of_them_evenly_and_are_the_same_again():
    trials = asked(63)
    assert [number for number, _ in trials] == list(range(1, 64))
    assert trials == asked(63)
    assert trials != asked(63, sampler_seed=1)
    rows = pd.DataFrame([values for _, values in trials])
    for name, within in SPACE.items():
        assert all(value in within for value in rows[name])
    # a quarter of a Sobol sequence's points lies in each quarter of every range
    quarters = pd.cut(rows["rate"], [0, 1e-3, 1e-2, 1e-1, 2]).value_counts()
    assert quarters.between(15, 17).all()
    assert pd.cut(rows["share"], [-1, 0.25, 0.5, 0.75, 1]).value_counts().between(15, 17).all()
    assert rows["size"].value_counts().between(18, 24).all()
    assert rows["n"].dtype == int


def test_tpe_looks_where_trials_were_good():
    sampler = Sampler({"rate": LogUniform(1e-4, 1.0)}, {"rate": 0.01}, tuning(sampler="tpe"))
    sampler.begin(-4.0)
    found = []
    for _ in range(40):
        number, values = sampler.ask()
        found.append(values["rate"])
        sampler.tell(number, -inf if values["rate"] > 0.5 else -abs(values["rate"] - 0.1))
    late = pd.Series(found[20:])
    assert late.between(0.03, 0.3).mean() > 0.45  # of the range it is a quarter


def test_a_sampler_is_told_where_the_defaults_are_and_draws_by_its_seed():
    samplers = [Sampler(SPACE, DEFAULT, tuning(sampler="tpe", sampler_seed=n)) for n in (0, 0, 1)]
    for sampler in samplers:
        sampler.begin(0.5)
    one, same, other = ([sampler.ask() for _ in range(3)] for sampler in samplers)
    assert one == same != other
    (told, *_) = samplers[0]._study.trials
    assert (told.params, told.value) == ({**DEFAULT, "size": 1}, 0.5)  # the place of 16


def test_settings_have_three_figures():
    rows = [values for _, values in asked(9)]
    for name in ("rate", "share"):
        assert [row[name] for row in rows] == [float(f"{row[name]:.3g}") for row in rows]


def test_a_default_outside_of_its_range_is_refused():
    with pytest.raises(
        InputError, match=r"the default of rate must be in \[0.0001, 1\] log, got 2.0"
    ):
        Sampler({"rate": LogUniform(1e-4, 1.0)}, {"rate": 2.0}, tuning())


def test_a_budget_of_compute_buys_trials():
    assert Tuning(epochs=60.0, n_seeds=3).count(Budget("epochs", 5.0)) == 4
    assert Tuning(epochs=59.0, n_seeds=3).count(Budget("epochs", 5.0)) == 3
    assert Tuning(epochs=15.0, n_seeds=3).count(Budget("epochs", 5.0)) == 1
    assert Tuning(epochs=0.3, n_seeds=1).count(Budget("epochs", 0.1)) == 3  # 2.9999999999999996
    assert Tuning().count(Budget("steps", 5.0)) == 20
    with pytest.raises(InputError, match=r"tune.epochs must be >= 15, what one trial costs"):
        Tuning(epochs=14.0, n_seeds=3).count(Budget("epochs", 5.0))
    with pytest.raises(InputError, match=r"tune.epochs must be left out"):
        Tuning(epochs=14.0).count(Budget("steps", 5.0))


def test_no_trial_has_a_seed_of_the_report(cell):
    Tuned(cell("backprop"), "backprop", [], tuning(first_seed=2))
    with pytest.raises(InputError, match=r"tune.first_seed must be such .* \(0 to 1\), got 1"):
        Tuned(cell("backprop"), "backprop", [], tuning(first_seed=1))


def test_the_best_is_the_highest_and_the_earliest_of_equals():
    def of(*scores):
        return [Outcome("finished" if score > -inf else "failed", score, {}) for score in scores]

    assert best(of(0.1, 0.3, 0.3, 0.2)) == 1
    assert best(of(-inf, -5.0)) == 1
    assert best(of(-inf, -inf)) is None


def test_what_was_typed_is_not_searched(cell):
    every, values = searched(cell("genetic"))
    assert values["mutation.std"] == 0.01
    left, _ = searched(cell("genetic"), ["mutation", "batch_size"])
    assert set(every) - set(left) == {"mutation.std", "batch_size"}


def test_an_outcome_is_the_mean_validation_score_of_these_seeds(cell):
    one = cell("backprop", seeds=[5, 6])
    assert outcome(one) is None
    train([(one, "backprop"), (one.of_seeds([7]), "backprop")])
    rows = pd.read_parquet(one.folder / "runs.parquet")
    found = outcome(one)
    assert found.status == "finished"
    assert found.score == pytest.approx(rows["best_validation_score"].mean())
    assert found.score != pytest.approx(rows["best_test_score"].mean())
    assert found.costs["flops"] == rows["flops"].sum()
    assert outcome(one.of_seeds([6, 8])) is None


def test_a_trial_of_which_a_seed_failed_or_is_cut_is_no_finished_one(cell):
    one = cell("backprop", seeds=[5, 6])
    train([(one.of_seeds([5]), "backprop")])
    train([(cell("backprop", seeds=[6], time_limit=1e-9), "backprop")])
    assert (outcome(one).status, outcome(one).score) == ("failed", -inf)
    (one.of_seeds([6]).folder / "curves.parquet").write_bytes(b"cut")
    assert outcome(one) is None


def test_a_trial_keeps_nothing_but_its_scores(cell):
    one = cell("mono_forward", keep_weights=True, test_also={"prediction": ["sum"]})
    (first,) = Tuned(one, "mono_forward", [], tuning()).trials
    assert not first.cell.run.keep_weights
    assert (first.cell.run.test_also, first.cell.arm.test_also) == (None, None)
    assert first.cell.study.name == "trials"


def test_a_trial_that_took_no_step_is_worse_than_every_other(cell):
    one = cell("backprop", budget={"examples": 1.0})
    train([(one, "backprop")])
    assert outcome(one).status == "untrained"
    assert outcome(one).score == -inf


@pytest.fixture
def arms(cell):
    """Return what makes the tuning of these methods."""
    return lambda *methods, **settings: [
        Tuned(cell(method), method, [], tuning(**settings)) for method in methods
    ]


@pytest.mark.parametrize(("sampler", "n_rounds"), [("quasi_random", 2), ("tpe", 4)])
def test_every_arm_has_the_same_trials_and_the_best_of_them_is_kept(
    arms, sampler, n_rounds, tmp_path, capsys
):
    rounds, told = [], []

    def noting(cells):
        rounds.append(len(cells))
        train(cells)

    mine = arms("backprop", "hebbian", "constant", "maml", sampler=sampler)
    found = tune(mine, noting, told.append)
    assert len(rounds) == n_rounds
    assert sum(rounds) == 4 + 4 + 1 + 1  # nothing is searched of one, the other cannot serve
    rows = pd.DataFrame(listed(tmp_path / "s/trials/trials.json"))
    assert rows.groupby("method")["trial"].apply(list).to_dict() == {
        "backprop": [0, 1, 2, 3],
        "hebbian": [0, 1, 2, 3],
        "constant": [0],
        "maml": [0],
    }
    assert all(seeds == [1000, 1001] for seeds in rows["seeds"])
    backprop = mine[0]
    scores = [
        pd.concat(
            pd.read_parquet(path) for path in (tmp_path / "s/trials").glob(f"{run}-*/runs.parquet")
        )["best_validation_score"].mean()
        for run in rows.loc[rows["method"] == "backprop", "run"]
    ]
    chosen = scores.index(max(scores))
    assert backprop.chosen == chosen
    assert [trial.value for trial in backprop._sampler._study.trials] == pytest.approx(scores)
    manifests = (tmp_path / "s/trials").glob("*-*/manifest.json")
    assert all(json.loads(path.read_text())["seeds"] == [1000, 1001] for path in manifests)
    settings = rows.loc[
        (rows["method"] == "backprop") & (rows["trial"] == chosen), "settings"
    ].iloc[0]
    file = yaml.safe_load((tmp_path / "s/tuned/image/digits/mlp-32/backprop.yaml").read_text())
    assert file["settings"] == settings
    assert file["origin"]["n_trials"] == 4
    assert file["origin"]["trial"] == chosen
    assert file["origin"]["seeds"] == [1000, 1001]
    assert file["origin"]["data_sha256"] == backprop.cell.data
    assert file["origin"]["validation_score"] == pytest.approx(max(scores), abs=1e-6)
    defaults = file["origin"]["validation_score_of_the_defaults"]
    assert defaults == pytest.approx(scores[0], abs=1e-6)
    flops = [trial.outcome.costs["flops"] for trial in backprop.trials]
    spent = file["origin"]["costs_of_all_trials"]["flops"]
    assert spent == pytest.approx(sum(flops), rel=1e-5)
    tuned = found.get(backprop.cell.arm.id, backprop.cell)
    assert tuned.seeds == [0, 1]
    assert tuned.study == tmp_path / "s"
    assert tuned.arm.method.batch_size == settings["batch_size"]
    assert tuned.arm.method.optimizer.learning_rate == settings["optimizer.learning_rate"]
    pairs = {row["default"]: row["tuned"] for row in listed(tmp_path / "s/tuned.json")}
    assert pairs[backprop.cell.arm.id] == tuned.arm.id
    assert any(line.endswith("maml: not tuned, its trials are skipped") for line in told)
    assert any(line.endswith("constant: nothing is searched of it") for line in told)
    shown = capsys.readouterr().err
    assert "finished, validation accuracy_score" in shown
    assert "test accuracy" not in shown


@pytest.mark.once
def test_a_tuning_that_is_killed_goes_on_with_the_same_trials(arms, tmp_path):
    def killed(cells):
        train(cells[:2])

    rest = iter([train, killed])
    with pytest.raises(InputError, match="3 of 5 trials were not trained"):
        tune(arms("backprop", n_trials=6), lambda cells: next(rest)(cells), print)
    before = sorted((tmp_path / "s/trials").glob("*-*"))
    assert len(before) == 3
    tune(arms("backprop", n_trials=6), train, print)
    after = sorted((tmp_path / "s/trials").glob("*-*"))
    assert len(after) == 6
    assert set(before) < set(after)
    rows = listed(tmp_path / "s/trials/trials.json")
    assert [row["trial"] for row in rows] == list(range(6))


def test_other_tunings_of_an_arm_stay_listed(arms, tmp_path):
    tune(arms("backprop"), train, print)
    tune(arms("backprop", sampler_seed=1), train, print)
    tune(arms("backprop", n_trials=2), train, print)
    tune(arms("backprop", n_trials=2, sampler="tpe"), train, print)
    tune(arms("backprop", n_trials=2, first_seed=2000), train, print)
    rows = listed(tmp_path / "s/trials/trials.json")
    assert len(rows) == 4 + 4 + 2 + 2
    (tmp_path / "s/trials/trials.json").write_text("[{")
    with pytest.raises(InputError, match="cannot be read"):
        listed(tmp_path / "s/trials/trials.json")


def test_settings_that_do_not_go_together_are_a_failed_trial(cell):
    # a baseline of others needs two actions, and one is in the range
    one = cell("reinforce", part=("baseline", "leave_one_out"), typed={"n_actions": 4})
    arm = Tuned(one, "reinforce", [], tuning(n_trials=12))
    arm.trials[0].outcome = Outcome(
        "finished", 0.5, dict.fromkeys(("epochs", "flops", "seconds"), 1.0)
    )
    trials = arm.more(11)
    refused = [trial for trial in trials if trial.cell is None]
    assert {trial.values["n_actions"] for trial in refused} == {1}
    assert all(trial.outcome.status == "refused" for trial in refused)
    assert len(trials) == 11


def test_a_part_that_was_chosen_is_tuned_in_its_place(cell, tmp_path):
    one = cell("backprop", part=("optimizer", "sgd"))
    arm = Tuned(one, "backprop", [], tuning())
    made = arm.with_values({"optimizer.learning_rate": 0.5, "batch_size": 8})
    assert type(made.arm.method.optimizer).__name__ == "SGD"
    assert made.arm.method.optimizer.learning_rate == 0.5
    assert made.arm.method.batch_size == 8
    assert file_of(tmp_path, one.arm).name == "backprop,optimizer=sgd.yaml"


def origin(variant=""):
    return {"n_trials": 6, "budget": {"steps": 2}, "variant": variant}


@pytest.fixture
def published(tmp_path):
    """Return a folder with tuned settings of backpropagation."""
    path = tmp_path / "tuned/image/digits/mlp-32/backprop.yaml"
    path.parent.mkdir(parents=True)
    found = {"optimizer.learning_rate": 0.02, "batch_size": 8}
    path.write_text(yaml.safe_dump({"settings": found, "origin": origin()}, sort_keys=False))
    return tmp_path / "tuned"


def test_tuned_settings_count_less_than_what_was_typed(cell, published):
    told = []
    made = overlaid(cell("backprop"), "backprop", published, ["method=backprop"], told.append)
    assert (made.arm.method.optimizer.learning_rate, made.arm.method.batch_size) == (0.02, 8)
    place = published / "image/digits/mlp-32/backprop.yaml"
    assert told == [
        "backprop on image/digits (mlp-32): optimizer.learning_rate=0.02, batch_size=8, "
        f"tuned in 6 trials, from {place}"
    ]
    typed = cell("backprop", typed={"batch_size": 64}, budget={"steps": 3})
    made = overlaid(typed, "backprop", published, ["method.batch_size=64"], told.append)
    assert (made.arm.method.optimizer.learning_rate, made.arm.method.batch_size) == (0.02, 64)
    assert told[1].endswith("; tuned for 2 steps, not 3 steps")


def test_settings_that_were_typed_are_those_of_the_method_and_its_parts():
    typed = ["method=backprop", "+method.batch_size=3", "optimizer=sgd", "task.size=1"]
    assert fixed_by([*typed, "optimizer.learning_rate=0.1"]) == [
        *("batch_size", "optimizer.learning_rate")
    ]


def test_a_part_that_was_typed_stays_whole(cell, published):
    typed = ["method.optimizer={learning_rate:3}"]
    made = overlaid(cell("backprop"), "backprop", published, typed, print)
    assert made.arm.method.optimizer == cell("backprop").arm.method.optimizer
    assert made.arm.method.batch_size == 8


def test_what_was_tuned_with_the_same_settings_counts_more(cell, published):
    typed = cell("backprop", typed={"n_layers": 1})
    path = file_of(published, typed.arm)
    found = {"settings": {"batch_size": 4}, "origin": origin("n_layers=1")}
    path.write_text(yaml.safe_dump(found))
    made = overlaid(typed, "backprop", published, ["method.n_layers=1"], print)
    assert made.arm.method.batch_size == 4
    assert overlaid(cell("backprop"), "backprop", published, [], print).arm.method.batch_size == 8


def test_tuned_settings_of_the_part_that_was_chosen_are_taken(cell, published):
    one = cell("backprop", part=("optimizer", "sgd"))
    found = {"settings": {"optimizer.learning_rate": 0.7}, "origin": origin("optimizer=sgd")}
    file_of(published, one.arm).write_text(yaml.safe_dump(found))
    before = deepcopy(one.settings)
    made = overlaid(one, "backprop", published, ["optimizer=sgd"], print)
    assert made.arm.method.optimizer.learning_rate == 0.7
    assert one.settings == before


def test_tuned_settings_that_are_not_there_name_what_makes_them(cell, published):
    with pytest.raises(InputError, match=r"no tuned settings of hebbian on image/digits \(mlp-32\) in .*"
                       r": beyond \+tune=equal method=hebbian task=image/digits makes them"):  # fmt: skip
        overlaid(cell("hebbian"), "hebbian", published, [], print)


def test_tuned_settings_of_a_part_that_was_replaced_are_refused(cell, published):
    one = cell("backprop", part=("optimizer", "sgd"))
    with pytest.raises(
        InputError, match="optimizer must be default with tuned settings of another"
    ):
        overlaid(one, "backprop", published, ["optimizer=sgd"], print)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rate: 1", "no tuned settings: KeyError: 'settings'"),
        ("settings: 3", "no tuned settings: AttributeError: "),
        ("{settings: {batch_size: 8}, origin: {}}", "no tuned settings: KeyError: 'budget'"),
        ("{settings: {}, origin: {n_trials: 6, budget: 3}}", "no tuned settings: Attribute"),
        ("{settings: {}, origin: {n_trials: 6, budget: {}}}", "no tuned settings: Value"),
        ("{settings: {}, origin: {n_trials: 6, budget: {a: b}}}", "no tuned settings: Value"),
        (f"{{settings: {{batchsize: 8}}, {ORIGIN}}}", "settings of another method: batchsize"),
        (f"{{settings: {{optimizer._target_: os.system}}, {ORIGIN}}}", "settings of another"),
        (
            f"{{settings: {{optimizer.a.b: 8}}, {ORIGIN}}}",
            "settings of another method: optimizer.a",
        ),
        (f"{{settings: {{3: 8}}, {ORIGIN}}}", "settings of another method: 3"),
        ("\0", "no tuned settings: ReaderError"),
    ],
)
def test_a_file_that_has_no_tuned_settings_is_named(text, told, cell, published):
    (published / "image/digits/mlp-32/backprop.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"backprop.yaml' has {re.escape(told)}"):
        overlaid(cell("backprop"), "backprop", published, [], print)


def test_where_tuned_settings_are(tmp_path):
    assert folder_of(False) is None
    assert folder_of(True) == catalog.CONF / "tuned"
    assert folder_of(str(tmp_path)) == tmp_path
    for value in ("nowhere", 3):
        with pytest.raises(InputError, match="tuned must be true, false, or a folder"):
            folder_of(value)


@pytest.mark.once
def test_the_command_tunes_then_reports_defaults_and_tuned(beyond, tmp_path):
    shared = ("budget=steps", "budget.steps=3", "seeds=3", "study_name=s")
    few = ("tune.n_trials=3", "tune.n_seeds=1")
    status, told, _ = beyond("+tune=equal", "method=backprop,constant", *shared, *few)
    assert status == 0, told
    cells = {path.parent.name for path in (tmp_path / "runs/s").glob("*-*/manifest.json")}
    pairs = json.loads((tmp_path / "runs/s/tuned.json").read_text())
    assert {name.partition("-")[0] for name in cells} == {
        arm for row in pairs for arm in (row["default"], row["tuned"])
    }
    trials = {path.parent.name for path in (tmp_path / "runs/s/trials").glob("*-*/manifest.json")}
    assert len(trials) == 3 + 1
    folder = tmp_path / "runs/s/tuned"
    status, told, _ = beyond("method=backprop", f"tuned={folder}", *shared)
    assert status == 0
    assert "finished before" in told
    status, told, _ = beyond("+tune=equal", "method=backprop", "tuned=true", *shared)
    assert (status, told) == (1, "beyond: tuned must be left out where arms are tuned, got True\n")


@pytest.mark.parametrize(
    "path",
    sorted(PUBLISHED.rglob("*.yaml")),
    ids=lambda path: path.relative_to(PUBLISHED).as_posix(),
)
def test_what_is_published_as_tuned_is_in_what_its_method_searches(path):
    settings, origin = read(path)
    within = space(catalog.load("method", origin["method"]))
    assert settings.keys() <= within.keys()
    assert all(value in within[name] for name, value in settings.items())
    assert path.relative_to(PUBLISHED).parts[:-1] == (
        *origin["task"].split("/"),
        origin["network"],
    )
    assert origin["n_trials"] in (1, 20)  # 1 where nothing is searched
