"""The report in a real browser: Debian's Chromium, driven by Playwright, on a page from disk."""

import re
import shutil

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

FAULTS = [
    ("analysis/page/report.js", "? order(b, a) : order(a, b)", "? order(a, b) : order(b, a)"),
    ("analysis/page/report.js", "field.value.trim().toLowerCase()", "field.value.trim()"),
    ("analysis/page/report.js", "panel.hidden = panel.dataset.along !== along", "panel.hidden = false"),
    ("analysis/page/report.js", "if (!off.delete(arm)) off.add(arm);", "off.add(arm);"),
    ("analysis/page/report.css", "min-width: var(--least);", ""),
    ("analysis/page/report.css", "--faint: #5c5c5c;", "--faint: #aaaaaa;"),
]  # fmt: skip

WIDTHS = {"phone": 390, "desk": 1440}


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, report):
    """Open the report at a width, with what follows light or dark; no fault may be logged."""
    contexts, faults, asked, went = [], [], [], []

    def at(width, path=report, **settings):
        context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        went.append(path)
        return page

    yield at
    for context in contexts:
        context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri() for page in went]


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.wait_for_timeout(50)  # ms, for what follows an unfolding


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility_and_nothing_wider_than_the_page(opened, width, scheme):
    page = opened(width, color_scheme=scheme)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = axe.Axe().run(page).response["violations"]
    assert [
        (fault["id"], [node["html"][:200] for node in fault["nodes"][:3]])
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_no_text_of_a_figure_is_shown_smaller_than_nine_pixels(opened, width):
    page = opened(width)
    unfold(page)
    sizes = page.evaluate(
        """[...document.querySelectorAll('.panel svg text, .panel svg use')]
        .filter(drawn => drawn.getClientRects().length)
        .flatMap(drawn => {
          const shown = drawn.href ? document.querySelector(drawn.href.baseVal) : drawn;
          const texts = shown.matches('text') ? [shown] : [...shown.querySelectorAll('text')];
          return texts.map(text => parseFloat(getComputedStyle(text).fontSize) * drawn.getScreenCTM().d
            * (text.getAttribute('transform') ? 0 : 1));
        })"""
    )
    rotated = [size for size in sizes if abs(size) < 1]  # by a right angle
    assert len(sizes) > 200
    assert min(size for size in sizes if size not in rotated) >= 9


def column(page, table, number):
    return table.locator(f"tbody tr:not([hidden]) > :nth-child({number + 1})").all_inner_texts()


def test_tables_sort_by_mouse_and_keyboard(opened):
    page = opened(1440)
    unfold(page)
    table = page.locator("#task-1 table").first
    heads = table.locator("thead th").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.startswith("mean"))
    head = table.locator("thead th").nth(place)
    means = [float(cell.split()[0]) for cell in column(page, table, place)]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(cell.split()[0]) for cell in column(page, table, place)] == sorted(means)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(cell.split()[0]) for cell in column(page, table, place)] == sorted(means)[::-1]
    table.locator("thead th").first.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert column(page, table, 0) == sorted(column(page, table, 0))


def test_tables_filter_and_are_saved_as_shown(opened, report, tmp_path):
    long, found = tmp_path / "index.html", re.compile(r"(?s)(<tbody>\n)(.*?)(</tbody>)")
    long.write_text(found.sub(r"\1\2\2\2\3", report.read_text()))  # a search is for many rows
    page = opened(1440, long)
    unfold(page)
    box = page.locator("#task-1 .tabled", has=page.get_by_role("searchbox")).first
    table, rows = box.locator("table"), box.locator("tbody tr")
    assert rows.count() > 8
    box.get_by_role("searchbox").fill("DIVERGED")
    kept = [text for text in rows.all_inner_texts() if "diverged" in text]
    assert 0 < len(kept) < rows.count()
    assert box.locator("tbody tr:visible").all_inner_texts() == kept
    assert f"{len(kept)} of {rows.count()}" in box.get_by_role("status").inner_text()
    with page.expect_download() as saved:
        box.get_by_role("link", name="CSV, as shown").click()
    lines = saved.value.path().read_text().splitlines()
    assert len(lines) == 1 + len(kept)
    assert lines[0].split(",")[0] == table.locator("thead th").first.inner_text().split("\n")[0]


def test_one_currency_is_shown_at_a_time_in_all_figures(opened):
    page = opened(1440)
    unfold(page)
    figures = page.locator("figure", has=page.get_by_role("radio", name="step seconds"))
    assert figures.count() == 4  # convergence and cost to target, of two tasks

    def shown(figure):
        return {
            panel.get_attribute("data-along") for panel in figure.locator(".panel:visible").all()
        }

    assert all(len(shown(figure)) == 1 for figure in figures.all())
    figures.first.get_by_role("radio", name="step seconds").check()
    assert all(shown(figure) == {"step seconds per replica"} for figure in figures.all())
    figures.first.get_by_role("radio", name="FLOPs").check()
    assert shown(figures.first) == {"FLOPs"}
    assert shown(figures.nth(1)) == {"step seconds per replica"}  # it has no FLOPs


def test_an_arm_is_picked_out_and_switched_off_in_all_figures(opened):
    page = opened(1440)
    unfold(page)
    button = page.locator(".arms").get_by_role("button", name="genetic", exact=True)
    arm = button.get_attribute("data-a")
    other = page.locator(f".panel g[data-a]:not([data-a='{arm}'])").first
    mine = page.locator(f".panel g[data-a='{arm}']")

    def opacity(drawn):
        return float(drawn.evaluate("one => getComputedStyle(one).opacity"))

    button.focus()
    page.wait_for_timeout(200)  # ms, for the transition
    assert opacity(mine.first) == 1
    assert opacity(other) < 0.3
    assert mine.count() > 10
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not any(one.is_visible() for one in mine.all()[:20])
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert mine.first.is_visible()


def test_the_page_is_complete_without_its_script_and_unfolded_on_paper(opened, report):
    page = opened(390, java_script_enabled=False)
    words = page.locator("body").text_content()
    assert page.locator(".panel svg").count() > 20
    assert "Convergence." in words
    assert page.locator(".tools:visible, .along:visible").count() == 0
    paper = opened(1000)
    paper.emulate_media(media="print")
    assert paper.locator("h3", has_text="Costs, without").first.is_visible()
    assert paper.locator("#task-1 table").nth(1).is_visible()
    assert not paper.locator("nav").is_visible()


def test_the_keyboard_reaches_the_results_and_what_scrolls(opened):
    page = opened(390)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    unfold(page)
    wide = page.evaluate(
        """[...document.querySelectorAll('.scroller')].filter(box => box.scrollWidth > box.clientWidth + 1)
        .map(box => [box.tabIndex, box.getAttribute('aria-label')])"""
    )
    assert len(wide) > 5
    assert all(index == 0 and re.search(r"\w", label) for index, label in wide)
