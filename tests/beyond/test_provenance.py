"""Which source files decide a result, and which changes of them count."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from beyond import catalog
from beyond.architectures.module import Module
from beyond.catalog import VARIABLE
from beyond.run import provenance
from beyond.run.provenance import changed, digest, sources

FAULTS = [
    ("beyond/run/provenance.py", "source[1] if source", "source[0] if source"),
    ("beyond/run/provenance.py", "(?=^[A-Z][a-z]+(?:: | {2,})|^$|", "(?="),
    # what stands in a list does not count
    ("beyond/run/provenance.py", "isinstance(value, list | tuple)", "isinstance(value, tuple)"),
    ("beyond/run/provenance.py", "return all(map(_is_plain, value))", "return True"),
    # what is named in settings by name does not count; the manifest has no commit
    (
        "beyond/run/provenance.py",
        "for inner in value.values() if isinstance(value, Mapping) else value:",
        "for inner in value if not isinstance(value, Mapping) else ():",
    ),
    ("beyond/run/provenance.py", "        **_commit(),\n", ""),
    ("beyond/run/provenance.py", "if script.get(name) is not definition:", "if False:"),
    ("beyond/run/provenance.py", "in reversed([*enumerate(", "in ([*enumerate("),
    ("beyond/run/provenance.py", "min([node, *node.decorator_list]", "min([node]"),
    ("beyond/run/provenance.py", "waiting |= {*imported, name", "waiting |= {name"),
    ("beyond/run/provenance.py", 'node.test.id == "TYPE_CHECKING"', 'node.test.id == "CHECKING"'),
    (
        "beyond/run/provenance.py",
        "isinstance(node.value.value, str)",
        "isinstance(node.value.value, int)",
    ),
    (
        "beyond/run/provenance.py",
        "if before.get(name) != now.get(name))",
        "if name in before and before[name] != now.get(name))",
    ),
    ("beyond/run/provenance.py", "yield from [named[1]] if named", "yield from [HARNESS] if named"),
    (
        "beyond/run/provenance.py",
        "return changed(\n        kept, {present",
        "return changed(\n        {}, {present",
    ),
    (
        "beyond/run/provenance.py",
        'package.count(".") + 2 - node.level',
        'package.count(".") + 1 - node.level',
    ),
    (
        "beyond/run/provenance.py",
        '_read(file, module if package else module.rpartition(".")[0])',
        "_read(file, module)",
    ),
]

NETWORK = '''"""A network of a user's."""
from typing import TYPE_CHECKING

from torch import nn
{imports}
if TYPE_CHECKING:
    import users_types


def net(input_shape, n_outputs):
    """Make it."""
    return nn.Linear({width}, n_outputs)  # a comment
'''


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """Return a function that writes a user's module and hashes the sources of its network."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(VARIABLE, "users_network")

    def write(text, **further):
        for name, contents in {"users_network": text, **further}.items():
            (tmp_path / f"{name}.py").write_text(contents)
        for name in ("users_network", "users_parts", "users_types"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        for cached in (provenance._read, provenance._file, provenance._root, provenance._reached):
            cached.cache_clear()
        return sources(Module("users_network:net"))

    yield write
    for name in ("users_network", "users_parts", "users_types"):
        sys.modules.pop(name, None)


def test_peak_memory_is_in_bytes_on_windows_too(monkeypatch):
    assert 20e6 < provenance.machine()["peak_memory_bytes"] < 1e12
    told = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=123))
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: told))
    assert provenance.machine()["peak_memory_bytes"] == 123


def test_a_rule_brings_its_file_what_it_imports_and_the_loop_but_no_other_rule():
    found = sources(catalog.load("method", "genetic"), catalog.load("task", "image/digits"))
    assert {
        "methods/genetic.py",
        "beyond/kits/variation.py",
        "tasks/digits.py",
        "beyond/data/arrays.py",
    } <= set(found)
    assert {
        "beyond/run/loop.py",
        "beyond/run/probe.py",
        "beyond/network/layers.py",
        "beyond/__init__.py",
    } <= set(found)
    assert not {
        "methods/backprop.py",
        "tasks/moons.py",
        "beyond/run/cell.py",
        "beyond/run/main.py",
    } & set(found)
    assert all(name.startswith(("beyond/", "methods/", "tasks/")) for name in found)


def test_a_part_brings_its_file():
    """The optimizer in a method's field, whatever module it is from."""
    assert "beyond/kits/optimizers.py" in sources(catalog.load("method", "backprop"))


def test_what_is_named_anywhere_in_settings_counts():
    found = sources(SimpleNamespace(), {"a": ["methods.genetic:Genetic"]})
    assert "methods/genetic.py" in found


def test_a_run_says_which_commit_made_it():
    assert provenance.machine().items() >= provenance.installed.commit().items()


def test_what_changes_nothing_does_not_count(hashed):
    first = hashed(NETWORK.format(imports="", width=64))
    other = (
        NETWORK.format(imports="\n\n", width=64)
        .replace("a comment", "another")
        .replace("Make it", "It is made")
    )
    assert hashed(other) == first
    assert digest(hashed(other)) == digest(first)
    again = hashed(NETWORK.format(imports="", width=32))
    assert changed(first, again) == ["users_network.py"]
    assert digest(again) != digest(first)


def test_a_users_file_counts_with_what_it_imports_of_theirs(hashed):
    text = NETWORK.format(imports="from users_parts import width", width="width")
    first = hashed(text, users_parts="width = 64\n", users_types="")
    assert {"users_network.py", "users_parts.py"} < set(first)
    assert changed(first, hashed(text, users_parts="width = 32\n")) == ["users_parts.py"]
    assert not any(name.startswith(("torch", "typing", "users_types")) for name in first)


def test_a_file_counts_that_is_imported_from_its_users_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(VARIABLE, "users_package")
    files = {
        "users_package/__init__.py": "",
        "users_package/sizes.py": "width = 64\n",
        "users_package/nets/__init__.py": "from .parts import bias\n",
        "users_package/nets/parts.py": "bias = True\n",
        "users_package/nets/mine.py": NETWORK.format(
            imports="from . import more\nfrom ..sizes import width", width="width"
        ),
        "users_package/nets/more.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = sources(Module("users_package.nets.mine:net"))
    assert {name for name in found if name.startswith("users_")} == set(files)


CELL = """\
def kept(cls):
    return cls

{above}
@kept
class Rule:
    size = {size}
"""


@pytest.fixture
def notebook(monkeypatch):
    """Runs a cell, as a notebook's kernel does, and returns the class that it defines."""
    script = vars(sys.modules["__main__"])
    monkeypatch.setitem(script, "In", [""])
    monkeypatch.setitem(script, "Rule", None)
    monkeypatch.delitem(script, "__file__", raising=False)

    def ran(cell):
        script["In"].append(cell)
        exec(cell, script)
        return script["Rule"]

    yield ran
    script.pop("kept", None)


def test_a_class_of_a_notebook_is_read_from_the_last_cell_that_defines_it(notebook):
    notebook(CELL.format(above="", size=1))
    cls = notebook(CELL.format(above="# a remark\n", size=2))
    vars(sys.modules["__main__"])["In"] += ["%%time", "Rule()"]
    text, where, above = provenance.written(cls)
    assert text == "@kept\nclass Rule:\n    size = 2"
    assert (where, above) == ("cell 2", 5)


def test_a_class_of_a_notebook_that_has_been_defined_again_is_not_taken_for_another(notebook):
    old = notebook("class Rule:\n    size = 1")
    notebook("class Rule:\n    size = 2")
    with pytest.raises(OSError, match="source"):
        provenance.written(old)


@pytest.mark.parametrize(
    ("value", "other"), [(1, 2), ((1, "a"), (1, "b")), ([0.1], [0.2]), ({"a": [1]}, {"a": [2]})]
)
def test_values_of_a_notebook_that_a_class_uses_count(value, other, notebook, monkeypatch):
    cls, found = notebook("class Rule:\n    def size(self):\n        return TABLE"), []
    for one in (value, other, value):
        monkeypatch.setitem(vars(sys.modules["__main__"]), "TABLE", one)
        found.append(sources(cls))
    assert changed(found[0], found[1]) == ["__main__.TABLE"]
    assert found[0] == found[2]


def test_what_a_value_of_a_notebook_does_not_say_when_written_does_not_count(notebook, monkeypatch):
    cls = notebook("class Rule:\n    def size(self):\n        return TABLE")
    monkeypatch.setitem(vars(sys.modules["__main__"]), "TABLE", [object()])
    assert "__main__.TABLE" not in sources(cls)


def test_a_file_that_came_or_went_has_changed():
    assert changed({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == ["a", "c"]


def test_files_that_changed_since_or_went_are_found_by_their_names_alone(hashed, tmp_path):
    text = NETWORK.format(imports="from users_parts import width", width="width")
    before = hashed(text, users_parts="width = 64\n")
    assert provenance.outdated(before) == []
    hashed(text, users_parts="width = 32\n")
    assert provenance.outdated(before) == ["users_parts.py"]
    (tmp_path / "users_parts.py").unlink()
    provenance._file.cache_clear()
    provenance._root.cache_clear()
    provenance._reached.cache_clear()
    assert provenance.outdated(before) == ["users_parts.py"]
    assert provenance.outdated({**before, "beyond/__init__.py": "0"}) == [
        "beyond/__init__.py",
        "users_parts.py",
    ]


def test_versions_are_of_what_decides_and_of_what_a_task_names():
    found = provenance.packages(["mnist1d"])
    assert {"python", "torch", "numpy", "mnist1d"} <= set(found)
    assert "mnist1d" not in provenance.packages()


def test_what_a_file_says_of_its_source_is_its_paragraph_alone():
    """Of every method and task that has one: it ends before the next heading."""
    told = provenance.cited(
        **{
            f"{kind} {name}": catalog.load(kind, name)
            for kind, name in (
                *(
                    ("method", name)
                    for name in ("backprop", "genetic", "forward_forward", "constant")
                ),
                *(("task", name) for name in ("image/digits", "regression/friedman")),
            )
        }
    )
    assert told["method backprop"] == {
        "title": "Backpropagation (Rumelhart, Hinton & Williams, 1986).",
        "source": "Nature 323, 533-536, doi:10.1038/323533a0; random features: Advances in Neural "
        "Information Processing Systems 21; fine-tuning: ibid. 27, arXiv:1411.1792.",
    }
    assert told["task image/digits"]["source"] == (
        'The UCI "Optical Recognition of Handwritten Digits" test part, as shipped with '
        "scikit-learn (`load_digits`)."
    )
    assert told["method constant"]["source"] == "the zero rule; there is no paper."
    assert all(one["title"] and one["source"] for one in told.values())
    assert provenance.cited(typed=SimpleNamespace())["typed"]["source"] == ""
