"""The ``aimaas`` command: serve models, examine the machine, fetch data."""

import argparse
import os
import sys
from collections.abc import Sequence

from aimaas_helpers.errors import AimaasError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status: 0, 1 after a sentence on standard error, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except AimaasError as error:
        print(f"aimaas: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aimaas", description="Helpers for the book AI Models as a Service.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the models in a folder over HTTP")
    serve.add_argument("path", help="a folder of models, one model's folder, or one version")
    serve.add_argument("--host", default=_setting("HOST", "127.0.0.1"), help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=_port, default=_setting("PORT", "8501"), help="0 takes a free one (%(default)s)")
    serve.add_argument("--name", help="another name for the model, where PATH holds only one")
    serve.add_argument("--threads", type=_at_least_one, default=_setting("THREADS", "1"), help="per call (%(default)s)")
    serve.add_argument(
        "--max-body-mb",
        type=_at_least_one,
        default=_setting("MAX_BODY_MB", "16"),
        help="largest request in MiB (%(default)s)",
    )
    serve.add_argument("--exit-with-parent", action="store_true", help="stop when standard input is closed")
    serve.set_defaults(run=_serve)

    doctor = commands.add_parser("doctor", help="is this machine ready for the book?")
    doctor.set_defaults(run=_doctor)

    data = commands.add_parser("data", help="fetch data sets into the cache")
    data.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    data.set_defaults(run=_data)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from aimaas_helpers.serving.server import serve

    serve(
        options.path,
        host=options.host,
        port=options.port,
        name=options.name,
        threads=options.threads,
        max_body=options.max_body_mb * 2**20,
        exit_with_parent=options.exit_with_parent,
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from aimaas_helpers import doctor

    return doctor.main()


def _data(options: argparse.Namespace) -> int:
    from aimaas_helpers import data

    data.fetch_all(options.names or None)
    return 0


def _setting(name: str, default: str) -> str:
    """An option's default: the environment variable ``AIMAAS_<name>``, if set."""
    return os.environ.get(f"AIMAAS_{name}", default)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
