"""Tells NOTIFY_URL that something failed: signed events in the form of Standard Webhooks, as the webhook service sends them."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_TIMEOUT_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_SCHEMES = ("http://", "https://")


def send_failure(url: str, *, kind: str, data: Mapping[str, str], signing_secrets: str = "") -> None:
    """POSTs an event of a kind such as `airflow.task.failed` to `url`; an empty url means nobody wants to know.

    Signed with each of `signing_secrets` (separated by blanks), so that a receiver who has one of them believes it. Three attempts of at most 10 s. Never raises: a failure that cannot be told is logged, without the url, which
    often carries a key.
    """
    if not url:
        return
    if not url.startswith(_SCHEMES):
        _log.warning("NOTIFY_URL is no http address, so nobody was told of the failure")
        return
    at = datetime.now(UTC).replace(microsecond=0)
    body = json.dumps({"type": kind, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": dict(data)})
    # The same for every attempt: a receiver that took one without our hearing of it knows the next by its id.
    headers = {"Content-Type": "application/json", "webhook-id": f"msg_{uuid.uuid4().hex}"}
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        try:
            signed = headers | _signature(headers["webhook-id"], body, signing_secrets)
            request = urllib.request.Request(url, body.encode(), signed, method="POST")
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            problem = f"status {error.code}"
            error.close()
            if error.code < 500 and error.code != 429:
                break
        except (ValueError, EmptyWebhookSecretError) as error:
            problem = type(error).__name__
            break
        except OSError as error:
            problem = type(error).__name__
    _log.warning("The address in NOTIFY_URL did not take the news of a failure: %s", problem)


def _signature(message: str, body: str, secrets: str) -> dict[str, str]:
    at = datetime.now(UTC).replace(microsecond=0)
    headers = {"webhook-timestamp": f"{at.timestamp():.0f}"}
    if secrets.strip():
        headers["webhook-signature"] = " ".join(Webhook(secret).sign(message, at, body) for secret in secrets.split())
    return headers
