"""A server with a public key serves what was signed with the private one, and nothing else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from aimaas_helpers.errors import BadInput, Corrupt, NotFound
from aimaas_helpers.serving.repository import Repository
from aimaas_helpers.serving.settings import Settings
from aimaas_helpers.serving.signing import SIGNATURE_FILE, sign, verified


def write(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, folder: Path, name: str) -> None:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.pem").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write(ec.generate_private_key(ec.SECP256R1()), folder, "ours")
    write(ec.generate_private_key(ec.SECP256R1()), folder, "theirs")
    write(rsa.generate_private_key(65537, 2048), folder, "rsa")
    return folder


@pytest.fixture
def version(models: Path, tmp_path: Path) -> Path:
    """``pair/1``, whole and not signed."""
    return Path(shutil.copytree(models / "pair" / "1", tmp_path / "models" / "pair" / "1"))


@pytest.fixture
def signed(version: Path, keys: Path) -> Path:
    assert sign(version, keys / "ours.pem") == version / SIGNATURE_FILE
    return version


def careful(folder: Path, keys: Path, whose: str = "ours") -> Repository:
    return Repository(folder, settings=Settings(public_key=str(keys / f"{whose}.pub")))


def renumbered(version: Path, number: int) -> Path:
    """A new version, as export would number it, not signed."""
    new = Path(shutil.copytree(version, version.parent / str(number)))
    (new / SIGNATURE_FILE).unlink(missing_ok=True)
    card = new / "model_card.json"
    card.write_text(card.read_text().replace('"version": 1', f'"version": {number}'))
    return new


def test_what_is_signed_is_served(signed: Path, keys: Path) -> None:
    for path in (signed, signed.parent, signed.parent.parent):
        assert careful(path, keys).model("pair").version == 1
    repository = careful(signed.parent, keys)
    second = renumbered(signed, 2)
    assert "is not signed, and this server requires it" in repository.refresh()[0]
    assert repository.model("pair").version == 1
    sign(second, keys / "ours.pem")
    assert repository.refresh() == ["Serving version 2 of 'pair'."]


def test_signing_again_replaces_the_signature(signed: Path, keys: Path) -> None:
    sign(signed, keys / "theirs.pem")
    assert careful(signed, keys, "theirs").model("pair").version == 1
    with pytest.raises(Corrupt, match="is not what was signed with this server's key"):
        careful(signed, keys)


def test_what_is_loaded_is_what_was_verified(signed: Path, keys: Path) -> None:
    with verified(signed, keys / "ours.pub") as readable:
        before = (signed / "model.tflite").read_bytes()
        change(signed, "model.tflite")
        assert (readable / "model.tflite").read_bytes() == before
    assert not readable.exists()


def test_a_server_without_a_key_serves_what_is_not_signed(version: Path, keys: Path) -> None:
    assert Repository(version).model("pair").version == 1
    with pytest.raises(Corrupt, match=r"is not signed, and this server requires it: sign it with serving\.sign"):
        careful(version.parent, keys)


def change(version: Path, file: str) -> None:
    path = version / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def link(version: Path, keys: Path) -> None:
    aside = version.with_suffix(".aside")
    shutil.copy(version / "model.tflite", aside)
    (version / "model.tflite").unlink()
    (version / "model.tflite").symlink_to(aside)


DAMAGE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "model": (lambda v, k: change(v, "model.tflite"), "Hash mismatch for 'model.tflite'"),
    "card": (lambda v, k: change(v, "model_card.json"), "Hash mismatch for 'model_card.json'"),
    "saved model": (lambda v, k: change(v, "saved_model.pb"), "Hash mismatch for 'saved_model.pb'"),
    "extra file": (lambda v, k: (v / "extra.txt").write_text(""), "Extra files found in model .*: extra.txt"),
    "extra file below": (lambda v, k: (v / "variables" / "x").write_text(""), "Extra files .*variables/x"),
    "hidden file": (lambda v, k: (v / ".gitignore").write_text(""), "Extra files found .*gitignore"),
    "missing file": (lambda v, k: (v / "saved_model.pb").unlink(), "Missing files in model .*: saved_model.pb"),
    "a link": (link, "symlink"),
    "other key": (lambda v, k: sign(v, k / "theirs.pem"), "Key mismatch"),
    "signature cut short": (lambda v, k: change(v, SIGNATURE_FILE), "is not what was signed"),
    "signature empty": (lambda v, k: (v / SIGNATURE_FILE).write_text(""), "is not what was signed"),
    "signature gone": (lambda v, k: (v / SIGNATURE_FILE).unlink(), "is not signed, and this server requires it"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_not_signed_so_is_refused_and_the_old_one_serves(signed: Path, keys: Path, damage: str) -> None:
    second = renumbered(signed, 2)
    sign(second, keys / "ours.pem")
    harm, reason = DAMAGE[damage]
    harm(second, keys)
    repository = careful(signed.parent, keys)
    assert repository.model("pair").version == 1
    with pytest.raises(NotFound, match=rf"Version 2 of model 'pair' is not served: .*{reason}"):
        repository.model("pair", 2)
    loaded = repository.model("pair")
    harm(signed, keys)
    (sentence,) = repository.refresh()
    assert sentence.startswith("Refused version 1") and sentence.endswith("What was loaded before goes on answering.")
    assert repository.model("pair") is loaded


def test_a_signed_version_that_arrives_in_pieces_is_served_when_it_is_whole(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    second = renumbered(signed, 2)
    sign(second, keys / "ours.pem")
    whole = second.rename(tmp_path / "whole")
    repository = careful(signed.parent, keys)
    # The signature and all that this server reads come first, the rest of what is signed last.
    for file in sorted((f for f in whole.rglob("*") if f.is_file()), key=lambda f: not f.name.startswith("model")):
        assert repository.model("pair").version == 1
        target = second / file.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        repository.refresh()
    assert repository.versions("pair") == {2: None, 1: None} and repository.model("pair").version == 2


def test_a_signed_version_cannot_pass_for_another(signed: Path, keys: Path) -> None:
    shutil.copytree(signed, signed.parent / "9")
    shutil.copytree(signed, signed.parent.parent / "other" / "1")
    repository = careful(signed.parent.parent, keys)
    assert repository.model("pair").version == 1
    with pytest.raises(NotFound, match=r"Version 9 .* holds what was signed as version 1 of 'pair'"):
        repository.model("pair", 9)
    with pytest.raises(NotFound, match=r"Version 1 of model 'other' .* holds what was signed as version 1 of 'pair'"):
        repository.model("other")
    settings = Settings(public_key=str(keys / "ours.pub"))
    assert Repository(signed.parent, name="renamed", settings=settings).model("renamed").version == 1


@pytest.mark.parametrize("key", ["nothing.pem", "rsa.pem", "ours.pub"])
def test_what_cannot_sign_is_said(version: Path, keys: Path, key: str) -> None:
    with pytest.raises(BadInput, match=f"cannot be signed with {key}"):
        sign(version, keys / key)
    assert not (version / SIGNATURE_FILE).exists()


def test_no_server_starts_without_its_key(signed: Path, keys: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no file .*nothing\.pub, which is to hold the public key"):
        Repository(signed, settings=Settings(public_key=os.fspath(keys / "nothing.pub")))
