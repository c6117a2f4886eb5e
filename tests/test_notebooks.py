"""The notebooks of docs/ run, and what they keep is what they show."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from tests.notebooks import NOTEBOOKS, executed, shown  # noqa: E402


@pytest.mark.parametrize(
    "path",
    [
        # the others take a minute each
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem != "figures"))
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs_and_shows_the_kinds_of_things_that_it_keeps(path, tmp_path):
    kept, found = (
        [[set(data) for data in cell] for cell in shown(notebook)]
        for notebook in (nbformat.read(path, as_version=4), executed(path, tmp_path))
    )
    assert found == kept


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_folder_of_the_machine_that_ran_it(path):
    text = path.read_text()
    assert [folder for folder in ("/tmp", "/home", str(Path.home())) if folder in text] == []
