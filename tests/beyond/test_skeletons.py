"""What `beyond-new` writes passes `beyond-check` as it is."""

import sys

import pytest

from beyond import catalog
from beyond.skeletons.command import main, write
from beyond.testing import method_checks, network_checks, task_checks

FAULTS = [
    # what was written before is lost
    ("beyond/skeletons/command.py", "    if path.exists():", "    if False:"),
    # the file has another's name in it
    ("beyond/skeletons/command.py", '.replace("skeleton", name)', ""),
    # a name that is no module's
    ("beyond/skeletons/command.py", "and not iskeyword(name)", ""),
]


@pytest.fixture
def new(tmp_path, monkeypatch, capsys, look_again):
    """Return what runs `beyond-new` in an empty folder: what it told."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def run(*arguments):
        try:
            main(arguments)
        except SystemExit as end:
            return str(end.code)
        look_again()
        return capsys.readouterr().out

    yield run
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == catalog.ADDED:
            del sys.modules[name]


def test_a_rule_is_written_and_the_next_commands_are_told(new, tmp_path):
    assert new("method", "my_rule") == (
        "wrote methods/my_rule.py; next:\n"
        "  BEYOND_PATH=. beyond-check method=my_rule\n"
        "  BEYOND_PATH=. beyond -m method=my_rule,backprop\n"
    )
    text = (tmp_path / "methods" / "my_rule.py").read_text()
    assert "class MyRule(Descent):" in text
    assert "beyond-check method=my_rule" in text
    assert "keleton" not in text


def test_a_folder_that_is_known_need_not_be_named(new, tmp_path, monkeypatch):
    monkeypatch.setenv("BEYOND_PATH", str(tmp_path))
    assert "\n  beyond-check task=x\n" in new("task", "x")


@pytest.mark.parametrize(
    ("kind", "checks"),
    [("method", method_checks), ("task", task_checks), ("network", network_checks)],
)
def test_it_passes(kind, checks, new, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.setenv("BEYOND_PATH", str(tmp_path / "new"))
    new(kind, "mine", "--into", "new")
    slow = ("image", "text", "every rule")  # the same on other inputs
    for check in checks(catalog.load(kind, "mine")):
        if not any(word in check.says for word in slow):
            check()


def test_a_paper_runs(new, beyond, monkeypatch, tmp_path):
    monkeypatch.setenv("BEYOND_PATH", str(tmp_path))
    new("paper", "mine")
    status, told, shown = beyond(
        "+paper=mine", "seeds=2", "budget.epochs=2", "hydra/launcher=basic"
    )
    assert status == 0, told
    assert "A1 Training the hidden" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("metod", "x"), "kind must be one of method, task, network, paper; got 'metod'"),
        (("method", "Mine"), "name must be a lower-case Python name, got 'Mine'"),
        (("method", "class"), "name must be a lower-case Python name, got 'class'"),
        (("task", "../x"), "name must be a lower-case Python name, got '../x'"),
        (("task", "image/x"), "name must be a lower-case Python name, got 'image/x'"),
        (("method", "backprop"), "name must be new: there is such a method, got 'backprop'"),
        (("paper", "mnist1d"), "name must be new: there is such a paper, got 'mnist1d'"),
        (("method", "x", "--into", "file"), "Not a directory: 'file/methods'"),
    ],
)
def test_a_bad_name_is_one_line(arguments, message, new, tmp_path):
    (tmp_path / "file").touch()
    assert new(*arguments) == f"beyond-new: {message}"


def test_nothing_is_overwritten(new, tmp_path):
    new("method", "x")
    path = tmp_path / "methods" / "x.py"
    path.write_text("mine\n")
    assert new("method", "x") == "beyond-new: 'methods/x.py' is there already"
    assert path.read_text() == "mine\n"


def test_a_skeleton_reads_like_a_method_of_ours(new, tmp_path):
    text = write("method", "x", tmp_path).read_text()
    for heading in ("Departures", "Needs", "Cost", "Check", "Source"):
        assert f"\n{heading}: " in text
