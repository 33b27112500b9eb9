"""The agent: `python -m agent`. Does its duties until it gets SIGTERM or SIGINT."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

from environment.reading import read
from notify.sender import Event, send_now
from warehouse.client import Warehouse
from warehouse.errors import TerminalError

from agent import duties
from agent.airflow import Airflow
from agent.dead_runs import DeadRuns
from agent.duties import Duty
from agent.settings import Settings

DEAD_RUNS_SECONDS = 30.0
"""A run is closed in the second round after Airflow's verdict: within two minutes, a lease that must first become silent included."""

logger = logging.getLogger(__name__)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = read(Settings, os.environ)
    except TerminalError as error:
        logger.error("%s", error)
        return 2
    logging.getLogger().handlers[0].addFilter(_masking(settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def notify(event: Event) -> None:
        if settings.notify_url is not None:
            send_now(settings.notify_url.get_secret_value(), event, signing_secrets=settings.notice_secrets)

    warehouse = Warehouse(settings.warehouse, connect_timeout=5, answer_timeout=120, retries=0)
    airflow = Airflow(settings.airflow_url, settings.airflow_password.get_secret_value())
    dead_runs = DeadRuns(warehouse, airflow, notify)
    logger.info("ready")
    duties.run([Duty("Closing dead runs", DEAD_RUNS_SECONDS, dead_runs.look)], stop, settings.heartbeat, notify)
    return 0


def _masking(settings: Settings) -> Callable[[logging.LogRecord], bool]:
    """A filter that takes the agent's secrets out of what it logs."""

    def masked(record: logging.LogRecord) -> bool:
        record.msg, record.args = settings.redact(record.getMessage()), ()
        return True

    return masked


if __name__ == "__main__":
    raise SystemExit(main())
