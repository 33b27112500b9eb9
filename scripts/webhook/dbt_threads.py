"""Two nodes at a time: while one waits for the warehouse the other does its Python.

What the warehouse is asked stays the same, and so does how long it takes for it: statements go beside each other only while
they are short. Where another version of dbt has no such names, dbt goes on as it does by itself. `dbt_host.py` loads this
file by its path.
"""

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

_NODES = 2
# Seconds. A statement beside a longer one waits for its cores: then both take longer, and whoever reads marts meanwhile too.
_SHORT = 0.05
# So many short ones in a row, and the next are expected to be.
_REMEMBERED = 6
# Seconds until a thread that has its answer may go on while another computes; Python's own 5 ms are as long as a statement.
_SWITCH = 0.0005


def overlap_nodes() -> None:
    """For a process that forks those that run dbt, once."""
    with contextlib.suppress(ImportError, AttributeError):
        turns = Turns()
        _ask_in_turn(turns)
        _count_without_waiting(turns)
        _run_two_nodes(turns)


def run_threads() -> None:
    """For a process that is about to run dbt, once."""
    sys.setswitchinterval(_SWITCH)


class Turns:
    """Lets statements into the warehouse: two at once while they are short, else one after the other."""

    def __init__(self, *, short: float = _SHORT) -> None:
        self._short = short
        self._changed = threading.Condition()
        self._began: dict[int, float] = {}
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._waited: dict[int, float] = {}
        self._is_lifted = False

    def lift(self) -> None:
        """From now on let all in at once."""
        self._is_lifted = True

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        me = threading.get_ident()
        if self._is_lifted or me in self._began:
            # A statement within a statement would wait for itself.
            yield
            return
        came = time.monotonic()
        with self._changed:
            self._changed.wait_for(self._may_begin)
            self._began[me] = time.monotonic()
            self._waited[me] = self._waited.get(me, 0.0) + self._began[me] - came
        try:
            yield
        finally:
            with self._changed:
                self._took.append(time.monotonic() - self._began.pop(me))
                self._changed.notify_all()

    def count_waiting(self) -> float:
        """Seconds that this thread has waited for its turn since it last asked this."""
        return self._waited.pop(threading.get_ident(), 0.0)

    def _may_begin(self) -> bool:
        if not self._began:
            return True
        if len(self._began) >= _NODES or max(self._took, default=0.0) >= self._short:
            return False
        return time.monotonic() - min(self._began.values()) < self._short


def _ask_in_turn(turns: Turns) -> None:
    from dbt.adapters.clickhouse.httpclient import ChHttpClient

    def in_turn(ask: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(ask)
        def ask_in_turn(*arguments: Any, **named: Any) -> Any:
            with turns.turn():
                return ask(*arguments, **named)

        return ask_in_turn

    asked = {name: getattr(ChHttpClient, name) for name in ("query", "command", "columns_in_query")}
    for name, ask in asked.items():
        setattr(ChHttpClient, name, in_turn(ask))


def _count_without_waiting(turns: Turns) -> None:
    """The seconds of a node are its own: who looks for the slow one must not find its neighbour."""
    from dbt.task.base import BaseRunner

    run, build = BaseRunner.safe_run, BaseRunner._build_run_result

    def run_node(self: Any, *arguments: Any, **named: Any) -> Any:
        turns.count_waiting()
        return run(self, *arguments, **named)

    def build_result(self: Any, *arguments: Any, **named: Any) -> Any:
        if "start_time" in named:
            named["start_time"] += turns.count_waiting()
        return build(self, *arguments, **named)

    BaseRunner.safe_run, BaseRunner._build_run_result = run_node, build_result


def _run_two_nodes(turns: Turns) -> None:
    """With `threads: 1`. Who has asked for more gets as many, with all their statements at once."""
    from dbt.task import runnable

    make = runnable.DbtThreadPool

    def pool(threads: int, *rest: Any) -> Any:
        if threads == 1:
            return make(_NODES, *rest)
        turns.lift()
        return make(threads, *rest)

    runnable.DbtThreadPool = pool
