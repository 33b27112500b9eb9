import re
from pathlib import Path

import pytest
from environment.reading import SettingsError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stack.table import services
from webhook.dbt.command import dbt_arguments, dbt_environment
from webhook.queue.runs import RunRequest
from webhook.settings import Settings

ENVIRONMENT = {
    "WEBHOOK_HOME": "/state",
    "DBT_PROJECT_DIR": "/project",
    "WEBHOOK_TOKEN": "t" * 32,
    "CLICKHOUSE_DBT_PASSWORD": "p",
    "CLICKHOUSE_WEBHOOK_PASSWORD": "q",
    "STACK_SECRETS": "CLICKHOUSE_DBT_PASSWORD",
}
SETTINGS = Settings.from_environ(ENVIRONMENT)


@pytest.mark.parametrize(
    "selector", ["fact_sales", "+fact_sales+", "2+a+1", "@a", "tag:daily", "path:models/marts", "a,b", "stg_*", "a.b"]
)
def test_dbts_selection_syntax_is_accepted(selector: str) -> None:
    assert RunRequest(select=(selector,)).select == (selector,)


@pytest.mark.parametrize(
    "selector", ["", "--target", "-s", " a", "a b", "a;b", "$(id)", "`id`", "a\n--vars", "a\n", "a\x00", "x" * 201, "é"]
)
def test_whatever_could_be_an_option_or_a_word_of_its_own_is_refused(selector: str) -> None:
    with pytest.raises(ValidationError):
        RunRequest(select=(selector,))


@given(st.text(max_size=30))
def test_an_accepted_selector_never_begins_with_a_hyphen_and_has_no_blank(text: str) -> None:
    try:
        request = RunRequest(exclude=(text,))
    except ValidationError:
        return
    assert not text.startswith("-")
    assert text.isascii() and not any(character.isspace() or not character.isprintable() for character in text)
    assert dbt_arguments(request, SETTINGS)[-1] == text


def test_selectors_end_up_behind_their_option_and_the_target_is_prod() -> None:
    arguments = dbt_arguments(RunRequest(select=("a", "b"), exclude=("c",), full_refresh=True), SETTINGS)
    assert arguments[arguments.index("--select") :] == ["--select", "a", "b", "--exclude", "c"]
    assert arguments[arguments.index("--target") + 1] == "prod"
    assert "--full-refresh" in arguments


def test_equal_requests_have_equal_fingerprints_whatever_the_order() -> None:
    assert RunRequest(select=("a", "b")).fingerprint == RunRequest(select=("b", "a", "b")).fingerprint
    others = [
        RunRequest(),
        RunRequest(select=("a",)),
        RunRequest(exclude=("a",)),
        RunRequest(full_refresh=True),
        RunRequest(command="test"),
    ]
    assert len({request.fingerprint for request in others}) == len(others)


def test_a_full_refresh_goes_with_build_only() -> None:
    with pytest.raises(ValidationError, match="build only"):
        RunRequest(command="test", full_refresh=True)


def test_dbt_gets_these_names_and_no_other(repo: Path) -> None:
    """Of what the worker is given, of all other names of `.env`, and of what a shell or an image may add."""
    worker = {*services.by_name("webhook-worker").reads, "CLICKHOUSE_HOST", "WEBHOOK_HOME", "WEBHOOK_URL"}
    example = re.findall(r"^([A-Z_]+)=", (repo / ".env.example").read_text(), re.MULTILINE)
    others = {*example, "STACK_SECRETS", "CLICKHOUSE_PATH"}
    shell = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "USER", "PYTHONPATH", "LD_PRELOAD"}
    of_dbt = {"DBT_ENV_CUSTOM_ENV_A", "DBT_PROJECT_DIR", "DBT_PROFILES_DIR", "DBT_TARGET"}
    environment = dbt_environment(dict.fromkeys(worker | others | shell | of_dbt, "given"), SETTINGS)
    assert {name for name, value in environment.items() if value == "given"} == {
        *("CLICKHOUSE_HOST", "CLICKHOUSE_HTTP_PORT", "CLICKHOUSE_SECURE"),
        *("CLICKHOUSE_DBT_PASSWORD", "CLICKHOUSE_DATABASE_ENGINE", "CLICKHOUSE_TABLE_ENGINE"),
        *("SAMPLE_SHOP", "SHOP_TIMEZONE", "SHOP_CURRENCY", "DBT_ENV_CUSTOM_ENV_A"),
        *("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE"),
    }
    own = {name: value for name, value in environment.items() if value != "given"}
    assert own == {"HOME": "/state", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def test_dbt_gets_every_name_that_the_project_reads(repo: Path) -> None:
    files = [file for ending in ("sql", "yml") for file in (repo / "dbt").rglob(f"*.{ending}")]
    read = {name for file in files for name in re.findall(r"""env_var\(\s*['"](\w+)['"]""", file.read_text())}
    assert {"CLICKHOUSE_DBT_PASSWORD", "CLICKHOUSE_TABLE_ENGINE", "SHOP_TIMEZONE"} < read
    assert read <= set(dbt_environment(dict.fromkeys(read, "given"), SETTINGS))


def test_settings_name_what_is_wrong_and_carry_no_secret() -> None:
    with pytest.raises(SettingsError, match=r"WEBHOOK_HOME.*CLICKHOUSE_DBT_PASSWORD") as caught:
        Settings.from_environ({"WEBHOOK_TOKEN": "secret", "DBT_PROJECT_DIR": "/project"})
    assert "secret" not in str(caught.value)
    assert "p" * 5 not in repr(Settings.from_environ(ENVIRONMENT | {"CLICKHOUSE_DBT_PASSWORD": "p" * 5}))
