"""The OpenAPI document and the page say what is served, no more and no less, and what they show works."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from playwright.sync_api import sync_playwright
from starlette.routing import Route

from aimaas_helpers import serving
from aimaas_helpers.serving.app import create_app
from aimaas_helpers.serving.openapi import document
from aimaas_helpers.serving.plane import Plane
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.settings import Settings

from ..site.visiting import FLAGS, HOW_TO_GET_A_BROWSER, find_browser
from .fuzz import examples, prepare

AXE = Path(str(find_spec("axe_playwright_python").origin)).parent / "axe.min.js"  # type: ignore[union-attr]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(models, tmp_path_factory.mktemp("openapi") / "models")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[serving.Service]:
    with serving.local(folder) as service:
        yield service


@pytest.fixture(scope="module")
def described(service: serving.Service, http: requests.Session) -> Any:
    return http.get(f"{service.url}/openapi.json").json()


def test_it_is_an_openapi_document(described: Any) -> None:
    schemathesis.openapi.from_dict(described).validate()
    names = re.findall(r'"#/components/([^"]+)"', json.dumps(described))
    assert names and all(name.split("/")[1] in described["components"][name.split("/")[0]] for name in names)


def test_every_route_is_in_it_and_nothing_else(folder: Path) -> None:
    app = create_app(Repository(folder))
    served = [(route, method) for route in app.routes for method in _methods(route)]
    found = [(path, method) for path, methods in document(app.state.plane)["paths"].items() for method in methods]
    for path, method in found:
        matching = [(r, m) for r, m in served if m == method and r.path_regex.match(_filled(path))]
        assert matching, f"{method} {path} is documented and not served"
    for route, method in served:
        matching = [path for path, m in found if m == method and route.path_regex.match(_filled(path))]
        assert matching, f"{method} {route.path} is served and not documented"


def _methods(route: Any) -> list[str]:
    assert isinstance(route, Route)
    return [method.lower() for method in route.methods or () if method != "HEAD"]  # which goes without saying


def _filled(path: str) -> str:
    return path.replace("{name}", "pair").replace("{version}", "1").replace("{label}", "stable")


def test_every_example_works(service: serving.Service, described: Any, http: requests.Session) -> None:
    known = examples(described)
    assert {"/v1/models/pair/labels/next:predict", "/v2/models/pictures/infer"} < {example.path for example in known}
    for example in known:
        reply = http.post(service.url + example.path, json=example.body)
        assert reply.status_code == 200, f"{example.path}: {reply.text}"
        valid = example.answers[200]
        assert valid is not None and not list(valid.iter_errors(reply.json())), example.path


def test_every_command_works_when_it_is_pasted(described: Any) -> None:
    operations = [operation for methods in described["paths"].values() for operation in methods.values()]
    commands = {sample["source"] for operation in operations for sample in operation.get("x-codeSamples", ())}
    assert len(commands) == 13  # five models in two protocols, and three capabilities
    for command in commands:
        run = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=60, env={**os.environ, "no_proxy": "*"}
        )
        assert not run.stderr and "error" not in json.loads(run.stdout), command


def test_a_large_input_is_written_as_the_python_that_makes_it(models: Path) -> None:
    operation = document(Plane(Repository(models / "digits")), url="http://x")["paths"]["/v1/models/digits:predict"][
        "post"
    ]
    assert operation["x-codeSamples"][0]["source"] == (
        """python3 -c 'import json; print(json.dumps({"instances": [[[0.0] * 28] * 28]}))' |\n"""
        """  curl -sS http://x/v1/models/digits:predict -d @-"""
    )


def test_what_is_set_is_in_it(folder: Path, tmp_path: Path) -> None:
    plane = Plane(Repository(folder))
    plain = json.dumps(document(plane)["paths"])
    assert "401" not in plain and "429" not in plain and "API_KEY" not in plain
    limited = document(plane, Settings(keys=str(tmp_path), rate=5))
    assert limited["security"] == [{"key": []}]
    predict = limited["paths"]["/v1/models/pair:predict"]["post"]
    assert {"401", "404", "408", "413", "429", "503", "504"} < predict["responses"].keys()
    assert '-H "Authorization: Bearer $API_KEY"' in predict["x-codeSamples"][0]["source"]
    health = limited["paths"]["/v2/health/ready"]["get"]
    assert health["security"] == [] and not {"401", "429"} & health["responses"].keys()


def test_a_refused_version_is_not_offered(described: Any) -> None:
    operation = described["paths"]["/v1/models/pair/versions/{version}:predict"]["post"]
    assert operation["parameters"][0]["schema"] == {"enum": [1, 2]}
    assert "/v1/models/words/labels/{label}:predict" not in described["paths"]


def test_programs_get_json(service: serving.Service, http: requests.Session) -> None:
    reply = http.get(service.url)
    assert reply.headers["vary"] == "Accept"
    assert reply.json()["models"]["pair"] == {
        "versions": [2, 1],
        "predict": "POST /v1/models/pair:predict",
        "metadata": "GET /v1/models/pair/metadata",
    }
    assert reply.json()["documentation"] == "/openapi.json"


@pytest.mark.parametrize("host", ["[", 'x"><script>', "a b", ""])
def test_a_host_that_is_none_is_not_shown(service: serving.Service, http: requests.Session, host: str) -> None:
    headers = {"Host": host, "Accept": "text/html"}
    assert "curl -sS /v1/models" in http.get(service.url, headers=headers).text
    assert http.get(f"{service.url}/openapi.json", headers=headers).json()["servers"] == [{"url": "/"}]


def test_the_page_as_people_meet_it(service: serving.Service) -> None:
    program = find_browser()
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_GET_A_BROWSER)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for theme, width in (("light", 1280), ("dark", 360)):
            page = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800}).new_page()  # type: ignore[arg-type]
            asked, said = list[str](), list[str]()
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("dialog", lambda dialog, said=said: said.append("dialog"))
            reply = page.goto(service.url)
            assert reply is not None and "default-src 'none'" in reply.headers["content-security-policy"]
            assert asked == [f"{service.url}/"] and not said
            body = page.locator("body")
            assert page.locator("script").count() == 0
            assert body.evaluate("body => getComputedStyle(body).backgroundColor") != "rgba(0, 0, 0, 0)", "no style"
            text = body.inner_text()
            for expected in ('<script>alert("notes")</script>', "<b>two</b> & more", "refused: ", "next", "25%"):
                assert expected in text
            page.evaluate("for (const box of [...document.querySelectorAll('details')].slice(0, 20)) box.open = true")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            page.evaluate(AXE.read_text("utf-8"))
            found = page.evaluate(
                "async o => (await axe.run(document, o)).violations",
                {"runOnly": RULES, "resultTypes": ["violations"], "preload": False},
            )
            assert not [f"{v['id']}: {node['html'][:200]}" for v in found for node in v["nodes"]]
        browser.close()
