"""dbt's documentation of project and tables as one page, written after a good run."""

import logging
from collections.abc import Callable

from webhook.dbt.command import documentation_arguments
from webhook.dbt.events import read_event
from webhook.dbt.process import DbtHost
from webhook.settings import Settings

_LOOK = 0.01

logger = logging.getLogger(__name__)


class Documentation:
    """Writes the page when the queue is empty. A run that arrives meanwhile goes first; the page is written later."""

    def __init__(self, settings: Settings, host: DbtHost, *, was_built: bool) -> None:
        self._settings = settings
        self._host = host
        self.is_due = was_built and not settings.documentation.exists()

    def write(self, *, is_wanted: Callable[[], bool]) -> None:
        """Writes the page; gives up, and stays due, as soon as `is_wanted` is false. A failure is logged and not retried."""
        said = ""
        with self._host.start(documentation_arguments(self._settings), parsed=None) as dbt:
            for line in dbt.lines(pause=_LOOK):
                if not is_wanted():
                    return
                if line is None:
                    continue
                event = read_event(line, self._settings.redact)
                if event.level in {"error", "raw"}:
                    said = event.text
            code = dbt.exit_code()
        self.is_due = False
        if code != 0:
            logger.warning("dbt's documentation was not written (exit code %d): %s", code, said)
            return
        # Atomic: a reader gets the old page or the new one.
        (self._settings.documentation_target / "static_index.html").replace(self._settings.documentation)
