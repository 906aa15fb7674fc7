"""Documents name commands, options and files that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import stead

PROJECT = Path(stead.__file__).parent
DOCUMENTS = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/*.md")]


def commands(text: str) -> Iterator[str]:
    """`stead …` in code: in blocks line by line, and in back-ticks."""
    blocks = re.findall(r"^```(?:sh|ini)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (stead .*)$", text, re.MULTILINE)
    inline = re.findall(r"`(stead [^`]*)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    for code in [*blocks, *indented, *inline]:
        for line in code.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|;&()]", line.split(" #")[0]):
                found = re.search(r"(?:^|[\s/])stead ([a-z].*)", part)
                if found:
                    yield found[1].strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_commands_in_documents_exist(document: Path) -> None:
    """Every verb, and every option of a verb; `svc …` and the like name a group."""
    for command in commands(document.read_text()):
        words = command.split()
        verb = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in stead.VERBS), None)
        if verb is None:
            group = next((name for name in (" ".join(words[:2]), words[0]) if name in stead.GROUPS), None)
            assert group, f"stead {command}"
            assert len(words) == len(group.split()) or words[len(group.split())] in ("…", "--help"), f"stead {command}"
            continue
        known = {option for parameter in stead.load(verb).params for option in parameter.opts} | {"--help"}
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if verb != "pkg exec":
            assert given <= known, f"stead {command}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_files_and_links_in_documents_exist(document: Path) -> None:
    """A path of the project in back-ticks, or the target of a relative link."""
    text = document.read_text()
    for name in re.findall(r"`((?:hart|builder|depot|supervisor|tests|examples|docs|plans|requirements)/[\w./-]*)`", text):
        assert (PROJECT / name).exists(), name
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), target
