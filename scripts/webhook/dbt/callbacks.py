"""Prints dbt's events while it runs: one line of JSON each, as `--log-format json` does.

`host.py` loads this file by its path.
"""

import sys
import threading
from typing import Any

# The debug events that the worker reads.
_NODES = {"NodeStart", "NodeFinished"}


class EventPrinter:
    """A callback for `dbtRunner`, which calls it from each of its threads.

    It never raises: otherwise dbt would wait forever for the node whose start it reports. `failures` has a sentence for each event that was not
    printed; `has_told_error`: dbt has reported an error.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.has_told_error = False
        self._lock = threading.Lock()

    def __call__(self, event: Any) -> None:
        try:
            self._print(event)
        except Exception as error:  # noqa: BLE001 - reported at the end of the run, which fails by it
            self.failures.append(f"{type(error).__name__}: {error}")

    def _print(self, event: Any) -> None:
        if event.info.level == "debug" and event.info.name not in _NODES:
            return
        from dbt_common.events.functions import env_scrubber, msg_to_json

        line = env_scrubber(msg_to_json(event))
        with self._lock:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        self.has_told_error = self.has_told_error or event.info.level == "error"
