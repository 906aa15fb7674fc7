"""Words of Habitat's command line that Stead answers in another way, or not yet: what to tell whoever types them.

Rules: only what differs stands here; a verb or option that Stead has must not (a test holds this). One clause each, about what to do.
Source: `hab --help` of Habitat 2.
"""

from __future__ import annotations

NOT_YET = "that is not there yet"

COMMANDS = {
    "bldr": "a depot's channels: `stead pkg promote`, `demote` and `channels`",
    "cli completers": 'for bash: eval "$(_STEAD_COMPLETE=bash_source stead)"',
    "cli": "there is nothing to set up: STEAD_ORIGIN, STEAD_DEPOT_URL and STEAD_TOKEN, or the options of each command",
    "license": "there is no licence to accept",
    "origin delete": NOT_YET,
    "origin depart": NOT_YET,
    "origin invitations": "an origin has an owner and no members yet; give a token: `stead depot token create --scope publish:ORIGIN`",
    "origin rbac": "an origin has an owner and no members yet; give a token: `stead depot token create --scope publish:ORIGIN`",
    "origin secret": NOT_YET,
    "origin transfer": NOT_YET,
    "pkg binds": "`stead pkg info ARTIFACT`, or the file BINDS in `stead pkg path IDENT`",
    "pkg binlink": "`stead pkg install --binlink IDENT`, also when it is installed already",
    "pkg bulkupload": "`stead pkg upload FILE...` takes any number of artifacts",
    "pkg config": "the defaults are in `stead pkg path IDENT`, file default.toml; those of a loaded service: `stead config show NAME`",
    "pkg delete": "what is published stays; `stead pkg demote` takes it out of a channel",
    "pkg download": "`stead pkg install --root DIR` leaves the artifacts in DIR/cache/artifacts",
    "pkg export": NOT_YET,
    "plan verify": "`stead plan check`",
    "setup": "there is nothing to set up: STEAD_ORIGIN, STEAD_DEPOT_URL and STEAD_TOKEN, or the options of each command",
    "studio": "builds need no studio: `stead pkg build DIR`",
    "sup bash": "`stead pkg exec IDENT COMMAND`",
    "sup depart": "`stead ring depart MEMBER`",
    "sup restart": "services survive their supervisor: kill the process `pid` of `stead sup status`, and it is started again",
    "sup secret": "the supervisor listens on a socket of this host only, and asks for no secret",
    "sup sh": "`stead pkg exec IDENT COMMAND`",
    "supportbundle": NOT_YET,
    "svc key": NOT_YET,
    "svc update": "`stead svc load --force IDENT` changes a loaded service; what is not given stays",
    "user": NOT_YET,
}

REMOTE = ("sup status", "sup term", "svc load", "svc unload", "svc start", "svc stop", "svc status", "config apply", "config show")
HERE = "the supervisor is reached on its own host; --root says which"
UPGRADE = "Stead does not replace itself; docs/operations.md says how services go on while you do"

NO_STUDIO = "builds need no studio"
KEPT = "secret keys stay where they were made; `stead origin key export --type secret ORIGIN` prints one"

OPTIONS = {  # an option of any verb, or a verb's short one
    "--remote-sup": HERE,
    "--listen-ctl": HERE,
    "--auto-update": UPGRADE,
    "--keep-latest-packages": "releases stay until `stead pkg uninstall --keep-latest N IDENT`",
    "--json-logging": "`stead sup run --json-logs`",
    "--config-files": "`stead sup run` takes its settings as options only",
    "--generate-config": "`stead sup run --help` has all settings",
    "--auto-create-origins": "create it first: `stead origin create ORIGIN`",
    "--refresh-channel": "`--channel` names the channel of dependencies",
    "--secret": KEPT,
    "sup run -A": UPGRADE,
    "pkg build -D": NO_STUDIO,
    "pkg build -R": NO_STUDIO,
    "pkg build -k": "`--origin` says whose key signs, `--cache-key-path` where it is",
    "pkg build -f": "`--channel` names the channel of dependencies",
    "origin key upload -s": KEPT,
    "origin key download -s": KEPT,
    **dict.fromkeys((f"{verb} -r" for verb in REMOTE), HERE),
}
