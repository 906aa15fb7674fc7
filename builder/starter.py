"""A new plan: the files of a tiny service that passes `plan check` and builds as it is. Pure.

Rules: `minimal` leaves out the explanations; a plan.sh variant for those who stay with Habitat's.
"""

from __future__ import annotations

PLAN_TOML = """\
[package]
name = "{name}"
{origin}version = "0.1.0"
description = "A first service"
license = ["Apache-2.0"]
{more_package}
{sources}[steps]
{explain_steps}install = '''
mkdir -p "$out/bin"
cp "$plan_dir/{name}.sh" "$out/bin/{name}"
chmod 755 "$out/bin/{name}"
'''

[service]
run = "{{{{sh pkg.path}}}}/bin/{name} {{{{sh pkg.svc_config_path}}}}/greeting.txt {{{{sh cfg.every_s}}}}"
{more_service}"""

MORE_PACKAGE = """\
# deps = ["core/openssl"]         # needed at run time: origin/name[/version[/release]]
# build_deps = ["core/gcc"]       # needed by the steps only
"""

SOURCES = """\
# [[source]]                      # fetched, compared with its sha256 and unpacked into $src
# url = "https://example.org/hello-1.0.tar.gz"   # or: pypi = "name==1.0", npm = "name@1.0.0", debian = "name", file = "path"
# sha256 = "…"                    # leave it out once: the build tells you the value

"""

STEPS = """\
# Shell text for prepare, build, check and install. What is below "$out" at the end becomes the package;
# "$prefix" is where it will be installed, as in: make install DESTDIR="$destdir" PREFIX="$prefix"
"""

SERVICE = """\
# user = "hab"                    # whom it runs as
stop_timeout_s = 5

# [service.ready]                 # when is it ready? one of http, tcp, exec
# tcp = "127.0.0.1:{{cfg.port}}"
"""

SCRIPT = """\
#!/bin/sh
# usage: {name} GREETING_FILE SECONDS
while true; do
  cat "$1"
  sleep "$2"
done
"""

DEFAULT_TOML = """\
message = "Hello, world"
every_s = 5
"""

SCHEMA = """\
{
  "type": "object",
  "properties": {
    "message": {"type": "string", "minLength": 1},
    "every_s": {"type": "integer", "minimum": 1, "maximum": 3600}
  }
}
"""

GREETING = "{{cfg.message}}\n"

README = """\
# {name}

    stead plan check {folder}
    stead pkg build {folder}
    stead pkg install results/{shown_origin}-{name}-0.1.0-*.hart
    stead svc load {shown_origin}/{name}

| File | Is |
|---|---|
| `plan.toml` | what is built, and how |
| `default.toml` | the configuration's defaults |
| `config.schema.json` | what the configuration may be |
| `config/` | templates of configuration files |
"""

PLAN_SH = """\
pkg_name={name}
{origin_sh}pkg_version="0.1.0"
pkg_description="A first service"
pkg_license=("Apache-2.0")
pkg_bin_dirs=(bin)
pkg_svc_user=hab
pkg_svc_group=hab

do_build() {{
  return 0
}}

do_install() {{
  install -D -m 755 "$PLAN_CONTEXT/{name}.sh" "$pkg_prefix/bin/{name}"
}}
"""

RUN_HOOK = """\
#!/bin/sh
exec 2>&1
exec {{pkg.path}}/bin/NAME {{pkg.svc_config_path}}/greeting.txt "{{cfg.every_s}}"
"""


def starter(name: str, origin: str | None, *, minimal: bool, shell: bool, folder: str) -> dict[str, str]:
    """Files of a new plan by their path in its folder."""
    files = {f"{name}.sh": SCRIPT.format(name=name), "default.toml": DEFAULT_TOML, "config/greeting.txt": GREETING}
    if shell:
        files["plan.sh"] = PLAN_SH.format(name=name, origin_sh=f"pkg_origin={origin}\n" if origin else "")
        files["hooks/run"] = RUN_HOOK.replace("NAME", name)
    else:
        files["plan.toml"] = PLAN_TOML.format(
            name=name,
            origin=f'origin = "{origin}"\n' if origin else "",
            more_package="" if minimal else MORE_PACKAGE,
            sources="" if minimal else SOURCES,
            explain_steps="" if minimal else STEPS,
            more_service="" if minimal else SERVICE,
        )
        files["config.schema.json"] = SCHEMA
    if not minimal:
        readme = README.format(name=name, folder=folder, shown_origin=origin or "ORIGIN")
        files["README.md"] = readme.replace("plan.toml", "plan.sh") if shell else readme
        files[".gitignore"] = "results/\n"
    return files
