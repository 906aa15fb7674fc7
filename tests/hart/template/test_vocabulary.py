"""hart/template/vocabulary.py: each helper by its table."""

from __future__ import annotations

from typing import Any

import pytest

from hart.errors import TemplateError
from hart.template.engine import compile_template

RELEASE = "20240101000000"
CONTEXT: dict[str, Any] = {
    "s": "Web",
    "n": 5,
    "list": ["a", 1, {"no": "table"}, True, 'q"q', [1, 2]],
    "table": {"a": 1, "b": [1]},
    "same": {"b": [1], "a": 1},
    "key": "b",
    "pkg": {
        "path": f"/opt/x/pkgs/me/web/1.0/{RELEASE}",
        "deps": [
            {"origin": "core", "name": "openssl", "version": "3.0", "release": RELEASE},
            {"origin": "core", "name": "glibc", "version": "2.39", "release": RELEASE},
        ],
    },
}


def render(text: str, *, strict: bool = True) -> str:
    return compile_template(text, name="t", strict=strict).render(CONTEXT)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("lookup table key", "[1]"),
        ("lookup list 1", "1"),
        ("lookup list 99", ""),
        ("lookup list -1", ""),
        ("lookup s 0", ""),
        ("lookup list true", ""),
        ("eq n 5", "true"),
        ("eq n 5.0", "false"),
        ("eq n '5'", "false"),
        ("eq n true", "false"),
        ("eq table same", "true"),
        ("eq s 'Web'", "true"),
        ("ne s 'web'", "true"),
        ("gt 10 9", "true"),
        ("gt '10' 9", "true"),
        ("lt 9 '10'", "true"),
        ("lt '10' '9'", "true"),
        ("gte 5 n", "true"),
        ("lte 5 n", "true"),
        ("lt s n", "false"),
        ("gt true false", "true"),
        ("gt null 0", "false"),
        ("gte list list", "false"),
        ("and 1 'x' table", "true"),
        ("and 1 0", "false"),
        ("or 0 '' 'x'", "true"),
        ("or 0 null", "false"),
        ("not ''", "true"),
        ("len list", "6"),
        ("len table", "2"),
        ("len 'é'", "2"),
        ("len n", "0"),
        ("strConcat s '-' n null true", "Web-5true"),
        ("strConcat 'a\"b' table", "ab"),
        ("strJoin list '|'", "a|1|true|qq|[1, 2]"),
        ("strReplace 'a.b.c' '.' '::'", "a::b::c"),
        ("toUppercase s", "WEB"),
        ("toLowercase s", "web"),
        ("toUppercase (strConcat s 'x')", "WEBX"),
        ("pkgPathFor 'core/openssl'", f"/opt/x/pkgs/core/openssl/3.0/{RELEASE}"),
        ("pkgPathFor 'core/glibc/2.39'", f"/opt/x/pkgs/core/glibc/2.39/{RELEASE}"),
        (f"pkgPathFor 'core/glibc/2.39/{RELEASE}'", f"/opt/x/pkgs/core/glibc/2.39/{RELEASE}"),
        ("toJson table.b", "[\n  1\n]"),
        ("toToml table.b", "[1]"),
        ("toYaml table", "a: 1\nb:\n- 1\n"),
        ("sh s", "Web"),
        ("sh 'a b'", "'a b'"),
        ("sh ''", "''"),
        ("sh n", "5"),
        ("sh null", "''"),
        ("sh true", "true"),
        ("sh table.b", "1"),
    ],
)
def test_helpers(call: str, result: str) -> None:
    """What each gives, as output and inside of a test."""
    assert render(f"{{{{{call}}}}}") == result


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        ("toUppercase table", "needs a string, not a table"),
        ("toUppercase null", "needs a string, not nothing"),
        ("strJoin s ','", "needs a list, not a string"),
        ("strReplace s list 'x'", "needs a string, not a list"),
        ("pkgPathFor 'openssl'", 'an ident such as "core/openssl"'),
        ("pkgPathFor 5", "an ident such as"),
        ("pkgPathFor 'core/zlib'", "does not depend on core/zlib"),
        ("sh table", "needs a string, not a table"),
        ("toToml (lookup list 99)", "TOML has no such value"),
    ],
)
def test_what_a_helper_cannot_use_is_an_error_at_its_place(call: str, cause: str) -> None:
    """The helper and the reason, with line and column."""
    with pytest.raises(TemplateError, match=cause) as caught:
        render(f"a\n{{{{{call}}}}}")
    assert (caught.value.data["line"], caught.value.data["column"]) == (2, 3)


def test_the_error_for_a_missing_dependency_lists_those_that_there_are() -> None:
    """The next act is to add it to the plan."""
    with pytest.raises(TemplateError) as caught:
        render("{{pkgPathFor 'core/zlib'}}")
    assert "core/glibc, core/openssl" in caught.value.next


def test_lenient_helpers_take_what_is_missing_for_nothing() -> None:
    """As templates that Habitat would render half-way."""
    assert render("[{{pkgPathFor 'core/zlib'}}{{toUppercase x}}{{strJoin x ','}}{{strConcat x}}{{lookup x 'y'}}]", strict=False) == "[]"


def test_paths_of_dependencies_lie_under_hab_when_the_package_does_not_say_where_it_is() -> None:
    """Offline rendering has no package path."""
    template = compile_template("{{pkgPathFor 'core/x'}}", name="t", strict=True)
    assert template.render({"pkg": {"deps": [{"origin": "core", "name": "x", "version": "1", "release": RELEASE}]}}) == (
        f"/hab/pkgs/core/x/1/{RELEASE}"
    )
