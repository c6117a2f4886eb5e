"""The bibliography beside a report: read back by a small reader of BibTeX."""

import re

from analysis.words.citations import bibliography
from beyond import catalog
from beyond.run.provenance import cited

FAULTS = [
    ("analysis/words/citations.py", "(told or name not in found)", "told"),
    ("analysis/words/citations.py", 'r", | & "', 'r" & "'),
    ("analysis/words/citations.py", "[^\\s,;]*[^\\s,;.])", "[^\\s,;]*)"),
    ("analysis/words/citations.py", 'fields["note"] = escaped(source)', 'fields["note"] = source'),
]


def run(method, task, told=True):
    built = {"method": catalog.load("method", method), "task": catalog.load("task", task)}
    made = {"identity": {"method": method, "task": task}}
    return made | ({"cited": cited(**built)} if told else {})


def read(text):
    """Entries by their keys; every brace must be closed."""
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    entries = re.findall(r"^@misc\{([\w-]+),\n(.*?)^\}$", text, re.M | re.S)
    return {key: dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.M)) for key, body in entries}


def test_each_method_and_task_that_ran_is_an_entry_once():
    runs = [run("backprop", "image/digits"), run("equilibrium_propagation", "image/digits")]
    found = read(bibliography([*runs, runs[0]]))
    assert set(found) == {"backprop", "equilibrium-propagation", "image-digits"}
    assert found["backprop"] == {
        "title": "{Backpropagation}",
        "author": "Rumelhart and Hinton and Williams",
        "year": "1986",
        "doi": "10.1038/323533a0",
        "eprint": "1411.1792",
        "archiveprefix": "arXiv",
        "note": "Nature 323, 533-536, doi:10.1038/323533a0; random features: Advances in Neural "
        "Information Processing Systems 21; fine-tuning: ibid. 27, arXiv:1411.1792.",
    }
    assert found["equilibrium-propagation"]["author"] == "Scellier and Bengio"
    assert found["image-digits"]["title"] == "{Handwritten digits of 8x8 pixels}"
    assert r"load\_digits" in found["image-digits"]["note"]


def test_a_dot_that_ends_the_sentence_is_no_part_of_a_doi():
    found = read(bibliography([run("feedback_alignment", "regression/friedman")]))
    assert found["feedback-alignment"]["doi"] == "10.1038/ncomms13276"


def test_what_was_recorded_without_a_source_is_named():
    older = run("genetic", "image/digits", told=False)
    assert bibliography([older]) == "% no source was recorded of genetic, image/digits\n"
    both = bibliography([older, run("constant", "image/digits"), older])
    assert both.startswith("% no source was recorded of genetic\n\n@misc{constant,")
    assert bibliography([{}]) == ""


def test_the_page_leads_to_it(report):
    assert 'href="tables/citations.bib"' in report.read_text()
    assert (report.parent / "tables" / "citations.bib").is_file()
