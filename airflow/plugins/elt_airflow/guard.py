"""Errors of the loader in Airflow's terms, and secrets kept out of task logs."""

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
    """Fails the task without retry where the loader says that a repetition can only repeat; masks secrets in its log."""
    mask_secrets()
    try:
        yield
    except TerminalError as error:
        raise AirflowFailException(str(error)) from error


def mask_secrets() -> None:
    """Registers every secret that the task's environment holds with Airflow's masker."""
    from elt.settings import passwords_of

    for name in SECRETS:
        # A signing secret may be several.
        for secret in os.environ.get(name, "").split():
            mask_secret(secret)
    for name in ADDRESSES:
        for password in passwords_of(os.environ.get(name, "")):
            mask_secret(password)
