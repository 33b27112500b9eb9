"""Translates the loader's errors to Airflow's, and masks secrets in task logs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import mask_secret
from environment.reading import read
from environment.secrets import Secrets
from warehouse.errors import TerminalError


@contextmanager
def no_retry_on_terminal_errors() -> Iterator[None]:
    """Fails the task without retry on a TerminalError of the loader; masks secrets in its log."""
    try:
        mask_secrets()
        yield
    except TerminalError as error:
        raise AirflowFailException(str(error)) from error


def mask_secrets() -> None:
    """Registers all secrets of the process with Airflow's masker. Raises SettingsError if it is not told which they are."""
    from elt.settings import passwords_of

    for secret in read(Secrets, os.environ).secrets:
        value = secret.get_secret_value()
        # libpq finds passwords at more places of an address than other programs do.
        for masked in (value, *passwords_of(value)):
            mask_secret(masked)
