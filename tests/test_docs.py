"""The site has a page for each method, and its links hold."""

import csv
import importlib.util
import re
import shlex
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from beyond import catalog
from beyond.run.data import published

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(
    [*ROOT.glob("*.md"), *(path for path in DOCS.rglob("*.md") if "papers" not in path.parts)]
)
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

FAULTS = [
    ("docs/command-line.md", "method.n_actions=1,2,8", "method.n_action=1,2,8"),
    ("docs/data.md", "splits: 280 train", "splits: 281 train"),
    ("docs/data.md", "got 'prize'", "got prize"),
    ("docs/comparison.md", "0.494 [0.478, 0.508]", "0.494 [0.477, 0.508]"),
    ("docs/rule.md", "the reference](contracts.md)", "the reference](contract.md)"),
    ("docs/pages.py", "text[: HEADING.search(text).start()]", "text[:9]"),
    ("docs/pages.py", "to = site.get(target) or", "to ="),
    ("docs/pages.py", '"../" * here.count("/") + to', "to"),
    ("docs/pages.py", 'if row["rank_first"]', "if True"),
    ("docs/pages.py", "SETTING.findall(text) if said.get(one)", "said if said[one]"),
    ("docs/pages.py", 'MEANT.sub(r"\\1", text)', "text"),
]


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(path):
    """What a heading is called in a link."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)
    }


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_hold_in_the_repository(path):
    for link in LINK.findall(path.read_text()):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        file = path.parent / target if target else path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_list_stands_apart(path):
    """A line of its kind is a list on GitHub whatever stands before it, and not on the site."""
    joined = re.findall(r"^(?![-*#|]|\d+\. | )[^\n]+\n(?=- |1\. )", path.read_text(), re.MULTILINE)
    assert joined == []


def commands():
    """Commands `beyond` of the documentation, without what a shell or a sweep makes of them."""
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *DOCS.glob("*.md")])
    text = text.replace("\\\n", "")
    for line in re.findall(r"^(?:\$ )?(?:\w+=\S+ )?beyond (.*=.*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        yield [
            word if re.search(r"[\[{(]", word) else re.sub(r"=([^,]*),.*", r"=\1", word)
            for word in words
            if word != "-m"
        ]


@pytest.mark.parametrize("arguments", [*commands()], ids=" ".join)
def test_a_command_is_one_that_is_understood(arguments, beyond):
    if any("submitit" in one for one in arguments):  # it brings its choices
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    left_out = ("plan", "+paper=all")  # commands beside what Hydra composes
    arguments = [one for one in arguments if not one.startswith(left_out)]
    status, told, shown = beyond("--cfg", "job", *arguments)
    assert (status, told) == (0, "")
    assert shown


def test_a_command_that_is_named_is_installed():
    text = "\n".join(path.read_text() for path in WRITTEN)
    assert set(re.findall(r"(?<![\w./=])beyond-[a-z]+(?=[ `])", text)) <= {
        *SCRIPTS,
        "beyond-backprop",
    }


def test_the_page_of_data_names_all_that_are_published_with_their_licences():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \| .* \|$", (DOCS / "data.md").read_text(), re.M)
    known = {source.name: source.licence for source in published().values()}
    assert {name: licence for name, licence in rows if name in known} == known


def shown():
    """Pages with commands and what each prints, as they show it: slow if one takes long."""
    for path in WRITTEN:
        blocks = re.findall(r"^```\n(\$ .*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
        commands = [
            (shlex.split(command), output)
            for block in blocks
            for command, _, output in (
                one.partition("\n") for one in f"\n{block}".split("\n$ ")[1:]
            )
        ]
        marks = [pytest.mark.slow] if "beyond-check" in str(commands) else []
        if commands:
            yield pytest.param(commands, id=path.name, marks=marks)


def houses(path):
    """Write the table that the pages speak of."""
    rng, n = np.random.default_rng(0), 400
    rooms = rng.integers(1, 7, n)
    area = (20 * rooms + rng.uniform(5, 25, n)).round(1)
    district = rng.choice(["centre", "harbour", "north", "south"], n)
    garden = rng.random(n) < 0.3
    price = 3000 * area * (1 + (district == "centre") / 2) + 40000 * garden
    columns = {
        "date": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
        "district": district,
        "rooms": rooms,
        "garden": np.where(garden, "yes", "no"),
        "area": np.where(rng.random(n) < 0.05, np.nan, area),
        "price": (price + rng.normal(0, 20000, n)).round().astype(int),
    }
    pd.DataFrame(columns).to_csv(path, index=False)


def animals(path):
    """Write the data set of images that they speak of, in the form of Hugging Face."""
    import datasets

    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    images = [Image.new("RGB", (32, 24), (4 * i, 90, 200)) for i in range(60)]
    rows = {"image": images, "label": [i % 2 for i in range(60)]}
    datasets.Dataset.from_dict(rows, datasets.Features(kinds)).save_to_disk(path)


def pattern(output):
    """What a page shows, with any lines for a line of dots, any seconds and number of checks."""
    lines = [
        r"(?:.*\n)*"
        if line == "..."
        else re.sub(r"\d+(\\ s$|\\ hold)", r"\\d+\1", re.escape(line)) + r"\n"
        for line in output.strip().splitlines()
    ]
    return "".join(lines)


@pytest.mark.parametrize("commands", [*shown()])
def test_a_command_prints_what_its_page_shows(commands, tmp_path, monkeypatch, capsys, look_again):
    monkeypatch.chdir(tmp_path)
    houses("houses.csv")
    if importlib.util.find_spec("datasets"):
        animals("animals")
    else:
        commands = [one for one in commands if "task=huggingface" not in one[0]]
    for words, output in commands:
        capsys.readouterr()
        while "=" in words[0]:
            monkeypatch.setenv(*words[0].split("="))
            words = words[1:]
        look_again()
        module, _, function = SCRIPTS[words[0]].partition(":")
        monkeypatch.setattr(sys, "argv", words)
        try:
            getattr(import_module(module), function)()
            told = capsys.readouterr().out
        except SystemExit as end:
            told = capsys.readouterr().out + (f"{end.code}\n" if end.code else "")
        assert re.fullmatch(pattern(output), told), told


def test_the_comparison_in_ten_minutes_has_the_scores_of_the_gallery():
    with (DOCS / "gallery" / "summary.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "text/languages"]
    scores = {
        row["arm"]: "{:.3f} [{:.3f}, {:.3f}]".format(
            *(float(row[key]) for key in ("mean", "low", "high"))
        )
        for row in rows
        if row["rank_first"]
    }
    page = (DOCS / "comparison.md").read_text()
    found = re.findall(r"^ (\w+) +(\d\.\d{3} \[\S+ \S+\])", page, re.MULTILINE)
    assert len(found) == 5
    assert found == [(arm, scores.get(arm)) for arm, _ in found]


def test_every_method_is_in_the_table_of_signals():
    told = (DOCS / "comparison.md").read_text()
    assert [name for name in catalog.names("method") if f"`{name}`" not in told] == []


def test_every_method_has_a_page_of_what_its_file_says(pages):
    rows = pages._by(pages._gallery(), "arm")
    for name in catalog.names("method"):
        page = pages.method_page(name, rows.get(name, []))
        assert page.startswith(f"# {name}\n")
        for part in ("**Cost of a step**: ", "**Check**: ", "## Settings", "## Results"):
            assert page.count(part) == 1
        assert f"_target_: {catalog.read('method', name)['_target_']}" in page
        assert "not said" not in page


def test_a_page_has_the_rule_what_settings_mean_and_where_the_method_stands(pages):
    rows = pages._by(pages._gallery(), "arm")
    page = pages.method_page("genetic", rows["genetic"])
    assert "\n\n    L_i     = loss of candidate w_i on the batch" in page
    assert "    s_t     = std decay^floor(t / n_decay_generations)\n" in page
    assert "- `n_elites`: Best candidates that survive unchanged; of equal ones those" in page
    assert "| text/languages | 0.135 [0.128, 0.143] | 23-27 | o |" in page
    assert "[safe_mutations](../papers/safe_mutations/index.md)" in page
    assert re.search(r"Of (\d+) combinations .*\n\n- every layer learns: \1\n", page)  # all of them
    assert "- refused: 0\n" in page
    assert "[arXiv:1712.06563](https://arxiv.org/abs/1712.06563)" in page
    assert "[doi:10.1109/4235.996017](https://doi.org/10.1109/4235.996017);" in page
    assert pages.standing("genetic").count("accuracy_score") == 2
    assert "no score of it" in pages.method_page("maml", rows["maml"])


def test_a_page_says_once_what_a_setting_means_and_of_settings_alone(pages):
    page = pages.method_page("maml")
    assert "\norder: second  # one of second, first\n" in page
    assert "\n  beta1: 0.9  # in [0, 1)\n" in page
    assert "\n- `order`: Whether the inner steps are differentiated.\n" in page
    assert "- `UNBIASED`" not in page


def test_a_picture_leads_to_itself(pages):
    html = '<p><img alt="a" src="b.png" /></p><p>c <img alt="" src="d.png" /></p>'
    assert pages.on_page_content(html) == (
        '<p><a href="b.png" title="Full size"><img alt="a" src="b.png" /></a></p>'
        '<p>c <img alt="" src="d.png" /></p>'
    )


def test_links_of_files_above_and_to_them_lead_to_pages(pages):
    assert pages.linked("[a](docs/tables.md#runs) [b](LICENSE)", "README.md") == (
        "[a](tables.md#runs) [b](LICENSE)"
    )
    assert pages.linked("[a](../../CHANGELOG.md)", "docs/papers/README.md") == (
        "[a](../changelog.md)"
    )
    assert pages.linked("[a](../gallery/README.md)", "docs/papers/README.md") == (
        "[a](../gallery/README.md)"
    )
