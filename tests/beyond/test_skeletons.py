"""What `beyond-new` writes passes `beyond-check` as it is."""

import re
import sys

import pytest

from analysis.paper import differences
from beyond import catalog
from beyond.skeletons.command import main, write
from beyond.testing import method_checks, network_checks, task_checks

FAULTS = [
    # what was written before is lost
    ("beyond/skeletons/command.py", "    if path.exists():", "    if False:"),
    # the file has another's name in it
    ("beyond/skeletons/command.py", '.replace("skeleton", name)', ""),
    # a paper is trained, and then cannot be published
    ("hydra_plugins/beyond_cells/sweeper.py", "        self._require_sound(paper)\n", ""),
    # a page tells another command
    ("hydra_plugins/beyond_cells/sweeper.py", "[*found, shlex.join(", "[shlex.join("),
    ("hydra_plugins/beyond_cells/sweeper.py", "shlex.quote(os.environ[name])", "os.environ[name]"),
    ("hydra_plugins/beyond_cells/sweeper.py", ' if _key(one) != "runs"]', "]"),
    ("hydra_plugins/beyond_cells/sweeper.py", "*typed, *hydra]", "*typed]"),
    # a page has what other commands have trained
    ("analysis/summaries/quantities.py", "seed in seeds.get(arm, ())", "arm in seeds"),
    (
        "analysis/summaries/quantities.py",
        "seed in seeds.get(arm, ())",
        "any(seed in one for one in seeds.values())",
    ),
    # a setting is measured that no run has
    ("analysis/paper.py", "second not in settings[first]", "False"),
    # a column of texts is measured
    ("analysis/paper.py", 'columns[table][wanted[0]] == "text"', "False"),
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


def test_a_study_runs_and_its_page_agrees_with_the_tables(new, beyond, monkeypatch, tmp_path):
    (tmp_path / "my studies").mkdir()
    monkeypatch.setenv("BEYOND_PATH", "my studies")
    told = new("study", "mine", "--into", "my studies")
    assert told.endswith("beyond-verify runs/studies/mine-fast/page/index.md\n")
    shorter = ("seeds=2", "budget.epochs=2", "hydra/launcher=basic")
    status, told, shown = beyond("+study=mine", *shorter, "runs=runs")
    assert status == 0, told
    assert "A Training the hidden" in shown
    page = tmp_path / "runs/studies/mine-fast/page/index.md"
    assert "- Test accuracy, %: backpropagation " in page.read_text()
    command = "BEYOND_PATH='my studies' beyond +study=mine seeds=2 budget.epochs=2"
    assert f"`{command}` at commit" in page.read_text()
    assert differences(page, page.parent.parent) == []

    # what is there of other commands is not on the page of the next
    first = page.read_text()
    listed = "'seeds=[1,2]' hydra.sweeper.n_workers=1"
    commands = (
        ("budget.epochs=3", "seeds=2"),
        ("budget.epochs=2", "seeds=[1,2]", "hydra.sweeper.n_workers=1"),
        ("budget.epochs=2", "seeds=2"),
    )
    for other in commands:
        status, told, _ = beyond("+study=mine", *other, "hydra/launcher=basic", "runs=runs")
        assert status == 0, told
        assert re.findall(r"^\| backprop \| .* \| (\d+) \|$", page.read_text(), re.M) == ["2"]
        assert differences(page, page.parent.parent) == []
        if listed.split()[-1] in other:
            assert f"budget.epochs=2 {listed}` at commit" in page.read_text()
    last = page.read_text()
    assert last.splitlines()[6:] == first.splitlines()[6:]  # without what was typed


UNSOUND = {
    "no publish": (
        "    publish: analysis.paper.publish\n",
        "",
        "hydra.sweeper.publish must be analysis.paper.publish for a paper, got 'analysis.report.publish'",
    ),
    "a key that is none": (
        "  departures:",
        "  departurs:",
        "paper: unknown key 'departurs'; known: name, scale, title, measure, claims, citation, ",
    ),
    "no measure": ("  measure:", "  measures:", "paper must have measure"),
    "a quantity without place": (
        "take: final_test_score, where: {method: backprop}",
        "take: final_test_score",
        "measure.backprop must have where",
    ),
    "a column that is none": (
        "take: final_test_score, where: {method: backprop}",
        "take: final_tset_score, where: {}",
        "measure.backprop: the table runs has no column 'final_tset_score'",
    ),
    "a column of texts": (
        "take: final_test_score, where: {method: backprop}",
        "take: status, where: {}",
        "measure.backprop: the column 'status' of runs is text, no number",
    ),
    "a table that is none": (
        "take: final_test_score, where: {method: backprop}",
        "take: {table: curve}, where: {}",
        "measure.backprop: table 'curve' is none of curves, layers",
    ),
    "a setting that no method has": (
        "where: {method: backprop}}",
        "where: {method.bach_size: 32, method.temperature: 1}}",
        "measure.backprop: no run has a setting 'method.bach_size'",
    ),
    "a label that is none": (
        "where: {method: backprop}}",
        "where: {metod: backprop}}",
        "measure.backprop: no run has a setting 'metod'",
    ),
    "a place that is none": (
        "where: {method: backprop}}",
        "where: backprop}",
        "measure.backprop: where must be a mapping of settings to what they must be; got 'backprop'",
    ),
    "a claim without source": (
        "      source: The table",
        "      sauce: The table",
        "claim A1 must have source",
    ),
    "a typo in a claim": (
        "backprop - frozen >= 1",
        "backprop - forzen >= 1",
        "claim A1 names what the paper does not measure: forzen",
    ),
    "a claim that is no comparison": (
        "backprop - frozen >= 1",
        "backprop - frozen",
        "claim A1: a claim must compare: backprop - frozen",
    ),
    "a function that is none": (
        "backprop - frozen >= 1",
        "maen(backprop) >= 1",
        "claim A1 names what the paper does not measure: maen",
    ),
    "a claim that is no expression": (
        "backprop - frozen >= 1",
        "backprop - >= 1",
        "not an expression: backprop - >= 1",
    ),
    "a function of too few": ("backprop - frozen >= 1", "distance(backprop) >= 1", "claim A1: "),
    "a way of knowing that is none": (
        "how: recalled",
        "how: guessed",
        "claim A1: how must be one of read, recalled",
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_a_paper_that_could_not_be_published_is_refused_before_it_is_run(
    name, new, beyond, monkeypatch, tmp_path
):
    right, wrong, message = UNSOUND[name]
    monkeypatch.setenv("BEYOND_PATH", str(tmp_path))
    new("paper", "mine")
    path = tmp_path / "papers" / "mine.yaml"
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, wrong))
    status, told, _ = beyond("+paper=mine", "hydra/launcher=basic")
    assert status == 1
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("metod", "x"), "kind must be one of method, task, network, study, paper; got 'metod'"),
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
