"""What STACK_SECRETS names is taken out of texts, alone and inside of addresses."""

import pytest
from environment.reading import SettingsError, read
from environment.secrets import Secrets


def test_each_secret_of_each_variable_is_masked() -> None:
    environ = {
        "STACK_SECRETS": "TOKEN,SIGNING,CONN,EMPTY,ABSENT",
        "TOKEN": "token-1",
        "SIGNING": "whsec_new whsec_old",
        "CONN": "postgresql://me:pass%40word@db/shop",
        "EMPTY": "",
        "OTHER": "public",
    }
    settings = read(Secrets, environ)
    told = "token-1, whsec_new, whsec_old, pass%40word, pass@word, postgresql://me:pass%40word@db/shop, public"
    assert settings.redact(told) == "***, ***, ***, ***, ***, ***, public"
    assert "token-1" not in repr(settings)


def test_a_secret_that_is_part_of_another_leaves_nothing_of_it() -> None:
    settings = read(Secrets, {"STACK_SECRETS": "A,B", "A": "secret", "B": "secret-and-more"})
    assert settings.redact("secret-and-more") == "***"


@pytest.mark.parametrize("environ", [{}, {"STACK_SECRETS": ""}])
def test_a_program_that_is_not_told_its_secrets_does_not_start(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="STACK_SECRETS is not set"):
        read(Secrets, environ)
