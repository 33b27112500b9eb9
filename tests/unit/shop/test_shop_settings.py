"""The owner's connection: `.env` where it belongs, the environment above it, errors that say what to do."""

from pathlib import Path

import pytest
from shop.errors import ShopError
from shop.settings import read_owner


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=from-file\nPOSTGRES_PORT=5555\nSOURCE_URL=postgresql://x\n")
    owner = read_owner({"STACK_HOME": str(tmp_path), "POSTGRES_PORT": "6666"})
    assert (owner.port, owner.password.get_secret_value()) == (6666, "from-file")
    assert (owner.user, owner.database, owner.host) == ("ecommerce", "ecommerce_db", "127.0.0.1")


def test_a_missing_password_sends_to_run_sh(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=r"POSTGRES_PASSWORD is not set.*\./run\.sh"):
        read_owner({"STACK_HOME": str(tmp_path)})


def test_a_wrong_port_is_named_and_no_value_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="POSTGRES_PORT: input should be less") as caught:
        read_owner({"STACK_HOME": str(tmp_path), "POSTGRES_PASSWORD": "secret", "POSTGRES_PORT": "70000"})
    assert "secret" not in str(caught.value)


def test_the_file_is_read_as_the_stack_reads_it(tmp_path: Path) -> None:
    """A value that programs would read differently is refused, and STACK_ENV_NAME names the file."""
    environ = {"STACK_HOME": str(tmp_path), "STACK_ENV_NAME": "shop.env"}
    (tmp_path / "shop.env").write_text("POSTGRES_PASSWORD='quoted'\nPOSTGRES_DB=\n")
    owner = read_owner(environ | {"POSTGRES_PASSWORD": ""})
    assert (owner.password.get_secret_value(), owner.database) == ("quoted", "ecommerce_db")
    (tmp_path / "shop.env").write_text("POSTGRES_PASSWORD=se$cret\n")
    with pytest.raises(ShopError, match=r"line 1: POSTGRES_PASSWORD has a \$") as caught:
        read_owner(environ)
    assert "cret" not in str(caught.value)
