"""What a report prints, taken apart: each cell of a table, each sentence, each mark of a figure.

Two reports of the same tables have the same parts, and in each the same texts, in the same order.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

NUMBERED = (
    "tables",
    "sections",
    "CSV files",
    "LaTeX files",
    "figures",
)  # kinds with numbers to read
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
_INLINE = {"a", "b", "br", "em", "i", "span", "strong"}  # a sentence goes on across them
_VOID = {"br", "input", "link", "meta"}
_SEEN = 60  # letters of a text that a line shows


@dataclass
class Part:
    """A table, what is said below one heading, a figure, or another file.

    Attributes
    ----------
    name : str
        Where it stands.
    kind : str
        One of `NUMBERED`, or "others".
    texts : list of (str, str)
        Of each text that stands in it: where, and what.
    """

    name: str
    kind: str
    texts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def n_numbers(self) -> int:
        """How many numbers it prints."""
        if self.kind not in NUMBERED:
            return 0
        return sum(len(_NUMBER.findall(text)) for _, text in self.texts)


def parts(name: str, content: bytes) -> list[Part]:
    """Take a file of a report apart, by what its name says it is."""
    if name.endswith((".html", ".svg")):
        page = _Page(name)
        page.feed(content.decode(errors="replace"))
        page.close()
        return [part for part in page.parts if part.texts]
    if name.endswith(".csv"):
        return [Part(name, "CSV files", list(_cells(content.decode(errors="replace"))))]
    if name.endswith((".tex", ".bib")):
        lines = content.decode(errors="replace").splitlines()
        return [Part(name, "LaTeX files", [(f"line {n}", line) for n, line in enumerate(lines, 1)])]
    return [Part(name, "others", [("", f"checksum {hashlib.sha256(content).hexdigest()[:12]}")])]


def apart(printed: Sequence[Part], recomputed: Sequence[Part]) -> Iterator[str]:
    """Say what two reports print otherwise, a line for each text."""
    known, found = _by_name(recomputed), _by_name(printed)
    yield from (f"{name}: printed, not recomputed" for name in found if name not in known)
    for name, part in known.items():
        if name not in found:
            yield f"{name}: recomputed, not printed"
            continue
        there, here = found[name].texts, part.texts
        if len(there) != len(here):
            yield f"{name}: {len(there)} texts printed, {len(here)} recomputed"
            continue
        for (_, text), (where, right) in zip(there, here, strict=True):
            if text != right:
                yield f"{name}{where and ', '}{where}: {_told(text, right)}"


def _by_name(found: Sequence[Part]) -> dict[str, Part]:
    """Parts by their names, with a number where two have the same."""
    named: dict[str, Part] = {}
    times: dict[str, int] = {}
    for part in found:
        times[part.name] = n = times.get(part.name, 0) + 1
        named[part.name if n == 1 else f"{part.name} ({n})"] = part
    return named


def _told(printed: str, recomputed: str) -> str:
    """Both texts; of long ones, what stands around the first place where they differ."""
    pairs = enumerate(zip(printed, recomputed, strict=False))
    at = next((n for n, (one, other) in pairs if one != other), 0)
    start = max(at - _SEEN // 3, 0) if max(map(len, (printed, recomputed))) > _SEEN else 0
    start = printed.rfind(" ", 0, start) + 1
    seen = []
    for text in (printed, recomputed):
        shown = text[start : start + _SEEN]
        ends = "…" * (start > 0), "…" * (len(text) > start + _SEEN)
        seen.append(f"{ends[0]}{shown}{ends[1]}" if shown else "nothing")
    return f"{seen[0]} printed, {seen[1]} recomputed"


def _cells(text: str) -> Iterator[tuple[str, str]]:
    """Give each cell of a CSV, named by the first of its row and the head of its column."""
    head, *rows = csv.reader(io.StringIO(text, newline="")) if text.strip() else [[]]
    yield from ((f"column {n}", name) for n, name in enumerate(head, 1))
    for n, row in enumerate(rows, 1):
        for column, cell in enumerate(row):
            named = head[column] if column < len(head) else f"column {column + 1}"
            yield f"row {n} ({', '.join(row[:2])}), {named}", cell


class _Page(HTMLParser):
    """Take a page or a figure apart, in the order of what it holds."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._said, self._marks = Part(name, "sections"), Part(f"{name}, mark-up", "others")
        self.parts = [self._said, self._marks]
        self._figure, self._text = "", ""
        self._depth = 0  # of open elements of an SVG
        self._table: Part | None = None
        self._head: list[str] = []
        self._row: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a mark is drawn by; of other elements what is said of them."""
        given = " ".join(f'{name}="{value or ""}"' for name, value in attrs)
        if tag == "svg" or self._depth:
            if not self._depth:
                self._end()
                self.parts.append(Part(self._figure or f"{self._said.name}, picture", "figures"))
            self._depth += 1
            self.parts[-1].texts.append((f"<{tag}> {len(self.parts[-1].texts) + 1}", given))
            return
        if tag not in _INLINE:
            self._end()
        if given:
            self._marks.texts.append((f"<{tag}> below “{self._said.name}”", given))
        if tag == "figure":
            self._figure = dict(attrs).get("id") or ""
        elif tag == "table":
            self._table, self._head = Part(f"{self._said.name}, table", "tables"), []
            self.parts.append(self._table)
        elif tag == "tr":
            self._row = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that ends where it starts."""
        self.handle_starttag(tag, attrs)
        if self._depth:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        """Text: of a figure, or of the sentence or cell that is open."""
        if not self._depth:
            self._text += data
        elif data.strip():
            self.parts[-1].texts.append(("text", data))

    def handle_endtag(self, tag: str) -> None:
        """End a sentence, a cell, a heading or a figure."""
        if self._depth:
            self._depth -= 1
            return
        text = " ".join(self._text.split())
        if tag in ("script", "style"):
            self._text = ""
            self._marks.texts.append((f"<{tag}>", text))
        elif tag in ("td", "th") and self._table is not None:
            self._text = ""
            self._cell(self._table, text)
        elif tag == "caption" and self._table is not None:
            self._text = ""
            self._table.name += f" “{text}”"
        elif tag in ("h1", "h2"):
            self._text = ""  # it is the name of all that follows
            self._said = Part(text, "sections")
            self.parts.append(self._said)
        if tag not in _INLINE:
            self._end()
        if tag == "table":
            self._table = None
        elif tag == "figure":
            self._figure = ""

    def _cell(self, table: Part, text: str) -> None:
        """Name a cell by the first of its row and the head of its column."""
        self._row.append(text)
        n = len(self._row)
        of_head = len(table.texts) == len(self._head) and len(self._head) < n
        if of_head:
            self._head.append(text)
        named = self._head[n - 1] if n <= len(self._head) else f"column {n}"
        table.texts.append((named if of_head else f"{self._row[0]}, {named}", text))

    def _end(self) -> None:
        text, self._text = " ".join(self._text.split()), ""
        if text:
            self._said.texts.append((f"text {len(self._said.texts) + 1}", text))
