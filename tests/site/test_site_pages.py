"""Every page, as a reader meets it: in light, in dark, and on a phone."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from visiting import Visit, Visitor

SPEC = find_spec("axe_playwright_python")
assert SPEC is not None and SPEC.origin is not None
AXE = (Path(SPEC.origin).parent / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

ARTICLE = "article.bd-article, .bd-search-container"
PICTURES = """() => [...document.querySelectorAll('main img')].map(image => ({
    source: image.getAttribute('src'), alt: image.alt, width: image.naturalWidth}))"""
BEYOND = """selector => [...document.querySelectorAll(selector)]
    .flatMap(box => [...box.querySelectorAll('section > *, .cell > *')])
    .filter(element => {
        const place = element.getBoundingClientRect();
        return place.right > innerWidth + 1 || place.left < -1;
    })
    .map(element => element.outerHTML.slice(0, 200))"""
CUT_OFF = """() => [...document.querySelectorAll('div.math')]
    .filter(box => box.firstElementChild.getBoundingClientRect().left < box.getBoundingClientRect().left - 1)
    .map(box => box.textContent)"""
LEFTOVER_TEX = r"""selector => {
    const text = document.querySelector(selector).cloneNode(true);
    text.querySelectorAll('pre, code, mjx-container, script').forEach(element => element.remove());
    return text.textContent.match(/\\[([]|\\\\?[a-z]{2,}\{|\$\$|\$[^$\s]*\\/)?.[0] ?? null;
}"""


def violations(visit: Visit) -> list[str]:
    """What axe finds against WCAG 2.0, 2.1 and 2.2, levels A and AA, and against its own best practices."""
    visit.page.evaluate(AXE)
    options = {
        "runOnly": RULES,
        "resultTypes": ["violations"],
        "rules": {"label-content-name-mismatch": {"enabled": True}},  # WCAG 2.5.3, which axe leaves out by itself
        "preload": False,
    }
    found: list[dict[str, Any]] = visit.page.evaluate(
        "async options => (await axe.run(document, options)).violations", options
    )
    return [f"{v['id']}: {v['help']}: {node['html'][:200]}" for v in found for node in v["nodes"]]


def text_of(visit: Visit) -> str:
    return visit.page.locator(ARTICLE).first.inner_text()


def check_quiet(visitor: Visitor, visit: Visit) -> None:
    assert not visit.errors
    assert not [url for url in visit.requests if visitor.is_foreign(url)], "a request left the site"
    assert not [url for url in visit.requests if "fontawesome" in url], "an icon is not drawn by book.css"


def test_page_in_light(light: Visitor, path: str) -> None:
    visit = light.open(path)
    check_quiet(light, visit)
    if path != "genindex.html":
        assert len(text_of(visit)) > (5 if path == "search.html" else 300), "the page is blank"
    assert visit.page.locator("h1:visible").count() == 1
    assert visit.page.locator("html").get_attribute("lang") == "en"
    assert visit.page.locator("meta[name=description][content]").count() == 1

    for picture in visit.page.evaluate(PICTURES):
        assert picture["width"] > 0, f"{picture['source']} does not load"
        assert picture["alt"].strip(), f"{picture['source']} has no alternative text"

    formulas = visit.page.locator("main .math").count()
    assert visit.page.locator("main .math mjx-container").count() == formulas, "a formula is not typeset"
    assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert visit.page.evaluate(LEFTOVER_TEX, ARTICLE) is None, "raw TeX is left"
    assert not violations(visit)


def test_page_in_dark(dark: Visitor, path: str) -> None:
    visit = dark.open(path)
    check_quiet(dark, visit)
    assert visit.page.locator("html").get_attribute("data-theme") == "dark"
    assert not violations(visit)


def test_page_on_a_phone(phone: Visitor, path: str) -> None:
    visit = phone.open(path)
    check_quiet(phone, visit)
    assert visit.page.evaluate("document.scrollingElement.scrollWidth") <= 360, "the page is wider than the screen"
    outside = visit.page.evaluate(BEYOND, ARTICLE)
    assert not visit.page.evaluate(CUT_OFF), "a formula begins where it cannot be scrolled to"
    assert not outside, "something reaches beyond the screen, where it cannot be scrolled to"


@pytest.mark.parametrize(("choice", "paper"), [("light", "light"), ("dark", "dark")])
def test_the_switch_changes_the_colours_and_is_remembered(light: Visitor, choice: str, paper: str) -> None:
    visit = light.open("book/index.html")
    switch = visit.page.locator("button.theme-switch-button:visible").first
    for _ in range(3):
        switch.click()
        if visit.page.locator("html").get_attribute("data-mode") == choice:
            break
    colour = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    try:
        brightness = sum(visit.page.evaluate(colour)) / 3
        assert (brightness > 200) if paper == "light" else (brightness < 60)
        visit = light.open("book/notation.html")
        assert visit.page.locator("html").get_attribute("data-theme") == choice
    finally:
        visit.page.evaluate("localStorage.clear()")


def test_a_sound_is_a_file_that_plays(light: Visitor) -> None:
    visit = light.open("notebooks/3_algorithms/11_speech.html")
    assert "data:audio" not in visit.page.content()
    visit.page.wait_for_function("document.querySelector('audio').duration > 0.1")
    visit.page.evaluate("document.querySelector('audio').play()")
    visit.page.wait_for_function("document.querySelector('audio').ended")


def test_search_finds_a_word(light: Visitor) -> None:
    visit = light.open("search.html?q=backpropagation")
    visit.page.wait_for_selector("#search-results li a")
    links = visit.page.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
    assert any("glossary.html" in link for link in links)
    assert not violations(visit)
    check_quiet(light, visit)


def test_search_opens_from_the_keyboard(light: Visitor) -> None:
    visit = light.open("book/index.html")
    visit.page.keyboard.press("Control+k")
    visit.page.locator("#pst-search-dialog input").fill("quantisation")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/search.html?q=quantisation*")
    visit.page.wait_for_selector("#search-results li a")


def test_search_says_when_it_finds_nothing(light: Visitor) -> None:
    visit = light.open("search.html?q=zyxwvut")
    visit.page.wait_for_function("document.querySelector('#search-results').textContent.includes('did not match')")
    assert visit.page.locator("#search-results li a").count() == 0


def test_the_root_leads_to_the_book(light: Visitor) -> None:
    light.open("")
    light.page.wait_for_url("**/book/index.html")
