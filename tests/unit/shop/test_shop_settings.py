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
    with pytest.raises(ShopError, match=r"POSTGRES_PASSWORD is neither .* run \./run\.sh first"):
        read_owner({"STACK_HOME": str(tmp_path)})


def test_a_wrong_port_is_named_and_no_value_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="POSTGRES_PORT is not usable") as caught:
        read_owner({"STACK_HOME": str(tmp_path), "POSTGRES_PASSWORD": "secret", "POSTGRES_PORT": "70000"})
    assert "secret" not in str(caught.value)
