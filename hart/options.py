"""Command line options that every wing's verbs share, declared once: the same word means the same everywhere.

Rules: an option beats the environment, Stead's variable beats Habitat's. What they choose is made by `Root.choose` and `KeyCache.choose`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

root_option = click.option("--root", metavar="DIR", help="The tree to work in; default STEAD_ROOT, else /hab.")
keys_option = click.option("--cache-key-path", metavar="DIR", help="Key cache; default STEAD_KEYS, else cache/keys under the root.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def cache_options(command: Command) -> Command:
    """`--root` and `--cache-key-path`."""
    return root_option(keys_option(command))
