"""Sends one signed event, once or with a few retries."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

_log = logging.getLogger(__name__)
# It logs addresses, which often carry a key.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0
_TIMEOUT = urllib3.Timeout(connect=5.0, read=10.0)
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class Event:
    """Body of a notice. A receiver that took an attempt without our hearing of it knows the next one by `id`."""

    kind: str
    """Such as `airflow.task.failed`."""
    data: Mapping[str, Any]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")

    @property
    def body(self) -> str:
        timestamp = self.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"type": self.kind, "timestamp": timestamp, "data": dict(self.data)})


@dataclass(frozen=True)
class Problem:
    """Why an event was not taken, without the address, which often carries a key."""

    reason: str
    may_pass: bool
    """Whether sending it again can help."""


class Sender:
    """Sends events to one address, signed with each of the secrets, so that a receiver that has one of them believes it."""

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        self._url = url
        self._secrets = tuple(secrets)
        self._http = _pool(url)

    def send(self, event: Event) -> Problem | None:
        """Returns None if the event was taken. Never raises; takes 15 seconds at most."""
        if not self._url.startswith(_SCHEMES):
            return Problem("no http address", may_pass=False)
        body = event.body
        try:
            headers = {"Content-Type": "application/json", "webhook-id": event.id, **self._signed(event.id, body)}
        except (ValueError, EmptyWebhookSecretError) as error:
            return Problem(type(error).__name__, may_pass=False)
        try:
            answer = self._http.request("POST", self._url, body=body.encode(), headers=headers, redirect=False)
        except urllib3.exceptions.LocationValueError as error:
            return Problem(type(error).__name__, may_pass=False)
        except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            return Problem(type(error).__name__, may_pass=True)
        if 200 <= answer.status < 300:
            return None
        return Problem(f"status {answer.status}", may_pass=answer.status >= 500 or answer.status == 429)

    def _signed(self, message: str, body: str) -> dict[str, str]:
        at = datetime.now(UTC).replace(microsecond=0)
        headers = {"webhook-timestamp": f"{at.timestamp():.0f}"}
        if self._secrets:
            headers["webhook-signature"] = " ".join(Webhook(secret).sign(message, at, body) for secret in self._secrets)
        return headers


def _pool(url: str) -> urllib3.PoolManager:
    """Connections by the proxy of the environment, where it has one for this address."""
    # An address that is none is refused when it is sent to.
    with suppress(ValueError):
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme)
        if proxy and not proxy_bypass(parts.hostname or ""):
            return urllib3.ProxyManager(proxy, timeout=_TIMEOUT, retries=False)
    return urllib3.PoolManager(timeout=_TIMEOUT, retries=False)


def send_now(url: str, event: Event, *, signing_secrets: str = "") -> None:
    """Sends an event at once, in three attempts at most; an empty url means nobody wants to know.

    `signing_secrets` are separated by blanks. Never raises: what cannot be told is logged.
    """
    if not url:
        return
    sender = Sender(url, signing_secrets.split())
    problem = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        problem = sender.send(event)
        if problem is None:
            return
        if not problem.may_pass:
            break
    _log.warning("The address in NOTIFY_URL did not take the event %s: %s", event.kind, problem and problem.reason)
