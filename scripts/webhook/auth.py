"""Who may call: whoever has the token. Nothing depends on the caller's address."""

import hashlib
import hmac
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import ParamSpec, TypeVar

from flask import request
from pydantic import SecretStr

from webhook.problems import Problem

P = ParamSpec("P")
R = TypeVar("R")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class BearerToken:
    """Decides by `Authorization: Bearer TOKEN`."""

    def __init__(self, token: SecretStr) -> None:
        self._expected = _digest(token.get_secret_value())

    def accepts(self, header: str) -> bool:
        """Takes the same time for every wrong token: digests are compared, and all of each."""
        scheme, _, token = header.partition(" ")
        return hmac.compare_digest(_digest(token.strip()), self._expected) and scheme.lower() == "bearer"

    def required(self, view: Callable[P, R]) -> Callable[P, R]:
        """A view that answers 401 without the token, before it reads anything else of the request."""

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if not self.accepts(request.headers.get("Authorization", "")):
                raise Problem(
                    HTTPStatus.UNAUTHORIZED,
                    "This call needs the header 'Authorization: Bearer TOKEN' with WEBHOOK_TOKEN of .env.",
                    headers={"WWW-Authenticate": 'Bearer realm="webhook"'},
                )
            return view(*args, **kwargs)

        return guarded
