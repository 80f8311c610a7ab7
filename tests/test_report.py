"""The page: its text from Markdown, and what a browser makes of it."""

import shutil
from urllib.parse import unquote

import pytest
from rows import row, write

from baselines import BPConfig
from paper import paths, render
from paper.report import __main__ as report
from paper.report import content, html
from paper.results import current, key, read
from sal.data import DATASETS
from sal.run import Run

BROWSER = shutil.which("chromium")
browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def test_a_page_becomes_part_of_a_larger_one():
    text = (
        "# Title\n\nSee [that](../that.md).\n\n| a | b |\n|---|---|\n| **1.5 ± 0.1** | not run |\n"
    )
    found = html.of_markdown(text)
    assert "<h3>Title</h3>" in found
    assert "See that." in found and "href" not in found
    assert '<div class="scroll"><table class="sortable">' in found
    assert '<td data-sort="1.5"><strong>1.5 ± 0.1</strong></td>' in found
    assert "<td>not run</td>" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("85.9 ± 1", "85.9"),
        ("**-3**", "-3"),
        ("+0.5 (n=2)", "+0.5"),
        ("−2", "-2"),
        ("1e-04", "1e-04"),
    ]
    + [("not run", None), ("–", None), ("", None)],
)
def test_cells_are_sorted_by_the_number_they_begin_with(text, expected):
    assert html.sort_key(text) == expected


def test_links_out_are_refused():
    with pytest.raises(ValueError, match="links to https://example.org"):
        html.of_markdown("[away](https://example.org)")


def test_hours_on_a_gpu_are_not_added_to_those_on_a_cpu(place):
    cpu, gpu = {"machine": {"cpu": "EPYC"}}, {"device": "H200", "machine": {"cpu": "Xeon"}}
    runs = [Run(dataset="digits", learner="bp", config=BPConfig(), seed=n) for n in range(3)]
    made = [(1800.0, cpu), (1800.0, cpu), (3600.0, gpu)]
    rows = [row(run, 50.0, seconds=s, **on) for run, (s, on) in zip(runs, made, strict=True)]
    write(place, "recovery", rows)
    write(place, "table2", rows[:2])
    found = content.hours(place)
    assert list(found.loc["recovery"]) == ["3", "1.00", "1.00", "EPYC; H200"]
    assert list(found.loc["table2"]) == ["2", "1.00", "–", "EPYC"]


def test_without_a_browser_there_is_no_pdf_and_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "BROWSERS", ("nobody-has-this",))
    problem = report.print_pdf(tmp_path / "a.html", tmp_path / "a.pdf")
    assert problem == "none of nobody-has-this is installed"


@browser
def test_a_page_is_printed(tmp_path):
    (tmp_path / "a.html").write_text("<!doctype html><title>a</title><p>text</p>")
    assert report.print_pdf(tmp_path / "a.html", tmp_path / "a.pdf") is None
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_a_place_without_results_has_a_page(tmp_path):
    text = report.page(paths.Place(tmp_path, published=True))
    assert "0 training runs" in text and "Not run." in text
    assert text.count("<details") == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The committed results' page."""
    file = tmp_path_factory.mktemp("site") / "index.html"
    file.write_text(report.page(paths.committed()), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def chromium():
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    api = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield started
        started.close()


@pytest.fixture
def opened(chromium, site):
    """Opens the page: it, its requests, and what it complained of."""
    pages = []

    def open_page(viewport=DESK, **options):
        page, requests, complaints = chromium.new_page(viewport=viewport, **options), [], []
        pages.append(page)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.as_uri())
        return page, requests, complaints

    yield open_page
    for page in pages:
        page.close()


def test_it_loads_with_no_request_and_no_complaint(opened, site):
    page, requests, complaints = opened()
    others = [url for url in requests if not url.startswith("data:")]
    assert [unquote(url) for url in others] == [unquote(site.as_uri())]
    assert complaints == []
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_every_link_leads_somewhere_on_the_page(opened):
    page, _, _ = opened()
    targets = page.eval_on_selector_all("a", "links => links.map(a => a.getAttribute('href'))")
    ids = page.eval_on_selector_all("body [id]:not(svg *)", "all => all.map(e => e.id)")
    assert targets and {target.removeprefix("#") for target in targets} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_click_sorts_by_number_and_another_turns_it_round(opened):
    page, _, _ = opened()
    table = page.locator("#verdicts table").first

    def column():
        texts = table.locator("tbody tr td:nth-child(7) a").all_inner_texts()
        return [float(text.split()[0]) for text in texts]

    values = column()
    for expected in (sorted(values, reverse=True), sorted(values)):
        table.locator("thead th").nth(6).click()
        page.wait_for_timeout(100)
        assert column() == expected


def test_a_number_leads_to_its_runs(opened):
    page, _, _ = opened()
    page.locator("#verdicts a[href='#runs-digits-sal-4']").first.click()
    drill = page.locator("#runs-digits-sal-4")
    assert drill.locator("table").is_visible()
    assert drill.locator("svg[role=img]").is_visible()
    assert '"areas": [4]' in drill.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_asked_for(opened, scheme):
    page, _, _ = opened(color_scheme=scheme)
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(back.removeprefix("rgb(").split(",")[0])
    assert (red > 200) == (scheme == "light")


def test_a_phone_does_not_scroll_sideways(opened):
    page, _, _ = opened(viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_all_of_the_contents_are_seen_on_a_desk(opened):
    page, _, _ = opened()
    assert page.locator("nav").evaluate("nav => nav.scrollWidth <= nav.clientWidth")


def test_tables_are_there_without_javascript(opened):
    page, _, _ = opened(java_script_enabled=False)
    assert page.locator("#verdicts table").count() == 3
    assert all(table.is_visible() for table in page.locator("#verdicts table").all())


def test_every_number_of_the_tables_is_the_ledgers(opened):
    page, _, _ = opened()
    for name, cells in content.tables(paths.committed()).items():
        shown = page.locator(f"#verdicts h3#{name} ~ .scroll").first.locator("tbody tr")
        rows = {row.split("\t")[0].strip(): row for row in shown.all_inner_texts()}
        assert len(rows) == len(DATASETS)
        for cell in cells:
            published = render.value(cell.published_mean, cell.published_std, cell.metric)
            assert published in rows[cell.dataset]
            if cell.mean is not None:
                assert render.value(cell.mean, cell.std, cell.metric) in rows[cell.dataset]


def test_every_run_is_shown_as_the_ledger_has_it(opened):
    page, _, _ = opened()
    place = paths.committed()
    by_run = current(read(place.ledger("table2"))[0])
    for (dataset, column), runs in content.convergence.runs().items():
        rows = [by_run[key(run)] for run in runs if key(run) in by_run]
        drill = page.locator(f"[id='{content.anchor(dataset, column)}']")
        if not rows:
            assert drill.count() == 0
            continue
        shown = drill.locator("table tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        expected = [
            [str(row[name]) for name in ("seed", "accuracy", "train_loss", "val_loss", "status")]
            for row in rows
        ]
        assert [row[:5] for row in shown] == [
            ["–" if text == "None" else text for text in row] for row in expected
        ]
        assert [row[11] for row in shown] == [row["weights_sha256"][:12] for row in rows]
