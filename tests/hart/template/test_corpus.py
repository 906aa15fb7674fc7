"""Every construct that Habitat's core plans use, in files of the kind that they are found in.

Which constructs those are was counted over their 407 templates (configuration and hooks): `{{~ ~}}`, `#if`, `#unless`, `#each` with and
without parameters, `#with`, `else`, `else if`, `eachAlive`, `pkgPathFor`, `@key @index @last`, `../`, triple braces, helpers of strings
and formats. The files here are our own.
"""

from __future__ import annotations

from typing import Any

import pytest

from hart.template.engine import compile_template, unquoted_in_shell

MEMBER = {"alive": True, "sys": {"ip": "10.0.0.1", "hostname": "h1"}, "cfg": {"port": 5432, "user": "app"}, "member_id": "m1"}
AWAY = {"alive": False, "sys": {"ip": "10.0.0.2", "hostname": "h2"}, "cfg": {"port": 5433}, "member_id": "m2"}
CONTEXT: dict[str, Any] = {
    "cfg": {
        "port": 6379,
        "bind": ["127.0.0.1", "::1"],
        "save": [{"sec": 900, "keys": 1}, {"sec": 60, "keys": 10000}],
        "log": {"level": "notice", "file": "/var/log/x"},
        "users": {"ann": "admin", "bob": "reader"},
        "tls": {"enabled": False},
        "replication": {"name": "rep"},
        "services": [{"name": "s1", "ports": [1, 2]}, {"name": "s2", "ports": []}],
        "server-id": 7,
        "etcd-end": 2380,
    },
    "pkg": {
        "name": "x",
        "svc_path": "/hab/svc/x",
        "path": "/hab/pkgs/o/x/1/20240101000000",
        "deps": [{"origin": "core", "name": "jre8", "version": "8", "release": "20240101000000"}],
    },
    "svc": {"members": [MEMBER, AWAY], "leader": MEMBER, "me": {"follower": True, "leader": False}},
    "bind": {"database": {"first": MEMBER, "members": [MEMBER, AWAY]}},
    "sys": {"ip": "10.0.0.9", "hostname": "here"},
}

FILES = {
    "a list with white space control": (
        "bind\n{{~#each cfg.bind}} {{this}}{{~/each}}\nport {{cfg.port}}\n",
        "bind 127.0.0.1 ::1\nport 6379\n",
    ),
    "a table of pairs": (
        "{{#each cfg.save ~}}\nsave {{sec}} {{keys}}\n{{/each ~}}\nend\n",
        "save 900 1\nsave 60 10000\nend\n",
    ),
    "a table by key": (
        "users:\n{{#each cfg.users}}\n  {{@key}}: {{this}}\n{{/each}}\n",
        "users:\n  ann: admin\n  bob: reader\n",
    ),
    "with, else, unless": (
        "{{#with cfg.log ~}}\nlevel={{level}}\n{{/with ~}}\n{{#if cfg.tls.enabled ~}}\ntls=on\n{{else ~}}\ntls=off\n{{/if}}\n",
        "level=notice\ntls=off\n",
    ),
    "members with a comma between": (
        "[{{~#eachAlive svc.members as |member|}}\"{{member.sys.ip}}\"{{~#unless @last}},{{/unless}}{{/eachAlive}}]",
        '["10.0.0.1"]',
    ),
    # the tilde takes the newline before, and the tag alone on its line the one behind: so do the original and Habitat's crate since 2025
    "all members, and the outside": (
        "{{~#each svc.members as |member|}}\nhost {{../cfg.replication.name}} {{member.sys.ip}}\n{{~/each}}\nend\n",
        "host rep 10.0.0.1host rep 10.0.0.2end\n",
    ),
    "all members, each on its line": (
        "{{#each svc.members as |member|}}\nhost {{../cfg.replication.name}} {{member.sys.ip}}\n{{/each}}\nend\n",
        "host rep 10.0.0.1\nhost rep 10.0.0.2\nend\n",
    ),
    "one line of nodes": (
        'nodes="{{#each svc.members as |m| ~}}{{m.sys.hostname}}={{m.sys.ip}}:{{../cfg.etcd-end}},{{/each ~}}"\n',
        'nodes="h1=10.0.0.1:2380,h2=10.0.0.2:2380,"\n',
    ),
    "first of a bind": (
        "{{~#with bind.database.first as |db| }}\nurl: {{db.sys.ip}}:{{db.cfg.port}}\n{{/with}}\n",
        "url: 10.0.0.1:5432\n",
    ),
    "loops in loops": (
        "{{#each cfg.services as |one|}}\n{{one.name}}:{{#each one.ports as |port|}} {{port}}{{else}} none{{/each}}\n{{/each}}\n",
        "s1: 1 2\ns2: none\n",
    ),
    "leader or follower": (
        "{{#if svc.me.leader}}\nprimary\n{{else if svc.me.follower}}\nslaveof {{svc.leader.sys.ip}} {{svc.leader.cfg.port}}\n{{/if}}\n",
        "slaveof 10.0.0.1 5432\n",
    ),
    "triple braces, odd names, indexes": (
        "logfile {{{cfg.log.file}}}\nid {{cfg.server-id}}\nfirst {{svc.members.[0].sys.ip}} {{svc.members[1].sys.ip}}\n",
        "logfile /var/log/x\nid 7\nfirst 10.0.0.1 10.0.0.2\n",
    ),
    "a dependency's path": (
        "export JAVA_HOME={{pkgPathFor \"core/jre8\"}}\nexec {{pkg.path}}/bin/x -c {{pkg.svc_path}}/config\n",
        "export JAVA_HOME=/hab/pkgs/core/jre8/8/20240101000000\nexec /hab/pkgs/o/x/1/20240101000000/bin/x -c /hab/svc/x/config\n",
    ),
    "formats and strings": (
        "{{toToml cfg.log}}{{toUppercase cfg.log.level}} {{strJoin cfg.bind ','}} {{strReplace cfg.log.file '/' '_'}}\n{{toYaml cfg.tls}}",
        'level = "notice"\nfile = "/var/log/x"\nNOTICE 127.0.0.1,::1 _var_log_x\nenabled: false\n',
    ),
    "index in a test": (
        "{{#each cfg.bind}}{{#if @index}}, {{/if}}{{this}}{{#if @last ~}} . {{~/if}}{{/each}}",
        "127.0.0.1, ::1.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_core_plans_kind_renders(name: str, strict: bool) -> None:
    """Parsed, compiled and rendered, with the same result in both modes."""
    text, result = FILES[name]
    assert compile_template(text, name=name, strict=strict).render(CONTEXT) == result
    unquoted_in_shell(text, name=name)
