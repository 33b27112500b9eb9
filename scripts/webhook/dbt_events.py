"""What dbt says while it runs: each event that the worker reads, as a line of JSON, and no work for the others.

The lines are those of `--log-format json` with what nobody reads left out. `dbt_host.py` loads this file by its path.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

# Of the events for debugging, those that the worker reads, and what it reads of them.
_READ = {"NodeStart", "NodeFinished"}
_OF_NODE = ("unique_id", "node_name", "resource_type", "node_status")
_OF_RESULT = ("status", "execution_time", "message", "num_failures", "adapter_response")

# Those that dbt follows up at once with another: printed together with it.
_FOLLOWED = {"NodeStart", "LogTestResult", "LogModelResult", "LogSnapshotResult", "LogSeedResult"}

# dbt calls from each of its threads.
_turn = threading.Lock()
_waiting: list[str] = []


def hold_back() -> None:
    """For a process that forks those that run dbt, once."""
    with contextlib.suppress(ImportError, AttributeError):
        _make_late()


def listen() -> None:
    """For a process that is about to run dbt, once."""
    with contextlib.suppress(ImportError, AttributeError):
        _print_directly()


def printer() -> Callable[[Any], None]:
    """A callback for dbt that prints each event the worker reads."""

    def print_event(event: Any) -> None:
        if not _is_read(event.info.name, event.info.level):
            return
        from dbt_common.events.functions import env_scrubber, msg_to_json

        _print(event.info.name, env_scrubber(msg_to_json(event)))

    return print_event


def _print_directly() -> None:
    """Events are printed from what dbt fired them with, and those that nobody reads are dropped."""
    from dbt.adapters.events.logging import AdapterLogger
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import ctx_set_event_manager
    from dbt_common.events.functions import env_scrubber

    class Events(EventManager):  # type: ignore[misc]
        def fire_event(self, e: Any, level: Any = None, *rest: Any, **named: Any) -> None:
            name, severity = type(e).__name__, (level or e.level_tag()).value
            if name in _READ and "_arguments" in e.__dict__:
                _print(name, env_scrubber(_line_of_node(name, e.__dict__["_arguments"][1])))
            elif severity == "info":
                # Of the data of these the worker reads one number; dbt would make JSON of all of it.
                data = {"total": e.total} if name == "LogStartLine" else {}
                _print(name, env_scrubber(_line(name, severity, e.message(), data)))
            elif _is_read(name, severity):
                super().fire_event(e, level, *rest, **named)

    ctx_set_event_manager(Events())
    AdapterLogger.debug = lambda *_, **__: None


def _line_of_node(name: str, said: dict[str, Any]) -> str:
    data = {"node_info": {key: said["node_info"].get(key) for key in _OF_NODE}}
    if "run_result" in said:
        data["run_result"] = {key: said["run_result"].get(key) for key in _OF_RESULT}
    return _line(name, "debug", "", data)


def _line(name: str, level: str, text: str, data: dict[str, Any]) -> str:
    info = {"name": name, "level": level, "msg": text, "ts": datetime.now(UTC).isoformat()}
    return json.dumps({"info": info, "data": data}, default=str)


def _is_read(name: str, level: str) -> bool:
    return level != "debug" or name in _READ


def _print(name: str, line: str) -> None:
    with _turn:
        _waiting.append(f"{line}\n")
        if name not in _FOLLOWED:
            _flush()


def _flush() -> None:
    text = "".join(_waiting)
    _waiting.clear()
    sys.stdout.write(text)
    sys.stdout.flush()


def finish() -> None:
    """Print what waits for another event, at the end of a run."""
    with _turn:
        _flush()


def _make_late() -> None:
    """dbt makes a message of each of its thousands of events, whether or not anybody listens; here, once it is read."""
    from dbt_common.events.base_types import BaseEvent

    make, get, put = BaseEvent.__init__, BaseEvent.__getattr__, BaseEvent.__setattr__

    def hold(self: Any, *args: Any, **kwargs: Any) -> None:
        self.__dict__["_arguments"] = args, kwargs

    def made(self: Any) -> Any:
        if "_arguments" in self.__dict__:
            args, kwargs = self.__dict__.pop("_arguments")
            make(self, *args, **kwargs)
        return self

    def put_late(self: Any, key: str, value: Any) -> None:
        put(self if key == "pb_msg" else made(self), key, value)

    BaseEvent.__init__, BaseEvent.__setattr__ = hold, put_late
    BaseEvent.__getattr__ = lambda self, key: get(made(self), key)
