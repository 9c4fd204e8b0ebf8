"""SmolLM2 made ready for the server: done once on this machine, by set-up, and kept with the data."""

import io
import zipfile
from pathlib import Path

import msgspec
from tqdm import tqdm

from ..errors import Corrupt
from .shape import Shape

TOKENIZER, _ABOUT = "tokenizer.json", "about.json"


class About(msgspec.Struct, frozen=True):
    """What there is to know of a model beside its weights and its vocabulary."""

    shape: Shape
    parameters: int
    template: str
    special: dict[str, int]
    ends: tuple[int, ...]


def pack() -> bytes:
    """A ZIP archive: a LiteRT file for each function of a step, the tokenizer, and ``About``. Takes half a minute."""
    from ..data import fetch
    from . import graph, tokenizer  # imports TensorFlow
    from .weights import Weights

    weights = Weights(fetch("smollm2"))
    bpe, special = tokenizer.read(weights)
    about = About(
        shape=weights.shape,
        parameters=sum(int(tensor.n_elements) for tensor in weights.stored.values()),
        template=weights.text("tokenizer.chat_template"),
        special=special,
        ends=(weights.text("tokenizer.ggml.eos_token_id"), special["<|endoftext|>"]),
    )
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr(_ABOUT, msgspec.json.encode(about))
        archive.writestr(TOKENIZER, bpe.to_str())
        for name, content in tqdm(graph.convert(weights), total=len(weights.shape.functions), unit="function"):
            archive.writestr(f"{name}.tflite", content)
    return memory.getvalue()


def unpack(folder: Path) -> About:
    """The files into ``folder``. Raises what ``data.fetch`` raises."""
    from ..data import fetch

    path = fetch("smollm2_int8")
    try:
        with zipfile.ZipFile(path) as archive:
            about = msgspec.json.decode(archive.read(_ABOUT), type=About)
            for name in (TOKENIZER, *[f"{function}.tflite" for function in about.shape.functions]):
                (folder / name).write_bytes(archive.read(name))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Corrupt(f"{path.as_posix()} cannot be read ({error}): delete it and run `make setup`.") from error
    return about
