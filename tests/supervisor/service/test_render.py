"""Rendered files: written whole, only what differs, never through a link of somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hart.account import own_account
from hart.errors import LimitError, TemplateError
from hart.limits import TEMPLATE_FILE_MAX
from hart.servicedir import make_directories, put
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
    put(service, rendered, own_account(), before=[])
    assert (service / "config/a/b").read_bytes() == b"x"
    assert os.access(service / "run", os.X_OK)
    assert (service / "config/a/b").stat().st_mode & 0o777 == 0o740


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
