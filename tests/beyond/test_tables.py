"""The datasheet of the tables, held to what a run writes and to the page that is made from it."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from beyond import catalog
from beyond.contracts import TargetKind
from beyond.data.drawn import DrawnTask
from beyond.ledger import COST_NAMES
from beyond.metrics import FURTHER
from beyond.run import tables
from beyond.run.tables import METRICS, TABLES, markdown
from tests.mutants import ROOT

FAULTS = [
    # a column too many, too few, in another place, of another type
    ("beyond/run/rows.py", '        "n_weights": setup.network.n_weights,\n', ""),
    (
        "beyond/run/probe.py",
        '        "update_norm": update.norm(dim=1),',
        '        "change_norm": update.norm(dim=1),',
    ),
    ("beyond/run/predictions.py", "examples.int().repeat_interleave", "examples.repeat_interleave"),
    ("beyond/run/tables.py", '"jacobian_median", "float64"', '"jacobian_middle", "float64"'),
]
COMMANDS = {
    "classes, with a source": ("method=fine_tuning", "task=image/digits"),
    "values, and a wrapped network": ("method=backprop", "task=regression/diabetes"),
    "episodes, other predictions too": (
        "method=maml",
        "test_also={n_adaptation_steps:[2]}",
        "task=regression/sinusoids",
    ),
    "no step": ("method=genetic", "task=image/digits"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_run_writes_the_columns_that_are_documented(command, beyond, tmp_path):
    status, told, _ = beyond(*command, "seeds=2", "budget.epochs=0.5")
    assert status == 0, told
    for name, table in TABLES.items():
        (path,) = tmp_path.glob(f"runs/adhoc/*/{name}.parquet")
        written = pd.read_parquet(path)
        assert list(written.columns) == [column.name for column in table.columns]
        for column in table.columns:
            stored = written[column.name].dtype
            text = pd.api.types.is_string_dtype(stored) or stored.name == "category"
            kind = "text" if text else stored.name
            assert kind in column.type.split(" or "), f"{name}.{column.name} is {kind}"


def test_every_metric_is_documented():
    outputs, classes = torch.zeros(1, 3, 10), torch.zeros(1, 3, dtype=torch.long)
    classes = catalog.load("task", "image/digits").score(outputs, classes)
    values = catalog.load("task", "regression/diabetes").score(outputs, outputs)
    told = SimpleNamespace(spec=SimpleNamespace(target_kind=TargetKind.DISTRIBUTIONS))
    distributions = DrawnTask._usual(told, outputs, outputs[..., :5])
    assert [*classes, *values, *distributions, *FURTHER] == list(METRICS)


def test_every_currency_of_the_ledger_is_documented():
    assert tuple(name for name, *_ in tables.COSTS) == COST_NAMES


@pytest.mark.parametrize("name", TABLES)
def test_a_column_has_one_name_a_meaning_and_a_writer_that_exists(name):
    columns = TABLES[name].columns
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.meaning
        assert (ROOT / "beyond" / "run" / f"{column.writer}.py").exists()


def test_the_page_is_made_from_the_datasheet():
    assert Path(ROOT, "docs", "tables.md").read_text() == markdown(), "run `make tables`"
