import re
from dataclasses import replace

import pandas as pd
import pytest

from analysis.study import Study
from analysis.summaries.example_tables import example_tables
from analysis.tables import load
from analysis.words.example_columns import section

FAULTS = [
    ("analysis/page/study.py", "(frames | found | raw).items()", "(frames | raw).items()"),
    (
        "analysis/words/example_columns.py",
        'apart = splits & {"own", "source test", "source pools"}',
        "apart = not splits",
    ),
]

CLASSES = ("error-consistency", "calibration", "recall")


def test_a_study_with_predictions_has_a_section_a_task(study):
    for method in ("backprop", "genetic", "last_layer"):
        for task in ("image/digits", "regression/friedman"):
            study.predict(study.cell(method, task, split="own"))
    page = Study(study.folder).report()
    text = page.read_text()
    assert text.count("<h3>Example by example</h3>") == 2
    assert text.count("its split of the data, initial weights and order") == 2
    assert "Error consistency" in text
    assert "Correlation of residuals" in text
    for name in CLASSES:
        assert (page.parent / "figures" / f"image-digits-{name}.svg").is_file()
    assert (page.parent / "figures" / "regression-friedman-error-consistency.svg").is_file()
    assert not (page.parent / "figures" / "regression-friedman-recall.svg").exists()
    pairs = ("error_consistency", "example_differences", "mcnemar")
    for name in ("variance", *pairs, "calibration", "reliability", "classes", "confusion"):
        assert len(pd.read_csv(page.parent / "tables" / f"{name}.csv")) > 1
        assert f'href="tables/{name}.csv"' in text
    for row in text.split('<div class="panels"')[1:]:  # of several panels it is said once
        images = re.findall(r'role="img" aria-label="([^"]*)"', row)
        together = re.match(r' role="group" aria-label="([^"]*)"', row)
        assert len(together[1] if together else images[0]) > 20
        assert all(images)
        assert bool(together) == (len(images) > 1)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("own", "its split of the data"),
        ("source test", "its split of the data"),
        ("source pools", "its split of the data"),
        ("source", "the training data are the same"),
        ("3", "the training data are the same"),
    ],
)
def test_what_a_seed_has_of_its_own_is_said(study, split, said):
    study.predict(study.cell("backprop"))
    tables = load(study.folder)
    tables = replace(tables, runs=tables.runs.assign(split=split))
    assert said in section(tables, example_tables(tables), "image/digits")["seed_covers"]


def test_a_study_without_predictions_has_none(report):
    assert "Example by example" not in report.read_text()
    assert not (report.parent / "tables" / "variance.csv").exists()
