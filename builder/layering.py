"""Environment variables that packages hand on: which replace and which add up (reference: packages 4.6). Pure.

Rules: dependencies in plan order; a primitive variable's last word wins; an aggregate one is prepended, each entry once; the package's
own values come last, so they are first in a list. HAB_ENV_<NAME>_TYPE and _SEPARATOR change what a variable is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

AGGREGATES = {
    "PATH": ":",
    "GOPATH": ":",
    "NODE_PATH": ":",
    "PYTHONPATH": ":",
    "BUNDLE_PATH": ":",
    "BUNDLE_WITHOUT": ":",
    "GEM_PATH": ":",
    "RUBYLIB": ":",
    "RUBYPATH": ":",
    "CLASSPATH": ";",
}


def separator_of(name: str, settings: Mapping[str, str]) -> str | None:
    """What stands between the entries of an aggregate variable; None for a primitive one."""
    kind = settings.get(f"HAB_ENV_{name}_TYPE", "aggregate" if name in AGGREGATES else "primitive")
    if kind != "aggregate":
        return None
    return settings.get(f"HAB_ENV_{name}_SEPARATOR", AGGREGATES.get(name, ":"))


def prepend(value: str, before: str, separator: str) -> str:
    """`value` in front of what is there, each entry once."""
    entries = [*value.split(separator), *before.split(separator)]
    return separator.join(dict.fromkeys(entry for entry in entries if entry))


def layer(
    dependencies: Iterable[Mapping[str, str]], own: Mapping[str, str], push: Mapping[str, str], settings: Mapping[str, str]
) -> dict[str, str]:
    """RUNTIME_ENVIRONMENT from what direct run dependencies and the plan itself say."""
    merged: dict[str, str] = {}
    for environment in dependencies:
        for name, value in environment.items():
            separator = separator_of(name, settings)
            merged[name] = value if separator is None else prepend(value, merged.get(name, ""), separator)
    merged |= own
    for name, value in push.items():
        merged[name] = prepend(value, merged.get(name, ""), separator_of(name, settings) or ":")
    return merged
