"""The built site and a browser to visit it with."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
HOW_TO_GET_A_BROWSER = (
    "The site was not opened in a browser, because there is none: install the package 'chromium' "
    "(on Debian and Ubuntu, 'apt install chromium'; elsewhere, Chromium or Google Chrome), "
    "or set AIMAAS_CHROMIUM to the program's path."
)


def pages() -> list[str]:
    """Every page of the built site, as a path below it, without the forwarding page at the root."""
    found = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return [page for page in found if page != "index.html" and not page.startswith("_static/")]


def find_browser() -> str | None:
    return os.environ.get("AIMAAS_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Visit:
    """An open page, and all that went wrong in it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@dataclass
class Visitor:
    """Opens pages in one theme, always in the same window, and waits until they have settled."""

    page: Page
    address: str
    theme: str
    visit: Visit = field(init=False)

    def __post_init__(self) -> None:
        self.page.on("console", lambda m: self.visit.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.visit.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.visit.errors.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.visit.requests.append(request.url))
        self.page.on(
            "response",
            lambda r: self.visit.errors.append(f"{r.status}: {r.url}") if r.status >= 400 else None,
        )

    def open(self, path: str) -> Visit:
        self.visit = Visit(self.page)
        self.page.goto(self.address + path, wait_until="load")
        self.page.wait_for_function(
            "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; return true; }"
        )
        return self.visit

    def is_foreign(self, url: str) -> bool:
        return urlsplit(url).scheme in ("http", "https", "ws", "wss") and not url.startswith(self.address)
