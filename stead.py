"""The `stead` command: finds the wing that owns a verb and loads only that wing.

Rules: nothing is imported before a verb is known; `--version` and `--help` load no wing; an error that a person can meet is printed as
thing, cause and next command, and ends with its family's exit code (`hart/errors.py`). Every other exception is our own bug: exit 70.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__version__ = "0.1.0"

# verb path: (module, attribute, one line for --help). The attribute is a click command.
VERBS: dict[str, tuple[str, str, str]] = {
    "pkg build": ("builder.cli", "build", "Build a package from a plan"),
    "pkg install": ("depot.cli", "install", "Install a package and all that it needs"),
    "pkg upload": ("depot.cli", "upload", "Publish artifacts to a depot"),
    "pkg promote": ("depot.cli", "promote", "Put a published package into a channel"),
    "pkg demote": ("depot.cli", "demote", "Take a package out of a channel"),
    "pkg channels": ("depot.cli", "channels", "Show the channels of a published package"),
    "pkg search": ("depot.cli", "search", "Find packages in a depot"),
    "pkg uninstall": ("depot.cli", "uninstall", "Remove an installed package and what only it needed"),
    "pkg list": ("hart.cli", "list_installed", "List installed packages"),
    "pkg path": ("hart.cli", "path", "Print where a package is installed"),
    "pkg env": ("hart.cli", "env", "Print a package's runtime environment"),
    "pkg exec": ("hart.cli", "exec_command", "Run a command in a package's runtime environment"),
    "pkg dependencies": ("hart.cli", "dependencies", "Show what an installed package needs, or who needs it"),
    "pkg info": ("hart.cli_artifact", "info", "Show what an artifact says about itself"),
    "pkg header": ("hart.cli_artifact", "header", "Show an artifact's signature header"),
    "pkg hash": ("hart.cli_artifact", "hash_files", "Print BLAKE2b checksums of files"),
    "pkg sign": ("hart.cli_artifact", "sign", "Sign a file with an origin key"),
    "pkg verify": ("hart.cli_artifact", "verify", "Verify an artifact, or an installed package file by file"),
    "pkg provides": ("hart.cli", "provides", "Find the installed package that has a file"),
    "plan init": ("builder.cli", "plan_init", "Start a new plan"),
    "plan check": ("builder.cli", "plan_check", "Check a plan without building it"),
    "plan render": ("builder.cli", "plan_render", "Render a plan's template with its configuration"),
    "origin create": ("depot.cli", "origin_create", "Create an origin in a depot"),
    "origin info": ("depot.cli", "origin_info", "Show an origin of a depot"),
    "origin key generate": ("hart.cli_keys", "generate", "Make a signing key pair for an origin"),
    "origin key import": ("hart.cli_keys", "import_key", "Import a key from standard input"),
    "origin key export": ("hart.cli_keys", "export", "Print a key"),
    "origin key list": ("hart.cli_keys", "list_keys", "List the keys in the key cache"),
    "origin key upload": ("depot.cli", "key_upload", "Upload an origin's public key to a depot"),
    "origin key download": ("depot.cli", "key_download", "Download an origin's public keys from a depot"),
    "depot serve": ("depot.admin", "serve", "Serve packages over HTTP"),
    "depot token create": ("depot.admin", "token_create", "Make an access token"),
    "depot token list": ("depot.admin", "token_list", "List access tokens"),
    "depot token revoke": ("depot.admin", "token_revoke", "Revoke an access token"),
    "depot verify": ("depot.admin", "verify", "Check that every stored package is whole"),
    "sup run": ("supervisor.cli", "run", "Run the supervisor in the foreground"),
    "sup status": ("supervisor.cli", "sup_status", "Show the supervisor itself"),
    "sup upgrade": ("supervisor.cli", "upgrade", "Go over to another version of Stead; services notice nothing"),
    "sup term": ("supervisor.cli", "term", "Stop the supervisor and all its services"),
    "sup unit": ("supervisor.cli", "unit", "Print the unit file for systemd"),
    "svc load": ("supervisor.cli", "load", "Load a service"),
    "svc unload": ("supervisor.cli", "unload", "Stop a service and forget it"),
    "svc start": ("supervisor.cli", "start", "Start a loaded service"),
    "svc stop": ("supervisor.cli", "stop", "Stop a loaded service"),
    "svc run-once": ("supervisor.cli_job", "run_once", "Run a job once, and pass its exit code on"),
    "svc status": ("supervisor.cli", "status", "Show services and why they are as they are"),
    "svc logs": ("supervisor.cli", "logs", "Show what a service has written"),
    "ring key generate": ("supervisor.cli_ring_key", "generate", "Make a key: hosts that hold it form a ring"),
    "ring key import": ("hart.cli_keys", "import_key", "Import a key from standard input"),
    "ring key export": ("supervisor.cli_ring_key", "export", "Print a ring's key"),
    "ring key list": ("supervisor.cli_ring_key", "list_keys", "List the ring keys, and which members use which"),
    "ring key add": ("supervisor.cli_ring_key", "add", "Give all members of the running ring a new key"),
    "ring key use": ("supervisor.cli_ring_key", "use", "Let all members of the running ring use a key"),
    "ring key remove": ("supervisor.cli_ring_key", "remove", "Let no member of the running ring use a key any more"),
    "ring status": ("supervisor.cli", "ring_status", "Show this host's part in the ring, and what is wrong with it"),
    "ring members": ("supervisor.cli", "ring_members", "List the members of the ring"),
    "ring records": ("supervisor.cli", "ring_records", "List the records that the ring carries"),
    "ring join": ("supervisor.cli", "ring_join", "Meet the members at some addresses"),
    "ring depart": ("supervisor.cli", "ring_depart", "Leave the ring, or tell it that a member is gone for good"),
    "config apply": ("supervisor.cli", "config_apply", "Change the configuration of a service group"),
    "config show": ("supervisor.cli", "config_show", "Show a service's configuration and where each value comes from"),
    "config history": ("supervisor.cli", "config_history", "Show the versions of a group's configuration"),
    "config diff": ("supervisor.cli", "config_diff", "Show what differs between two versions"),
    "config revert": ("supervisor.cli", "config_revert", "Go back to an earlier version"),
    "apply": ("supervisor.cli_apply", "apply", "Make this host what a file says"),
    "export": ("supervisor.cli_apply", "export", "Write what this host has, as a file"),
    "verify": ("supervisor.cli_verify", "verify", "Look for drift on this host, and repair it"),
    "why": ("supervisor.cli_why", "why", "Show what was decided about a service, and why"),
    "doctor": ("supervisor.cli_doctor", "doctor", "Check this host, and say what helps"),
    "file upload": ("supervisor.cli", "file_upload", "Give a file to all services of a group"),
    "file list": ("supervisor.cli", "file_list", "List the files of a group"),
    "file remove": ("supervisor.cli", "file_remove", "Take a file away from a group"),
}

GROUPS = {
    "": "Stead: hosts that manage themselves.\n\nBuild signed packages from plans, serve them from a depot, run them under supervisors.",
    "pkg": "Packages: build, publish, install, inspect",
    "plan": "Plans: the recipes that packages are built from",
    "origin": "Origins: the names that packages are published under",
    "origin key": "The keys that sign an origin's packages",
    "depot": "The depot: serve packages over HTTP",
    "depot token": "Access tokens of a depot",
    "sup": "The supervisor of this host",
    "svc": "Services that the supervisor runs",
    "ring key": "The keys that rings are sealed with",
    "ring": "The ring: the supervisors that know each other",
    "config": "Configuration of service groups",
    "file": "Files for service groups",
}


def main(argv: list[str] | None = None) -> None:
    """Run the command line; never returns. `argv` without the program's name."""
    args = sys.argv[1:] if argv is None else argv
    if args == ["--version"]:  # the fast path: no click, no wing
        print(f"stead {__version__}")
        sys.exit(0)
    from hart.errors import EXIT_BUG, SteadError

    print_anything()
    try:
        sys.exit(run(args))
    except SteadError as error:
        from hart.console import show_error

        show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `stead … | head`: the reader left, that is no error of ours
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        sys.exit(refused(error))
    except Exception as error:  # noqa: BLE001  the border: anything that arrives here is our own bug
        from hart.console import show_bug

        show_bug(error)
        sys.exit(EXIT_BUG)


def refused(error: OSError) -> int:
    """The system refused a file that was named to us, or has no room: told as such. Anything else that arrives here is our own bug."""
    import errno
    from pathlib import Path

    from hart.console import show_bug, show_error
    from hart.errors import EXIT_BUG, SteadError
    from hart.files import storage

    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG):
        try:
            with storage(Path(error.filename or ".")):
                raise error
        except SteadError as told:
            show_error(told)
            return told.exit_code
    show_bug(error)
    return EXIT_BUG


def print_anything() -> None:
    """Data may hold what the terminal's encoding has not: shown as escapes there, and undecodable file names as their own bytes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape" if sys.stdout.encoding.lower() == "utf-8" else "backslashreplace")


def run(args: list[str]) -> int:
    """Parse and run one command line, with click's own errors translated at this border."""
    import click

    root = command_tree()
    try:
        result = root.main(args, prog_name="stead", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        explain(error, args)
        return error.exit_code
    return result if isinstance(result, int) else 0


def explain(error: click.ClickException, args: list[str]) -> None:
    """What is wrong with the command line, and where to read about it. JSON when that was asked for."""
    import click

    from hart import habitat
    from hart.console import show_error
    from hart.errors import UsageError

    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context is not None else "stead"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    cause = error.format_message().rstrip(".")
    cause = cause[:1].lower() + cause[1:]
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if said := habitat.OPTIONS.get(name) or habitat.OPTIONS.get(f"{where.removeprefix('stead ')} {name}"):
            cause = f"no such option: {name}; {said}"
    show_error(UsageError(where, cause, next=f"{where} --help"))


def command_tree() -> click.Group:
    """The groups and verbs of the table above, as click commands that import their wing when they are invoked."""
    import click

    class LazyGroup(click.Group):
        """A group whose commands come from VERBS and are imported only when one is chosen."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(children(self.path))

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            name = f"{self.path} {cmd_name}".strip()
            if name in GROUPS:
                return group(name)
            return load(name) if name in VERBS else None

        def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
            known = children(self.path)
            if args and args[0] not in known and not args[0].startswith("-"):
                raise click.UsageError(f"no such command: {args[0]}{hint(self.path, args)}", ctx)
            return super().resolve_command(ctx, args)

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            rows = [(name, help_line(f"{self.path} {name}".strip())) for name in children(self.path)]
            with formatter.section("Commands"):
                formatter.write_dl(rows)

        path = ""

    def group(name: str) -> click.Group:
        made = LazyGroup(
            name=name.rsplit(maxsplit=1)[-1] if name else "stead",
            help=GROUPS[name],
            no_args_is_help=True,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        made.path = name
        return made

    root = group("")
    return click.version_option(__version__, prog_name="stead", message="%(prog)s %(version)s")(root)


def hint(path: str, args: list[str]) -> str:
    """What the writer of an unknown command may have meant: Habitat's word for it, a near spelling, or a verb of that name elsewhere."""
    import difflib

    from hart import habitat

    words = [*path.split(), *args]
    for length in range(min(len(words), 3), len(path.split()), -1):
        if said := habitat.COMMANDS.get(" ".join(words[:length])):
            return f"; {said}"
    if near := difflib.get_close_matches(args[0], children(path), n=1):
        return f"; did you mean `stead {f'{path} {near[0]}'.strip()}`?"
    elsewhere = [f"`stead {verb}`" for verb in VERBS if verb.rsplit(" ", 1)[-1] == args[0]]
    return f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else ""


def children(path: str) -> dict[str, None]:
    """The names directly under a group, in the table's order."""
    prefix = [*path.split()]
    names = [name.split() for name in [*VERBS, *GROUPS]]
    return dict.fromkeys(parts[len(prefix)] for parts in names if len(parts) > len(prefix) and parts[: len(prefix)] == prefix)


def help_line(name: str) -> str:
    """The one line that a parent's --help shows for a group or a verb."""
    return GROUPS[name] if name in GROUPS else VERBS[name][2]


def load(name: str) -> click.Command:
    """Import the wing that owns a verb."""
    import importlib

    import click

    module, attribute, _ = VERBS[name]
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command), f"{module}.{attribute} is not a click command"
    return command


if __name__ == "__main__":
    main()
