"""The pictures of docs/report.md, of the published example: `python -m docs.screenshots`.

Reads docs/example/report.html, writes docs/img/*.png; needs Chromium.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.figures.look import with_palette

ROOT = Path(__file__).parent.parent
REPORT, FOLDER = ROOT / "docs/example/report.html", ROOT / "docs/img"


def main() -> None:
    browsers = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=next(browsers), args=["--no-sandbox"])
        save(seen(opened(browser, 1280, 1300, "light"), "body"), "answer")
        save(seen(opened(browser, 390, 844, "light"), "#part-1 h2"), "phone")
        save(explored(opened(browser, 1280, 1000, "dark")), "explorer")
        browser.close()


def opened(browser: Browser, width: int, height: int, scheme: str) -> Page:
    viewport = {"width": width, "height": height}
    page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
    page.goto(REPORT.as_uri())
    return page


def seen(page: Page, place: str) -> bytes:
    """The window from this place on, with its chart."""
    page.locator(place).first.evaluate("each => each.scrollIntoView()")
    page.locator(".chart .main-svg").first.wait_for()
    return page.screenshot()


def explored(page: Page) -> bytes:
    """The explorer with a search, without what follows its chart."""
    page.locator("nav [href='#explorer']").click()
    page.locator("#explorer details details").evaluate("each => each.remove()")
    page.locator("#explorer").evaluate("each => { each.style.padding = '1rem'; }")
    page.locator("#explorer input").scroll_into_view_if_needed()
    page.locator("#explorer .main-svg").first.wait_for()
    page.locator("#explorer input").fill("efficientnet_lite in1k")
    return page.locator("#explorer").screenshot()


def save(png: bytes, name: str) -> None:
    """In few colours: a third of the size."""
    FOLDER.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(png)) as image:
        with_palette(image).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
