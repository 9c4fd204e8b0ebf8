"""Draws the README's picture: `python tests/site/picture.py` photographs a page of the built site."""

from pathlib import Path

from playwright.sync_api import sync_playwright
from visiting import FLAGS, HOW_TO_GET_A_BROWSER, ROOT, SITE, find_browser

PAGE = SITE / "notebooks" / "0_start_here.html"
PICTURE: Path = ROOT / "book" / "_static" / "first_page.png"


def main() -> None:
    program = find_browser()
    if program is None or not PAGE.exists():
        raise SystemExit(HOW_TO_GET_A_BROWSER if program is None else "There is no site: run `make book`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 960}, device_scale_factor=1.5)
        page.goto(PAGE.as_uri())
        page.locator("#train").evaluate("section => section.scrollIntoView()")
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"Drawn: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
