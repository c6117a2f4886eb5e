"""Choices in added folders and installed packages: one file each, one line for what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from beyond import catalog
from beyond.run import provenance
from beyond.run.provenance import outdated, sources
from beyond.testing import steps
from beyond.testing.checks import of
from beyond.testing.trial import Trial

FAULTS = [
    # a name that is there already is replaced without a word
    ("beyond/catalog.py", "    if name in (*_written(group), *found):", "    if False:"),
    # an error is told where it was noticed, not where it arose
    ("beyond/catalog.py", "for frame in reversed(traceback", "for frame in iter(traceback"),
    # a file that changed is not noticed
    ("beyond/run/provenance.py", "    if top == ADDED:\n", "    if False:\n"),
    # nor one in an installed plug-in
    ("beyond/run/provenance.py", "top in OURS or is_plugin(top)", "top in OURS"),
    # what ends the program ends it without a word
    ("beyond/errors.py", "STRANGE = (Exception, SystemExit)", "STRANGE = (Exception,)"),
    # of two classes the first is taken
    ("beyond/catalog.py", "meant[0] if len(meant) == 1 else None", "meant[0] if meant else None"),
    # a rule may be a class that others derive from
    ("beyond/catalog.py", "for o in fit if o is not cls)]", "for o in fit if o is None)]"),
    # a step may keep the graph of all before it
    ("beyond/run/training.py", "if any(tensor.requires_grad for", "if any(tensor is None for"),
    # what a command declares is not found where it is typed; nor is a change in it noticed
    ("beyond/installed.py", "    sys.path.append(here)\n", ""),
    ("beyond/run/provenance.py", "if folders else", "if folders and spec.origin else"),
    # a tensor left on the CPU is not told from others, or is torch's
    (
        "beyond/testing/pretended.py",
        "                self._made[tensor] = place\n",
        "                pass\n",
    ),
    ("beyond/testing/pretended.py", "startswith(TORCH)", "startswith(' ')"),
    # who asks for settings may change them for all
    ("beyond/catalog.py", "return deepcopy(mine[name])", "return mine[name]"),
]
METHOD = '''"""Descent by signs (nobody, 2026)."""
from typing import ClassVar

from beyond.contracts import Signal
from beyond.kits.descent import Descent
from beyond.settings import Positive, settings


@settings
class Signed(Descent):
    """Follow the signs of the gradient.

    Parameters
    ----------
    scale : float, > 0
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    scale: Positive = 1.0

    def direction(self, state, batch, problem, rng):
        return self.scale * problem.gradient(state["params"], batch, rng).sign()
'''
TASK = '''
import numpy as np

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import settings


@settings(kw_only=True)
class Waves(ArrayTask):
    """Predict a wave."""

    @property
    def spec(self):
        return TaskSpec("mine/waves", (1,), 1, TargetKind.VALUES, MLP((8,)), "r2_score", (0.1, 0.5, 0.9))

    def examples(self):
        x = np.linspace(-3, 3, 200)[:, None]
        return Examples(x, np.sin(x))
'''
NETWORK = '''
from beyond.network.activation_layers import ReLU
from beyond.network.vector_layers import Linear
from beyond.network.parts import Layered, vector_entry
from beyond.settings import PositiveInt, settings


@settings
class Narrow(Layered):
    """A narrow network."""

    width: PositiveInt
    initialisation: str = "he"
    init_std: float = 0.1

    @property
    def name(self):
        return f"narrow-{self.width}"

    def stack(self, spec):
        return [*vector_entry(spec, 4), Linear(self.width), ReLU(), Linear(spec.n_outputs)]
'''
SMALL = ("seeds=2", "budget.epochs=2")


PLUGIN = "waves_and_signs"
ENTRY = "[beyond.plugins]\nwaves = {}\n"


@pytest.fixture
def write(tmp_path, monkeypatch, look_again):
    """Return a function that writes files, `methods__signed=...`, and makes the catalogue look."""
    before = set(sys.modules)

    def written(folder, texts):
        for name, text in texts.items():
            path = folder / (name if "." in name or name == "__init__" else name.replace("__", "/"))
            path = path if path.suffix else path.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        look_again()
        return folder

    yield written
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in (catalog.ADDED, PLUGIN):
            del sys.modules[name]


@pytest.fixture
def add(write, tmp_path, monkeypatch):
    """Return a function that adds files to an added folder."""
    monkeypatch.setenv("BEYOND_PATH", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    return lambda **texts: write(tmp_path / "mine", texts)


@pytest.fixture
def install(write, tmp_path, monkeypatch):
    """Return a function that installs a package of files, with an entry point that names it."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(site)

    def installed(entry=PLUGIN, **texts):
        metadata = {
            "METADATA": f"Name: {PLUGIN}\nVersion: 1\n",
            "entry_points.txt": ENTRY.format(entry),
        }
        write(site, {f"{PLUGIN}-1.dist-info/{name}": text for name, text in metadata.items()})
        return write(site / PLUGIN, {"__init__": "", **texts})

    return installed


@pytest.fixture(params=["a folder", "a package"])
def bring(request):
    """Return a function that adds files in either way."""
    return request.getfixturevalue({"a folder": "add", "a package": "install"}[request.param])


def test_a_file_is_a_choice_whose_settings_are_those_of_its_class(add):
    add(methods__signed=METHOD, tasks__waves=TASK, networks__narrow=NETWORK)
    assert "signed" in catalog.names("method")
    assert "mine/waves" in catalog.names("task")
    assert "narrow" in catalog.names("network")
    assert "narrow" not in catalog.complete("network")
    settings = catalog.read("method", "signed")
    assert settings["_target_"] == "beyond_path.methods.signed.Signed"
    assert settings["optimizer"] == catalog.read("method", "backprop")["optimizer"]
    assert settings["scale"] == 1.0
    settings["optimizer"]["learning_rate"] = 9
    assert catalog.load("method", "signed").optimizer.learning_rate == 0.003
    assert catalog.load("network", "narrow", width=3).name == "narrow-3"


def test_a_tensor_left_on_the_cpu_is_named_by_the_lines_that_make_and_that_use_it(add):
    returned = '        return self.scale * problem.gradient(state["params"], batch, rng).sign()\n'
    astray = "        shift = torch.zeros(1)\n        found = problem.gradient(\n"
    astray += '            state["params"], batch, rng\n        )\n        return found + shift\n'
    text = METHOD.replace(returned, astray).replace("from typing", "import torch\nfrom typing", 1)
    path = add(methods__signed=text) / "methods" / "signed.py"
    made = next(n for n, line in enumerate(text.splitlines(), 1) if "zeros" in line)
    check = of(steps.steps_elsewhere, Trial(catalog.load("method", "signed"), "x"), "mlp")
    with pytest.raises(AssertionError) as caught:
        check()
    told = str(caught.value)
    assert told.startswith(f"{path}, line {made + 4}: RuntimeError: aten.add.Tensor is given")
    assert f"that of shape (1,) (made in {path}, line {made}) is on the CPU" in told
    assert "\n" not in told


def test_all_three_run_by_name_and_their_files_are_what_made_the_result(add, beyond):
    folder = add(methods__signed=METHOD, tasks__waves=TASK, networks__narrow=NETWORK)
    chosen = ("method=signed", "task=mine/waves", "network=narrow", "network.width=3")
    status, told, _ = beyond(*chosen, *SMALL)
    assert status == 0, told
    assert "mine/waves, 2 epochs: signed (narrow-3)" in told
    made = sources(catalog.load("method", "signed"), catalog.load("task", "mine/waves"))
    assert {"beyond_path/methods/signed.py", "beyond_path/tasks/waves.py"} <= set(made)
    assert outdated(made) == []
    assert (folder / "methods" / "signed.py").exists()


def test_they_are_listed_and_described(bring, beyond):
    bring(methods__signed=METHOD, networks__narrow=NETWORK)
    assert "signed" in beyond("method=sined")[1]
    told = beyond("--methods", "signed")[2]
    assert "Descent by signs (nobody, 2026)" in told
    assert "needs   not said" in told
    assert beyond("method=signed", "method.scale=0")[1] == "beyond: scale must be > 0, got 0\n"
    assert "known: batch_size, optimizer, scale" in beyond("method=signed", "method.rate=3")[1]
    assert beyond("network=narrow")[1] == "beyond: network.width must be given\n"


def test_another_process_finds_them(add, tmp_path):
    add(methods__signed=METHOD)
    code = "from beyond.catalog import find; print(find('_target_', 'beyond_path.methods.signed.Signed'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "beyond_path.methods.signed.Signed" in done.stdout


def test_a_package_runs_by_name_and_its_files_are_what_made_the_result(install, beyond):
    folder = install(methods__signed=METHOD, tasks__waves=TASK, networks__narrow=NETWORK)
    chosen = ("method=signed", "task=mine/waves", "network=narrow", "network.width=3")
    status, told, _ = beyond(*chosen, *SMALL)
    assert status == 0, told
    assert "mine/waves, 2 epochs: signed (narrow-3)" in told
    assert catalog.read("method", "signed")["_target_"] == f"{PLUGIN}.methods.signed.Signed"
    made = sources(catalog.load("method", "signed"))
    assert f"{PLUGIN}/methods/signed.py" in made
    path = folder / "methods" / "signed.py"
    path.write_text(path.read_text().replace(".sign()", ".sign() * 2"))
    provenance._read.cache_clear()
    provenance._reached.cache_clear()
    assert outdated(made) == [f"{PLUGIN}/methods/signed.py"]


def test_a_package_without_folders_and_a_module_add_nothing(install):
    install(entry=f"{PLUGIN}.rules", rules="def make(): ...\n")
    assert catalog.added() == {"method": {}, "task": {}, "network": {}}
    assert catalog.find("factory", f"{PLUGIN}.rules:make")() is None


def test_a_part_of_a_package_may_be_named(install):
    install(entry=f"{PLUGIN}.more", more__methods__signed=METHOD)
    assert catalog.load("method", "signed").scale == 1


@pytest.mark.once
def test_a_study_is_a_file_too(add, beyond):
    text = "defaults: [{override /budget: quick}]\nhydra: {mode: MULTIRUN, sweeper: {arms: [method=constant]}}\n"
    add(**{"studies/both.yaml": text})
    assert "known: both, capabilities, comparison" in beyond("+study=boht")[1]
    status, told, _ = beyond("+study=both", "seeds=2")
    assert status == 0, told
    assert "constant: finished" in told


def test_a_study_that_is_no_yaml_is_one_line(bring, beyond):
    folder = bring(**{"studies/both.yaml": "seeds: 3\narms: [a\n"})
    told = beyond("+study=both")[1]
    assert told.startswith(f"beyond: {folder / 'studies' / 'both.yaml'}, line 3: ")
    assert told.count("\n") == 1
    (folder / "studies" / "both.yaml").write_bytes(b"seeds: \xe9\n")
    assert beyond("+study=both")[1] == f"beyond: {folder / 'studies' / 'both.yaml'} is not utf-8\n"


def test_a_choice_in_a_configuration_of_mine_that_is_no_yaml_is_one_line(beyond, tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "x.yaml").write_text("a: [\n")
    told = beyond("--config-dir", str(tmp_path), "method=x")[1]
    assert told.startswith(f"beyond: {tmp_path / 'method' / 'x.yaml'}, line 2: ")
    assert told.count("\n") == 1


def test_a_file_may_name_further_choices(add):
    more = '\n\nCHOICES = {"bold": (Signed(scale=9.0), "Large steps.")}\n'
    add(methods__signed=METHOD + more)
    assert catalog.load("method", "bold").scale == 9


NO_CLASS = "must declare one method, a class under @settings; it has no class"
BAD = {
    "a syntax error": (
        {"methods__x": "a = (\n"},
        "methods/x.py, line 1: SyntaxError: '(' was never closed",
    ),
    "an indentation": (
        {"methods__x": "a = 1\n  b = 2\n"},
        "methods/x.py, line 2: IndentationError: unexpected indent",
    ),
    "an import": (
        {"methods__x": "\nimport nowhere\n"},
        "methods/x.py, line 2: ModuleNotFoundError: No module named",
    ),
    "a name": (
        {"methods__x": "a = b\n"},
        "methods/x.py, line 1: NameError: name 'b' is not defined",
    ),
    "an error that it raises": (
        {"methods__x": "\n\nraise OSError('no')\n"},
        "methods/x.py, line 3: OSError: no",
    ),
    "an error in a function": (
        {"methods__x": "def f():\n    raise OSError('no')\n\n\nf()\n"},
        "methods/x.py, line 2: OSError: no",
    ),
    "an end": (
        {"methods__x": "import sys\n\nsys.exit(0)\n"},
        "methods/x.py, line 3: SystemExit: 0",
    ),
    "two classes": (
        {"methods__x": METHOD + METHOD.replace("Signed", "Other")},
        "must declare one method, a class under @settings; it has Signed and Other",
    ),
    "a name that cannot be typed": (
        {"methods/r\u00e8gle.py": METHOD},
        "methods/r\u00e8gle.py' must be of letters, digits, - and _",
    ),
    "a task's name that cannot be typed": (
        {"tasks__x": TASK.replace("mine/waves", "my waves")},
        "tasks/x.py: the name of a task must be of letters, digits, - and _, got 'my waves'",
    ),
    "a signal that is none": (
        {"methods__x": METHOD.replace("= Signal.GRADIENT", "= 'telepathy'")},
        "the signal of x must be one of gradient, error, targets, loss, reward; got 'telepathy'",
    ),
    "an empty file": ({"methods__x": ""}, NO_CLASS),
    "a function": ({"methods__x": "def step(): ...\n"}, NO_CLASS),
    "no @settings": ({"methods__x": METHOD.replace("@settings\n", "")}, NO_CLASS),
    "another's class": ({"methods__x": "from methods.backprop import Backprop\n"}, NO_CLASS),
    "a task among methods": ({"methods__x": TASK}, "; Waves has no signal, no step"),
    "a method among tasks": (
        {"tasks__x": METHOD},
        "must declare one task, a class under @settings; Signed has no spec, no score",
    ),
    "no signal": (
        {"methods__x": METHOD.replace("    signal: ClassVar[Signal] = Signal.GRADIENT\n", "")},
        "; Signed has no signal",
    ),
    "a name that is there": (
        {"methods__backprop": METHOD},
        "methods/backprop.py: there is a method backprop already",
    ),
    "a task's name that is there": (
        {"tasks__x": TASK.replace("mine/waves", "image/digits")},
        "tasks/x.py: there is a task image/digits already",
    ),
    "a default out of range": (
        {"methods__x": METHOD.replace("= 1.0", "= -1.0")},
        "scale must be > 0, got -1.0",
    ),
    "a choice out of range": (
        {"methods__x": METHOD + "CHOICES = {'y': (Signed(scale=-1.0), '')}\n"},
        "methods/x.py, line 24: InputError: scale must be > 0, got -1.0",
    ),
    "choices that are none": (
        {"methods__x": METHOD + "CHOICES = ['y']\n"},
        "line 1: AttributeError: 'list' object has",
    ),
    "a spec that fails": (
        {"tasks__x": TASK.replace("MLP((8,))", "MLP((0,))")},
        "tasks/x.py, line 16: InputError: hidden must be",
    ),
    "a type that is none": (
        {"networks__x": NETWORK.replace("width: PositiveInt", "width: Whole")},
        "NameError: name 'Whole'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_file_is_one_line_with_its_place(name, bring, beyond):
    texts, message = BAD[name]
    bring(**texts)
    status, told, _ = beyond("method=x" if "methods__x" in texts else "method=backprop", *SMALL)
    assert status == 1
    assert message in told
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_a_folder_that_is_not_there_is_one_line(beyond, monkeypatch, tmp_path, look_again):
    monkeypatch.setenv("BEYOND_PATH", str(tmp_path / "nowhere"))
    look_again()
    assert beyond("method=backprop")[1].startswith("beyond: BEYOND_PATH must be folders, got '")


def test_a_folder_that_may_not_be_read_is_one_line(bring, beyond, monkeypatch):
    folder = bring(methods__signed=METHOD) / "methods"
    listed = Path.iterdir

    def refuse(path):  # permissions do not hold for those who test as root
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert beyond("method=signed")[1] == f"beyond: {folder} cannot be read: Permission denied\n"


def test_a_folder_that_is_named_twice_is_one(add, monkeypatch, look_again):
    folder = add(methods__signed=METHOD)
    monkeypatch.setenv("BEYOND_PATH", f"{folder}:{folder}/.:")
    look_again()
    assert catalog.names("method").count("signed") == 1


def test_what_others_derive_from_is_no_choice_itself(add):
    derived = '\n\n@settings\nclass Bold(Signed):\n    """Larger."""\n\n    scale: Positive = 9.0\n'
    add(methods__signed=METHOD + derived)
    assert catalog.load("method", "signed").scale == 9


def test_an_interruption_while_files_are_read_is_one_line(bring, beyond):
    bring(methods__x="raise KeyboardInterrupt\n")
    assert beyond("method=x") == (
        130,
        "beyond: interrupted by SIGINT; the same command goes on from what is saved\n",
        "",
    )


BROKEN = {
    "a package that is gone": (
        {"entry": "nowhere_to_be_found"},
        "names nowhere_to_be_found: it is not installed",
    ),
    "a part that is gone": (
        {"entry": f"{PLUGIN}.gone"},
        f"names {PLUGIN}.gone: it is not installed",
    ),
    "a package that cannot be imported": (
        {"entry": f"{PLUGIN}.more", "__init__": "\nimport nowhere\n"},
        "/__init__.py, line 2: ModuleNotFoundError: No module named 'nowhere'",
    ),
    "one that is no Python": (
        {"entry": f"{PLUGIN}.more", "__init__": "a = (\n"},
        "/__init__.py, line 1: SyntaxError: '(' was never closed",
    ),
    "one that fails when a file of it is read": (
        {"__init__": "\n1 / 0\n", "methods__x": METHOD},
        "/__init__.py, line 2: ZeroDivisionError: division by zero",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_package_is_one_line(name, install, beyond):
    texts, message = BROKEN[name]
    install(**texts)
    status, told, _ = beyond("method=backprop", *SMALL)
    assert status == 1
    assert message in told
    assert told.count("\n") == 1
    assert "Traceback" not in told


FAILING = {
    "a step that fails": (
        METHOD.replace(".sign()", ".sing()"),
        "'Tensor' object has no attribute 'sing'",
    ),
    "a first state that fails": (
        METHOD + "\n    def remembered(self, problem, params, rng):\n        return {'a': 1 / 0}\n",
        "division by zero",
    ),
    "a step that ends the program": (
        METHOD.replace("return self.scale", "raise SystemExit(4)\n        return self.scale"),
        "methods/signed.py, line 23: SystemExit: 4",
    ),
    "a step whose graph would grow": (
        METHOD.replace(".sign()", ".requires_grad_()"),
        "a step's state must be detached",
    ),
    "a direction of another shape": (METHOD.replace(".sign()", ".sign()[:, 1:]"), "RuntimeError: "),
    "a state that is none": (
        METHOD + "\n    def init(self, problem, params, rng):\n        return None\n",
        "TypeError: ",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_rule_that_fails_is_a_row_with_its_reason(name, bring, beyond):
    text, reason = FAILING[name]
    bring(methods__signed=text)
    status, told, _ = beyond("method=signed", *SMALL)
    assert status == 1
    assert told.splitlines()[-1].startswith("image/digits, 2 epochs: signed: failed, ")
    assert reason in told.splitlines()[-1]


def test_a_rule_that_leaves_something_out_says_what(add, beyond):
    add(methods__signed=METHOD.replace("def direction", "def towards"))
    told = beyond("method=signed", *SMALL)[1]
    assert told == "beyond: beyond_path.methods.signed.Signed must define direction\n"


NETS = """from torch import nn


def make(input_shape, n_outputs):
    return nn.Sequential(nn.Linear(*input_shape, 4), nn.BatchNorm1d(4), nn.Linear(4, n_outputs))
"""


def test_what_is_declared_may_lie_in_the_working_folder(beyond, tmp_path, monkeypatch):
    place = tmp_path / "mynets" / "small.py"  # a package without an __init__.py
    place.parent.mkdir()
    place.write_text(NETS)
    before = list(sys.path)
    arguments = "task=tabular/moons", "network=module", "network.factory=mynets.small:make"
    status, told, _ = beyond(*arguments, "seeds=1")
    assert status == 1
    assert "a package that BEYOND_PLUGINS declares" in told
    monkeypatch.setenv("BEYOND_PLUGINS", "mynets")
    try:
        assert beyond(*arguments, "seeds=1", "budget.epochs=1")[0] == 0
    finally:
        for name in [one for one in sys.modules if one.partition(".")[0] == "mynets"]:
            del sys.modules[name]
    assert sys.path == before
    [manifest] = tmp_path.glob("runs/adhoc/*/manifest.json")
    assert "mynets/small.py" in json.loads(manifest.read_text())["sources"]
