import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis import report as report_command
from analysis.report import finishing, main, print_summary, publish
from analysis.study import Study
from analysis.summaries import ranking
from analysis.tables import TableError
from analysis.words import columns as shown

FAULTS = [
    ("analysis/report.py", "if len(done) > told:", "if done:"),
    ("analysis/report.py", "if len(done) == len(planned):", "if done and not told:"),
    ("analysis/figures/canvas.py", "path.unlink(missing_ok=True)", "pass"),
    # panels are laid out otherwise where there is a PNG
    ("analysis/figures/canvas.py", "    figure.set_dpi(before)\n", ""),
    ("analysis/figures/canvas.py", "in reversed(asked)", "in asked"),
    ("analysis/page/study.py", "for kind in ALSO if kind in also", "for kind in ALSO if False"),
    (
        "analysis/page/study.py",
        "for figure in drawn for path in",
        "for figure in drawn[:1] for path in",
    ),
    ("analysis/page/report.html.j2", '{{ file.rpartition(".")[2] | upper }}', "SVG"),
    ("analysis/page/study.py", '(out / "tables").mkdir(parents', "out.mkdir(parents"),
    (
        "analysis/report.py",
        ".report(out, also)\n            Console",
        ".report(out)\n            Console",
    ),
]


def print_loaded(folder):
    print_summary(Study(folder))


FIGURES = (
    "final-scores",
    "pareto",
    "differences",
    "convergence-epochs",
    "convergence-flops",
    "convergence-examples",
    "convergence-seconds",
    "cost-to-target",
    "generalisation-gap",
    "gradient-norm",
    "gradient-ratio",
    "update-cosine",
)


def test_the_page_has_every_section(report):
    page = report.read_text()
    for heading in (
        "What was compared",
        "Headlines",
        "image/digits",
        "regression/friedman",
        "Paired differences",
        "Cost to target",
        "Costs, without and with pre-training",
        "What happens while training",
        "Failures and skipped cells",
        "Provenance",
        "How to recompute",
    ):
        assert re.search(rf"<h[23]>{heading}</h[23]>", page), heading
    for fact in (
        "best mean test scores: backprop on image/digits",
        "forward_forward needs a classification task",
        "a loss is not finite",
        "0123abc",
        "packages.torch",
        "beyond-report runs",
        "300 epochs",
        "4 finished, 1 diverged",
    ):
        assert fact in page, fact


def test_the_page_stands_alone(report):
    page = report.read_text()
    references = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert not [reference for reference in references if reference.startswith(("http", "//"))]
    assert not re.findall(r"\b(?:src|srcset|@import|fetch|XMLHttpRequest)\b", page)
    assert page.count("<figure ") == 1 + 2 * (len(FIGURES) - 3)  # convergence is one, by choice
    choices = re.findall(r'<input type="radio" name="([^"]*)" value="([^"]*)">', page)
    for figure, n in (("convergence-epochs", 4), ("cost-to-target", 2)):
        for task in ("image-digits", "regression-friedman"):
            offered = [along for name, along in choices if name == f"figure-{task}-{figure}-along"]
            assert len(offered) == n
            assert all(f'data-along="{along}"' in page for along in offered)
    for reference in references:
        if not reference.startswith(("data:", "#")):
            assert (report.parent / reference).is_file(), reference
        if reference.startswith("#"):
            assert f'id="{reference[1:]}"' in page
    alts = re.findall(r'class="panels" role="group" aria-label="([^"]*)"', page)
    pictures = re.findall(r'role="img" aria-label="([^"]*)"', page)
    alts += [alt for alt in pictures if not alt.startswith("Panel ")]  # of several one is told
    assert len(alts) > 20
    assert all(len(alt) > 20 for alt in alts)
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_figures_and_tables_are_files(report):
    for name in FIGURES:
        for task in ("image-digits", "regression-friedman"):
            assert (report.parent / "figures" / f"{task}-{name}.svg").stat().st_size > 1000
    assert {path.suffix for path in (report.parent / "figures").iterdir()} == {".svg"}
    for name in ("summary", "paired_differences", "cost_to_target", "failures"):
        assert len(pd.read_csv(report.parent / "tables" / f"{name}.csv")) > 1
        latex = (report.parent / "tables" / f"{name}.tex").read_text()
        assert latex.startswith(r"\begin{tabular}")
        lines = latex.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {
            latex.split("}")[1].count("l") - 1
        }
    assert not list(report.parent.rglob("*.part"))


def test_the_data_of_each_figure_lie_beside_it(report):
    """Means of what a figure links to are those of the summary, which it draws."""
    page, tables = report.read_text(), report.parent / "tables"
    linked = dict(re.findall(r'(?s)<figure id="figure-([^"]+)">.*?Data: <a href="([^"]+)"', page))
    assert linked["image-digits-final-scores"] == "tables/scores.csv"
    assert linked["image-digits-convergence-epochs"] == "tables/curves.csv"
    assert linked["image-digits-update-cosine"] == "tables/layers.csv"
    assert all((report.parent / path).is_file() for path in linked.values())
    key = ["task", "arm"]
    scores, summary = (pd.read_csv(tables / f"{name}.csv") for name in ("scores", "summary"))
    means = scores[scores["status"] == "finished"].groupby(key)["best_test_score"].mean()
    shown = summary.set_index(key)["mean"].dropna()
    pd.testing.assert_series_equal(means, shown.sort_index(), check_names=False)
    curves, layers = (pd.read_csv(tables / f"{name}.csv") for name in ("curves", "layers"))
    assert set(curves["split"]) >= {"train", "validation"}
    for rows in (curves, layers):
        assert {"epochs", "examples", "flops", "seconds", "checkpoint", "seed"} <= set(rows)


def test_equal_tables_give_equal_bytes(study, tmp_path):
    study.cell("backprop", seeds=range(3))
    study.cell("reinforce", seeds=range(3), status="diverged")
    first, second = (
        Study(study.folder).report(tmp_path / name, ["pdf", "png"]).parent
        for name in ("one", "two")
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 1 + 3 * 13 + 2 * 10 + 3 + 1
    assert [
        path for path in files if (first / path).read_bytes() != (second / path).read_bytes()
    ] == []


def test_figures_have_the_formats_that_were_asked_for_and_no_older_ones(study, capsys):
    """A figure of another format that an earlier report left would show what was found then.

    All else on the page is the same.
    """
    study.cell("backprop")
    rest = set()
    figures = study.folder / "report" / "figures"
    for options, kinds in (
        (" --png --pdf", {".svg", ".pdf", ".png"}),
        (" --png", {".svg", ".png"}),
        ("", {".svg"}),
    ):
        main([str(study.folder), *options.split()])
        assert {path.suffix for path in figures.iterdir()} == kinds
        page = (study.folder / "report" / "index.html").read_text()
        links = re.findall('<a href="figures/(.*?)">(.*?)</a>', page)
        assert sorted(file for file, _ in links) == sorted(path.name for path in figures.iterdir())
        assert all(Path(file).suffix == f".{told.lower()}" for file, told in links)
        assert f"/{study.folder.name}{options}</code>" in page
        page = re.sub(r'(?s)<p class="files">.*?</p>', "", page)
        rest.add(page.replace(f"{options}</code>", "</code>"))
    assert len(rest) == 1
    capsys.readouterr()
    with pytest.raises(TableError, match="also must be of png, pdf; got 'gif'"):
        Study(study.folder).report(also=["gif"])


def test_what_cannot_be_written_fails_before_the_work(small, tmp_path, monkeypatch):
    monkeypatch.setattr(Study, "examples", lambda _: pytest.fail("the work has begun"))
    (tmp_path / "tables").touch()
    for out in (tmp_path, tmp_path / "tables" / "report"):
        with pytest.raises(OSError, match="tables"):
            Study(small).report(out)


def test_a_study_in_which_nothing_ran_is_reported(study):
    study.cell("genetic", status="skipped")
    page = Study(study.folder).report()
    assert page == study.folder / "report" / "index.html"
    assert "No arm has a test score." in page.read_text()


def test_publish_prints_a_summary_and_where_the_report_is(study, capsys):
    study.cell("genetic", status="skipped")
    publish(study.folder)
    printed = capsys.readouterr().out
    assert "image/digits: test accuracy_score" in printed
    assert "index.html" in printed


def test_the_summary_is_printed_before_the_figures_are_drawn(study, capsys, monkeypatch):
    study.cell("genetic", status="skipped")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Study, "report", full)
    with pytest.raises(SystemExit, match="No space left on device"):
        publish(study.folder)
    assert "image/digits: test accuracy_score" in capsys.readouterr().out


def test_a_sweep_over_the_budget_has_one_ranking_a_budget(study, capsys):
    """The arm that leads with much compute is last with little; neither page mixes the two."""
    for budget, variant in ((20.0, "budget.epochs=20"), (300.0, "")):
        for method in ("backprop", "genetic"):
            change(
                study,
                study.cell(method, seeds=range(10), variant=variant),
                budget,
                better="genetic",
            )
    page = Study(study.folder).report()
    summary = pd.read_csv(page.parent / "tables" / "summary.csv").set_index(["task", "arm"])
    little, much = "image/digits, 20 epochs", "image/digits, 300 epochs"
    for task, order in ((little, ["genetic", "backprop"]), (much, ["backprop", "genetic"])):
        ranked = summary.loc[task].loc[order]
        assert ranked[["rank_first", "rank_last", "group"]].to_numpy().tolist() == [
            [1, 1, "a"],
            [2, 2, "b"],
        ]
    differences = pd.read_csv(page.parent / "tables" / "paired_differences.csv")
    assert differences["task"].tolist() == [little, much]
    assert (differences["mean"] > 0).tolist() == [True, False]
    text = page.read_text()
    for task, winner in ((little, "genetic"), (much, "backprop")):
        assert f"<h2>{task}</h2>" in text
        assert re.search(rf"<b>{task}\.</b> Over 10 repetitions[^<]* {winner} comes first", text)
    print_loaded(study.folder)
    printed = capsys.readouterr().out
    assert re.search(rf"{little}: test (.*\n)+? *genetic +.* 1 a .*\n *backprop +.* 2 b ", printed)
    assert re.search(rf"{much}: test (.*\n)+? *backprop +.* 1 a .*\n *genetic +.* 2 b ", printed)


def change(study, run_id, budget, better):
    """Give a run a budget, and where that is small the scores of a method that needs none."""
    path = study.folder / run_id.replace("/", "-") / "runs.parquet"
    runs = pd.read_parquet(path).assign(budget=budget)
    if budget < 300 and better in run_id:
        runs["best_test_score"] += 0.6
    runs.to_parquet(path)


def test_arms_are_ranked_once_for_a_page(small, tmp_path, monkeypatch, capsys):
    counted = []
    ties = ranking.ties
    monkeypatch.setattr(ranking, "ties", lambda *arguments: counted.append(1) or ties(*arguments))
    publish(small, tmp_path)
    assert len(counted) == len(Study(small).tasks)


def test_the_summary_tells_settings_apart(study, capsys):
    for setting in ("method.batch_size=16", "method.batch_size=64"):
        study.cell("backprop", variant=setting)
    print_loaded(study.folder)
    printed = capsys.readouterr().out
    names = "".join(line.split("  ")[0].strip() for line in printed.splitlines())
    assert "backprop [method.batch_size=16]backprop [method.batch_size=64]" in names


def test_the_summary_has_each_arm_with_its_score(small, capsys):
    print_loaded(small)
    printed = capsys.readouterr().out
    assert re.search(r"backprop +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] +1-3 a +5/5", printed)
    assert re.search(r"reinforce .* 4/5", printed)


def test_the_summary_breaks_no_interval_and_says_what_weakens_it(study, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for setting in (
        "network.hidden=[64, 64], optimizer.learning_rate=0.1",
        "network.hidden=[128, 128]",
    ):
        study.cell("backprop", variant=setting, seeds=range(3))
    study.cell("genetic", seeds=range(2))
    print_loaded(study.folder)
    printed = capsys.readouterr().out
    assert len(re.findall(r"0\.\d{3} \[-?\d\.\d{3}, \d\.\d{3}\]", printed)) == 3
    rows = [line.rstrip() for line in printed.splitlines() if not line.startswith("Caveat")]
    assert max(map(len, rows)) <= 80
    lines = [line.split("  ")[0].strip() for line in printed.splitlines()]
    assert "backprop [network.\nhidden=[64, 64],\noptimizer.learning_\nrate=0.1]" in "\n".join(
        lines
    )
    monkeypatch.setenv("COLUMNS", "20")
    print_loaded(study.folder)
    assert len(re.findall(r"0\.\d{3} \[-?\d\.\d{3}, \d\.\d{3}\]", capsys.readouterr().out)) == 3
    assert "Caveat: image/digits: fewer than 3 seeds, not ranked: genetic." in printed.splitlines()


@pytest.mark.parametrize("arguments", [["nowhere"], []])
def test_a_bad_folder_is_one_line_and_exit_status_1(tmp_path, arguments):
    with pytest.raises(SystemExit, match=r"^beyond-report: no [^\n]+$"):
        main([str(tmp_path.joinpath(*arguments))])


def test_an_unknown_reference_is_refused_before_anything_is_written(small, tmp_path):
    with pytest.raises(
        SystemExit, match=r"^beyond-report: no arm has the name magic; known: backprop, "
    ):
        main([str(small), "--out", str(tmp_path / "out"), "--reference", "magic"])
    assert not (tmp_path / "out").exists()


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from analysis.report import main\ntry: main(['--help'])\nexcept SystemExit: "
        "pass\n"
    )
    code += "assert 'pandas' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "beyond-report" in done.stdout


def test_analysis_imports_nothing_of_ours():
    code = (
        "import sys, analysis.report, analysis.figures.plots\nprint(*[m for m in sys.modules if "
        "m.split('.')[0] in "
    )
    code += "('beyond', 'methods', 'tasks', 'torch', 'hydra')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "-"),
        (float("inf"), "not reached"),
        (0, "0"),
        (0.95, "0.950"),
        (1234.5, "1,234"),
        (3.4e9, "3.40e+09"),
    ],
)
def test_numbers(value, text):
    assert shown.number(value) == text


def test_a_score_that_is_rounded_to_zero_has_no_sign():
    assert [shown.score_text(value) for value in (-0.0004, -0.0006)] == ["0.000", "-0.001"]


@pytest.mark.parametrize(
    ("value", "text"), [(float("nan"), "-"), (11.0, "11"), (2410.0, "2,410"), (2e6, "2.00e+06")]
)
def test_counts_are_whole(value, text):
    assert shown.count(value) == text


def test_names_are_escaped_for_latex():
    assert shown.escaped(r"a_b & 5 % \ ^") == r"a\_b \& 5 \% \textbackslash{} \textasciicircum{}"


def test_a_study_is_watched_until_its_last_planned_cell_has_finished(tmp_path, monkeypatch):
    names = ["a-1", "b-1", "c-1"]
    (tmp_path / "planned.json").write_text(json.dumps(dict.fromkeys(names, "label")))
    ends, slept = [[], ["a-1"], [], [], ["b-1", "c-1"]], []

    def sleep(seconds):
        slept.append(seconds)
        for name in ends[len(slept) - 1]:
            (tmp_path / name).mkdir()
            (tmp_path / name / "manifest.json").write_text("{}")

    monkeypatch.setattr(report_command, "sleep", sleep)
    assert list(finishing(tmp_path)) == ["1 of 3 cells"]
    assert slept == [report_command.EVERY] * 5
    assert list(finishing(tmp_path)) == []  # all have
    (tmp_path / "planned.json").unlink()
    assert list(finishing(tmp_path)) == []  # none is planned


def test_a_study_that_has_not_begun_is_waited_for(tmp_path, monkeypatch, capsys):
    study, slept = tmp_path / "study", []

    def sleep(_):
        slept.append(None)
        if len(slept) == 2:
            study.mkdir()
        if len(slept) == 3:
            (study / "planned.json").write_text("{}")

    monkeypatch.setattr(report_command, "sleep", sleep)
    assert list(finishing(study)) == []
    assert len(slept) == 3
    assert capsys.readouterr().err == f"{study}: no cell of a study yet, waiting for the first\n"


def test_while_a_study_runs_its_report_is_made_again(study, monkeypatch, capsys):
    first = study.cell("backprop")
    second = "constant-image-digits-mlp--0"
    planned = dict.fromkeys([name.replace("/", "-") for name in (first, second)], "label")
    (study.folder / "planned.json").write_text(json.dumps(planned))
    made = []
    monkeypatch.setattr(
        Study,
        "report",
        lambda self, _, also: made.append((self.arms, also)) or self.folder / "index.html",
    )
    monkeypatch.setattr(report_command, "sleep", lambda _: study.cell("constant"))
    main([str(study.folder), "--watch", "--pdf"])
    assert made == [(["backprop"], ["pdf"]), (["backprop", "constant"], ["pdf"])]
    told = capsys.readouterr().out
    assert "Report of 1 of 2 cells: " in told
    assert told.index("Report of 1 of 2") < told.index("Report: ")
