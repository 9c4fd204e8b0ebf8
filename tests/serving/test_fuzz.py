"""A few hundred of the requests that ``fuzz.py`` sends by the hundred thousand."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aimaas_helpers import serving

from . import fuzz


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Service]:
    with serving.local(fuzz.prepare(models, tmp_path_factory.mktemp("fuzz") / "models"), **fuzz.LIMITS) as service:
        yield service


def test_whatever_is_sent_is_answered_as_documented(service: serving.Service) -> None:
    report = fuzz.run(service.url, fuzz.server_of(service), range(600), seed=0)
    assert not report.failures
    assert {kind for kind, _ in report.statuses} == {"json", "text", "binary", "http"}
    assert report.statuses["json", 200] and report.statuses["binary", 200] and report.statuses["http", None]


def test_schemathesis_finds_the_document_true(service: serving.Service) -> None:
    report = fuzz.conform(service.url, cases=150, seed=0)
    assert not report.failures
    assert min(report.statuses["schemathesis", status] for status in (200, 400)) > 20


def test_the_fuzzer_notices(service: serving.Service) -> None:
    known = fuzz.examples(fuzz.get(f"{service.url}/openapi.json"))
    example = next(example for example in known if example.path == "/v1/models/pair:predict")
    wire, wrong = fuzz.Wire(service.url), b'{"instances": [1, 2, 3]}'
    assert fuzz.check(wire, fuzz.post("json", example, wrong)) == 400
    undocumented = fuzz.post("json", replace(example, answers={200: None}), wrong)
    with pytest.raises(fuzz.Failure, match="status 400 is not documented"):
        fuzz.check(wire, undocumented)
    assert len(fuzz.shrink(wire, undocumented).body) < len(wrong)
    other = next(example for example in known if example.path == "/v1/models/words:predict")
    with pytest.raises(fuzz.Failure, match="not as documented"):
        fuzz.check(wire, fuzz.post("json", replace(other, answers=example.answers), b'{"instances": [[1]]}'))
    wire.close()
