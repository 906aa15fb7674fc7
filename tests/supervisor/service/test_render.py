"""Rendered files: written whole, only what differs, never through a link of somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hart.account import own_account
from hart.errors import LimitError, StorageError, TemplateError
from hart.limits import TEMPLATE_FILE_MAX
from hart.servicedir import make_directories
from supervisor.service import render

CONTEXT = {"cfg": {"word": "x"}}


def package(path: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def service(tmp_path: Path) -> Path:
    made = tmp_path / "svc" / "web"
    make_directories(made, own_account())
    return made


def test_templates_are_found_rendered_and_put(tmp_path: Path, service: Path) -> None:
    source = package(tmp_path / "p", hooks__run="run {{cfg.word}}", hooks__notes_DOT_txt="no hook", config__a__b="{{cfg.word}}")
    loaded = render.load(source, config_from=None, strict=True)
    assert loaded.hooks == {"run"}
    rendered = loaded.render(CONTEXT)
    assert rendered == {"hooks/run": b"run x", "run": b"run x", "config/a/b": b"x"}
    render.put(service, rendered, own_account(), before=[])
    assert (service / "config/a/b").read_bytes() == b"x"
    assert os.access(service / "run", os.X_OK)
    assert (service / "config/a/b").stat().st_mode & 0o777 == 0o740


def test_what_is_the_same_is_not_written_and_what_vanished_is_removed(service: Path) -> None:
    """A file that the service made itself stays."""
    account = own_account()
    render.put(service, {"config/a": b"1", "config/b": b"1"}, account, before=[])
    (service / "config" / "own").write_text("mine")
    first = (service / "config" / "a").stat().st_ino
    render.put(service, {"config/a": b"1"}, account, before=["config/a", "config/b", "config/never/was"])
    assert (service / "config" / "a").stat().st_ino == first
    assert sorted(path.name for path in (service / "config").iterdir()) == ["a", "own"]


def test_a_link_in_the_services_own_directory_leads_nowhere(tmp_path: Path, service: Path) -> None:
    """config/ belongs to the service's user, who must not make the supervisor write elsewhere."""
    outside = tmp_path / "etc"
    outside.mkdir()
    (outside / "passwd").write_text("root")
    (service / "config" / "file").symlink_to(outside / "passwd")
    (service / "config" / "sub").symlink_to(outside)
    render.put(service, {"config/file": b"evil"}, own_account(), before=[])
    assert (outside / "passwd").read_text() == "root"
    assert (service / "config" / "file").read_bytes() == b"evil"
    with pytest.raises((OSError, StorageError)):
        render.put(service, {"config/sub/passwd": b"evil"}, own_account(), before=[])
    render.put(service, {}, own_account(), before=["config/sub/passwd"])
    assert (outside / "passwd").read_text() == "root"


def test_links_do_not_lead_out_of_a_package(tmp_path: Path) -> None:
    source = package(tmp_path / "p", hooks__run="x")
    (source / "config").mkdir()
    (source / "config" / "shadow").symlink_to("/etc/shadow")
    assert "config/shadow" not in render.load(source, config_from=None, strict=True).templates


def test_a_template_that_fails_writes_nothing(tmp_path: Path) -> None:
    source = package(tmp_path / "p", hooks__run="x", config__a="{{cfg.nothing}}")
    with pytest.raises(TemplateError, match="nothing"):
        render.load(source, config_from=None, strict=True).render(CONTEXT)
    assert render.load(source, config_from=None, strict=False).render(CONTEXT)["config/a"] == b""


def test_templates_are_bounded_text(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="UTF-8"):
        render.load(package(tmp_path / "a", config__a=b"\xff"), config_from=None, strict=True)
    with pytest.raises(LimitError):
        render.load(package(tmp_path / "b", config__a=b"x" * (TEMPLATE_FILE_MAX + 1)), config_from=None, strict=True)


def test_a_plain_run_file_is_taken_and_without_any_run_it_is_no_service(tmp_path: Path) -> None:
    assert render.load(package(tmp_path / "a", run="#!/bin/sh"), config_from=None, strict=True).render(CONTEXT) == {"run": b"#!/bin/sh"}
    with pytest.raises(TemplateError, match="neither a run hook"):
        render.load(package(tmp_path / "b", config__a=""), config_from=None, strict=True).render(CONTEXT)
