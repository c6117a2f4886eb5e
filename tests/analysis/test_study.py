"""A study as an object says what its report says."""

import io
import re

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from analysis.figures.plots import FIGURES
from analysis.runs import COSTS
from analysis.study import Study
from analysis.tables import TableError

FAULTS = [
    ("analysis/summaries/results.py", "        if not others:\n            continue\n", ""),
    ("analysis/study.py", "if where[realpath(place)] > 1]", "if False]"),
    ("analysis/words/sentences.py", "    if tables.unfinished:", "    if False:"),
    # a notebook shows the scores of all tasks below each
    (
        "analysis/study.py",
        'rows = self._summary[self._summary["task"] == task]\n            parts',
        "rows = self._summary\n            parts",
    ),
    (
        "analysis/study.py",
        'differences["task"] == task, "reference"',
        'differences["task"] != task, "reference"',
    ),
    ("analysis/study.py", "            if len(found) == 1:", "            if found:"),
    # what else the folder has is in the way
    ("analysis/study.py", "found = list(asked.unique()) or self.tasks", "found = self.tasks"),
    ("analysis/study.py", "if reference is not None:", "if False:"),
    (
        "analysis/figures/plots.py",
        "with canvas.style(), canvas.by_pyplot():",
        "with canvas.style():",
    ),
    ("analysis/figures/canvas.py", "        _new_figure.reset(token)", "        pass"),
    ("analysis/figures/canvas.py", "    mpl.interactive(shown_at_once)", ""),
]


@pytest.fixture
def made(small):
    return Study(small)


@pytest.fixture(autouse=True)
def _closed():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def test_its_tables_are_those_of_the_report(made, tmp_path):
    made.report(tmp_path)
    for name, frame in {
        "summary": made.summary(),
        "paired_differences": made.differences(),
        "cost_to_target": made.cost_to_target(),
        "failures": made.failures(),
        **made.overall(),
    }.items():
        written = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        read = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
        pd.testing.assert_frame_equal(written, read)


def test_the_page_says_its_headlines(made, tmp_path):
    page = made.report(tmp_path).read_text()
    for task in made.tasks:
        assert made.headline(task) in page


def test_recorded_tables_are_there_as_frames(made):
    assert set(made.runs["arm"]) == set(made.arms)
    assert {"value", "metric", "split"} <= set(made.curves)
    assert made.layers["depth"].min() == 1
    assert made.networks.empty or set(made.networks["depth"]) == {0}


def test_the_reference_may_be_another_arm(small):
    other = Study(small, "genetic")
    assert set(other.differences()["reference"]) == {"genetic"}
    assert other.reference_on("image/digits") == "genetic"
    assert other.reference_on("image/digits") == "genetic"


def test_the_reference_is_that_of_the_task(study):
    for task, methods in (
        ("image/digits", ("backprop", "constant")),
        ("regression/friedman", ("genetic", "constant")),
    ):
        for method in methods:
            study.cell(method, task)
    made = Study(study.folder)
    assert made.reference_on("image/digits") == "backprop"
    assert made.reference_on("regression/friedman") in ("genetic", "constant")


def test_a_task_has_its_headline_whatever_others_there_are(study):
    headlines = []
    for task in ("image/digits", "regression/friedman"):
        for method in ("backprop", "genetic", "constant"):
            study.cell(method, task)
        headlines.append(Study(study.folder).headline("image/digits"))
    assert headlines[0] == headlines[1]


def test_a_reference_that_no_arm_is_is_refused_at_once(small):
    with pytest.raises(TableError, match=r"^no arm has the name magic; known: backprop, "):
        Study(small, "magic")


def test_a_task_of_one_arm_beside_a_task_of_two_has_no_differences(study, tmp_path):
    study.cell("backprop")
    for method in ("backprop", "genetic"):
        study.cell(method, task="regression/friedman")
    made = Study(study.folder)
    assert made.differences()["task"].unique().tolist() == ["regression/friedman"]
    assert made.differences()["mean"].dtype == float
    assert made.report(tmp_path / "out").is_file()


def test_a_folder_is_not_put_beside_itself(small, tmp_path):
    (tmp_path / "link").symlink_to(small)
    with pytest.raises(TableError, match="link is given twice"):
        Study(small, against=str(tmp_path / "link"))


def test_cells_that_are_not_finished_are_told_wherever_caveats_are(study):
    study.cell("backprop")
    for name in ("one", "two"):
        (study.folder / name).mkdir()
        (study.folder / name / "lock").touch()
    told = "2 cells were begun but not finished, and are not in this report: one, two."
    assert told in Study(study.folder).caveats()


@pytest.mark.parametrize("task", [None, "image/none"])
def test_which_task_must_be_said_where_there_are_several(made, task):
    got = "nothing" if task is None else "'image/none'"
    with pytest.raises(
        TableError, match=rf"^task must be one of image/digits; regression/friedman; got {got}$"
    ):
        made.plot.convergence(task)


def test_where_there_is_one_task_it_need_not_be_said(study):
    study.cell("backprop", "image/digits")
    assert Study(study.folder).task() == "image/digits"
    assert "1 arm on 1 task, " in repr(Study(study.folder))


def test_of_several_tasks_the_one_that_was_asked_for_need_not_be_said(study):
    study.cell("backprop", "image/digits")
    study.cell("backprop", "regression/friedman")
    runs = Study(study.folder).runs.set_index("task")["run_id"]
    asked = runs.loc[["regression/friedman"]].unique()
    assert Study(study.folder, asked=asked).task() == "regression/friedman"


def test_figures_are_axes_that_pyplot_knows_and_the_users_style_stays(made):
    with mpl.rc_context({"font.size": 23}):
        axes = made.plot.convergence("image/digits")
        assert mpl.rcParams["font.size"] == 23
    assert plt.get_fignums() == [axes[0].figure.number]
    axes[0].set_title("mine")
    plt.close("all")
    made.report()  # whose figures no window shows
    assert plt.get_fignums() == []


def test_every_figure_of_the_report_is_a_method(made):
    assert [name for name in dir(made.plot) if not name.startswith("_")] == sorted(
        {re.sub(r"_(epochs|examples|flops|seconds|training)$", "", name) for name in FIGURES}
        | {"overview"}
    )
    for cost in COSTS:
        label = made.plot.convergence("image/digits", cost)[0].get_xlabel()
        assert cost.lower()[:5] in label.lower()
    with pytest.raises(TableError, match=r"^on must be one of validation, training; got 'test'$"):
        made.plot.gradient_norms("image/digits", "test")
    with pytest.raises(TableError, match=r"^cost must be one of epochs, .*; got 'hours'$"):
        made.plot.convergence("image/digits", "hours")
    assert made.plot.overview()[0].figure.number
    assert made.plot.final_scores("image/digits")


def test_a_figure_without_data_says_so(study):
    study.cell("backprop", "image/digits", status="skipped")
    with pytest.raises(
        TableError, match=r"^there is nothing to draw for convergence_epochs of image/"
    ):
        Study(study.folder).plot.convergence()


def test_a_notebook_shows_headlines_and_scores_and_no_markup_of_names(made, monkeypatch):
    monkeypatch.setattr(Study, "headline", lambda *_: "a < b")
    shown = made._repr_html_()
    assert shown.count("a &lt; b") == len(made.tasks)
    assert shown.count("<table") == len(made.tasks)
    assert shown.count("<td>backprop") == len(made.tasks)
    assert "backprop" in shown
    assert repr(made) == f"<Study 'small' in {str(made.folder)!r}: 5 arms on 2 tasks, 45 replicas>"


def test_a_notebook_that_draws_its_first_figure_shows_all_that_follow(made, monkeypatch):
    def first(**size):  # the backend is loaded, and turns it on
        mpl.interactive(True)
        return drawn(**size)

    drawn = plt.figure
    monkeypatch.setattr(plt, "figure", first)
    try:
        made.plot.overview()
        assert mpl.is_interactive()
    finally:
        mpl.interactive(False)
