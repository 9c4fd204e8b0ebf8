"""The built site, served on a free port and opened in a real browser, once for all tests."""

import functools
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1] / "book" / "_ext")]
from bookext import stamp  # noqa: E402
from visiting import FLAGS, HOW_TO_GET_A_BROWSER, ROOT, SITE, Visitor, find_browser, pages  # noqa: E402


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", pages() or ["the site"])


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of a site that was built, without a warning, from the sources as they are now."""
    try:
        built = json.loads((SITE / stamp.NAME).read_text())
    except FileNotFoundError:
        pytest.fail("There is no site, or its last build had warnings: run `make book`.", pytrace=False)
    now = stamp.fingerprint(ROOT)
    if built != now:
        changed = sorted(name for name in built.keys() | now.keys() if built.get(name) != now.get(name))
        pytest.fail(f"The site is older than {', '.join(changed[:3])}: run `make book`.", pytrace=False)
    return SITE


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser; closed with its module, since an open one keeps tests elsewhere from starting an event loop."""
    program = find_browser()
    if program is None:
        # A learner may go without; continuous integration may not.
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop(HOW_TO_GET_A_BROWSER)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def visitor_of(browser: Browser, address: str, theme: str, width: int) -> Iterator[Visitor]:
    context = browser.new_context(color_scheme=theme, reduced_motion="reduce", viewport={"width": width, "height": 900})
    context.set_default_timeout(10_000)
    yield Visitor(context.new_page(), address, theme)
    context.close()


@pytest.fixture(scope="module")
def light(browser: Browser, address: str) -> Iterator[Visitor]:
    yield from visitor_of(browser, address, "light", 1280)


@pytest.fixture(scope="module")
def dark(browser: Browser, address: str) -> Iterator[Visitor]:
    yield from visitor_of(browser, address, "dark", 1280)


@pytest.fixture(scope="module")
def phone(browser: Browser, address: str) -> Iterator[Visitor]:
    yield from visitor_of(browser, address, "light", 360)
