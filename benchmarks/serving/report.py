"""The benchmark's results as Markdown: the table that the book shows, and what follows from it.

python benchmarks/serving/report.py [build/bench/serving.json]
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TITLES = {"mlp": "Dense 64–64–10 on a 28×28 image", "cnn": "Conv 32 – pool – Conv 64 – pool – Dense 64–10"}
Row = dict[str, Any]  # one server: name, runtime, workers, and for each number of connections rate, p50 and p99


def render(results: dict[str, Any]) -> str:
    """A table for each model, fastest server first, and the ratios that matter."""
    machine = results["machine"]
    parts = [
        f"Measured on {results['date']}: {machine['processor']}, {machine['cores']} cores, of which the client uses "
        f"its part; median of {results['rounds']} rounds of {results['seconds']:g} s, one row of JSON a request; "
        "of one and two processes the faster."
    ]
    for model in results["models"]:
        rows = best(results, model)
        parts += [f"**{TITLES[model]}**", table(rows, results["connections"])]
        parts.append("\n".join(f"- {line}" for line in ratios(results, model)))
    if results["failed"]:
        parts.append(
            "\n".join(f"- Not measured: {name} ({why.splitlines()[0]})" for name, why in results["failed"].items())
        )
    return "\n\n".join(parts) + "\n"


def best(results: dict[str, Any], model: str) -> list[Row]:
    """Of each server and runtime the number of processes that went on to the last round, else the faster."""

    def merit(row: Row) -> tuple[int, float]:
        return min(map(len, row["rounds"].values())), peak(row)

    found: dict[tuple[str, str], Row] = {}
    for row in (row for row in results["results"] if row["model"] == model):
        kind = (row["server"], row["runtime"])
        if kind not in found or merit(row) > merit(found[kind]):
            found[kind] = row
    return sorted(found.values(), key=peak, reverse=True)


def peak(row: Row) -> float:
    """The highest rate over all numbers of connections, in requests/s."""
    return max(float(cell["rate"]) for cell in row["at"].values())


def table(rows: Sequence[Row], connections: Sequence[int]) -> str:
    middle = str(32 if 32 in connections else connections[-1])
    head = ["server", "runtime", "×", *(f"{n}" for n in connections), "p50", "p99"]
    lines = [
        f"Requests per second at each number of connections; p50 and p99 at {middle}, in milliseconds; ×: processes.\n",
        f"| {' | '.join(head)} |",
        f"| --- | --- {'| ---: ' * (len(head) - 2)}|",
    ]
    for row in rows:
        rates = [f"{row['at'][str(n)]['rate']:,.0f}" for n in connections]
        times = [milliseconds(row["at"][middle][name]) for name in ("p50", "p99")]
        lines.append(f"| {' | '.join([row['server'], row['runtime'], str(row['workers']), *rates, *times])} |")
    return "\n".join(lines)


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{1000 * seconds:,.1f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def ratios(results: dict[str, Any], model: str) -> Iterator[str]:
    """Ours against the best peer as its documentation has it, against the best with our file, and against nothing."""
    rows = best(results, model)
    ours = [row for row in rows if row["server"] == "aimaas, JSON"]
    if not ours:
        return
    peers = [row for row in rows if row["runtime"] != "none" and not row["server"].startswith("aimaas")]
    against = {
        "the best peer with TensorFlow": [row for row in peers if row["runtime"] != "LiteRT"],
        "the best peer with our LiteRT file": [row for row in peers if row["runtime"] == "LiteRT"],
        "our own binary protocol": [row for row in rows if row["server"] == "aimaas, binary"],
    }
    for what, others in against.items():
        for other in others[:1]:
            name = "" if other["server"].startswith("aimaas") else f" ({other['server']}, {other['runtime']})"
            yield f"JSON rows against {what}{name}: {peak(ours[0]) / peak(other):.2f}×."
    for server in ("Starlette, a constant", "Starlette, JSON read, a constant"):
        for workers in (1, 2):
            one, ceiling = (pick(results, model, name, workers) for name in ("aimaas, JSON", server))
            if one and ceiling:
                share = [f"{one['at'][n]['rate'] / ceiling['at'][n]['rate']:.0%} at {n}" for n in one["at"]]
                yield f"Of “{server}”, {workers} process{'es' * (workers > 1)} each: {', '.join(share)} connections."


def pick(results: dict[str, Any], model: str, server: str, workers: int) -> Row | None:
    wanted = (model, server, workers)
    rows = (row for row in results["results"] if (row["model"], row["server"], row["workers"]) == wanted)
    return next(rows, None)


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[2] / "build" / "bench" / "serving.json"
    print(render(json.loads(Path(sys.argv[1] if sys.argv[1:] else default).read_text(encoding="utf-8"))), end="")
