"""Templates beside Jinja2: compile and render, the same configuration files written for both, in one run.

    pip install jinja2          into an environment of its own: Jinja2 is no dependency of ours
    python benchmarks/template.py [--json] [--rounds N]

Both sides take turns (A B A B …) and the medians are compared, so that a slow moment of the machine meets both. The results must be
equal before anything is measured. The goals are ratios: rendering at most 1.5 times Jinja2's time, compiling at most 3 times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hart.template.engine import compile_template

RENDER_GOAL = 1.5
COMPILE_GOAL = 3.0

OURS = """\
# {{pkg.ident}} for {{svc.service}}.{{svc.group}}
global
    maxconn {{cfg.maxconn}}
    {{#if cfg.daemon}}
    daemon
    {{/if}}
defaults
    mode {{cfg.mode}}
    timeout connect {{cfg.timeouts.connect}}
    timeout client {{cfg.timeouts.client}}
    timeout server {{cfg.timeouts.server}}
frontend http-in
    bind {{cfg.front_end.listen}}:{{cfg.front_end.port}}
    default_backend default
backend default
    option {{cfg.httpchk}}
    {{#each bind.backend.members as |member|}}
    {{#if member.alive}}
    server {{member.sys.hostname}} {{member.sys.ip}}:{{member.cfg.port}}{{#unless @last}} # more{{/unless}}
    {{else}}
    # {{member.sys.hostname}} is away
    {{/if}}
    {{/each}}
    {{#with cfg.status}}
    stats uri {{uri}} refresh {{refresh}}
    {{/with}}
    log {{toUppercase cfg.level}} {{strReplace cfg.path "/" "-"}}
"""

THEIRS = """\
# {{ pkg.ident }} for {{ svc.service }}.{{ svc.group }}
global
    maxconn {{ cfg.maxconn }}
    {% if cfg.daemon %}
    daemon
    {% endif %}
defaults
    mode {{ cfg.mode }}
    timeout connect {{ cfg.timeouts.connect }}
    timeout client {{ cfg.timeouts.client }}
    timeout server {{ cfg.timeouts.server }}
frontend http-in
    bind {{ cfg.front_end.listen }}:{{ cfg.front_end.port }}
    default_backend default
backend default
    option {{ cfg.httpchk }}
    {% for member in bind.backend.members %}
    {% if member.alive %}
    server {{ member.sys.hostname }} {{ member.sys.ip }}:{{ member.cfg.port }}{% if not loop.last %} # more{% endif %}

    {% else %}
    # {{ member.sys.hostname }} is away
    {% endif %}
    {% endfor %}
    {% if cfg.status %}
    stats uri {{ cfg.status.uri }} refresh {{ cfg.status.refresh }}
    {% endif %}
    log {{ cfg.level|upper }} {{ cfg.path|replace("/", "-") }}
"""


def context(members: int) -> dict[str, Any]:
    """What a load balancer's template sees, with so many members behind it."""
    return {
        "pkg": {"ident": "core/haproxy/2.0/20240101000000"},
        "svc": {"service": "haproxy", "group": "default"},
        "cfg": {
            "maxconn": 32,
            "daemon": True,
            "mode": "http",
            "timeouts": {"connect": "5s", "client": "50s", "server": "50s"},
            "front_end": {"listen": "*", "port": 80},
            "httpchk": "httpchk GET /",
            "status": {"uri": "/stats", "refresh": "5s"},
            "level": "info",
            "path": "/var/log/x",
        },
        "bind": {
            "backend": {
                "members": [
                    {"alive": n % 5 != 0, "sys": {"ip": f"10.0.0.{n}", "hostname": f"host{n}"}, "cfg": {"port": 8000 + n}}
                    for n in range(members)
                ]
            }
        },
    }


def seconds(work: Callable[[], object], repeat: int) -> float:
    """The mean time of one call."""
    start = time.perf_counter()
    for _ in range(repeat):
        work()
    return (time.perf_counter() - start) / repeat


def compare(ours: Callable[[], object], theirs: Callable[[], object], rounds: int, repeat: int) -> tuple[float, float]:
    """The medians of both, in seconds, from rounds in which each takes its turn."""
    pairs = [(seconds(ours, repeat), seconds(theirs, repeat)) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def measure(rounds: int) -> list[dict[str, Any]]:
    import jinja2

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, cache_size=0)  # noqa: S701  no HTML
    rows = []
    a, b = compare(lambda: compile_template(OURS, name="ours", strict=True), lambda: environment.from_string(THEIRS), rounds, repeat=20)
    rows.append({"what": "compile", "ours_us": a * 1e6, "jinja2_us": b * 1e6, "ratio": a / b, "goal": COMPILE_GOAL})
    theirs = environment.from_string(THEIRS)
    for strict in (True, False):
        ours = compile_template(OURS, name="ours", strict=strict)
        for members in (3, 100):
            data = context(members)
            if ours.render(data) != theirs.render(data):
                raise SystemExit(f"the two results differ:\n{ours.render(data)}\n---\n{theirs.render(data)}")
            repeat = 2000 // (members + 5)
            a, b = compare(lambda ours=ours, data=data: ours.render(data), lambda data=data: theirs.render(data), rounds, repeat)
            what = f"render, {members} members, {'strict' if strict else 'lenient'}"
            rows.append({"what": what, "ours_us": a * 1e6, "jinja2_us": b * 1e6, "ratio": a / b, "goal": RENDER_GOAL})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=21, help="rounds of each comparison (default 21)")
    options = parser.parse_args()
    try:
        import jinja2
    except ImportError:
        print("error: Jinja2 is not installed; install it beside Stead: pip install jinja2", file=sys.stderr)
        return 1
    rows = measure(options.rounds)
    if options.json:
        print(json.dumps({"jinja2": jinja2.__version__, "python": sys.version.split()[0], "rows": rows}, indent=2))
    else:
        for row in rows:
            ours, theirs = f"{row['ours_us']:9.1f} us", f"{row['jinja2_us']:9.1f} us"
            print(f"{row['what']:30} {ours}  Jinja2 {theirs}  ratio {row['ratio']:.2f} (goal {row['goal']})")
    return 0 if all(row["ratio"] <= row["goal"] for row in rows) else 2


if __name__ == "__main__":
    sys.exit(main())
