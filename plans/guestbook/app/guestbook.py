"""A guestbook: who was here? Entries are kept in redis.

GET /        the page as JSON: title, release, visits, entries
POST /       form field `name`: sign the book
GET /ready   200 when redis answers, 503 when it does not

Usage: guestbook.py CONFIG.json | --check. SIGHUP reads the configuration again; host and port stay until a restart.
"""

import json
import signal
import sys
from pathlib import Path

import flask
import redis
import waitress


def application(config_path: Path) -> tuple[flask.Flask, dict]:
    """The web application and its configuration, which SIGHUP refreshes in place."""
    app = flask.Flask("guestbook")
    config = json.loads(config_path.read_text())

    def store() -> redis.Redis:
        return redis.Redis(**config["redis"], socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def read_again(_signal: int, _frame: object) -> None:
        config.update(json.loads(config_path.read_text()))
        print(f"configuration read again: title {config['title']!r}")

    @app.get("/")
    def page() -> dict:
        with store() as book:
            entries = book.lrange("guestbook:entries", 0, config["page"] - 1)
            return {
                "title": config["title"],
                "release": config["release"],
                "visits": book.incr("guestbook:visits"),
                "entries": entries,
            }

    @app.post("/")
    def sign() -> tuple[dict, int]:
        name = flask.request.form.get("name", "").strip()[:80]
        if not name:
            return {"error": "the form field `name` is empty"}, 400
        with store() as book:
            book.lpush("guestbook:entries", name)
        return {"signed": name}, 201

    @app.get("/ready")
    def ready() -> dict:
        with store() as book:
            book.ping()
        return {"redis": "answers"}

    @app.errorhandler(redis.RedisError)
    def unreachable(error: redis.RedisError) -> tuple[dict, int]:
        return {"error": f"redis: {error}"}, 503

    signal.signal(signal.SIGHUP, read_again)
    return app, config


def main(argv: list[str]) -> int:
    if argv == ["--check"]:  # every import above worked: the package is whole
        print(f"flask, redis {redis.__version__} and waitress import")
        return 0
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    app, config = application(Path(argv[0]))
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    print(f"guestbook {config['release']} on {config['host']}:{config['port']}")
    waitress.serve(app, host=config["host"], port=config["port"], threads=4, ident="guestbook")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
