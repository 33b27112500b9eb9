"""One request: what is tried again, how long is waited, and what ends at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import tenacity
from warehouse.errors import PipelineError, TerminalError, TransientError

from elt.errors import SourceRefusedError, SourceUnavailableError
from elt.sources.rest.options import Limits

LARGEST_ANSWER = 256 << 20
"""Bytes of an answer, unpacked; a page is held in memory."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LONGEST_PAUSE = 60.0
_SHOWN = 200
"""Characters of what an API says beside an error."""
_READ = 4096
_SHORTEST_WAIT = 1.0
_SILENT_SECONDS = 2.0
_NO_LIMIT_KNOWN = 60.0
"""Seconds to wait where the API says that there were too many requests, and not for how long."""

Params = Mapping[str, str]
Parsed = TypeVar("Parsed")


class TooManyRequestsError(SourceUnavailableError):
    """The API refuses to answer for some seconds."""

    def __init__(self, message: str, seconds: float | None) -> None:
        self.seconds = seconds
        super().__init__(message)


@dataclass(frozen=True)
class Answer:
    """A whole answer with status 200."""

    url: str
    headers: httpx.Headers
    body: bytes

    @property
    def next_link(self) -> str | None:
        """The address of the Link header with rel=next."""
        # As httpx reads it.
        found = httpx.Response(200, headers=self.headers).links.get("next")
        return found.get("url") if found else None


class Client:
    """Requests to one API, one after the other. Closed by `close`."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        limits: Limits,
        redact: Callable[[str], str],
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`tell` gets a sentence before each wait of more than two seconds."""
        self._limits = limits
        self._redact = redact
        self._sleep = sleep
        self._tell = tell
        self._origin = _origin(url)
        self._waited = 0.0
        self._last = 0.0
        timeout = httpx.Timeout(limits.timeout, connect=min(limits.timeout, 20))
        agent = {"User-Agent": "ecommerce-pipeline", "Accept": "application/json"}
        self._http = httpx.Client(headers={**agent, **headers}, timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        self._http.close()

    def get(self, url: str, params: Params, parse: Callable[[Answer], Parsed]) -> tuple[Answer, Parsed]:
        """Returns the answer to a GET, and what `parse` makes of it, which may refuse it by a TransientError.

        What can pass is tried again: connections that break, bodies that are cut, 5xx, limits of requests. Raises SourceRefusedError at once for
        what cannot, such as 401 or 404, and for an address of another host: the headers would go there.
        """
        failures = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=tenacity.wait_exponential_jitter(initial=0.5, max=_LONGEST_PAUSE),
            stop=tenacity.stop_after_attempt(self._limits.tries),
            before_sleep=self._say,
            sleep=self._sleep,
            reraise=True,
        )
        # To wait for a limit costs no try, and is bounded as a whole.
        limits = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TooManyRequestsError),
            wait=_asked_to_wait,
            stop=self._is_too_long,
            before_sleep=self._say,
            sleep=self._wait_for_limit,
            reraise=True,
        )
        found: tuple[Answer, Parsed] = limits(failures, self._try, url, params, parse)
        return found

    def _try(self, url: str, params: Params, parse: Callable[[Answer], Parsed]) -> tuple[Answer, Parsed]:
        for _ in range(_MOST_REDIRECTS):
            self.check_host(url)
            self._keep_rate()
            answer = self._once(url, params)
            if isinstance(answer, Answer):
                return answer, parse(answer)
            url, params = answer, {}
        raise SourceRefusedError(f"{_path(url)} redirects more than {_MOST_REDIRECTS} times; correct the path")

    def _once(self, url: str, params: Params) -> Answer | str:
        """Returns the answer, or the address to which it redirects."""
        # Parameters, and addresses of next pages, may hold a secret.
        shown = _path(url)
        try:
            with self._http.stream("GET", url, params=dict(params) or None) as response:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    return str(response.url.join(response.headers["location"]))
                body = self._body(response, shown)
                if response.status_code != 200:
                    raise self._refusal(response, body, shown)
                return Answer(str(response.url), response.headers, body)
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise SourceRefusedError(f"{shown} cannot be asked for ({self._redact(str(error))}); correct it") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            said = self._redact(str(error)) or type(error).__name__
            raise SourceUnavailableError(f"{shown} does not answer whole ({said}); run again") from None

    def _body(self, response: httpx.Response, shown: str) -> bytes:
        pieces, size = [], 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > LARGEST_ANSWER:
                raise SourceRefusedError(
                    f"{shown} answers with more than {LARGEST_ANSWER >> 20} MB; ask for smaller pages in pipeline.yml"
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _refusal(self, response: httpx.Response, body: bytes, shown: str) -> PipelineError:
        status, headers = response.status_code, response.headers
        said = (
            self._redact(" ".join(body[:_READ].decode("utf-8", "replace").split()))[:_SHOWN] or response.reason_phrase
        )
        is_limit = status == 429 or (
            status == 403 and ("retry-after" in headers or headers.get("x-ratelimit-remaining") == "0")
        )
        if is_limit:
            seconds = retry_after(headers)
            seconds = limit_reset(headers) if seconds is None else seconds
            return TooManyRequestsError(f"{shown} answers {status}, too many requests: {said}", seconds)
        if status in _PASSING:
            if (seconds := retry_after(headers)) is not None:
                return TooManyRequestsError(f"{shown} answers {status}: {said}", seconds)
            return SourceUnavailableError(f"{shown} answers {status}: {said}")
        cure = "correct path: or params: in pipeline.yml"
        if status in (401, 403):
            cure = "correct the headers: of pipeline.yml, or the variables of the environment that they name"
        return SourceRefusedError(f"{shown} answers {status}: {said}; {cure}")

    def check_host(self, url: str) -> None:
        """Raises SourceRefusedError where an address is not of this API."""
        if _origin(url) != self._origin:
            raise SourceRefusedError(
                self._redact(
                    f"{self._origin} sends the loader on to {_origin(url)}, where the headers of pipeline.yml must not go; "
                    "if that is right, write it as url: of the source"
                )
            )

    def _keep_rate(self) -> None:
        if self._limits.requests_per_second:
            pause = self._last + 1 / self._limits.requests_per_second - time.monotonic()
            if pause > 0:
                self._sleep(pause)
            self._last = time.monotonic()

    def _say(self, state: tenacity.RetryCallState) -> None:
        seconds = state.upcoming_sleep
        if seconds > _SILENT_SECONDS and state.outcome:
            self._tell(f"{state.outcome.exception()}; asking again in {seconds:.0f} s")

    def _wait_for_limit(self, seconds: float) -> None:
        self._waited += seconds
        self._sleep(seconds)

    def _is_too_long(self, state: tenacity.RetryCallState) -> bool:
        seconds = _asked_to_wait(state)
        if self._waited + seconds <= self._limits.wait_at_most:
            return False
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            until = datetime.fromtimestamp(time.time() + seconds, UTC)
            error.args = (
                f"{error}; it answers again at {until:%Y-%m-%d %H:%M:%S} UTC: run again then, or raise wait_at_most in pipeline.yml",
            )
        return True


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, TransientError) and not isinstance(error, TooManyRequestsError)


def _asked_to_wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    seconds = error.seconds if isinstance(error, TooManyRequestsError) else None
    return _NO_LIMIT_KNOWN if seconds is None else max(_SHORTEST_WAIT, seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of Retry-After, which is a number or a date; None without one that can be read."""
    given = headers.get("retry-after", "").strip()
    if given.isdigit():
        return float(given)
    try:
        then = parsedate_to_datetime(given).timestamp()
        # By the server's own clock where it tells it.
        here = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()
    except (TypeError, ValueError):
        return None
    return max(0.0, then - here)


def limit_reset(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds until a limit's window ends, by X-RateLimit-Reset or RateLimit-Reset; None without."""
    now = time.time()
    for name in ("x-ratelimit-reset", "ratelimit-reset"):
        text = headers.get(name, "").strip()
        if text.isdigit():
            # Some give an instant, some a number of seconds.
            return max(0.0, int(text) - now) if int(text) > now / 2 else float(text)
    return None


def _path(url: str) -> str:
    return url.partition("?")[0]


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        raise TerminalError(f"{url[:_SHOWN]!r} is no address") from None
    return f"{parts.scheme}://{parts.hostname}:{port}"
