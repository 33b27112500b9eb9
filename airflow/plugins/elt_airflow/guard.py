"""Translates the loader's errors to Airflow's, and masks secrets in task logs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import mask_secret
from warehouse.errors import TerminalError

SECRETS = (
    "CLICKHOUSE_LOADER_PASSWORD",
    "WEBHOOK_TOKEN",
    "WEBHOOK_SIGNING_SECRET",
    "NOTIFY_SIGNING_SECRET",
    "MASK_SALT",
    "AIRFLOW_METADATA_CONN",
)
ADDRESSES = ("SOURCE_URL", "NOTIFY_URL", "AIRFLOW_METADATA_CONN")


@contextmanager
def no_retry_on_terminal_errors() -> Iterator[None]:
    """Fails the task without retry on a TerminalError of the loader; masks secrets in its log."""
    mask_secrets()
    try:
        yield
    except TerminalError as error:
        raise AirflowFailException(str(error)) from error


def mask_secrets() -> None:
    """Registers all secrets of the task's environment with Airflow's masker."""
    from elt.settings import passwords_of

    for name in SECRETS:
        # The variable may hold several secrets.
        for secret in os.environ.get(name, "").split():
            mask_secret(secret)
    for name in ADDRESSES:
        for password in passwords_of(os.environ.get(name, "")):
            mask_secret(password)
