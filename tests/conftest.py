"""What every test file may ask for."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from hydra.core.config_store import ConfigStore

from beyond import catalog
from beyond.errors import MissingDataError
from beyond.run.interruption import Interrupted
from beyond.run.main import main


def pytest_configure():
    """Take signals as at a terminal: what a shell starts in the background may ignore some."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Fail a test whose run is interrupted unawares; the others go on."""
    try:
        return (yield)
    except Interrupted as interrupted:
        pytest.fail(f"nothing expected it: {interrupted!r}")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@pytest.fixture(scope="session")
def load_task():
    """Return a function that loads a task, or skips the test where its data are missing."""

    def load(name, **settings):
        task = catalog.load("task", name, **settings)
        try:
            task.at([0])
        except MissingDataError as missing:
            pytest.skip(str(missing))
        return task

    return load


def drop_added(repo):
    """Take added choices out of Hydra's store, which would offer them to later tests."""
    for name, entry in list(repo.items()):
        if isinstance(entry, dict):
            drop_added(entry)
        elif entry.provider == catalog.PATH:
            del repo[name]


@pytest.fixture
def look_again():
    """Return what makes the catalogue look for added choices anew; it does so at the end too."""
    cached = (catalog.plugins, catalog._roots, catalog.added, catalog.sheets)

    def forget():
        for one in cached:
            one.cache_clear()

    yield forget
    forget()
    drop_added(ConfigStore.instance().repo)


@pytest.fixture
def beyond(tmp_path, monkeypatch, capsys):
    """Return what runs a command in `tmp_path`, in this process: status, what it told, showed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("beyond.run.display.SILENCE", 3600)  # a busy machine would tell more

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["beyond", *arguments])
        status, message = 0, ""
        try:
            main()
        except SystemExit as end:
            status, message = (
                (1, f"{end.code}\n") if isinstance(end.code, str) else (end.code or 0, "")
            )
        written = capsys.readouterr()
        return status, written.err + message, written.out

    return run


@pytest.fixture(scope="session")
def repository():
    """Return a function that makes a folder a git repository, and returns its only commit."""
    named = {
        f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }

    def git(folder, arguments):
        command, environment = ["git", *arguments.split()], os.environ | named
        return subprocess.check_output(command, cwd=folder, env=environment, text=True).strip()

    def make(folder):
        folder.mkdir(exist_ok=True)
        (folder / "notes.txt").write_text(folder.name)
        for arguments in ("init -q", "add notes.txt", "commit -q -m notes"):
            git(folder, arguments)
        return git(folder, "rev-parse HEAD")

    return make
