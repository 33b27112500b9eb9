"""One endpoint for one day: its pages into objects of the lake, and the manifest behind them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote, quote_plus

from pydantic import SecretStr
from warehouse.errors import PipelineError, TerminalError

from elt.errors import SourceRefusedError
from elt.lake.manifest import LakeObject, Manifest, publish_manifest, run_folder
from elt.lake.store import Lake
from elt.pipeline.options import Variable
from elt.sources.rest.client import Answer, Client
from elt.sources.rest.items import Filter, Page, missing_key, packed, read_page
from elt.sources.rest.options import RestEndpoint, RestSource
from elt.sources.rest.paging import Request, pager_of

_BEAT_SECONDS = 1.0
_BRACES = re.compile(r"\{([^{}]*)\}")

Secrets = Callable[[str], SecretStr]
"""Returns the value of a variable of the environment."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Day:
    """A day, UTC."""

    day: date

    @property
    def start(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=1)

    @property
    def values(self) -> Mapping[str, str]:
        """For names in braces."""
        return {
            "day": self.day.isoformat(),
            "start": _instant(self.start),
            "end": _instant(self.end),
            "start_epoch": str(int(self.start.timestamp())),
            "end_epoch": str(int(self.end.timestamp())),
        }


def _instant(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Fetcher:
    """Fetches the endpoints of one source."""

    def __init__(
        self, lake: Lake, source: RestSource, secrets: Secrets, salt: str, redact: Callable[[str], str]
    ) -> None:
        self._lake, self._source, self._secrets, self._salt = lake, source, secrets, salt
        self._redact_others = redact
        self.sleep: Callable[[float], None] = time.sleep

    def fetch(self, endpoint: RestEndpoint, day: date, run: int, tell: Tell) -> Manifest:
        """Returns the manifest of what it has put into the lake; nothing counts before. Raises PipelineError."""
        if endpoint.mask and not self._salt:
            raise TerminalError(
                "pipeline.yml masks keys and MASK_SALT is empty; set it, once and for all, and run again"
            )
        client = self._client(tell)
        with self._redacting(client):
            walk = _Walk(
                self._lake, self._source, endpoint, Day(day), run, client, self._parameters(endpoint), self._salt, tell
            )
            return walk.fetch()

    def first_page(self, endpoint: RestEndpoint, day: date) -> tuple[bytes, ...]:
        """Returns the items of the first page, and puts nothing into the lake."""
        client = self._client(lambda _: None)
        with self._redacting(client):
            values = {**next(endpoint.combinations()), **Day(day).values}
            request = _request(self._source, endpoint, self._parameters(endpoint), values)
            request = pager_of(endpoint, values["start"], Day(day).end).first(request)
            return client.get(request.url, request.params, lambda answer: read_page(answer, endpoint.records))[1]

    @contextmanager
    def _redacting(self, client: Client) -> Iterator[None]:
        """Closes the client at the end. Whatever the API has said, and a message repeats, has no secret."""
        try:
            yield
        except PipelineError as error:
            error.args = (self._redact(str(error)),)
            raise
        finally:
            client.close()

    def _client(self, tell: Tell) -> Client:
        headers = {name: self._text(value) for name, value in self._source.headers.items()}
        return Client(self._source.url, headers, self._source.limits, self._redact, self.sleep, tell)

    def _redact(self, text: str) -> str:
        """Removes the secrets of the source, as they are sent and as an API may repeat them."""
        for name in self._source.variables:
            value = self._secrets(name).get_secret_value()
            # "Bearer token" is a scheme and the secret.
            for secret in {value, value.partition(" ")[2]} - {""}:
                for written in (secret, quote(secret, safe=""), quote_plus(secret), quote(secret)):
                    text = text.replace(written, "***")
        return self._redact_others(text)

    def _parameters(self, endpoint: RestEndpoint) -> Mapping[str, str]:
        return {name: self._text(value) for name, value in endpoint.params.items()}

    def _text(self, value: str | Variable) -> str:
        if isinstance(value, str):
            return value
        found = self._secrets(value.env).get_secret_value()
        if not found:
            raise TerminalError(
                f"{value.env} is not in the environment, and {self._source.name} of pipeline.yml names it; set it, and run again"
            )
        return found


class _Walk:
    """One fetch of one endpoint."""

    def __init__(
        self,
        lake: Lake,
        source: RestSource,
        endpoint: RestEndpoint,
        day: Day,
        run: int,
        client: Client,
        params: Mapping[str, str],
        salt: str,
        tell: Tell,
    ) -> None:
        self._lake, self._source, self._endpoint, self._day, self._run = lake, source, endpoint, day, run
        self._client, self._params, self._tell = client, params, tell
        self._filter = Filter(endpoint.drop, endpoint.mask, salt)
        self._objects: list[LakeObject] = []
        self._pages = 0
        self._items = 0
        self._told = time.monotonic()
        self._server_date = ""

    def fetch(self) -> Manifest:
        started = datetime.now(UTC)
        for values in self._endpoint.combinations():
            self._walk({**self._day.values, **values})
        expected = self._endpoint.expect.at_least
        if self._items < expected:
            raise SourceRefusedError(
                f"{self._name} has {self._items} items for {self._day.day}, and pipeline.yml expects at_least {expected}; "
                "nothing of it counts: look at the API, or correct expect:"
            )
        manifest = Manifest(
            source=self._source.name,
            endpoint=self._endpoint.name,
            day=self._day.day,
            run=self._run,
            started_at=started,
            ended_at=datetime.now(UTC),
            objects=tuple(self._objects),
            request=self._shown_request(),
            server_date=self._server_date,
        )
        publish_manifest(self._lake, manifest)
        self._tell(f"{self._name}: {self._items:,} items of {self._pages:,} pages are in the lake for {self._day.day}")
        return manifest

    @property
    def _name(self) -> str:
        return f"{self._source.name}.{self._endpoint.name}"

    def _walk(self, values: Mapping[str, str]) -> None:
        endpoint = self._endpoint
        pager = pager_of(endpoint, values["start"], self._day.end)
        request: Request | None = pager.first(_request(self._source, endpoint, self._params, values))
        before = b""
        while request is not None:
            answer, items = self._client.get(request.url, request.params, self._parsed)
            digest = hashlib.sha256(answer.body).digest() if items else b""
            if digest and digest == before and not pager.may_repeat:
                raise SourceRefusedError(
                    f"{self._name} answers with the same page twice, so that the list would never end; does the API know the parameters of paging:?"
                )
            before = digest
            page = Page(answer, items)
            self._server_date = self._server_date or answer.headers.get("date", "")
            self._store(pager.items(page))
            request = pager.after(request, page)
            if request is not None:
                self._client.check_host(request.url)

    def _parsed(self, answer: Answer) -> tuple[bytes, ...]:
        return read_page(answer, self._endpoint.records)

    def _store(self, items: tuple[bytes, ...]) -> None:
        self._pages += 1
        if not items:
            return
        required = self._endpoint.expect.required
        for number, item in enumerate(items, 1):
            if key := missing_key(item, required):
                raise SourceRefusedError(
                    f"{self._name}: item {number} of page {self._pages} has no key {key}, which pipeline.yml expects; "
                    "nothing of it counts: look at the API, or correct expect:"
                )
        content = packed([self._filter(item) for item in items])
        path = f"{run_folder(self._source.name, self._endpoint.name, self._day.day, self._run)}/page-{self._pages:05}.jsonl.gz"
        self._lake.write(path, content)
        self._objects.append(LakeObject(path, len(items), len(content), hashlib.sha256(content).hexdigest()))
        self._items += len(items)
        if time.monotonic() - self._told >= _BEAT_SECONDS:
            self._told = time.monotonic()
            self._tell(f"{self._name}: page {self._pages:,}, {self._items:,} items")

    def _shown_request(self) -> dict[str, str]:
        params = self._endpoint.params.items()
        shown = {name: value if isinstance(value, str) else f"{{env: {value.env}}}" for name, value in params}
        return {"path": self._endpoint.path, **shown}


def _request(
    source: RestSource, endpoint: RestEndpoint, params: Mapping[str, str], values: Mapping[str, str]
) -> Request:
    def filled(text: str) -> str:
        return _BRACES.sub(lambda match: values[match[1]], text)

    # A secret is no text with names in braces.
    own = {name: filled(value) if isinstance(endpoint.params[name], str) else value for name, value in params.items()}
    return Request(f"{source.url}{filled(endpoint.path)}", own)
