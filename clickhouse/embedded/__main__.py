"""`python -m embedded`: serves the warehouse until SIGTERM. `--version` prints the versions of server and engine."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from importlib import metadata

from embedded import NAME, __version__, interface
from embedded.engine.engine import Engine
from embedded.engine.queries import Queries
from embedded.engine.running import QueryLimits
from embedded.engine.shown import create_views
from embedded.errors import QueryError, StartError
from embedded.server import Server, start_expiry
from embedded.settings import Settings
from embedded.users import User, read_users

log = logging.getLogger("embedded")
_FINISH_SECONDS = 5
_CANCEL_SECONDS = 3


def serve() -> None:
    """Runs the server; returns after a stop. Raises StartError if it cannot start."""
    settings = Settings.from_environment(os.environ)
    users = read_users(settings.config / "users.xml", os.environ)
    started = time.monotonic()
    engine = Engine(settings.data, settings.config)
    _check_profiles(engine, users)
    create_views(engine)
    queries = Queries(engine, users, QueryLimits.read(settings.config / "server.xml"))
    try:
        server = Server((settings.host, settings.port), queries, engine.version)
    except OSError as error:
        raise StartError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): free the port or set CLICKHOUSE_HTTP_PORT."
        ) from error
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True, name="accept").start()
    start_expiry(queries)
    log.info(
        "%s %s with the engine of ClickHouse %s on http://%s:%s after %.1f s",
        NAME,
        __version__,
        engine.version,
        settings.host,
        settings.port,
        time.monotonic() - started,
    )
    # With a timeout: a signal that a thread of the engine receives, or that arrives just before the wait, does not end the wait.
    while not stop.wait(1):
        pass
    log.info("Stopping: %s queries are running", queries.running)
    queries.stop()
    server.shutdown()
    server.server_close()
    _finish(queries)
    if queries.running:
        log.warning("Stopped with %s queries that would not end; what was acknowledged is on disk", queries.running)
        return
    queries.sessions.close()
    engine.close()
    log.info("Stopped")


def _check_profiles(engine: Engine, users: Mapping[str, User]) -> None:
    """Raises StartError for a profile with an unsupported setting."""
    for user in users.values():
        for name in interface.REFUSED:
            value = engine.default(user, name)
            if value is None:
                continue
            try:
                interface.check(name, value)
            except QueryError as error:
                raise StartError(f"Profile {user.profile} in users.xml: {error.message}.") from None


def _finish(queries: Queries) -> None:
    """Waits a while for running queries, then cancels them."""
    for seconds, act in ((_FINISH_SECONDS, queries.cancel_all), (_CANCEL_SECONDS, lambda: None)):
        end = time.monotonic() + seconds
        while queries.running and time.monotonic() < end:
            time.sleep(0.05)
        if queries.running:
            act()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m embedded",
        description="Serves ClickHouse's HTTP interface until SIGTERM; settings come from the environment.",
    )
    engine = f"chdb-core {metadata.version('chdb-core')}"
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__} (engine: {engine})")
    parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve()
    except StartError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # do not wait for threads of abandoned connections
