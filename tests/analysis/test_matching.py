"""Published arms stand beside a study's where both can be compared; what does not match is told."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from analysis import release
from analysis.report import compare
from analysis.runs import PUBLISHED
from analysis.study import Study
from analysis.tables import TableError

FAULTS = [
    # an arm would be paired with its published copy as one arm of ten seeds
    ("analysis/runs.py", 'arm = arm + runs["release"].map(ending)', "pass"),
    ("analysis/words/matching.py", "if not names}\n        told", "}\n        told"),
    ("analysis/words/matching.py", '"score": runs["headline_metric"],', '"score": runs["task"],'),
    ("analysis/words/matching.py", '.where(runs["default_network"])', ""),
    ("analysis/words/matching.py", 'if name != "_target_"', ""),
    ("analysis/words/matching.py", 'if not (by_name and name == "settings")', ""),
    ("analysis/words/matching.py", "        out[there.index[~shared]] = True", "        pass"),
    ("analysis/words/matching.py", "if not shared.any():", "if False:"),
    (
        "analysis/words/matching.py",
        'rows.loc[ours & begun, "seed"]',
        'rows.loc[begun, "seed"]',
    ),
    ("analysis/words/matching.py", "else len(names) == least", "else True"),
    ("analysis/words/matching.py", "here[name] != there[name]", "here[name] == there[name]"),
    (
        "analysis/words/matching.py",
        "both = sorted(here.keys() & there.keys())",
        "both = sorted(here)",
    ),
    ("analysis/words/sentences.py", 'made.get("run_id") not in published', "True"),
    ("analysis/words/sentences.py", "[*tables.repeated, *tables.notes]", "tables.repeated"),
    # of two folders: which is which, at which seeds, and whether their names are told apart
    (
        "analysis/summaries/results.py",
        "asdict(paired(wide[other], wide[arm],",
        "asdict(paired(wide[arm], wide[other],",
    ),
    ("analysis/runs.py", 'return f" ({release.removesuffix(FOLDERS)})"', "return PUBLISHED"),
    ("analysis/summaries/results.py", 'p_holm=holm(part["p"])', 'p_holm=part["p"]'),
    ("analysis/release.py", 'run_id=name + runs["run_id"]', 'run_id=runs["run_id"]'),
    # of several: which seeds are whose, what a folder alone has, and its curves
    (
        "analysis/words/matching.py",
        '= rows["release"] == name, rows',
        '= rows["release"] != "", rows',
    ),
    ("analysis/words/matching.py", "set(theirs.index[alone]), list", "set(), list"),
    ("analysis/words/matching.py", "for one in (tables, *parts) if", "for one in (tables,) if"),
]
METHODS = ("backprop", "constant", "genetic", "reinforce")


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """A release of five seeds of four methods, made from one commit."""
    from tests.analysis.conftest import Study as Written

    written = Written(tmp_path_factory.mktemp("published") / "everything", "everything")
    for method in METHODS:
        make(written, method)
    make(written, "forward_forward", status="skipped")
    return str(release.write("gallery", [written.folder], written.folder.parent))


def make(written, method, columns=None, manifest=None, **identity):
    """Write a cell with the provenance that a real one has; return its folder."""
    run_id = written.cell(method, **identity)
    cell = written.folder / run_id.replace("/", "-")
    rows = pd.read_parquet(cell / "runs.parquet")
    split = {"split": "own", "budget": 300.0, "budget_currency": "epochs"}
    rows.assign(**split | (columns or {})).to_parquet(cell / "runs.parquet")
    told = json.loads((cell / "manifest.json").read_text()) | {
        "data_sha256": "aaaaaaaaaaaa",
        "version": "0.1.0",
        "sources": {"beyond/run/loop.py": "1", f"methods/{method}.py": "1"},
        "settings": {"task": {"_target_": "tasks.digits.Digits", "shift": 0, "shots": None}},
    }
    (cell / "manifest.json").write_text(json.dumps(told | (manifest or {})))
    return cell


def test_an_arm_equals_its_published_copy(study, gallery):
    for method in ("backprop", "genetic"):
        make(study, method)
    made = Study(study.folder).compare(gallery)
    assert made.tasks == ["image/digits"]
    assert made.arms == sorted(
        ["backprop", "genetic", *(f"{method}{PUBLISHED}" for method in METHODS)]
    )
    differences = made.differences().set_index("arm")
    copy = differences.loc[f"backprop{PUBLISHED}"]
    assert copy["reference"] == "backprop"
    assert copy[["n", "mean", "low", "high"]].tolist() == [5, 0, 0, 0]
    # to every other arm the copy has the same distance: the row of the study's arm and its own
    own, published = (differences.loc[name] for name in ("genetic", f"genetic{PUBLISHED}"))
    assert own["mean"] == published["mean"] != 0
    rows = made.summary().set_index("arm")
    for method in ("backprop", "genetic"):
        same = ["mean", "low", "high", "rank", "rank_first", "rank_last", "group", "epochs"]
        assert rows.loc[method, same].tolist() == rows.loc[method + PUBLISHED, same].tolist()
    assert not [line for line in made.caveats() if "gallery" in line]


def test_what_a_study_says_of_itself_stays(study, gallery):
    for method in METHODS:
        make(study, method)
    alone, made = Study(study.folder), Study(study.folder).compare(gallery)
    scores = ["arm", "mean", "low", "high", "n_seeds", "std", "epochs", "seconds"]
    beside = made.summary()[scores]
    beside = beside[~beside["arm"].str.endswith(PUBLISHED)].sort_values("arm", ignore_index=True)
    pd.testing.assert_frame_equal(
        beside, alone.summary()[scores].sort_values("arm", ignore_index=True)
    )
    for table in ("curves", "layers", "networks"):
        pd.testing.assert_frame_equal(getattr(made, table), getattr(alone, table))
    targets = made.cost_to_target().set_index(["arm", "level"])["epochs"]
    assert targets["backprop"].tolist() == targets[f"backprop{PUBLISHED}"].tolist()


def test_a_published_arm_may_be_the_reference(study, gallery):
    make(study, "genetic")
    made = Study(study.folder).compare(gallery)
    assert made.reference_on("image/digits") == f"backprop{PUBLISHED}"
    other = Study(study.folder).compare(gallery, f"reinforce{PUBLISHED}")
    assert set(other.differences()["reference"]) == {f"reinforce{PUBLISHED}"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"columns": {"budget": 20.0}, "variant": "budget.epochs=20"},
            "the budget is 300 epochs in gallery and 20 epochs here",
        ),
        ({"columns": {"split": "0"}}, "the split is own in gallery and 0 here"),
        (
            {"manifest": {"data_sha256": "bbbbbbbbbbbb"}},
            "the data are aaaaaaaa in gallery and bbbbbbbb here",
        ),
        (
            {"variant": "task.shift=2, optimizer=adam"},
            "the task's settings are the defaults in gallery and shift=2 here",
        ),
        (
            {
                "variant": "task.shift=2",
                "manifest": {"settings": {"task": {"_target_": "a.B", "shift": 2, "new": 1}}},
            },
            "task.shift is 0 in gallery and 2 here",
        ),
        (  # a default that another version has changed
            {"manifest": {"settings": {"task": {"shots": 5}}}},
            "task.shots is null in gallery and 5 here",
        ),
        ({"network": "mlp-64"}, "the default network is mlp in gallery and mlp-64 here"),
        (
            {"columns": {"headline_metric": "r2_score"}},
            "the score is accuracy_score in gallery and r2_score here",
        ),
        (
            {"columns": {"budget": 20.0}, "manifest": {"data_sha256": "bbbbbbbbbbbb"}},
            "the budget is 300 epochs in gallery and 20 epochs here, the data are aaaaaaaa in "
            "gallery and bbbbbbbb here",
        ),
    ],
)
def test_what_decides_a_result_must_be_the_same(changed, said, study, gallery):
    make(study, "backprop", **changed)
    with pytest.raises(TableError) as refused:
        Study(study.folder).compare(gallery)
    assert str(refused.value) == (
        "nothing in gallery can be compared with synthetic. image/digits: no published run is "
        f"comparable: {said}."
    )


def test_a_task_that_was_not_published_stays_without_published_arms(study, gallery):
    make(study, "backprop")
    make(study, "backprop", task="text/languages")
    made = Study(study.folder).compare(gallery)
    rows = made.runs[made.runs["task"] == "text/languages"]
    assert set(rows["arm"]) == {"backprop"}
    assert "text/languages: gallery has no such task; its tasks: image/digits." in made.caveats()


def test_each_of_a_studys_budgets_is_compared_apart(study, gallery):
    make(study, "backprop")
    make(study, "backprop", {"budget": 20.0}, variant="budget.epochs=20")
    made = Study(study.folder).compare(gallery)
    arms = made.runs.groupby("task")["arm"].nunique().to_dict()
    assert arms == {"image/digits, 20 epochs": 1, "image/digits, 300 epochs": 5}
    assert [line for line in made.caveats() if "in gallery" in line] == [
        "image/digits, 20 epochs: no published run is comparable: the budget is 300 epochs in "
        "gallery and 20 epochs here."
    ]


def test_the_nearest_published_runs_are_told_of(study, gallery, tmp_path):
    make(study, "backprop", {"budget": 20.0})
    more = tmp_path / "more"
    near = type(study)(more)
    for amount in (30.0, 40.0):
        make(near, "backprop", {"budget": amount}, variant=f"budget.epochs={amount:g}")
    for method in ("constant", "genetic", "reinforce"):
        make(near, method, {"budget": 50.0}, {"data_sha256": "bbbbbbbbbbbb"})
    path = release.write("near", [more], tmp_path)
    line = r"comparable: the budget is 30 epochs and 40 epochs in near and 20 epochs here\.$"
    with pytest.raises(TableError, match=line):
        Study(study.folder).compare(str(path))


def test_another_network_that_was_named_is_an_arm_like_any_other(study, gallery):
    make(study, "backprop", network="linear", default_network=False)
    arms = Study(study.folder).compare(gallery).arms
    assert {"backprop (linear)", f"backprop{PUBLISHED}"} < set(arms)


def test_published_runs_on_another_default_network_are_told_of(study, tmp_path):
    make(study, "backprop", network="mlp-64")
    written = type(study)(tmp_path / "other", "other")
    make(written, "backprop")
    make(written, "genetic", network="linear", default_network=False)
    made = Study(study.folder).compare(str(release.write("other", [written.folder], tmp_path)))
    assert made.arms == ["backprop", f"genetic (linear){PUBLISHED}"]
    assert (
        "image/digits: 1 published run is not comparable: the default network is mlp in other "
        "and mlp-64 here."
    ) in made.caveats()


def test_other_settings_are_named_on_both_sides(study, gallery):
    make(study, "backprop", variant="optimizer.learning_rate=0.1")
    arms = Study(study.folder).compare(gallery).arms
    assert {"backprop [optimizer.learning_rate=0.1]", f"backprop{PUBLISHED}"} < set(arms)


def test_published_replicas_count_at_the_seeds_of_the_study(study, gallery):
    make(study, "backprop", seeds=range(1, 4))
    made = Study(study.folder).compare(gallery)
    assert set(made.runs["seed"]) == {1, 2, 3}
    assert (made.differences()["n"] == 3).all()
    assert "image/digits: gallery has seeds 0 to 4; of these count here 1 to 3, as yours." in (
        made.caveats()
    )


def test_other_seeds_do_not_pair(study, gallery):
    make(study, "backprop", seeds=range(5, 10))
    made = Study(study.folder).compare(gallery)
    differences = made.differences().set_index("arm")
    assert differences.loc[f"backprop{PUBLISHED}", "n"] == 0
    assert np.isnan(differences.loc[f"backprop{PUBLISHED}", "mean"])
    assert (
        "image/digits: gallery has seeds 0 to 4 and yours are 5 to 9: nothing is paired or ranked "
        "with what is published."
    ) in made.caveats()


def test_code_and_versions_that_differ_are_told_and_refuse_nothing(study, gallery):
    make(
        study,
        "backprop",
        manifest={
            "commit": "fedcba9",
            "version": "0.2.0",
            "packages": {"python": "3.11.7", "torch": "2.14.0", "mypackage": "1"},
            "sources": {"beyond/run/loop.py": "2", "methods/backprop.py": "1", "mine.py": "1"},
        },
    )
    caveats = Study(study.folder).compare(gallery).caveats()
    assert (
        "gallery was made by other code (commit 0123abc) than yours (commit fedcba9): "
        "beyond/run/loop.py differs."
    ) in caveats
    assert (
        "gallery was made with other versions than yours: beyond-backprop 0.1.0 there and 0.2.0 "
        "here, torch 2.13.0 there and 2.14.0 here."
    ) in caveats
    assert not [line for line in caveats if "differs between runs" in line]


def test_beyond_compare_prints_and_writes(study, gallery, capsys, monkeypatch):
    make(study, "backprop")
    monkeypatch.setenv("COLUMNS", "120")
    compare([str(study.folder), "--against", gallery])
    printed = capsys.readouterr().out
    assert f"genetic{PUBLISHED}" in printed
    page = study.folder / "against-gallery" / "index.html"
    assert str(page) in printed.replace("\n", "")
    text = page.read_text()
    assert "<h1>synthetic against gallery</h1>" in text
    assert f"genetic{PUBLISHED}" in text
    assert f"beyond-compare {'/'.join(study.folder.parts[-2:])} --against gallery.parquet<" in text
    assert not (study.folder / "report").exists()


def test_beyond_compare_refuses_in_one_line(study, gallery):
    make(study, "backprop", {"budget": 20.0})
    for name, line in (
        ("none", "no folder and no published rows named none; known: "),
        (gallery, "nothing in gallery can be compared with synthetic. image/digits: "),
    ):
        with pytest.raises(SystemExit, match=rf"^beyond-compare: {line}[^\n]+$"):
            compare([str(study.folder), "--against", name])


def test_two_folders_are_compared_arm_by_arm_at_the_same_seeds(study, tmp_path):
    from tests.analysis.conftest import Study as Written

    other = Written(tmp_path / "after", "after")
    for method in ("backprop", "genetic"):
        make(study, method, seeds=range(6))
    make(study, "constant")
    cells = [make(other, method) for method in ("backprop", "genetic")]
    runs = pd.read_parquet(cells[0] / "runs.parquet")
    gains = np.array([0.01, 0.02, 0.03, 0.02, 0.02])
    runs["best_test_score"] += gains
    runs.to_parquet(cells[0] / "runs.parquet")
    made = Study(study.folder, against=str(other.folder))
    assert made.arms == ["backprop", "backprop (after)", "constant", "genetic", "genetic (after)"]
    table = made.between().set_index("arm")
    assert list(table.index) == ["backprop", "genetic"]
    assert table["beside"].tolist() == ["backprop (after)", "genetic (after)"]
    assert table["n"].tolist() == [5, 5]  # the sixth is in one folder alone
    assert table["mean"].tolist() == pytest.approx([gains.mean(), 0])
    assert table["p"].tolist() == pytest.approx([2 / 32, 1])
    assert table["p_holm"].tolist() == pytest.approx([4 / 32, 1])
    half = student.ppf(0.975, 4) * gains.std(ddof=1) / np.sqrt(5)
    assert table.loc["backprop", ["low", "high"]].tolist() == pytest.approx(
        [gains.mean() - half, gains.mean() + half], abs=2e-3
    )
    assert Study(other.folder).between().empty


def test_a_report_holds_several_folders_with_their_curves_and_tasks(study, tmp_path):
    from tests.analysis.conftest import Study as Written

    later, alone = Written(tmp_path / "later", "later"), Written(tmp_path / "alone", "alone")
    make(study, "backprop", seeds=range(5))
    make(later, "backprop", seeds=range(4))
    make(later, "genetic", seeds=range(4), columns={"budget": 20.0})
    make(alone, "backprop", seeds=range(7))
    make(alone, "genetic", task="regression/friedman")
    folders = [str(one.folder) for one in (later, alone)]
    made = Study(study.folder, against=folders)
    arms = made.runs.groupby("task")["arm"].unique().map(sorted).to_dict()
    assert arms == {
        "image/digits": ["backprop", "backprop (alone)", "backprop (later)"],
        "regression/friedman": ["genetic (alone)"],
    }
    counted = made.runs.groupby(["task", "arm"])["seed"].agg(sorted)["image/digits"]
    assert [len(seeds) for seeds in counted] == [5, 5, 4]  # of seven, those that are ours
    told = [line for line in made.tables.notes if "has seeds" in line]
    assert [line.partition(" has seeds")[0] for line in told] == ["image/digits: alone/"]
    between = made.between()
    assert between[["beside", "n", "mean"]].to_numpy().tolist() == [
        ["backprop (alone)", 5, 0],
        ["backprop (later)", 4, 0],
    ]
    for name in ("curves", "layers", "networks"):
        ours, theirs = getattr(Study(study.folder), name), getattr(made, name)
        of_arm = theirs[theirs["arm"] == "backprop (alone)"]
        assert len(of_arm) == len(ours) == (theirs["arm"] == "backprop").sum()
    axes = made.plot.convergence("image/digits")
    assert set(arms["image/digits"]) <= {text.get_text() for text in axes[0].texts}
    assert any(
        "later/ has no such task" in line
        for line in Study(alone.folder).compare(folders[:1]).caveats()
    )
    namesake = shutil.copytree(folders[0], tmp_path / "elsewhere" / "later")
    with pytest.raises(TableError, match=r"whose names must differ; got later/ and later/$"):
        Study(study.folder, against=[folders[0], str(namesake)])
