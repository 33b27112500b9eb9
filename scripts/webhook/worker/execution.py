"""One attempt of a run: starts dbt, follows it, ends it if necessary, and returns the outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from webhook.dbt.command import dbt_arguments, parsed_target
from webhook.dbt.events import Event, read_event
from webhook.dbt.process import DbtHost
from webhook.queue.runs import Node, Run
from webhook.queue.store import RunStore
from webhook.settings import Settings
from webhook.worker.run_log import RunLog
from webhook.worker.stop import Stop

_LOOK = 0.2


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `stopped`: the worker stops, and the run needs another attempt. `was_forced`: dbt was killed."""

    status: Literal["success", "error", "cancelled", "stopped"]
    error: str = ""
    was_forced: bool = False


class Execution:
    """Runs dbt for one run and records its nodes meanwhile."""

    def __init__(
        self, store: RunStore, host: DbtHost, settings: Settings, run: Run, *, attempt: int, stop: Stop
    ) -> None:
        self._store = store
        self._host = host
        self._settings = settings
        self._run = run
        self._attempt = attempt
        self._stop = stop
        self._failed_node = ""
        self._last_error = ""
        self._found_nothing = False
        self._total = 0
        self._nodes: dict[str, Node] = {}

    def run(self, on_look: Callable[[], None]) -> Outcome:
        """Runs dbt to its end. Calls `on_look` several times a second."""
        arguments = dbt_arguments(self._run.request, self._settings)
        deadline = time.monotonic() + self._settings.run_timeout
        log_path = self._settings.run_log(self._run.id)
        with RunLog(log_path, limit=self._settings.log_bytes) as log:
            log.write_always(f"Attempt {self._attempt}: dbt {' '.join(arguments)}")
            with self._host.start(arguments, parsed=parsed_target(self._run.request)) as dbt:
                for line in dbt.lines(pause=_LOOK):
                    if line is not None:
                        self._take(read_event(line, self._settings.redact), log)
                        continue
                    self._save()
                    on_look()
                    outcome = self._reason_to_end(deadline)
                    if outcome is not None:
                        log.write_always(f"Ending dbt: {outcome.error or outcome.status}")
                        # Kill at once: every promise holds after a kill -9, and a polite end would first wait for dbt's
                        # queries.
                        dbt.kill()
                        return replace(outcome, was_forced=True)
                self._save()
                outcome = self._outcome(dbt.exit_code())
            log.write_always(f"Ended: {outcome.status}" + (f": {outcome.error}" if outcome.error else ""))
            return outcome

    def _reason_to_end(self, deadline: float) -> Outcome | None:
        if self._store.is_cancel_requested(self._run.id):
            return Outcome("cancelled", "Cancelled on request.")
        if time.monotonic() > deadline:
            seconds = self._settings.run_timeout
            return Outcome(
                "error",
                f"dbt ran longer than {seconds:g} s and was ended: find the slow node in the log,"
                " or raise WEBHOOK_RUN_TIMEOUT.",
            )
        if self._stop.grace_is_over:
            return Outcome("stopped", "The worker is stopping; the run starts over with the next worker.")
        return None

    def _take(self, event: Event, log: RunLog) -> None:
        if event.is_for_people and event.text.strip():
            log.write(event.text)
        if event.level in {"error", "raw"} and event.text.strip():
            self._last_error = event.text.strip()
        if event.name == "NothingToDo":
            self._found_nothing = True
        if event.total is not None:
            self._total = event.total
        if event.node is not None:
            # A node may start and finish between two looks.
            begun = self._nodes.get(event.node.node, event.node)
            self._nodes[event.node.node] = replace(event.node, started_at=begun.started_at)
            if event.node.status in {"error", "fail"} and not self._failed_node:
                self._failed_node = f"{event.node.name}: {_first_line(event.node.message)}"

    def _save(self) -> None:
        """Records the events since the last look in one transaction: dbt must not wait for the disk."""
        if self._nodes:
            self._store.save_nodes(self._run.id, self._attempt, self._total, list(self._nodes.values()))
            self._nodes.clear()

    def _outcome(self, exit_code: int) -> Outcome:
        where = f"read /runs/{self._run.id}/logs"
        if exit_code == 0 and self._found_nothing and self._run.request.select:
            asked = " ".join(self._run.request.select)
            return Outcome("error", f"Nothing in the dbt project matches select '{asked}': nothing was built; {where}.")
        if exit_code == 0:
            return Outcome("success")
        if self._failed_node:
            return Outcome("error", f"dbt failed at {self._failed_node}; {where}, mend the cause and start again.")
        if exit_code < 0:
            sentence = f"dbt was killed by signal {-exit_code}, often for want of memory; {where}."
            return Outcome("error", sentence, was_forced=True)
        said = _first_line(self._last_error) or "it said nothing"
        return Outcome("error", f"dbt ended with exit code {exit_code}: {said}; {where}.")


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # dbt's first line is a heading such as "Database Error in model x (path)"; the cause is the next line.
    return " ".join(lines[:2])[:500].rstrip(".;")
