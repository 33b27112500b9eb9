"""`.env`: what is generated, kept, added and refused."""

from pathlib import Path

import pytest
from stack import env_file
from stack.errors import StackError


@pytest.fixture
def example(repo: Path) -> Path:
    return repo / ".env.example"


@pytest.fixture
def made(example: Path, tmp_path: Path) -> Path:
    file = tmp_path / ".env"
    env_file.write_new(file, env_file.fill(example, {}, {}, STACK_MODE="native"))
    return file


def _with(file: Path, name: str, value: str) -> Path:
    lines = [f"{name}={value}" if line.startswith(f"{name}=") else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_example_holds_every_name_that_is_validated_and_no_other(example: Path) -> None:
    assert set(env_file.read_values(example)) == set(env_file.Env.model_fields) - {"in_compose"}


def test_a_new_file_is_valid_private_and_full_of_different_secrets(made: Path) -> None:
    env = env_file.load(made)
    secrets = [env.text(name) for name in env_file.SECRETS]
    assert len(set(secrets)) == len(secrets)
    assert min(len(secret) for secret in secrets) >= 32
    assert made.stat().st_mode & 0o777 == 0o600


def test_two_new_files_share_no_secret(example: Path) -> None:
    first, second = (set(env_file.fill(example, {}, {}, STACK_MODE="native")) for _ in range(2))
    same = {line for line in first & second if "=" in line and not line.startswith("#")}
    assert not {line for line in same if line.partition("=")[0] in env_file.SECRETS}


def test_values_of_the_environment_are_written_into_a_new_file(example: Path) -> None:
    lines = env_file.fill(example, {}, {"SHOP_TIMEZONE": "Europe/Paris", "WEBHOOK_TOKEN": "mytokenvalue"})
    assert {"SHOP_TIMEZONE=Europe/Paris", "WEBHOOK_TOKEN=mytokenvalue"} <= set(lines)


def test_missing_keys_are_added_and_present_ones_stay(example: Path, made: Path) -> None:
    before = env_file.read_values(made)
    made.write_text("".join(f"{k}={v}\n" for k, v in before.items() if k not in ("WEBHOOK_TOKEN", "SHOP_CURRENCY")))
    added = env_file.add_missing(example, made, {"POSTGRES_PORT": "1"})
    after = env_file.read_values(made)
    assert added == ["SHOP_CURRENCY", "WEBHOOK_TOKEN"]
    assert {k: v for k, v in after.items() if k not in added} == {k: v for k, v in before.items() if k not in added}
    assert after["SHOP_CURRENCY"] == "USD"
    assert env_file.add_missing(example, made, {}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PORT", "70000"),
        ("AIRFLOW_PORT", "eighty"),
        ("SHOP_TIMEZONE", "Mars/Olympus"),
        ("SHOP_CURRENCY", "dollars"),
        ("SAMPLE_SHOP", "yes"),
        ("SOURCE_URL", "mysql://somewhere/db"),
        ("POSTGRES_DB", "Robert'); DROP"),
        ("WEBHOOK_TOKEN", "short"),
        ("CLICKHOUSE_PASSWORD", "with$dollar123"),
    ],
)
def test_a_value_that_is_not_usable_is_named_and_not_shown(made: Path, name: str, value: str) -> None:
    with pytest.raises(StackError) as refused:
        env_file.load(_with(made, name, value))
    assert name in str(refused.value)
    if name in env_file.SECRETS:
        assert value not in str(refused.value)


def test_an_empty_source_url_means_the_own_postgres_read_by_its_reader(made: Path) -> None:
    env = env_file.load(made)
    expected = f"postgresql://elt_reader:{env.POSTGRES_READER_PASSWORD}@127.0.0.1:5432/ecommerce_db"
    assert env.source_url == expected
    own = "postgresql://me:pw@db.example.org/shop?sslmode=require"
    assert env_file.load(_with(made, "SOURCE_URL", own)).source_url == own
