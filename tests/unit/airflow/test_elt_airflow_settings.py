"""Airflow's side reads its variables at the edge, each part its own: what is wrong is named, and no value is shown."""

from pathlib import Path

import pytest
from elt_airflow.settings import LogRetention, MetadataRetention, Notices, Provision, WebhookClient
from elt_airflow.webhook import Webhook
from environment.reading import Settings, SettingsError, read

WEBHOOK = {"WEBHOOK_URL": "http://127.0.0.1:5001/", "WEBHOOK_TOKEN": "a-token-for-tests-only"}
SECRETS = ("whsec_" + "A" * 32, "whsec_" + "B" * 32)


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (WebhookClient, ("WEBHOOK_URL", "WEBHOOK_TOKEN")),
        (LogRetention, ("AIRFLOW_HOME",)),
        (MetadataRetention, ("AIRFLOW_METADATA_CONN",)),
        (Provision, ("AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_ADMIN_PASSWORD")),
    ],
)
def test_every_missing_variable_is_named_with_the_cure(model: type[Settings], missing: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=r"Set it in \.env") as caught:
        read(model, {missing[0]: "", "OTHER": "hush-hush"})
    assert all(f"{name} is not set" in str(caught.value) for name in missing)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:5001", "ftp://somewhere", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_URL"):
        read(WebhookClient, WEBHOOK | {"WEBHOOK_URL": url})


def test_the_client_of_the_webhook_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WEBHOOK.items():
        monkeypatch.setenv(name, value)
    assert Webhook.from_environment() == Webhook("http://127.0.0.1:5001", "a-token-for-tests-only")


@pytest.mark.parametrize(
    "wrong", [{"NOTIFY_URL": "hooks.example.org/hush"}, {"NOTIFY_SIGNING_SECRET": f"{SECRETS[0]} hush"}]
)
def test_a_wrong_address_or_secret_of_notices_is_named_and_not_shown(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))) as caught:
        read(Notices, wrong)
    assert "hush" not in str(caught.value) and SECRETS[0] not in str(caught.value)


def test_notices_are_signed_with_secrets_of_their_own_else_with_the_webhooks() -> None:
    webhook = {"WEBHOOK_SIGNING_SECRET": " ".join(SECRETS)}
    assert read(Notices, webhook).signing_secrets == " ".join(SECRETS)
    assert read(Notices, webhook | {"NOTIFY_SIGNING_SECRET": SECRETS[1]}).signing_secrets == SECRETS[1]
    assert read(Notices, {"NOTIFY_URL": ""}).url is None


def test_logs_lie_where_airflow_is_told_to_write_them() -> None:
    assert read(LogRetention, {"AIRFLOW_HOME": "/home"}).folder == Path("/home/logs")
    told = {"AIRFLOW_HOME": "/home", "AIRFLOW__LOGGING__BASE_LOG_FOLDER": "/var/logs"}
    assert read(LogRetention, told).folder == Path("/var/logs")
