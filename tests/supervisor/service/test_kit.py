"""When a service's kit is another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hart.installed import InstalledPackage, InstalledTree
from hart.root import Root
from supervisor.service.kit import mark_of
from supervisor.service.spec import ServiceSpec
from tests.supervisor.workshop import lay_package


def test_a_kit_is_kept_only_while_nothing_that_it_was_made_of_is_another(tmp_path: Path) -> None:
    root = Root(tmp_path)
    ident = lay_package(root, "t/web/1.0/20260101000000")

    def package() -> InstalledPackage:
        return InstalledTree(root).get(ident)

    spec = ServiceSpec(ident=ident)
    before = mark_of(package(), spec)
    assert before == mark_of(package(), spec)
    assert before != mark_of(package(), replace(spec, limits={"pids": 5.0}))
    assert mark_of(package(), replace(spec, config_from=str(tmp_path))) is None
    path = package().path
    for file, text in (("hooks/run", "#!/bin/sh\n"), ("config/service.json", "{}"), ("default.toml", "a = 1\n"), ("service.toml", "")):
        (path / file).write_text(text)
        after = mark_of(package(), spec)
        assert after != before, file
        before = after
    (path / "hooks" / "init").write_text("#!/bin/sh\n")
    assert mark_of(package(), spec) != before
