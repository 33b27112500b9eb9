import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from webhook.dbt.command import dbt_arguments, dbt_environment
from webhook.queue.runs import RunRequest
from webhook.settings import Settings, SettingsError

ENVIRONMENT = {
    "WEBHOOK_HOME": "/state",
    "DBT_PROJECT_DIR": "/project",
    "WEBHOOK_TOKEN": "t" * 32,
    "CLICKHOUSE_DBT_PASSWORD": "p",
    "CLICKHOUSE_WEBHOOK_PASSWORD": "q",
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


def test_dbt_gets_its_own_names_and_never_a_secret_of_the_webhook() -> None:
    environ = {
        "PATH": "/bin",
        "WEBHOOK_TOKEN": "t",
        "CLICKHOUSE_HOST": "h",
        "CLICKHOUSE_WEBHOOK_PASSWORD": "w",
        "SHOP_TIMEZONE": "UTC",
        "DBT_TARGET": "dev",
    }
    environment = dbt_environment(environ, SETTINGS)
    assert environment["CLICKHOUSE_HOST"] == "h" and environment["SHOP_TIMEZONE"] == "UTC"
    assert not {"WEBHOOK_TOKEN", "CLICKHOUSE_WEBHOOK_PASSWORD", "DBT_TARGET"} & environment.keys()


def test_settings_name_what_is_wrong_and_carry_no_secret() -> None:
    with pytest.raises(SettingsError, match=r"WEBHOOK_HOME.*CLICKHOUSE_DBT_PASSWORD") as caught:
        Settings.from_environ({"WEBHOOK_TOKEN": "secret", "DBT_PROJECT_DIR": "/project"})
    assert "secret" not in str(caught.value)
    assert "p" * 5 not in repr(Settings.from_environ(ENVIRONMENT | {"CLICKHOUSE_DBT_PASSWORD": "p" * 5}))
