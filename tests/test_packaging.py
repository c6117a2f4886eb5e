"""A wheel holds all that a run needs, and works where there is no checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from beyond import catalog, installed

FAULTS = [
    ("hatch_build.py", 'if self.target_name == "wheel":', 'if self.target_name == "sdist":'),
    ("pyproject.toml", '"tasks", "analysis", "hydra_plugins"]', '"tasks", "analysis"]'),
    # git tells of whichever repository the package lies in
    ("beyond/installed.py", 'if IN_CHECKOUT and (ROOT / ".git").exists():', "if True:"),
    ("beyond/catalog.py", "    if not CONF.is_dir():", "    if CONF.is_file():"),
]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("beyond", "methods", "tasks", "analysis", "hydra_plugins")
WHERE = """
import json, sys
import beyond
from beyond import catalog, installed
from beyond.run.provenance import sources
print(json.dumps({
    "version": beyond.__version__, **installed.commit(), "conf": str(catalog.CONF),
    "names": {group: catalog.names(group) for group in (*catalog.GROUPS, "study", "paper")},
    "sources": list(sources(rule := catalog.load("method", "backprop"))),
    "file": sys.modules[type(rule).__module__].__file__,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory, repository):
    """What its installation leaves, in a user's repository."""
    folder = tmp_path_factory.mktemp("user") / "site-packages"
    repository(folder.parent)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def asked(site, program, cwd):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_wheel_has_every_file_of_the_packages_and_the_configuration(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    packaged = {
        path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts
    }
    configuration = {
        f"beyond/{p.relative_to(ROOT).as_posix()}" for p in ROOT.glob("conf/**/*.yaml")
    }
    assert {
        "analysis/page/report.html.j2",
        "methods/py.typed",
        "beyond/conf/paper/mnist1d.yaml",
    } <= names
    assert names - {"beyond/built_from.json"} == packaged | configuration


def test_a_wheel_works_away_from_the_checkout(site, tmp_path):
    for name in installed.BESIDE:  # first on the path
        (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    found = asked(site, WHERE, tmp_path)
    assert found.pop("names") == {
        group: catalog.names(group) for group in (*catalog.GROUPS, "study", "paper")
    }
    assert found.pop("conf") == str(site / "beyond" / "conf")
    assert {"methods/backprop.py", "beyond/run/loop.py"} <= set(found.pop("sources"))
    assert found.pop("file") == str(site / "methods" / "backprop.py")
    # of where it was built, not of the repository that it lies in
    assert found == {"version": installed.version(), **installed.commit()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--methods"],
        ["method=genetic"],
        ["+study=quick"],
        ["+paper=mnist1d"],
        ["+paper=all"],
    ],
)
def test_a_missing_configuration_is_one_line(arguments, beyond, monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "CONF", tmp_path / "conf")
    status, told, shown = beyond(*arguments)
    line = f"beyond: no configuration in {str(tmp_path / 'conf')!r}: install beyond-backprop again"
    assert (status, told, shown) == (1, f"{line}\n", "")
    assert list(tmp_path.iterdir()) == []
