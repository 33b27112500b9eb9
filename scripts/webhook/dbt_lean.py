"""Makes dbt start and run faster in a fork of `dbt_host.py`, and changes nothing of what it builds.

Only speed hangs on what is here, but for `event_printer`: another version of dbt may keep things elsewhere, and
then runs as it does by itself. `dbt_host.py` loads this file by its path.
"""

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

# What dbt imports only when it runs: half a second that every run would pay again.
_IMPORTED_LATE = (
    "dbt.adapters.clickhouse.httpclient",
    "dbt.task.build",
    "dbt.task.docs.generate",
    "multiprocessing.dummy",
    "sqlparse.cli",
)
# Of the events for debugging, those that the worker reads.
_READ = {"NodeStart", "NodeFinished"}
# New objects between two looks for garbage. Python's own 700 cost a build a seventh of its time, and find next to nothing.
_GARBAGE = 100_000


def import_all() -> None:
    for name in _IMPORTED_LATE:
        with contextlib.suppress(ImportError):
            import_module(name)


def compile_macros(manifest: Any) -> Iterator[None]:
    """Put every macro into dbt's cache of templates, one at a time: a run that calls one would compile it anew."""
    with contextlib.suppress(ImportError, AttributeError):
        from dbt_common.clients.jinja import template_cache

        for macro in manifest.macros.values():
            # What cannot be compiled is an error of the run that calls it, if there is one.
            with contextlib.suppress(Exception):
                template_cache.get_node_template(macro)
            yield
    keep_for_forks()


def keep_for_forks() -> None:
    """What is here now is never garbage, and a collector that touches it in a fork would copy its pages."""
    gc.collect()
    gc.freeze()


def event_printer() -> Callable[[Any], None]:
    """A callback for dbt that prints each event the worker reads, as `--log-format json` does."""
    # dbt calls from each of its threads.
    turn = threading.Lock()

    def print_event(event: Any) -> None:
        if not _is_read(event.info.name, event.info.level):
            return
        from dbt_common.events.functions import env_scrubber, msg_to_json

        line = env_scrubber(msg_to_json(event))
        with turn:
            print(line, flush=True)

    return print_event


def run_lean() -> None:
    """For a process that is about to run dbt, once."""
    gc.set_threshold(_GARBAGE, 100, 100)
    with contextlib.suppress(ImportError, AttributeError):
        _drop_unread_events()


def _is_read(name: str, level: str) -> bool:
    return level != "debug" or name in _READ


def _drop_unread_events() -> None:
    """dbt makes its thousands of debug events, whether or not anybody listens, in a seventh of a build's time."""
    from dbt.adapters.events.logging import AdapterLogger
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import ctx_set_event_manager

    class Events(EventManager):  # type: ignore[misc]
        def fire_event(self, e: Any, level: Any = None, *rest: Any, **named: Any) -> None:
            if _is_read(type(e).__name__, (level or e.level_tag()).value):
                super().fire_event(e, level, *rest, **named)

    ctx_set_event_manager(Events())
    AdapterLogger.debug = lambda *_, **__: None
