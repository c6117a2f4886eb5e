"""Every number of a report that somebody changed is found, wherever it stands, and no other."""

import re
import shutil

import pytest

from analysis import verify
from analysis.page.printed import apart, parts
from analysis.study import Study as Results
from tests.analysis.conftest import Study

FAULTS = [
    ("analysis/page/study.py", "[quote(other) for other in others]", "others"),
    ("analysis/verify.py", "parent / against for parent", "parent for parent"),
    ("analysis/page/printed.py", "            if text != right:", "            if text > right:"),
    ("analysis/page/printed.py", "        elif data.strip():", "        elif data.isalpha():"),
    (
        "analysis/page/printed.py",
        '            self.parts[-1].texts.append((f"<{tag}> {len(self.parts[-1].texts) + 1}", given))',
        '            self.parts[-1].texts.append((f"<{tag}>", ""))',
    ),
    (
        "analysis/page/printed.py",
        '            yield f"{name}: {len(there)} texts printed, {len(here)} recomputed"',
        "            pass",
    ),
    (
        "analysis/verify.py",
        "        again = Study(folder, **command)",
        "        again = Study(folder)",
    ),
    (
        "analysis/verify.py",
        "            if printed != right:",
        "            if name.endswith('l'):",
    ),
    ("analysis/verify.py", "    sys.exit(bool(differing))", "    sys.exit(0)"),
]
PAGE = """<!doctype html>
<html><head><title>s1</title><style>p{width:2px}</style></head><body>
<h1>study 3</h1><p>Best: <b>backprop</b>, at 0.94 of 5.</p>
<h2>digits</h2><ul><li>10 arms</li><li>a, 11</li></ul>
<figure id="f"><figcaption>Of 12 seeds.</figcaption>
<svg aria-label="13"><g><path d="M14 15"/><text>16</text></g></svg></figure>
<table><caption>Scores 17</caption><thead><tr><th>arm</th><th>mean 18</th></tr></thead>
<tbody><tr><th>genetic</th><td>0.19</td></tr><tr><th>x</th><td class="c20">21 [22, 23]</td></tr></tbody>
</table></body></html>
"""


def of_page(page):
    return parts("index.html", page.encode())


@pytest.mark.parametrize("at", [found.start() for found in re.finditer(r"\d+", PAGE)])
def test_each_number_that_is_changed_is_one_line(at):
    if PAGE[at - 2 : at] in ("<h", "/h"):
        return
    changed = PAGE[:at] + "7" + PAGE[at:]
    names = PAGE[at - 6 : at] in ("study ", "cores ")  # of all that stands below
    assert [*apart(of_page(PAGE), of_page(PAGE))] == []
    assert len([*apart(of_page(changed), of_page(PAGE))]) == (2 if names else 1)


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("0.94", "0.95", "study 3, text 1: Best: backprop, at 0.95 of 5. printed, "),
        ("0.19", "0.91", "digits, table “Scores 17”, genetic, mean 18: 0.91 printed, 0.19 recompu"),
        (
            "22, 23",
            "2, 23",
            "digits, table “Scores 17”, x, mean 18: 21 [2, 23] printed, 21 [22, 23",
        ),
        ("M14 15", "M14 16", 'f, <path> 3: d="M14 16" printed, d="M14 15" recomputed'),
        (">16<", ">61<", "f, text: 61 printed, 16 recomputed"),
        ("<li>10 arms</li>", "", "digits: 2 texts printed, 3 recomputed"),
        (
            "backprop",
            "hebbian",
            "study 3, text 1: Best: hebbian, at 0.94 of 5. printed, Best: back",
        ),
    ],
)
def test_a_line_says_where_what_is_printed_and_what_is_right(right, wrong, line):
    (told,) = apart(of_page(PAGE.replace(right, wrong)), of_page(PAGE))
    assert told.startswith(line)


def test_of_a_long_text_the_line_shows_where_it_differs():
    long = PAGE.replace("10 arms", "word " * 40 + "0.123 " + "word " * 40)
    (told,) = apart(of_page(long.replace("0.123", "0.124")), of_page(long))
    assert "0.124" in told
    assert "0.123" in told
    assert len(told) < 200


def test_numbers_are_counted_as_a_reader_counts_them():
    counts = {(part.name, part.n_numbers) for part in of_page(PAGE) if part.kind != "others"}
    assert counts == {
        ("index.html", 1),  # the title
        ("study 3", 2),
        ("digits", 3),
        ("f", 4),
        ("digits, table “Scores 17”", 5),
    }
    (table,) = parts("a.csv", b'arm,mean\nx,0.5\n"y, 2",-1e-05\n')
    assert [text for _, text in table.texts] == ["arm", "mean", "x", "0.5", "y, 2", "-1e-05"]
    assert table.texts[3][0] == "row 1 (x, 0.5), mean"
    assert table.n_numbers == 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of two arms, and their report."""
    study = Study(tmp_path_factory.mktemp("runs") / "two", "two")
    for method in ("backprop", "genetic"):
        study.cell(method, seeds=range(3))
    return study.folder, Results(study.folder, reference="genetic").report(also=["png"])


def verified(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        verify.main([*map(str, arguments)])
    return stopped.value.code, capsys.readouterr().out.splitlines()


def changed(path, pattern, wrong):
    """Write something else in the place of a group."""
    text = path.read_text()
    found = re.search(pattern, text)
    path.write_text(text[: found.start(1)] + wrong + text[found.end(1) :])


def test_a_report_as_it_was_made_agrees_and_the_numbers_are_counted(made, capsys):
    _, page = made
    status, lines = verified([page], capsys)
    assert status == 0
    (line,) = lines
    counts = re.findall(r"([\d,]+) in (\d+) (tables|sections|CSV files|LaTeX files|figures)", line)
    assert [kind for *_, kind in counts] == [
        *("tables", "sections", "CSV files", "LaTeX files", "figures")
    ]
    assert all(int(n.replace(",", "")) > int(places) for n, places, _ in counts)
    assert int(counts[2][1]) == len([*(page.parent / "tables").glob("*.csv")])


def test_a_number_changed_in_any_kind_of_place_is_found(made, tmp_path, capsys):
    folder, page = made
    copy = shutil.copytree(page.parent, tmp_path / "report")
    page = copy / "index.html"
    changed(page, r"<li><b>image/digits\.</b>[^<]*?(\d\.\d+)", "0.123")
    changed(page, r'<th scope="row">genetic</th>.*?<td>(\d\.\d+) \[', "9.876")
    changed(page, r'<path d="M([\d.]+)', "5432")
    changed(copy / "tables" / "summary.csv", r"\n[^\n]*backprop[^\n]*?(\d\.\d{3})", "7.654")
    changed(copy / "tables" / "paired_differences.tex", r"(\d\.\d{3})", "3.210")
    changed(copy / "figures" / "image-digits-final-scores.svg", r' y="([\d.]+)"', "6543")
    png = copy / "figures" / "image-digits-final-scores.png"
    png.write_bytes(png.read_bytes() + b"0")
    (copy / "tables" / "failures.csv").unlink()
    status, lines = verified([page, "--runs", folder], capsys)
    assert status == 1
    assert lines[-1] == "8 differ"
    for wrong in ("0.123", "9.876", "5432", "7.654", "3.210", "6543", "checksum", "failures.csv"):
        assert [wrong in line for line in lines].count(True) == 1, (wrong, lines)


def test_a_report_of_two_folders_is_verified_from_anywhere(tmp_path, monkeypatch, capsys):
    runs = tmp_path / "it's a folder"
    for name in ("before", "and after"):
        written = Study(runs / name, name)
        for method in ("backprop", "genetic"):
            written.cell(method)
    page = Results(runs / "before", "genetic", against=str(runs / "and after")).report()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(SystemExit) as ended:
        verify.main([str(page)])
    assert ended.value.code == 0, capsys.readouterr()
    assert "every number agrees with the tables" in capsys.readouterr().out


def test_a_folder_and_what_is_not_there_are_no_pages(tmp_path):
    page = tmp_path / "runs" / "report" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    for given, told in (
        (tmp_path / "runs", f"{tmp_path / 'runs'} is a folder; its page: {page}"),
        (tmp_path, f"{tmp_path} is a folder; its page: none"),
        (tmp_path / "nowhere", f"no such page: {tmp_path / 'nowhere'}"),
    ):
        with pytest.raises(SystemExit) as stopped:
            verify.main([str(given)])
        assert stopped.value.code == f"beyond-verify: {told}"


def test_a_page_that_is_no_report_is_refused(tmp_path):
    page = tmp_path / "index.html"
    for text, told in (
        ("<p>1</p>", "no one command"),
        ("<code>beyond-report a --nope</code>", "cannot read .*: unrecognized arguments: --nope"),
        ("<code>beyond-report 'a</code>", "cannot read .*: No closing quotation"),
    ):
        page.write_text(text)
        with pytest.raises(SystemExit, match=told):
            verify.main([str(page)])
