"""A package as templates see it."""

from pathlib import Path

from hart.ident import Ident
from hart.metafiles import Metadata
from hart.placed import Placed, pkg_view
from hart.target import host_target

APP = Ident("acme", "app", "1.0", "20260101000000")
LIBC = Ident("base", "libc", "2.36", "20260101000001")


def test_templates_see_where_a_package_is_and_who_runs_it() -> None:
    """Supervisor 4.5: names, dependencies as objects, ports as text as Habitat has them, and every path of the service."""
    meta = Metadata(ident=APP, target=host_target(), deps=(LIBC,), exposes=(80,), exports={"port": "http.port"})
    pkg = pkg_view(Placed(metadata=meta, path=Path("/r/p"), svc_path=Path("/r/svc/app"), user="u", group="g", env={"X": "1"}))
    assert (pkg["ident"], pkg["svc_config_install_path"], pkg["svc_user"]) == (str(APP), "/r/svc/app/config_install", "u")
    assert pkg["deps"] == [{"origin": "base", "name": "libc", "version": "2.36", "release": "20260101000001"}]
    assert (pkg["exposes"], pkg["exports"], pkg["env"]) == (["80"], {"port": "http.port"}, {"X": "1"})
