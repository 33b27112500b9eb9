"""Tells a person, or a chat, that something failed."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_TIMEOUT_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_SCHEMES = ("http://", "https://")


def send_failure(url: str, *, event: Mapping[str, str]) -> None:
    """POSTs `event` as a JSON object to `url`; an empty url means nobody wants to know.

    Three attempts of at most 10 s. Never raises: a failure that cannot be told is logged, without the url, which
    often carries a key.
    """
    if not url:
        return
    if not url.startswith(_SCHEMES):
        _log.warning("NOTIFY_URL is no http address, so nobody was told of the failure")
        return
    body = json.dumps(dict(event)).encode()
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            problem = f"status {error.code}"
            error.close()
            if error.code < 500 and error.code != 429:
                break
        except ValueError as error:
            problem = type(error).__name__
            break
        except OSError as error:
            problem = type(error).__name__
    _log.warning("The address in NOTIFY_URL did not take the news of a failure: %s", problem)
