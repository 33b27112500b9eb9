"""How the session that copies is told where libpq has connected to."""

import ssl

import pytest
from elt.sources.postgres.sessions.copier import _address
from warehouse.errors import TerminalError

FOUND = {"host": "db.example.org", "port": "5433", "user": "reader", "dbname": "shop", "sslmode": "prefer"}


def test_a_session_that_is_not_encrypted_asks_for_no_encryption() -> None:
    assert _address(FOUND, "p@ss", encrypted=False) == {
        "host": "db.example.org",
        "port": 5433,
        "user": "reader",
        "database": "shop",
        "password": "p@ss",
        "ssl": False,
    }


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, "sslmode=require"),
        ({"sslmode": "allow"}, "sslmode=require"),
        ({"sslmode": "require", "sslcert": "/a b.crt"}, "sslmode=require&sslcert=%2Fa+b.crt"),
        ({"sslmode": "verify-full", "sslrootcert": "/ca.crt"}, "sslmode=verify-full&sslrootcert=%2Fca.crt"),
        (
            {"sslmode": "verify-ca", "ssl_min_protocol_version": "TLSv1.3"},
            "sslmode=verify-ca&ssl_min_protocol_version=TLSv1.3",
        ),
    ],
)
def test_a_session_beside_an_encrypted_one_is_encrypted_and_checks_as_much(given: dict[str, str], asked: str) -> None:
    assert _address(FOUND | given, None, encrypted=True)["dsn"] == f"postgresql://?{asked}"


def test_the_authorities_of_the_system_are_asked_where_the_address_says_so() -> None:
    context = _address(FOUND | {"sslmode": "verify-full", "sslrootcert": "system"}, None, encrypted=True)["ssl"]
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"channel_binding": "require"}, "channel_binding=require"),
        ({"requirepeer": "postgres"}, "requirepeer"),
        ({"require_auth": "scram-sha-256"}, "require_auth"),
        ({"sslcertmode": "require"}, "sslcertmode"),
    ],
)
def test_what_the_session_could_not_keep_is_refused_and_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(TerminalError, match=f"SOURCE_URL asks for {named}.*leave it out"):
        _address(FOUND | given, None, encrypted=True)


def test_a_server_whose_name_is_checked_needs_no_channel_binding() -> None:
    given = {"channel_binding": "require", "sslmode": "verify-full", "sslrootcert": "/ca.crt"}
    assert "verify-full" in _address(FOUND | given, None, encrypted=True)["dsn"]
