"""What can be read from the built files without a browser: links, anchors, weight, coverage."""

import gzip
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from visiting import ROOT, pages

from aimaas_helpers.serving.artefact import ModelCard

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "iframe": "src"}
HEAVIEST_KB = 500  # a page with all that it loads, compressed


@pytest.fixture(scope="session")
def trees(site: Path) -> dict[str, BeautifulSoup]:
    return {page: BeautifulSoup((site / page).read_bytes(), "html.parser") for page in pages()}


@pytest.fixture(scope="session")
def anchors(trees: dict[str, BeautifulSoup]) -> dict[str, set[str]]:
    return {
        page: {str(e.get("id") or e.get("name")) for e in tree.select("[id], a[name]")} for page, tree in trees.items()
    }


def test_every_page_of_the_table_of_contents_is_there(trees: dict[str, BeautifulSoup]) -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = {toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])}
    assert {f"{page}.html" for page in listed} <= set(trees)


def test_links_and_anchors_hold(
    site: Path, trees: dict[str, BeautifulSoup], anchors: dict[str, set[str]], path: str
) -> None:
    broken = []
    for tag, attribute in LINKS.items():
        for element in trees[path].find_all(tag, attrs={attribute: True}):
            link = urlsplit(str(element[attribute]))
            if link.scheme or link.netloc:
                continue
            target = (site / path).parent / unquote(link.path) if link.path else site / path
            name = target.resolve().relative_to(site.resolve()).as_posix()
            anchor = unquote(link.fragment)
            if not target.is_file() or (anchor and name in anchors and anchor not in anchors[name]):
                broken.append(str(element[attribute]))
    assert not broken


def test_no_page_asks_another_host(trees: dict[str, BeautifulSoup], path: str) -> None:
    loaded = [
        e.get("src") or e.get("href") for e in trees[path].select("script[src], link[href], img[src], iframe[src]")
    ]
    assert not [url for url in loaded if re.match(r"(https?:)?//", str(url))]
    assert not trees[path].select("link[rel~=preconnect], link[rel~=dns-prefetch]")


def test_a_page_is_light(site: Path, trees: dict[str, BeautifulSoup], path: str) -> None:
    """The page, its styles and its scripts; formulas add MathJax and three of its fonts."""
    tree = trees[path]
    assets = [str(e.get("src") or e.get("href")) for e in tree.select("script[src], link[rel=stylesheet]")]
    files = {((site / path).parent / urlsplit(asset).path).resolve() for asset in assets}
    if tree.select(".math"):
        files |= set((site / "_static" / "mathjax").rglob("*.js"))
        files |= {
            site / "_static/mathjax/output/chtml/fonts/woff-v2" / f"MathJax_{f}-Regular.woff" for f in ("Main", "AMS")
        }
        files.add(site / "_static/mathjax/output/chtml/fonts/woff-v2/MathJax_Math-Italic.woff")
    size = sum(len(gzip.compress(file.read_bytes())) for file in {*files, (site / path).resolve()})
    assert size <= HEAVIEST_KB * 1000, f"{path} weighs {size / 1000:.0f} KB"


def test_coverage_lists_every_notebook_and_links_the_written_ones(trees: dict[str, BeautifulSoup]) -> None:
    syllabus = yaml.safe_load((ROOT / "book" / "syllabus.yml").read_text(encoding="utf-8"))
    text = trees["book/coverage.html"].get_text(" ")
    links = {str(a["href"]) for a in trees["book/coverage.html"].select("article a[href]")}
    for notebook in (notebook for part in syllabus["parts"] for notebook in part["notebooks"]):
        assert f"{notebook['number']} {notebook['title']}" in text.replace("’", "'")
        page = "../" + notebook["file"].replace(".ipynb", ".html")
        assert (page in links) == (ROOT / notebook["file"]).is_file()


def test_the_first_page_and_coverage_say_how_much_is_written(trees: dict[str, BeautifulSoup]) -> None:
    syllabus = yaml.safe_load((ROOT / "book" / "syllabus.yml").read_text(encoding="utf-8"))
    files = [notebook["file"] for part in syllabus["parts"] for notebook in part["notebooks"]]
    written = sum((ROOT / file).is_file() for file in files)
    for page in ("book/index.html", "book/coverage.html"):
        assert f"Of {len(files)} planned notebooks, {written} are written" in trees[page].get_text(" ")


def test_every_notebook_is_in_the_syllabus_and_in_the_table_of_contents() -> None:
    syllabus = yaml.safe_load((ROOT / "book" / "syllabus.yml").read_text(encoding="utf-8"))
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    known = {notebook["file"] for part in syllabus["parts"] for notebook in part["notebooks"]}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            assert name in known
            assert f"file: {name.removesuffix('.ipynb')}\n" in toc


def test_the_page_on_models_explains_every_field_of_a_model_card(trees: dict[str, BeautifulSoup]) -> None:
    named = {code.get_text() for code in trees["book/data_and_models.html"].select("article td code")}
    assert set(ModelCard.__struct_fields__) <= named
