"""The report as a person meets it: in a headless Chromium, from disk, wide, narrow, light, dark.

Every test also proves that the page logged no error and asked for nothing beyond its own file.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from study_fakes import LITE, write_failure, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.merge import __main__ as merge
from pipeline.report import __main__ as report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MODELS = [*LITE, "resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
LARGE = "benchmark-infer-amp-large.csv"
LEADERBOARD = "#part-1 .search + .scroll"
DRAWN = "charts.filter(div => !div.querySelector('.main-svg')).length === 0"

Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)} on PATH: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of five models on two datasets; two devices; hostile names and reasons."""
    folder = tmp_path_factory.mktemp("report")
    write_study(folder, models=MODELS, datasets=["digits", "mosaic"])
    write_imagenet(folder / "imagenet.csv", [*MODELS, HOSTILE])
    table = pd.read_csv(folder / "imagenet.csv", dtype=str, keep_default_na=False)
    families = table["model"].str.split(r"[\d_]", regex=True).str[0]
    table["family"] = families.replace({"tf": "efficientnet", HOSTILE[:2]: HOSTILE})
    large = table[table["mode"] == "infer"].assign(benchmark_file=LARGE, device="rtx9090")
    large = large[large["model"] != LITE[0]].assign(samples_per_second="50000")
    pd.concat([table, large]).to_csv(folder / "imagenet.csv", index=False)
    for number, model in enumerate(MODELS):
        for seed in (0, 1):
            cost = {"fit_seconds": 10.0 * 2**number + seed, "peak_rss_gib": 1.0 + number}
            error = 0.2 - 0.03 * number + seed / 200
            write_run(folder / "runs", model, seed, error, cost=cost)
            write_failure(folder / "runs", model, seed, HOSTILE, dataset="mosaic")
    return rendered(folder)


def rendered(folder: Path) -> Path:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    for name in ("parameters", "image_size", "models_per_family"):
        Image.new("RGB", (1350, 600)).save(folder / f"{name}.png")
    names = ("params.yaml", "imagenet.csv", "results", "", "report.html")
    report.main(*(folder / name for name in names))
    return folder / "report.html"


@pytest.fixture
def opened(browser: Browser, page_file: Path) -> Iterator[Opener]:
    """Opens a report; in the end nothing may have gone wrong, and no request left the file."""
    troubles: list[str] = []
    contexts = []

    def note_request(address: str) -> None:
        if not address.startswith(("file:", "data:", "blob:")):  # of the page itself
            troubles.append(f"request: {address}")

    def open_page(
        width: int = 1280, scheme: str = "light", file: Path = page_file, before: str = ""
    ) -> Page:
        viewport = {"width": width, "height": 900}
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.set_default_timeout(120_000)  # a busy machine is no failure
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (troubles.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: note_request(request.url))
        page.add_init_script(before)
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


def test_a_browser_that_cannot_unpack_the_charts_says_so_and_shows_the_tables(opened: Opener):
    page = opened(before="delete window.DecompressionStream")
    page.locator("#old-browser").wait_for()
    page.locator("#part-1 [type=search]").fill("lite2")
    assert page.locator(f"{LEADERBOARD} tbody tr:visible").count() == 1


def draw_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.evaluate("charts.forEach(draw)")
    page.wait_for_function(DRAWN)


def chart_of(page: Page, title: str) -> str:
    """The selector of the chart below the first heading with this text."""
    heading = page.get_by_role("heading", name=title, exact=True).first
    heading.evaluate("each => { each.nextElementSibling.firstChild.dataset.seen = 'yes'; }")
    return ".chart[data-seen]"


def explored(page: Page) -> dict[str, dict]:
    """What plotly draws in the explorer, by the trace's name."""
    chart = page.locator("#explorer .chart")
    script = "div => div.data.map(({name, mode, text, x, y, selectedpoints}) => ({"
    script += " name, mode, text, x: [...x], y: [...y], selectedpoints}))"
    return {trace["name"] or "names": trace for trace in chart.evaluate(script)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_draws_nothing_is_wider_than_the_page_and_all_text_can_be_read(
    opened: Opener, width: int, scheme: str
):
    page = opened(width, scheme)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    smallest, text = page.evaluate("""() => [...document.querySelectorAll("body *")]
        .filter(each => !["SCRIPT", "STYLE", "OPTION"].includes(each.tagName) &&
            [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
        .map(each => [parseFloat(getComputedStyle(each).fontSize), each.textContent])
        .sort((a, b) => a[0] - b[0])[0]""")
    assert smallest >= 11, text
    assert page.evaluate("document.querySelector('.picture img').width") >= 900
    ground, ink = (
        sum(map(int, re.findall(r"\d+", colour)[:3])) / 765
        for colour in page.evaluate("""() => [getComputedStyle(document.body).backgroundColor,
            document.querySelector(".xtick text").style.fill]""")
    )
    assert (ground > 0.9 and ink < 0.2) if scheme == "light" else (ground < 0.2 and ink > 0.8)


def test_on_paper_tables_are_whole_charts_fit_and_all_is_light_and_the_screen_comes_back(
    opened: Opener,
):
    page = opened(1280, "dark")
    page.wait_for_function("window.Plotly")
    page.set_viewport_size({"width": 720, "height": 900})  # A4 between its margins
    page.emulate_media(media="print")
    page.wait_for_function(
        """paper.matches && charts.filter(div => div.checkVisibility())
        .every(div => div.clientWidth === div.querySelector(".main-svg")?.clientWidth)"""
    )
    cut, controls, widths = page.evaluate("""() => {
        const all = [...document.querySelectorAll("body *")];
        const shown = all.filter(each => each.checkVisibility());
        const svg = ".main-svg", visible = selector => shown.filter(each => each.matches(selector));
        return [
            visible(".scroll").filter(each => getComputedStyle(each).overflow !== "visible").length,
            visible("nav, input, select, .save, .modebar, details").map(each => each.className),
            visible(".chart").map(div => [div.clientWidth, div.querySelector(svg).clientWidth])];
    }""")
    assert cut == 0
    assert controls == []
    assert widths
    assert all(given == drawn <= 720 for given, drawn in widths)
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 31, 35)"
    assert page.evaluate("document.querySelector('.xtick text').style.fill") == "rgb(28, 31, 35)"
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="screen")
    page.wait_for_function(
        """charts.filter(div => div.checkVisibility())
        .every(div => div.clientWidth === div.querySelector(".main-svg").clientWidth &&
            div.querySelector(".xtick text").style.fill === "rgb(232, 234, 237)")"""
    )


def test_a_link_opens_what_is_folded_away_and_its_chart_is_drawn_only_then(opened: Opener):
    page = opened()
    explorer = page.locator("#explorer .chart")
    assert not explorer.is_visible()
    assert explorer.locator(".main-svg").count() == 0
    page.get_by_role("link", name="What timm publishes").click()
    explorer.locator(".main-svg").first.wait_for()


def test_a_chart_is_saved_as_a_picture_and_its_data_as_a_table(opened: Opener, tmp_path: Path):
    page = opened()
    page.locator("#part-1 .main-svg").first.wait_for()
    with page.expect_download() as got:
        page.locator("#part-1 .save button").nth(0).click()
    got.value.save_as(tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)  # not transparent
    with page.expect_download() as got:
        page.locator("#part-1 .save button").nth(1).click()
    got.value.save_as(tmp_path / "chart.csv")
    table = pd.read_csv(tmp_path / "chart.csv")
    assert list(table) == ["series", "name", "steady fit time (s)", "error rate (%)", "low", "high"]
    assert set(table["name"]) == set(MODELS)
    best = table.set_index("name").loc[MODELS[-1]]
    assert best["error rate (%)"] == pytest.approx(8.25)
    assert best["low"] < 8.25 < best["high"]


def test_hostile_names_and_reasons_are_shown_as_text(opened: Opener):
    page = opened()
    draw_all(page)
    assert page.locator("img[src=x]").count() == 0
    assert HOSTILE in page.locator("#failures").inner_text()
    page.locator("#explorer input").fill("onerror")
    assert HOSTILE in page.locator("#explorer .textpoint").first.text_content()


def test_the_explorer_offers_the_devices_of_a_mode_and_draws_the_file_that_is_chosen(
    opened: Opener,
):
    page = opened()
    draw_all(page)
    mode, device, setup = (page.locator("#explorer select").nth(place) for place in range(3))
    assert device.locator("option").all_text_contents() == ["rtx3090", "rtx9090"]
    device.select_option("rtx9090")
    assert LARGE in page.locator("#explorer figcaption").inner_text()
    assert "n = 10" in page.locator("#explorer figcaption").inner_text()
    speeds = {x for trace in explored(page).values() for x in trace["x"]}
    assert speeds == {50000}
    mode.select_option("train")
    assert device.locator("option").all_text_contents() == ["rtx3090"]
    assert setup.locator("option").all_text_contents() == ["amp, nchw, torch 1.13, cu117"]
    title = page.locator("#explorer .xtitle").text_content()
    assert title == "training, samples per second"


def test_the_explorers_front_is_what_nothing_beats_in_speed_and_accuracy(opened: Opener):
    page = opened()
    draw_all(page)
    shown = explored(page)
    marks = [
        mark
        for name, trace in shown.items()
        if trace["mode"] == "markers" and name != "of this study"
        for mark in zip(trace["x"], trace["y"], strict=True)
    ]
    front = zip(shown["front"]["x"], shown["front"]["y"], strict=True)
    best = {
        (x, y)
        for x, y in marks
        if not any((a >= x and b > y) or (a > x and b >= y) for a, b in marks)
    }
    assert set(front) == best
    assert len(shown["of this study"]["x"]) == 2 * len(MODELS)


def test_the_explorers_search_fades_what_it_does_not_find_and_names_what_it_does(opened: Opener):
    page = opened()
    draw_all(page)
    page.locator("#explorer input").fill("VIT in1k")
    assert page.locator("#explorer [role=status]").inner_text() == "2 of 12"
    shown = explored(page)
    assert shown["vit"]["selectedpoints"] == [0, 1]
    assert shown["resnet"]["selectedpoints"] == []
    assert shown["names"]["text"] == [MODELS[-1]] * 2
    page.locator("#explorer input").fill("")
    assert explored(page)["resnet"]["selectedpoints"] is None


def test_a_click_in_the_legend_hides_a_family_and_darkness_does_not_bring_it_back(
    opened: Opener,
):
    page = opened()
    chart = chart_of(page, "Error against steady fit time")
    page.locator(f"{chart} .legendtoggle").first.wait_for()
    entry = page.locator(f"{chart} .traces", has_text="resnet").locator(".legendtoggle")
    entry.click()
    resnet = f"document.querySelector('{chart}').data.find(each => each.name === 'resnet')"
    page.wait_for_function(f"{resnet}.visible === 'legendonly'")
    page.emulate_media(color_scheme="dark")
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill === 'rgb(232, 234, 237)'"
    page.wait_for_function(ink)
    assert page.evaluate(f"{resnet}.visible") == "legendonly"
    shown = page.locator(f"{chart} .annotation-text").all_text_contents()
    assert MODELS[-1] in shown
    assert not [name for name in shown if name.startswith("resnet")]


def test_the_time_axis_turns_logarithmic_and_back(opened: Opener):
    page = opened()
    chart = chart_of(page, "Error against steady fit time")
    page.locator(f"{chart} .main-svg").first.wait_for()
    axis = f"document.querySelector('{chart}')._fullLayout.xaxis"
    switch = page.locator("input[data-log]").first
    assert switch.is_checked()  # 10 to 161 s
    assert page.evaluate(f"{axis}.type") == "log"
    switch.uncheck()
    assert page.evaluate(f"{axis}.type") == "linear"
    low, high = page.evaluate(f"{axis}.range")
    assert low < 10 < 161 < high < 300


def test_hovering_a_mark_tells_model_error_time_and_memory(opened: Opener):
    page = opened()
    chart = chart_of(page, "Error against steady fit time")
    page.locator(f"{chart} .main-svg").first.wait_for()
    page.locator(f"{chart} .points path").first.hover(force=True)
    text = page.locator(f"{chart} .hovertext").text_content() or ""
    for part in (
        "resnet18.a1_in1k",
        "error 11.25 % [",
        "n = 2",
        "steady fit time 1 min 20 s",
        "4.00 GiB of host",
    ):
        assert part in text


def test_the_search_box_hides_the_rows_that_lack_a_word(opened: Opener):
    page = opened()
    box = page.locator("#part-1 [type=search]")
    box.fill("LITE2 efficientnet")
    rows = page.locator(f"{LEADERBOARD} tbody tr:visible")
    assert rows.count() == 1
    assert LITE[2] in rows.first.inner_text()
    assert page.locator("#part-1 .search [role=status]").inner_text() == "1 of 5"
    box.fill("")
    assert rows.count() == 5


def test_a_heading_sorts_by_number_and_another_click_turns_it_round(opened: Opener):
    page = opened()
    heading = page.locator(f"{LEADERBOARD} th", has_text="fit time").locator("button")
    names = page.locator(f"{LEADERBOARD} tbody td.name")
    heading.click()
    assert names.all_text_contents() == MODELS
    heading.click()
    assert names.all_text_contents() == MODELS[::-1]
    assert heading.locator("..").get_attribute("aria-sort") == "descending"


def test_a_phone_shows_the_error_column_and_names_in_the_chart(opened: Opener):
    page = opened(390)
    box = page.locator(f"{LEADERBOARD} th", has_text="error [95 %]").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
    chart = chart_of(page, "Error against steady fit time")
    page.locator(chart).scroll_into_view_if_needed()
    names = page.locator(f"{chart} .annotation-text", has_text="in1k")
    names.first.wait_for()
    assert names.count() >= 3


def test_the_table_of_a_wide_window_is_whole_and_a_box_shows_the_other_columns(opened: Opener):
    page = opened()
    table = page.locator(LEADERBOARD)
    assert table.evaluate("each => each.scrollWidth <= each.clientWidth")
    other = table.locator("th", has_text="behind best")
    assert not other.is_visible()
    page.locator("#part-1 [data-all]").check()
    assert other.is_visible()
    assert table.evaluate("each => each.clientWidth") > 1120  # beyond the text, as there is room
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


@pytest.mark.parametrize("way", ["hover", "tap"])
def test_a_term_is_explained_where_it_stands(opened: Opener, way: str):
    page = opened(1280 if way == "hover" else 390)
    term = page.locator(".answer .term", has_text="P(best)").first
    tip = page.locator("#tip")
    assert not tip.is_visible()
    term.hover() if way == "hover" else term.click()
    assert "lowest true error" in tip.inner_text()
    box = tip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]


@pytest.mark.slow
def test_the_whole_of_timm_can_be_explored(opened: Opener, tmp_path: Path, shared: Path):
    path = write_study(tmp_path)
    text = path.read_text()
    text = text.replace("benchmark-infer-amp-x", "benchmark-infer-amp-nchw-pt291-cu130-5090")
    text = text.replace("benchmark-train-amp-x", "benchmark-train-amp-nchw-pt112-cu113-rtx3090")
    path.write_text(text)
    merge.main(shared / "timm-results", tmp_path / "imagenet.csv", tmp_path / "unmatched.csv")
    for seed in (0, 1):
        write_run(tmp_path / "runs", LITE[0], seed, 0.1 + seed / 100)
    page = opened(file=rendered(tmp_path))
    draw_all(page)
    explorer = page.locator("#explorer")
    assert "n = 1,556" in explorer.inner_text()
    device = explorer.locator("select").nth(1)
    known = {"i7_12700h", "i9_10940x", "pro6000maxq", "rtx3090", "rtx4090", "rtx5090"}
    assert set(device.locator("option").all_text_contents()) == known
    device.select_option("i7_12700h")
    assert explorer.locator(".scatterlayer .points path").count() > 1000
