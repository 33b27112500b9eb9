"""One Postgres server as pipeline.yml names it: its address, and texts in which no secret stays."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from warehouse.errors import TerminalError

from elt.settings import Settings
from elt.sources.postgres.options import PostgresSource


@dataclass(frozen=True)
class Server:
    """Where a source is, and what its sessions need."""

    variable: str
    """The environment variable in which its address stands."""
    url: SecretStr
    mask_salt: SecretStr
    settings: Settings

    @classmethod
    def of(cls, settings: Settings, entry: PostgresSource | None = None) -> Server:
        """The server of a source; that of SOURCE_URL without one. Raises TerminalError where its variable is empty."""
        variable = "SOURCE_URL" if entry is None else entry.url_variable
        url = settings.url(variable)
        if not url.get_secret_value():
            source = "the source" if entry is None else f"the source {entry.name}"
            raise TerminalError(
                f"{variable}, the address of {source} in pipeline.yml, is not set; write {variable}=postgresql://user:password@host:5432/database "
                f"into {'.env' if variable == 'SOURCE_URL' else '.env.sources'}, and start by ./run.sh or scripts/exec, which read it"
            )
        return cls(variable, url, settings.mask_salt, settings)

    @property
    def shown(self) -> str:
        """The address for messages, without the password: user@host:port/database."""
        unknown = f"the address in {self.variable}"
        try:
            parts = urlsplit(self.url.get_secret_value())
            port = parts.port or 5432
        except ValueError:
            return unknown
        # libpq also accepts a list of names and values, which may include the password.
        return f"{unquote(parts.username or '')}@{parts.hostname or ''}:{port}{parts.path}" if parts.netloc else unknown

    def redact(self, text: str) -> str:
        """Removes all secrets from `text`, such as a driver's message."""
        return self.settings.redact(text)
