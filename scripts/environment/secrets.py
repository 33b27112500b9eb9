"""The secrets that a program got, and their removal from texts.

STACK_SECRETS names the variables that hold one, separated by commas. The service table makes that list for each service.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, model_validator

from environment.reading import Settings

VARIABLE = "STACK_SECRETS"


class Secrets(Settings):
    """Base of the settings of a program that masks: the values of all secrets that it got."""

    secrets: Annotated[tuple[SecretStr, ...], Field(alias=VARIABLE)]

    @model_validator(mode="before")
    @classmethod
    def _values_of_names(cls, environ: Any) -> Any:
        names = environ.get(VARIABLE)
        if not isinstance(names, str):
            return environ
        values = [secret for name in names.split(",") for secret in secrets_in(environ.get(name.strip(), ""))]
        return {**environ, VARIABLE: tuple(dict.fromkeys(values))}

    def redact(self, text: str) -> str:
        """Returns `text` with *** in place of each secret."""
        # A secret may be part of another one, as a password is of an address.
        for secret in sorted((one.get_secret_value() for one in self.secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def secrets_in(value: str) -> Iterable[str]:
    """Yields the secrets of one variable: it may hold several, separated by blanks, and addresses with a password."""
    for secret in value.split():
        yield secret
        with suppress(ValueError):
            if password := urlsplit(secret).password:
                yield from (password, unquote(password))
