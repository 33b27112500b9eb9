"""Settings come from the environment, are told by name when they are wrong, and never show a secret."""

import pytest
from elt.settings import Settings, read_settings
from elt.sources.postgres.sessions.server import Server
from pydantic import SecretStr
from warehouse.errors import TerminalError

NAMES = ("CLICKHOUSE_LOADER_PASSWORD", "CLICKHOUSE_HTTP_PORT")


def test_what_is_missing_is_named_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", "hush")
    with pytest.raises(TerminalError) as caught:
        read_settings()
    assert all(name in str(caught.value) for name in NAMES) and "hush" not in str(caught.value)


def test_secrets_are_taken_out_of_every_text() -> None:
    settings = Settings(
        source_url=SecretStr("postgresql://u:p%40ss@h:7/d"),
        clickhouse_loader_password=SecretStr("hush"),
        mask_salt=SecretStr(""),
    )
    assert Server.of(settings).shown == "u@h:7/d"
    text = settings.redact("postgresql://u:p%40ss@h:7/d p@ss p%40ss hush fine")
    assert text == "*** *** *** *** fine"
    assert "hush" not in repr(settings) and "p%40ss" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:se%26cret@db/shop",
        "postgresql://me@db/shop?password=se%26cret",
        "host=db dbname=shop user=me password=se&cret",
    ],
)
def test_a_password_is_found_wherever_libpq_finds_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(source_url=url, clickhouse_loader_password="x")  # type: ignore[arg-type]
    assert "cret" not in settings.redact("the driver said se&cret") + Server.of(settings).shown
