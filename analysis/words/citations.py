"""A bibliography of what was run, for BibTeX: methods and tasks, as their files tell sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.words.columns import escaped

KINDS = ("method", "task")
_AUTHORS = re.compile(r"\(([^()]+?), (\d{4})\b")  # of a file's first line: who, and when
_DOI = re.compile(r"\bdoi:(10\.\d{4,}/[^\s,;]*[^\s,;.])")
_ARXIV = re.compile(r"\barXiv:(\d{4}\.\d{4,5})")


def bibliography(manifests: Iterable[Mapping[str, Any]]) -> str:
    """Return an entry for each method and task of these runs, by what their manifests tell.

    A file's first line tells what it is, by whom and when; its heading Source where it was
    published, which stands in the note in full. What was recorded without either is named in a
    comment.
    """
    found: dict[str, str] = {}
    for manifest in manifests:
        for kind in KINDS:
            name = manifest.get("identity", {}).get(kind)
            told = manifest.get("cited", {}).get(kind)
            if name is not None and (told or name not in found):
                found[str(name)] = _entry(str(name), told) if told else ""
    lost = sorted(name for name, entry in found.items() if not entry)
    said = [f"% no source was recorded of {', '.join(lost)}\n"] if lost else []
    return "\n".join([*said, *(found[name] for name in sorted(found) if found[name])])


def _entry(name: str, told: Mapping[str, str]) -> str:
    title, source = told.get("title", ""), told.get("source", "")
    fields = {"title": f"{{{escaped(title.partition(' (')[0])}}}"}
    if by := _AUTHORS.search(title):
        people = [person.strip() for person in re.split(r", | & ", by[1])]
        fields["author"] = escaped(" and ".join(people)).replace(" et al.", " and others")
        fields["year"] = by[2]
    if doi := _DOI.search(source):
        fields["doi"] = doi[1]
    if arxiv := _ARXIV.search(source):
        fields |= {"eprint": arxiv[1], "archiveprefix": "arXiv"}
    fields["note"] = escaped(source)
    lines = [f"  {field} = {{{value}}},\n" for field, value in fields.items() if value]
    key = re.sub(r"[^A-Za-z0-9]+", "-", name)
    return f"@misc{{{key},\n{''.join(lines)}}}\n"
