"""Where this project is, which version it is, and that nobody takes the names of its packages."""

import importlib
import os
import re
import subprocess
import sys
import tomllib

import pytest

from beyond import catalog, installed
from beyond.errors import InputError

FAULTS = [
    (
        "beyond/installed.py",
        '("beyond", "conf", "hydra_plugins", "pyproject.toml", *BESIDE)',
        '("beyond", "conf", *BESIDE)',
    ),
    ("beyond/installed.py", "cwd=ROOT,", "cwd=None,"),
    ("beyond/installed.py", 'if not key.startswith("GIT_")', "if key"),
    (
        "beyond/installed.py",
        "PathFinder.find_spec(package, [str(ROOT)])",
        "PathFinder.find_spec(package)",
    ),
    ("beyond/installed.py", "if (package := module.partition", "if (package := module.rpartition"),
    ("beyond/catalog.py", "    except InputError:\n        raise\n", ""),
    ("beyond/__init__.py", "            take(package)", "            pass"),
    ("beyond/run/scripts.py", "    except KeyboardInterrupt:", "    except ZeroDivisionError:"),
    ("pyproject.toml", 'beyond-new = "beyond.run.scripts:new"\n', ""),
]


def test_the_version_is_that_of_the_project_file(beyond):
    assert beyond("--version") == (0, "", f"beyond {installed.version()}\n")
    assert f'version = "{installed.version()}"\n' in (installed.ROOT / "pyproject.toml").read_text()


def test_the_commit_is_that_of_the_checkout_wherever_it_runs(repository, monkeypatch, tmp_path):
    ours = repository(tmp_path / "ours")
    repository(tmp_path / "others")
    monkeypatch.setattr(installed, "ROOT", tmp_path / "ours")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "others" / ".git"))  # as in a hook
    monkeypatch.chdir(tmp_path / "others")
    assert installed.commit() == {"commit": ours, "dirty": False}
    (tmp_path / "ours" / "notes.txt").write_text("decides nothing")
    assert installed.commit() == {"commit": ours, "dirty": False}
    for folder in ("beyond", "methods", "tasks", "analysis", "conf", "hydra_plugins"):
        mine = tmp_path / "ours" / folder / "mine.py"
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("is found in the folder")
        assert installed.commit() == {"commit": ours, "dirty": True}
        mine.unlink()
    (tmp_path / "ours" / "pyproject.toml").write_text("changed")
    assert installed.commit() == {"commit": ours, "dirty": True}
    monkeypatch.setattr(installed, "ROOT", tmp_path)
    assert installed.commit() == {"commit": "", "dirty": None}


@pytest.fixture(params=installed.BESIDE)
def file(request, tmp_path, monkeypatch):
    """A file that is first on the path, and has the name of one of our packages."""
    file = tmp_path / f"{request.param}.py"
    file.touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == file.stem]:
        monkeypatch.delitem(sys.modules, name)
    return file


def test_ours_are_found_whatever_the_working_folder_has(file):
    module = installed.imported(file.stem)
    assert list(module.__path__) == [str(installed.ROOT / file.stem)]
    assert importlib.import_module(file.stem) is module
    assert installed.imported(file.stem) is module


def test_a_name_that_is_taken_is_one_line(file):
    importlib.import_module(file.stem)
    ours = str(installed.ROOT / file.stem)
    line = f"rename {str(file)!r}, which was imported as {file.stem}: that is the name of {ours!r}"
    for ask in (
        lambda: installed.imported(f"{file.stem}.digits"),
        lambda: catalog.find("_target_", f"{file.stem}.digits.Digits"),
    ):
        with pytest.raises(InputError) as refused:
            ask()
        assert str(refused.value) == line


@pytest.mark.parametrize("before", ["", "analysis, "])
def test_from_python_ours_are_found_too_or_one_line_says_why_not(tmp_path, before):
    (tmp_path / "analysis.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", f"import {before}beyond; beyond.compare"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{installed.ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stderr.splitlines() or [""])[-1]
    assert last.startswith("beyond.errors.InputError: rename " if before else "")
    assert done.returncode == bool(before)


@pytest.mark.parametrize("script", ["report", "compare", "verify"])
def test_scripts_tell_it_too(script, monkeypatch):
    from beyond.run import scripts

    monkeypatch.setitem(sys.modules, "analysis", type(sys)("analysis"))
    with pytest.raises(SystemExit, match=rf"^beyond-{script}: rename 'analysis', [^\n]+$"):
        getattr(scripts, script)()


@pytest.mark.parametrize("script", ["report", "compare", "verify"])
def test_scripts_run_what_is_in_our_package(script, monkeypatch, capsys):
    from beyond.run import scripts

    monkeypatch.setattr(sys, "argv", [f"beyond-{script}", "--help"])
    with pytest.raises(SystemExit, match="0"):
        getattr(scripts, script)()
    assert f"usage: beyond-{script} " in capsys.readouterr().out


@pytest.mark.parametrize("script", ["check", "report", "program"])
def test_a_script_that_is_interrupted_while_it_is_imported_ends_in_a_line(
    script, monkeypatch, capsys
):
    from beyond.run import scripts

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(installed, "imported", interrupt)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:  # the latter would end all tests
        getattr(scripts, script)()
    assert (ended.type, str(ended.value)) == (SystemExit, "130")
    name = "beyond" if script == "program" else f"beyond-{script}"
    assert capsys.readouterr().err == f"{name}: interrupted by SIGINT\n"


def test_every_command_that_is_written_about_is_installed():
    scripts = tomllib.loads((installed.ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    pages = [*installed.ROOT.glob("*.md"), *(installed.ROOT / "docs").glob("*.md")]
    told = "\n".join(page.read_text() for page in pages)
    commands = {*re.findall(r"\bbeyond-[a-z]+\b", told)} - {"beyond-backprop"}
    assert commands == {*scripts} - {"beyond"}
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
