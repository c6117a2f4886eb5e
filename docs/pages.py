"""What the site has beyond the files of docs/, made when it is built (a hook of MkDocs).

The start is README.md, and CONTRIBUTING.md and CHANGELOG.md are pages too; each method has one,
from the head of its file, the YAML of its settings, its rows in docs/methods.md, and where it
stands in the gallery.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.looks import CONTROL, INK
from beyond.catalog import CONF, read
from beyond.installed import imported
from beyond.run.choices import meanings
from beyond.run.describe import HEADING, describe, further

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
COPIED = {  # of the folder above, which the site does not see
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")
SETTING = re.compile(r"^(\w+):", re.MULTILINE)  # at the top level of a YAML
MEANT = re.compile(r"^(\w+: .*  # [^:\n]*): .*$", re.MULTILINE)  # which the page says below
PICTURE = re.compile(r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>')
METHODS = sorted(path.stem for path in CONF.glob("method/*.yaml"))  # those of BEYOND_PATH have none
Row = Mapping[str, str]


def on_config(config: Any) -> Any:
    """Put all pages of a kind in the place of `folder/*.md`."""
    config["nav"] = list(_expanded(config["nav"]))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    pages: dict[str, str | bytes] = {
        page: linked((ROOT / name).read_text(encoding="utf-8"), name)
        for name, page in COPIED.items()
    }
    placed = _by(_gallery(), "arm")
    for name in METHODS:
        pages[f"methods/{name}.md"] = method_page(name, placed.get(name, []))
        if _scored(placed.get(name, [])):
            pages[f"methods/{name}.svg"] = standing(name)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to the folder above lead to its pages, and the table of methods to theirs."""
    path = page.file.src_uri
    if path == "index.md":  # README, which is wide and lists the pages itself
        page.meta["hide"] = ["navigation", "toc"]
    if path in COPIED.values():
        return markdown
    if path == "methods.md":
        known = "|".join(METHODS)
        markdown = re.sub(rf"^\| ({known}) \|", r"| [\1](methods/\1.md) |", markdown, flags=re.M)
        markdown = re.sub(rf"^- `({known})`", r"- [`\1`](methods/\1.md)", markdown, flags=re.M)
    return linked(markdown, f"docs/{path}")


def on_page_content(html: str, **_: Any) -> str:
    """Let a picture lead to itself, at its full size."""
    return PICTURE.sub(r'<p><a href="\2" title="Full size">\1</a></p>', html)


def linked(markdown: str, path: str) -> str:
    """Turn a file's links, which hold in the repository, into those that hold in the site."""
    site = {(ROOT / name).resolve(): page for name, page in COPIED.items()}
    here = COPIED.get(path) or Path(path).relative_to("docs").as_posix()

    def moved(match: re.Match[str]) -> str:
        target = (ROOT / path).parent.joinpath(match[0]).resolve()
        if target not in site and (path not in COPIED or not target.is_relative_to(DOCS)):
            return match[0]
        to = site.get(target) or target.relative_to(DOCS).as_posix()
        return "../" * here.count("/") + to

    return LINK.sub(moved, markdown)


def method_page(name: str, placed: Sequence[Row] = ()) -> str:
    """Return the page of a method; `placed` are its rows in the gallery's summary."""
    method = describe(name)
    needs = ", ".join(method.needs or ()) or "none of the five"
    lines = [
        f"# {name}",
        f"{method.title}.",
        f"**Told**: {method.signal}. **Needs**: {needs} ([what that means](../methods.md)).",
        f"**Cost of a step**: {method.cost}.",
        *_rule(name),
        f"**Departures from the source**: {method.departures}.",
        f"**Check**: {method.check}.",
        f"**Source**: {_cited(method.source)}.",
        *_settings(name),
        *_runs_on(name),
        *_results(name, placed),
    ]
    return "\n\n".join(lines) + "\n"


def standing(name: str) -> str:
    """Draw where a method stands on each task of the gallery, as SVG."""
    tasks = {task: _scored(rows) for task, rows in _by(_gallery(), "task").items()}
    tasks = {task: rows for task, rows in tasks.items() if name in _by(rows, "arm")}
    with canvas.style():
        figure = Figure((7.5, 0.75 * len(tasks) + 0.2), layout="constrained")
        panels = figure.subplots(len(tasks), squeeze=False)[:, 0]
        for axes, (task, rows) in zip(panels, tasks.items(), strict=True):
            arms = _by(rows, "arm")
            others = [float(row["mean"]) for row in rows]
            axes.plot(others, [0] * len(others), "|", color=CONTROL, markersize=14)
            for arm, colour, height in (("backprop", INK, -0.4), (name, "#c44200", 0.4)):
                mean, low, high = (float(arms[arm][0][key]) for key in ("mean", "low", "high"))
                axes.plot([low, high], [height, height], color=colour, linewidth=2)
                axes.plot(mean, height, "|", color=colour, markersize=10, markeredgewidth=2.5)
            axes.set(yticks=[], xlabel=f"{task}: test {rows[0]['score']}", ylim=(-1, 1))
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _cited(text: str) -> str:
    """A source's identifiers as links."""
    text = re.sub(r"\barXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"\bdoi:(10\.\S*[^\s.,;)])", r"[doi:\1](https://doi.org/\1)", text)


def _expanded(entries: Sequence[Any]) -> Iterator[Any]:
    """A nav, with the pages that a pattern stands for in its place."""
    for entry in entries:
        if isinstance(entry, dict):
            yield {
                title: list(_expanded(inner)) if isinstance(inner, list) else inner
                for title, inner in entry.items()
            }
        elif entry == "methods/*.md":
            yield from (f"methods/{name}.md" for name in METHODS)
        elif "*" in entry:
            yield from sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob(entry))
        else:
            yield entry


def _rule(name: str) -> list[str]:
    """What the head of a method's file says between its title and the paragraphs with names."""
    if name in further():
        return [f"A choice of [{_file(name)}]({_file(name)}.md), which has the rule."]
    text = (imported(_class(name)[0]).__doc__ or "").partition("\n\n")[2]
    return ["## The rule", text[: HEADING.search(text).start()].strip()]  # every head has one


def _settings(name: str) -> list[str]:
    module, cls = _class(name)
    text = (CONF / "method" / f"{name}.yaml").read_text(encoding="utf-8").strip()
    said = meanings(getattr(imported(module), cls))
    shown = MEANT.sub(r"\1", text)
    told = [f"- `{one}`: {said[one]}" for one in SETTING.findall(text) if said.get(one)]
    return [
        "## Settings",
        f"`conf/method/{name}.yaml`: defaults, and what is allowed. Below, what they mean.",
        f"```yaml\n{shown}\n```",
        "\n".join(told),
    ]


def _runs_on(name: str) -> list[str]:
    """The method's row in the table of combinations, a line for each of its cells."""
    text = (DOCS / "methods.md").read_text(encoding="utf-8").partition("## On what they run")[2]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    for _, count, *cells in (row for row in rows if row[0] == name):
        about = f"Of {count} combinations of a kind of network and a choice of a setting"
        told = [f"- {head}: {cell}" for head, cell in zip(rows[0][2:], cells, strict=True)]
        link = "[all methods](../methods.md#on-what-they-run)"
        return ["## On what it runs", f"{about} ({link}):", "\n".join(told)]
    return []


def _results(name: str, placed: Sequence[Row]) -> list[str]:
    lines = []
    if scored := _scored(placed):
        table = ["| task | test score [95 % interval] | rank | letters |", "|---|---|---|---|"]
        table += [
            f"| {row['task']} | {float(row['mean']):.3f} [{float(row['low']):.3f}, "
            f"{float(row['high']):.3f}] | {_rank(row)} | {row['group']} |"
            for row in scored
        ]
        lines += [
            "\n".join(table),
            f"![Test score of {name} on the tasks of the gallery]({name}.svg)",
            "Orange: this method, with its interval; black: backprop; grey: all other arms. Arms "
            "that share a letter are not told apart. [The gallery](../gallery/README.md) has the "
            "curves and the conditions.",
        ]
    elif placed:
        lines.append("[The gallery](../gallery/README.md) has no score of it, and says why.")
    if papers := [_paper(path) for path in sorted(CONF.glob("paper/*.yaml")) if _uses(path, name)]:
        lines.append("Published results that were run again with it: " + ", ".join(papers) + ".")
    return ["## Results", *lines] if lines else []


def _paper(path: Path) -> str:
    page = DOCS / "papers" / path.stem / "index.md"
    return f"[{path.stem}](../papers/{path.stem}/index.md)" if page.exists() else f"`{path.stem}`"


def _uses(path: Path, name: str) -> bool:
    return bool(re.search(rf"\bmethod(=(\S*,)?|: ){name}\b", path.read_text(encoding="utf-8")))


def _rank(row: Row) -> str:
    first, last = (f"{float(row[key]):.0f}" for key in ("rank_first", "rank_last"))
    return first if first == last else f"{first}-{last}"


def _class(name: str) -> tuple[str, str]:
    """Module and name of a method's class."""
    module, _, cls = read("method", name)["_target_"].rpartition(".")
    return module, cls


def _file(name: str) -> str:
    return _class(name)[0].rpartition(".")[2]


def _gallery() -> list[Row]:
    with (DOCS / "gallery" / "summary.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _scored(rows: Sequence[Row]) -> list[Row]:
    """Those with a rank."""
    return [row for row in rows if row["rank_first"]]


def _by(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found
