"""Authentication. Nothing depends on the caller's address, and a refusal never says which check failed."""

import hashlib
import hmac
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from flask import Request
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from webhook.web.problems import Problem

# How a request was authenticated.
Proof = Literal["bearer", "basic", "signature"]
# Methods that accept a browser's password (HTTP Basic).
_SAFE = {"GET", "HEAD"}
_MINUTE = 60.0


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Token:
    """Compares tokens in constant time: it compares whole digests."""

    def __init__(self, token: SecretStr) -> None:
        self._expected = _digest(token.get_secret_value())

    def is_in_bearer(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        return hmac.compare_digest(_digest(token.strip()), self._expected) and scheme.lower() == "bearer"

    def is_password(self, password: str | None) -> bool:
        return hmac.compare_digest(_digest(password or ""), self._expected)


class Signatures:
    """Verifies Standard Webhooks 1.0.0: HMAC-SHA256 over id, time and body, with any of the secrets, at most 5 minutes old."""

    def __init__(self, secrets: tuple[SecretStr, ...]) -> None:
        self._verifiers = [Webhook(secret.get_secret_value()) for secret in secrets]

    def hold_for(self, body: bytes, headers: Mapping[str, str]) -> bool:
        # Try every secret, so that the time does not reveal which one matches.
        held = [_holds(verifier, body, headers) for verifier in self._verifiers]
        return any(held)


def _holds(verifier: Webhook, body: bytes, headers: Mapping[str, str]) -> bool:
    # The library stops at the first signature without a comma; the specification says to skip unknown ones.
    known = [part for part in headers.get("Webhook-Signature", "").split(" ") if part.startswith("v1,")]
    sent = {name: headers.get(name.title(), "") for name in ("webhook-id", "webhook-timestamp")}
    for part in known[:10]:
        try:
            verifier.verify(body, sent | {"webhook-signature": part}, json_parse=False)
        except (WebhookVerificationError, ValueError):
            # ValueError: a signature that is not base64, a second comma, a body that is not UTF-8.
            continue
        return True
    return False


class FailureLimiter:
    """Counts wrong credentials of all callers within the last minute.

    It never refuses right credentials: otherwise anybody could lock out everybody else.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._minute = 0
        self._count = 0

    def are_too_many(self) -> bool:
        """Counts one more failure; returns whether that exceeds the limit."""
        minute = int(time.monotonic() // _MINUTE)
        with self._lock:
            if minute != self._minute:
                self._minute, self._count = minute, 0
            self._count += 1
            return self._count > self._limit


class Gate:
    """Authenticates a request before anything else reads it."""

    def __init__(self, token: SecretStr, signing_secrets: tuple[SecretStr, ...], *, failed_tries: int) -> None:
        self._token = Token(token)
        self._signatures = Signatures(signing_secrets)
        self._failed = FailureLimiter(failed_tries)

    def check(self, request: Request, *, signed: bool) -> Proof:
        """Returns how the request was authenticated; `signed` also accepts a signature. Raises Problem: 401, or 429 after too many failures."""
        if self._token.is_in_bearer(request.headers.get("Authorization", "")):
            return "bearer"
        # A browser adds its stored password to any request that a page makes (CSRF), so a password must not start or cancel runs.
        given = request.authorization
        if (
            request.method in _SAFE
            and given is not None
            and given.type == "basic"
            and self._token.is_password(given.password)
        ):
            return "basic"
        if (
            signed
            and "webhook-signature" in request.headers
            and self._signatures.hold_for(request.get_data(), dict(request.headers))
        ):
            return "signature"
        if self._failed.are_too_many():
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many calls with wrong credentials within a minute: wait for the next one, and correct them first.",
                headers={"Retry-After": str(int(_MINUTE))},
            )
        raise _unauthorized(request.method, signed)


def _unauthorized(method: str, signed: bool) -> Problem:
    ways = ["the header 'Authorization: Bearer TOKEN' with WEBHOOK_TOKEN of .env"]
    if signed:
        ways.append("a Standard Webhooks signature with WEBHOOK_SIGNING_SECRET")
    challenges = ['Bearer realm="webhook"']
    if method in _SAFE:
        ways.append("HTTP Basic with the token as password")
        challenges.append('Basic realm="webhook", charset="UTF-8"')
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        f"This call needs {', or '.join(ways)}.",
        headers=[("WWW-Authenticate", challenge) for challenge in challenges],
    )
