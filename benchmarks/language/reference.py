"""What llama.cpp, another implementation, computes with the same weights: written to tests/language/reference.json.

Run by `make reference`; it runs itself once more where llama.cpp is, in an environment of its own. The file's numbers
of four bits are written out as float32 first: with these llama.cpp calculates in float32 too, where it would otherwise
round what flows between the layers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize

HERE = Path(__file__).resolve().parent

TEXTS = (
    "The capital of France is",
    "Once upon a time, there was a",
    "def factorial(n):\n    if n == 0:\n        return 1\n    return n *",
    "Tom had 12 apples. He gave 5 away, and then he had",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "北京是中国的首都。Ünïcödé 🙂",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="given when it runs itself")
    arguments = parser.parse_args()
    if arguments.model is None:
        sys.path.insert(0, str(HERE.parent / "serving"))
        import environment

        from aimaas_helpers import data

        python, model = environment.python("language"), data.fetch("smollm2")
        sys.exit(subprocess.call([python, __file__, "--out", str(arguments.out), "--model", str(model)]))

    import llama_cpp

    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "float32.gguf"
        write_float32(arguments.model, exact)
        cache = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        usual = {"n_ctx": 512, "logits_all": True, "verbose": False}
        model = llama_cpp.Llama(str(exact), **usual, **cache)
        rounded = llama_cpp.Llama(str(arguments.model), **usual)
        known = []
        for text in TEXTS:
            tokens = model.tokenize(text.encode(), add_bos=False, special=True)
            logits, theirs = scores(model, tokens), scores(rounded, tokens)
            top = np.argsort(-logits[-1])[:10]
            known.append(
                {
                    "text": text,
                    "tokens": tokens,
                    "likeliest": logits.argmax(axis=-1).tolist(),  # after each token
                    "top": top.tolist(),  # after the last token
                    "logits": logits[-1, top].round(5).tolist(),
                    "every": logits[-1, ::4096].round(5).tolist(),
                    "usual_difference": float(np.sqrt(np.mean((theirs - logits) ** 2)).round(4)),
                }
            )
    about = {"llama_cpp_python": llama_cpp.__version__, "model": arguments.model.name, "texts": known}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def scores(model: Any, tokens: list[int]) -> Any:
    """Logits after each token, shape (n, vocabulary)."""
    model.reset()
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


def write_float32(source: Path, target: Path) -> None:
    """The same model with all its arrays in float32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, item)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
