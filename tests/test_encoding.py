"""Text is UTF-8 on every machine, whatever its locale says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("beyond", "methods", "tasks", "analysis", "hydra_plugins", "docs")
TEXT = {"read_text", "write_text", "open", "FileHandler"}
OTHERS = re.compile(r"^(Image|tarfile)\.open\(")  # of what is no text
BINARY = re.compile(r"""\bopen\(['"][rwax]b['"]""")

FAULTS = [
    ("beyond/run/choices.py", 'path.write_text(text, encoding="utf-8")', "path.write_text(text)"),
    ("beyond/run/runner.py", 'folder / "log.txt", encoding="utf-8"', 'folder / "log.txt"'),
    ("docs/pages.py", '"summary.csv").open(encoding="utf-8")', '"summary.csv").open()'),
]


def calls(path):
    """Source text of each call that opens a file as text, and whether it names the encoding."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            text = ast.unparse(node)
            if name in TEXT and not OTHERS.match(text) and not BINARY.search(text):
                yield text, any(keyword.arg == "encoding" for keyword in node.keywords)


@pytest.mark.parametrize("room", SHIPPED)
def test_files_are_read_and_written_as_utf_8(room):
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for text, named in calls(path)
        if not named
    ]
    assert found == []
