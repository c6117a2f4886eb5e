"""The site has a page for each method, and its links hold."""

import importlib.util
import re
from pathlib import Path

import pytest

from beyond import catalog

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(
    [*ROOT.glob("*.md"), *(path for path in DOCS.rglob("*.md") if "papers" not in path.parts)]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

FAULTS = [
    ("docs/pages.py", "text[: HEADING.search(text).start()]", "text[:9]"),
    ("docs/pages.py", "to = site.get(target) or", "to ="),
    ("docs/pages.py", '"../" * here.count("/") + to', "to"),
    ("docs/pages.py", 'if row["rank_first"]', "if True"),
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
    assert "| genetic | 154 | 154 | 0 | 0 |" in page
    assert pages.standing("genetic").count("accuracy_score") == 2
    assert "no score of it" in pages.method_page("maml", rows["maml"])


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
