"""What tuning tells, against enumeration: every choice of k of the trials, one by one."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from analysis import release
from analysis.runs import COSTS, RESULT
from analysis.statistics.inference import stream
from analysis.study import Study
from analysis.summaries import quantities, tuning
from analysis.tables import TableError

FAULTS = [
    ("analysis/summaries/quantities.py", 'if paper.get("as_tuned") else tables', "if False else tables"),
    ("analysis/summaries/tuning.py", "comb(i - 1, k - 1) / comb(n, k)", "comb(i - 1, k) / comb(n, k)"),
    ("analysis/summaries/tuning.py", "for i in range(1, n + 1)", "for i in range(n, 0, -1)"),
    ("analysis/summaries/tuning.py", "shared = np.bincount(group, chance) / np.bincount(group)", "shared = np.bincount(group, chance)"),
    ("analysis/summaries/tuning.py", "np.cumsum(weights(len(ascending), k)) >= quantile", "np.cumsum(weights(len(ascending), k)) > 1 - quantile"),
    ("analysis/summaries/tuning.py", '"validation": sign * runs["best_validation_score"]', '"validation": sign * runs["best_test_score"]'),
    ("analysis/summaries/tuning.py", 'runs["seed"].isin(told["seeds"])', 'runs["seed"] >= 0'),
    ("analysis/summaries/tuning.py", 'table["validation"].fillna(worst)', 'table["validation"].fillna(0.99)'),
    ("analysis/summaries/tuning.py", "paired(sign * tuned, sign * default,", "paired(sign * default, sign * tuned,"),
    ("analysis/summaries/tuning.py", "(1 - squares[0]) * (n - 1) / (n - 1 - terms)", "(1 - squares[0])"),
    ("analysis/summaries/tuning.py", 'table.loc[table["trial"] == 0, "value"]', 'table["value"]'),
    ("analysis/figures/training.py", "            axes.vlines(at, band.low, band.high,", "            axes.vlines(at[:1], band.low[:1], band.high[:1],"),
    ("analysis/summaries/tuning.py", "n < max(FEWEST, terms + 3)", "n < FEWEST"),
    ("analysis/summaries/tuning.py", "max(0.0, float(share))", "float(share)"),
    ("analysis/summaries/tuning.py", "isinstance(value, str | bool | None) for", "isinstance(value, str) for"),
    ("analysis/summaries/tuning.py", 'table.groupby("task")["validation"]', 'table.groupby("arm")["validation"]'),
    ("analysis/summaries/tuning.py", 'higher_is_better(str(runs["headline_metric"].iloc[0])) else -1', "True else -1"),
    ("analysis/summaries/tuning.py", "{cost: float(runs[cost].sum()) for", "{cost: float(runs[cost].mean()) for"),
    ("analysis/summaries/tuning.py", 'if len(runs) < len(told["seeds"]):', "if not len(runs):"),
    ("analysis/summaries/tuning.py", '            "samplers": tuned.groupby("arm")["sampler"].agg(_listed),\n', ""),
    ("analysis/summaries/tuning.py", '            "tuning seeds": tuned.groupby("arm")["seeds"].agg(_listed),\n', ""),
    ("analysis/summaries/tuning.py", "if len(told.unique()) > 1:", "if False:"),
    ("analysis/summaries/tuning.py", "if len(machines) > 1:", "if False:"),
    ("analysis/summaries/tuning.py", 'runs[~runs["of"].isin(replaced)]', 'runs[runs["of"] != ""]'),
    ("analysis/summaries/tuning.py", 'if default != tuned}', 'if default}'),
    ("analysis/study.py", "gains(self.folder, self._all)", "gains(self.folder, self.tables)"),
    ("analysis/tables.py", 'if row["tuned"] != row["default"]', "if True"),
]  # fmt: skip
VALUES = np.array([0.3, 0.9, 0.1, 0.5, 0.5, 0.7])
TESTS = np.array([0.2, 0.6, 0.4, 0.9, 0.1, 0.8])
SPACE = {"rate": [0.001, 0.1, 0.01, 0.03, 0.3, 0.003, 0.02, 0.05, 0.2]}


def choices(values, k):
    return [list(chosen) for chosen in combinations(range(len(values)), k)]


@pytest.mark.parametrize("k", range(1, 7))
def test_the_expected_best_is_the_mean_over_all_choices(k):
    best = [max(VALUES[chosen]) for chosen in choices(VALUES, k)]
    assert tuning.weights(6, k).sum() == pytest.approx(1)
    assert tuning.expected_best(VALUES, k) == pytest.approx(np.mean(best))


@pytest.mark.parametrize("k", range(1, 7))
def test_the_test_score_is_that_of_the_best_by_validation(k):
    """Of equal ones any may be the one that is kept."""
    found = [
        np.mean([TESTS[i] for i in chosen if VALUES[i] == max(VALUES[chosen])])
        for chosen in choices(VALUES, k)
    ]
    shared = tuning.expected_best(VALUES, k, TESTS)
    if k > 1:  # where both of the equal ones may be there
        orders = [VALUES + noise for noise in ([0, 0, 0, 1e-9, 0, 0], [0, 0, 0, 0, 1e-9, 0])]
        found = [TESTS[chosen][np.argmax(o[chosen])] for o in orders for chosen in choices(o, k)]
    assert shared == pytest.approx(np.mean(found))


@pytest.mark.parametrize("k", range(1, 7))
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_a_quantile_is_the_smallest_that_so_many_choices_stay_below(k, quantile):
    best = np.sort([max(VALUES[chosen]) for chosen in choices(VALUES, k)])
    share = np.searchsorted(best, best, side="right") / len(best)
    assert tuning.best_quantile(VALUES, k, quantile) == best[np.argmax(share >= quantile - 1e-12)]


def test_numbers_of_trials_double_up_to_all():
    assert tuning.doublings(20) == [1, 2, 4, 8, 16, 20]
    assert tuning.doublings(8) == [1, 2, 4, 8]
    assert tuning.doublings(1) == [1]


def test_a_setting_explains_what_is_made_of_it_alone():
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -1, 20)
    valley = -np.abs(np.log10(rates) + 2.5)  # best in the middle: no rank correlation
    share, p = tuning.explained(list(rates), valley, stream("a"))
    assert share > 0.8
    assert p == 1 / 1000
    kinds = list("ab" * 10)
    share, p = tuning.explained(kinds, [1.0 * (kind == "b") for kind in kinds], stream("a"))
    assert share == pytest.approx(1)
    shares = [tuning.explained(list(rates), rng.normal(size=20), stream("a")) for _ in range(60)]
    assert np.mean([p < 0.05 for _, p in shares]) < 0.15
    assert np.mean([share for share, _ in shares]) < 0.06  # adjusted: luck explains nothing
    assert min(share for share, _ in shares) == 0
    assert np.isnan(tuning.explained(list(rates[:5]), valley[:5], stream("a"))[0])
    # one more than the terms of seven alternatives leave of eight trials
    assert np.isnan(tuning.explained(list("abcdefga"), valley[:8], stream("a"))[0])
    whole, sizes = [0.1, 0.5, 0.3, 0.2], [None, 16, 32, 64]  # without a size is an alternative
    assert tuning.explained(sizes * 5, whole * 5, stream("a"))[0] == pytest.approx(1)
    assert np.isnan(tuning.explained([1.0] * 20, valley, stream("a"))[0])


def runs(name, seeds, offset, status="finished"):
    """Rows of a runs table that follow from a number."""
    return {
        "run_id": f"{name}-{seeds[0]}",
        "status": status,
        "validation": [0.5 + offset + 0.01 * seed for seed in range(len(seeds))],
        "test": [0.4 + offset + 0.01 * seed for seed in range(len(seeds))],
        "seeds": seeds,
    }


@pytest.fixture
def tuned(study, tmp_path):
    """Return what makes a study of two arms, tuned in so many trials."""

    def cell(folder, name, seeds, offset, status="finished", method="backprop", variant=""):
        writer = type(study)(folder)
        made = folder / writer.cell(method, seeds=list(seeds), variant=variant)
        table = pd.read_parquet(made / "runs.parquet")
        table["run_id"] = f"{name}-{seeds[0]}"
        table["status"] = status
        for moment in ("best_validation_score", "best_test_score"):
            table[moment] = 0.5 + offset + 0.01 * np.arange(len(seeds)) - 0.1 * ("test" in moment)
        for other in ("curves", "layers"):
            frame = pd.read_parquet(made / f"{other}.parquet").assign(run_id=f"{name}-{seeds[0]}")
            frame.to_parquet(made / f"{other}.parquet")
        table.to_parquet(made / "runs.parquet")
        manifest = json.loads((made / "manifest.json").read_text())
        manifest.pop("tables", None)
        (made / "manifest.json").write_text(
            json.dumps({**manifest, "run_id": f"{name}-{seeds[0]}"})
        )
        made.rename(folder / f"{name}-{seeds[0]}")

    def make(n_trials=(9, 9), failing=()):
        folder, told, pairs = tmp_path / "runs/tuned", [], []
        for method, n in zip(("backprop", "genetic"), n_trials, strict=True):
            default, chosen = f"{method}0", f"{method}{n - 1}"
            for trial in range(n):
                status = "diverged" if (method, trial) in failing else "finished"
                offset = 0.01 * trial
                cell(folder / "trials", f"{method}{trial}", (1000, 1001), offset, status, method,
                     f"rate={SPACE['rate'][trial]}" if trial else "")  # fmt: skip
                told.append(
                    {
                        "default": default, "label": method, "method": method,
                        "task": "image/digits", "network": "mlp", "budget": {"epochs": 300.0},
                        "sampler": "quasi_random", "sampler_seed": 0, "seeds": [1000, 1001],
                        "trial": trial, "run": f"{method}{trial}",
                        "settings": {"rate": SPACE["rate"][trial]},
                    }
                )  # fmt: skip
            cell(folder, default, range(5), 0.0, method=method)
            cell(folder, chosen, range(5), 0.1, "finished", method, f"rate={SPACE['rate'][n - 1]}")
            settings = {"rate": SPACE["rate"][n - 1]}
            pairs.append(
                {"default": default, "tuned": chosen, "trial": n - 1, "settings": settings}
            )
        (folder / "trials/trials.json").write_text(json.dumps(told))
        (folder / "tuned.json").write_text(json.dumps(pairs))
        return Study(folder)

    return make


def test_a_study_ranks_tuned_arms_by_that_name_and_no_trials(tuned):
    study = tuned()
    assert study.arms == ["backprop", "backprop [tuned]", "genetic", "genetic [tuned]"]
    assert set(study.runs["seed"]) == set(range(5))


def test_trials_have_the_mean_validation_score_of_their_seeds(tuned):
    study = tuned()
    told = json.loads((study.folder / "trials/trials.json").read_text())
    found = study.trials()
    one = [{**row, "seeds": [1001]} for row in told]  # the others are of another tuning
    (study.folder / "trials/trials.json").write_text(json.dumps(one))
    assert Study(study.folder).trials()["validation"].iloc[3] == pytest.approx(0.5 + 0.03 + 0.01)
    assert list(found["trial"]) == [*range(9), *range(9)]
    assert set(found["arm"]) == {"backprop", "genetic"}
    assert found["validation"].iloc[3] == pytest.approx(0.5 + 0.03 + 0.005)
    assert found["test"].iloc[3] == pytest.approx(0.4 + 0.03 + 0.005)
    after = tuned_table(found, "backprop")
    assert after.loc[1, "validation"] == pytest.approx(0.505 + 0.04)
    assert after.loc[9, "validation"] == pytest.approx(0.585)
    assert after.loc[9, "test"] == pytest.approx(0.485)


def tuned_table(found, arm):
    after = tuning.after_trials(found)
    return after[after["arm"] == arm].set_index("k")


def test_a_trial_that_did_not_finish_counts_as_the_worst(tuned):
    found = tuned(failing=[("genetic", 8), ("genetic", 7)]).trials()
    failed = found[found["status"] == "diverged"]
    assert len(failed) == 2
    assert failed["validation"].isna().all()
    assert list(failed["value"]) == [pytest.approx(0.505)] * 2
    assert tuned_table(found, "genetic").loc[9, "validation"] == pytest.approx(0.565)
    told = tuning.costs(found).set_index("arm")
    assert told.loc["genetic", "not_finished"] == 2
    assert told.loc["genetic", "trials"] == 9
    assert told.loc["genetic", "epochs"] == found.loc[found["arm"] == "genetic", "epochs"].sum() > 0


def test_a_trial_that_did_not_finish_is_as_bad_as_the_worst_of_its_task(tuned):
    found = tuned(failing=[("genetic", 0)]).trials()
    failed = found[found["status"] == "diverged"]
    assert list(failed["value"]) == [pytest.approx(0.505)]  # which is the other arm's


def test_the_figure_has_a_bar_at_every_mark_the_defaults_and_how_many_trials(tuned):
    (axes,) = tuned().plot.tuning()
    title, note = (text.get_text() for text in axes.figure.texts[:2])
    assert title == "image/digits: tuning, 9 trials an arm, sampler quasi_random"
    assert "Dotted: the defaults" in note
    low, high = axes.get_ylim()
    lines = [line for drawn in axes.collections for line in drawn.get_segments()]
    bars = [line for line in lines if low < line[0, 1] <= line[1, 1] < high]
    upright = [line for line in bars if line[0, 0] == line[1, 0]]
    assert len(upright) == 2 * len(tuning.doublings(9))
    dotted = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == [pytest.approx(0.505)] * 2


def test_the_gain_is_of_tuned_over_defaults_at_the_same_seeds(tuned):
    gains = tuned().tuning()["tuning_gains"].set_index("arm")
    assert gains.loc["genetic", "mean"] == pytest.approx(0.1)
    assert gains.loc["genetic", "n"] == 5
    assert gains.loc["genetic", "tuned"] == pytest.approx(gains.loc["genetic", "default"] + 0.1)


def test_defaults_that_were_best_are_no_tuned_arm(tuned):
    study = tuned()
    pairs = json.loads((study.folder / "tuned.json").read_text())
    same = [{**pairs[0], "tuned": pairs[0]["default"]}, pairs[1]]
    (study.folder / "tuned.json").write_text(json.dumps(same))
    again = Study(study.folder)
    assert "backprop" in again.arms
    assert list(again.tuning()["tuning_gains"]["arm"]) == ["genetic"]


def test_as_tuned_each_arm_has_the_settings_that_were_chosen_under_its_plain_name(tuned):
    whole = tuned()
    study = whole.as_tuned()
    assert study.arms == ["backprop", "genetic"]
    scores = study.summary().set_index("arm")["mean"]
    assert scores["genetic"] == whole.summary().set_index("arm").loc["genetic [tuned]", "mean"]
    assert set(study.curves["arm"]) == {"backprop", "genetic"}
    assert len(study.tables.manifests) == 2
    assert study.reference_on("image/digits") == "backprop"
    assert list(study.tuning()["tuning_gains"]["arm"]) == list(
        whole.tuning()["tuning_gains"]["arm"]
    )
    assert any("0 arms of 2 kept the defaults" in line for line in study.caveats())
    assert study.report() == study.folder / "as-tuned/index.html"
    assert "--as-tuned" in study.report().read_text()


def test_a_page_of_claims_measures_what_was_tuned_if_it_says_so(tuned):
    folder = tuned().folder
    entry = {"where": {}, "take": {"column": "best_test_score", "arm": "backprop"}}
    page = {"name": "toy", "scale": "fast", "title": "Toy", "question": "?", "claims": []}
    for as_tuned, expected in ((False, 0.42), (True, 0.52)):
        settings = {**page, "measure": {"score": entry}, "as_tuned": as_tuned}
        (folder / "paper.json").write_text(json.dumps(settings))
        assert quantities.measure(*quantities.read(folder))["score"].mean() == pytest.approx(
            expected
        )


def test_as_tuned_an_arm_whose_defaults_were_best_keeps_them(tuned):
    study = tuned()
    pairs = json.loads((study.folder / "tuned.json").read_text())
    same = [{**pairs[0], "tuned": pairs[0]["default"]}, pairs[1]]
    (study.folder / "tuned.json").write_text(json.dumps(same))
    found = Study(study.folder, as_tuned=True)
    assert pairs[0]["default"] in {run.partition("-")[0] for run in found.runs["run_id"]}
    assert any("1 arm of 2 kept the defaults" in line for line in found.caveats())


def test_a_study_that_was_not_tuned_is_not_shown_as_tuned(study):
    study.cell("backprop")
    with pytest.raises(TableError, match=r"no arm of .* was tuned: beyond \+tune=equal does so"):
        Study(study.folder, as_tuned=True)


def test_what_is_published_of_a_tuned_study_says_what_was_tuned(tuned, tmp_path):
    path = release.write("mine", [tuned().folder], tmp_path)
    published = release.read(str(path)).runs
    assert published.groupby("method")["tuned"].agg(set).to_dict() == {
        "backprop": {"", "rate"},
        "genetic": {"", "rate"},
    }


def test_seconds_of_trials_on_other_machines_are_not_compared_silently(tuned):
    folder = tuned().folder
    for number, name in enumerate(("backprop3", "genetic2")):
        path = folder / f"trials/{name}-1000/manifest.json"
        made = json.loads(path.read_text()) | {"processor": f"P{number}", "cores": 2}
        path.write_text(json.dumps(made))
    told = [line for line in Study(folder).caveats() if "trials ran on" in line]
    assert len(told) == 1
    assert "P0, 2 cores" in told[0]
    assert "P1, 2 cores" in told[0]
    assert "seconds are not comparable" in told[0]


def test_arms_that_were_tuned_alike_are_no_fault_of_the_study(tuned):
    assert not [line for line in tuned().caveats() if "tuned alike" in line]


def test_another_number_of_trials_is_named(tuned):
    lines = [line for line in tuned((9, 4)).caveats() if "tuned alike" in line]
    assert lines == [
        "image/digits: arms were not tuned alike, by other numbers of trials: 4 of genetic; 9 of "
        "backprop."
    ]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"sampler": "tpe"}, "samplers: quasi_random of backprop; tpe of genetic."),
        ({"seeds": [1001]}, "tuning seeds: 1000 to 1001 of backprop; 1001 of genetic."),
    ],
)
def test_another_sampler_or_other_seeds_are_named(other, told, tuned):
    folder = tuned().folder
    path = folder / "trials/trials.json"
    rows = json.loads(path.read_text())
    path.write_text(
        json.dumps([row | (other if row["method"] == "genetic" else {}) for row in rows])
    )
    lines = [line for line in Study(folder).caveats() if "tuned alike" in line]
    assert lines == [f"image/digits: arms were not tuned alike, by other {told}"]


def test_a_trials_error_is_told_so_that_up_is_better_and_its_costs_are_of_all_replicas():
    told = dict.fromkeys(tuning.ROW, "x") | {"seeds": [0, 1]}
    spent = dict.fromkeys(COSTS, 1.5)
    scores = {"best_validation_score": [1.0, 3.0], RESULT: [2.0, 4.0]}
    same = {"status": "finished", "headline_metric": "squared_error", "machine": "", **spent}
    runs = pd.DataFrame({"seed": [0, 1], **scores}).assign(**same)
    row = tuning._trial(told, runs)
    assert (row["validation"], row["test"]) == (-2.0, -3.0)
    assert {cost: row[cost] for cost in COSTS} == dict.fromkeys(COSTS, 3.0)
    assert tuning._trial(told, runs[:1]) is None


def test_the_page_has_what_tuning_has_cost_and_gained(tuned):
    study = tuned()
    page = study.report().read_text()
    assert "<h3>Tuning</h3>" in page
    assert "tuning_gains.csv" in page
    assert len(list((study.folder / "report/figures").glob("*tuning.svg"))) == 1
    share = study.tuning()["tuning_sensitivity"].set_index("arm").loc["backprop", "share"]
    assert 0 <= share <= 1


def test_a_study_that_was_not_tuned_has_no_such_section(report):
    assert "<h3>Tuning</h3>" not in report.read_text()


def test_what_trials_try_must_be_readable(tuned):
    study = tuned()
    (study.folder / "trials/trials.json").write_text("[{")
    with pytest.raises(TableError, match="cannot read"):
        Study(study.folder).trials()
