"""Makes dbt start and run faster in a fork of `dbt_host.py`, and changes nothing of what it builds.

Only speed hangs on what is here: another version of dbt may keep things elsewhere, and then runs as it does by itself.
`dbt_host.py` loads this file by its path.
"""

import contextlib
import gc
from collections.abc import Iterator
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
# New objects between two looks for garbage. Python's own 700 cost a build a seventh of its time, and find next to nothing.
_GARBAGE = 300_000


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


def keep_for_forks() -> None:
    """What is here now is never garbage, and a collector that touches it in a fork would copy its pages."""
    gc.collect()
    gc.freeze()


def run_lean() -> None:
    """For a process that is about to run dbt, once."""
    gc.set_threshold(_GARBAGE, 100, 100)
