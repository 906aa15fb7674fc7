"""Documents name commands, options and files that exist."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import stead

PROJECT = Path(stead.__file__).parent
DOCUMENTS = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/*.md")]
OPERATIONS = PROJECT / "docs" / "operations.md"


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
        verb = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in stead.VERBS), None)
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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Every line of the units in docs/operations.md means something to systemd."""
    units = re.findall(r"^`/etc/systemd/system/([\w.-]+)`[^`]*```ini\n(.*?)^```$", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in units] == ["stead.service", "stead-depot.service"]
    for name, text in units:
        assert "KillMode=process" in text or name != "stead.service"
        (tmp_path / name).write_text(text.replace("/opt/stead/bin/stead", "/bin/true"))
        done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True, timeout=60, check=False)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if name in line]
        assert (done.returncode, ours) == (0, []), done.stderr
