"""The ``aimaas`` command: serve models, examine the machine, fetch data."""

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import fields

from aimaas_helpers.errors import AimaasError, BadInput
from aimaas_helpers.serving.settings import LARGE_PAGES, Settings, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status: 0, 1 after a sentence on standard error, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    if options.run is _serve and arguments is None:
        begin_with_large_pages()
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
    limits = serve.add_argument_group("settings", "also as environment variables, such as AIMAAS_MAX_BATCH")
    for option in fields(Settings):
        limits.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=functools.partial(_parsed, option.name),
            metavar="X",
            help=f"{option.metadata['help']} ({option.default if option.default != '' else 'none'})",
        )
    serve.add_argument("--exit-with-parent", action="store_true", help="stop when standard input is closed")
    serve.set_defaults(run=_serve)

    doctor = commands.add_parser("doctor", help="is this machine ready for the book?")
    doctor.set_defaults(run=_doctor)

    data = commands.add_parser("data", help="fetch data sets into the cache")
    data.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    data.set_defaults(run=_data)
    return parser


def begin_with_large_pages() -> None:
    """Start this command anew: only at the start of a process can it be told to take its memory in large pages."""
    if sys.platform == "linux" and not LARGE_PAGES.keys() & os.environ.keys():
        os.environ.update(LARGE_PAGES)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _serve(options: argparse.Namespace) -> int:
    from aimaas_helpers.serving.server import serve

    given = {option.name: getattr(options, option.name) for option in fields(Settings)}
    serve(
        options.path,
        host=options.host,
        port=options.port,
        name=options.name,
        settings=Settings.from_environment(**given),
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


def _parsed(name: str, text: str) -> object:
    try:
        return parse(name, text)
    except BadInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
