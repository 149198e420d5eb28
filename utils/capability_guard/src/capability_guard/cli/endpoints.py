"""Options for a model that is served, in place of those for one that is loaded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from capability_guard.cli.how_to_load import NAMES

if TYPE_CHECKING:
    from capability_guard.endpoint import Endpoint


def add_endpoint_options(parser: argparse.ArgumentParser) -> None:
    """Where the model is served, and how it is asked there."""
    parser.add_argument("--endpoint", metavar="URL",
                        help="ask a server with OpenAI's interface, as http://localhost:8000; --model is a name there")  # fmt: skip
    add_patience_options(parser)


def add_patience_options(parser: argparse.ArgumentParser) -> None:
    """How a server is asked."""
    parser.add_argument("--key-variable", metavar="NAME",
                        help="environment variable with the server's key; without it OPENAI_API_KEY, where that is set")  # fmt: skip
    parser.add_argument("--requests", type=int, default=8, metavar="N",
                        help="of a server: requests under way at once (default: %(default)s)")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS",
                        help="of a server: how long a request may take, of five tries (default: %(default)g)")  # fmt: skip


def endpoint_of(asked: argparse.Namespace, url: str, model: str) -> Endpoint:
    """The server that was named. Raises DataError, one sentence, for what is none."""
    from capability_guard.endpoint import Endpoint

    return Endpoint(url, model, asked.key_variable, asked.requests, asked.timeout)


def check_served(asked: argparse.Namespace) -> None:
    """Raises DataError, one sentence, for options of a model that is loaded."""
    from capability_guard.jsonl import DataError

    for name in (*NAMES, "adapter", "trust_remote_code"):
        if getattr(asked, name, None):
            raise DataError(
                f"--{name.replace('_', '-')} is for a model that is loaded, and --endpoint asks one that is served; leave one out."
            )
