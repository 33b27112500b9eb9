"""`.env`: what is generated, kept, added and refused."""

import io
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from stack.env import checks as env_checks
from stack.env import currencies
from stack.env import file as env_file
from stack.env import lines as env_lines
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


@pytest.mark.parametrize("name", sorted(env_file.SECRETS))
def test_an_empty_secret_is_filled_in_its_place(example: Path, made: Path, name: str) -> None:
    before = env_file.read_values(made)
    made.write_text("".join(f"{k}={'' if k == name else v}\n" for k, v in before.items()))
    assert env_file.add_missing(example, made, {}) == [name]
    after = env_file.read_values(made)
    assert list(after) == list(before) and after[name] not in ("", before[name])
    assert {k: v for k, v in after.items() if k != name} == {k: v for k, v in before.items() if k != name}


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


# A line for SHOP_TIMEZONE -> its value.
GOOD_LINES = [
    ("SHOP_TIMEZONE=Europe/Paris", "Europe/Paris"),
    ("export SHOP_TIMEZONE=Europe/Paris", "Europe/Paris"),
    ("export\t SHOP_TIMEZONE = Europe/Paris", "Europe/Paris"),
    ("  SHOP_TIMEZONE = Europe/Paris  ", "Europe/Paris"),
    ("SHOP_TIMEZONE='Europe/Paris'", "Europe/Paris"),
    ('SHOP_TIMEZONE="Europe/Paris"', "Europe/Paris"),
    ("SHOP_TIMEZONE='Europe/Paris' # business days", "Europe/Paris"),
    ("SHOP_TIMEZONE=Europe/Paris # business days", "Europe/Paris"),
    ("SHOP_TIMEZONE=Europe/Paris\r", "Europe/Paris"),
    ("SHOP_TIMEZONE='Europe/Paris'\r", "Europe/Paris"),
    ("SHOP_TIMEZONE=UTC\nSHOP_TIMEZONE=Europe/Paris", "Europe/Paris"),
    ("\ufeffSHOP_TIMEZONE=Europe/Paris", "Europe/Paris"),
    ("#SHOP_TIMEZONE=UTC\n\n \nSHOP_TIMEZONE=Europe/Paris", "Europe/Paris"),
    ("SHOP_TIMEZONE='a $HOME #1'", "a $HOME #1"),
    ("SHOP_TIMEZONE='a \"b\"'", 'a "b"'),
    ('SHOP_TIMEZONE="it\'s"', "it's"),
    ("SHOP_TIMEZONE=a\\b", "a\\b"),
    ("SHOP_TIMEZONE=a\"b'c", "a\"b'c"),
    ("SHOP_TIMEZONE=one two  three", "one two  three"),
    ("SHOP_TIMEZONE=caf\u00e9", "caf\u00e9"),
    ("SHOP_TIMEZONE=a=b=c", "a=b=c"),
    ("SHOP_TIMEZONE=", ""),
    ("SHOP_TIMEZONE=''", ""),
]


@pytest.mark.parametrize(("line", "value"), GOOD_LINES)
def test_a_line_is_read_as_dotenv_and_the_shell_scripts_read_it(
    repo: Path, tmp_path: Path, line: str, value: str
) -> None:
    file = tmp_path / ".env"
    file.write_bytes(f"{line}\nWEBHOOK_PORT=1\n".encode())
    assert env_file.read_values(file)["SHOP_TIMEZONE"] == value
    read = "repo=$0 stack_home=$1 STACK_HOME=$1; source $repo/scripts/docker.sh; env_value SHOP_TIMEZONE"
    answer = subprocess.run(["bash", "-euc", read, str(repo), str(tmp_path)], capture_output=True, check=True)
    assert answer.stdout.decode() == f"{value}\n"
    # An independent reader; it alone takes the mark for a part of the name.
    text = file.read_bytes().decode().removeprefix("\ufeff")
    assert dotenv_values(stream=io.StringIO(text), interpolate=False)["SHOP_TIMEZONE"] == value


def test_compose_reads_the_same_values(tmp_path: Path) -> None:
    """By Compose v2 where it is installed; the test above stands for it elsewhere, with the rules of its reader."""
    program = shutil.which("docker-compose")
    words = [program] if program else ["docker", "compose"]
    version = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False).stdout
    if not version.lstrip("v").startswith(("2.", "3.", "4.", "5.")):
        assert len(GOOD_LINES) > 20
        return
    (tmp_path / "compose.yml").write_text(
        "services: {one: {image: one, environment: {SEEN: '${SHOP_TIMEZONE-}'}}}\nname: one\n"
    )
    for line, value in GOOD_LINES:
        (tmp_path / ".env").write_bytes(f"{line}\nWEBHOOK_PORT=1\n".encode())
        command = [*words, "--env-file", str(tmp_path / ".env"), "-f", str(tmp_path / "compose.yml"), "config"]
        answer = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
        seen = yaml.safe_load(answer.stdout)["services"]["one"]["environment"]["SEEN"]
        assert seen.replace("$$", "$") == value, line


@pytest.mark.parametrize("value", ["plain", "two words", "a $ and a #", 'a "quote"', "it's", "", "caf\u00e9", "a\\b"])
def test_a_rendered_value_is_read_back(tmp_path: Path, value: str) -> None:
    file = tmp_path / ".env"
    file.write_text(env_lines.render("NAME", value) + "\n")
    assert env_file.read_values(file) == {"NAME": value}


@pytest.mark.parametrize("value", ["two\nlines", "it's $5", "tab\0nul", " outer space "])
def test_a_value_that_no_line_can_hold_is_refused_unless_quotes_hold_it(tmp_path: Path, value: str) -> None:
    try:
        line = env_lines.render("NAME", value)
    except ValueError as error:
        assert "holds what no line of the file can" in str(error)
        assert value != " outer space "
        return
    assert line == "NAME=' outer space '"


def test_a_write_keeps_the_old_file_and_a_link_stays_a_link(example: Path, made: Path, tmp_path: Path) -> None:
    link = tmp_path / "link" / ".env"
    link.parent.mkdir()
    link.symlink_to(made)
    made.chmod(0o644)
    old = _with(made, "WEBHOOK_TOKEN", "").read_text()
    assert env_file.add_missing(example, link, {}) == ["WEBHOOK_TOKEN"]
    assert link.is_symlink()
    assert env_file.load(made).WEBHOOK_TOKEN
    backup = made.with_name(".env.bak")
    assert backup.read_text() == old
    assert {file.stat().st_mode & 0o777 for file in (made, backup)} == {0o600}
    assert not made.with_name(".env.new").exists()


def test_a_write_that_fails_leaves_the_old_file_and_says_so(made: Path) -> None:
    old = made.read_bytes()
    blocked = made.with_name(".env.new")
    blocked.mkdir()
    with pytest.raises(StackError, match=r"could not be written .*, and is as it was"):
        env_file.write_new(made, ["A=1"])
    assert made.read_bytes() == old


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write the file of another user")
def test_root_leaves_the_file_to_its_owner(example: Path, made: Path) -> None:
    os.chown(_with(made, "WEBHOOK_TOKEN", ""), 65534, 65534)
    env_file.add_missing(example, made, {})
    assert {file.stat().st_uid for file in (made, made.with_name(".env.bak"))} == {65534}


def test_windows_line_ends_stay_and_what_is_added_has_them(example: Path, made: Path) -> None:
    text = _with(made, "WEBHOOK_TOKEN", "").read_text().replace("SHOP_CURRENCY=USD\n", "")
    made.write_bytes(text.replace("\n", "\r\n").encode())
    assert env_file.add_missing(example, made, {}) == ["SHOP_CURRENCY", "WEBHOOK_TOKEN"]
    assert made.read_bytes().count(b"\n") == made.read_bytes().count(b"\r\n")
    assert env_file.load(made).SHOP_CURRENCY == "USD"


def test_names_that_stand_twice_or_are_spelt_wrong_and_open_modes_are_warned_of(example: Path, made: Path) -> None:
    known = env_file.read_values(example)
    assert env_checks.warnings(made, known) == []
    with made.open("a") as file:
        file.write("SHOP_CURRENCY=EUR\nSHOP_TIMZONE=Europe/Paris\nMARKETING_URL=postgresql://m@h/d\n")
    made.chmod(0o640)
    said = env_checks.warnings(made, known)
    assert re.match(r"SHOP_CURRENCY stands in lines \d+, \d+ of .*: the last one counts; remove the others\.", said[0])
    assert re.match(r"line \d+ of .* says SHOP_TIMZONE, which nothing reads: did you mean SHOP_TIMEZONE\?", said[1])
    assert said[2] == f"{made} can be read by others: `chmod 600 {made}`."
    assert len(said) == 3
    assert env_file.load(made).SHOP_CURRENCY == "EUR"


def test_several_signing_secrets_are_taken_for_rotation(made: Path) -> None:
    secret = env_file.load(made).WEBHOOK_SIGNING_SECRET
    assert env_file.load(_with(made, "WEBHOOK_SIGNING_SECRET", f"{secret} {secret}")).WEBHOOK_SIGNING_SECRET


@pytest.mark.parametrize(
    ("mode", "values", "wrong"),
    [
        ("native", {"AIRFLOW_DB_PORT": "5432"}, False),
        ("docker", {"AIRFLOW_DB_PORT": "5432"}, True),
        ("native", {"CLICKHOUSE_NATIVE_PORT": "5432"}, False),
        ("native", {"CLICKHOUSE_NATIVE_PORT": "5432", "CLICKHOUSE_BINARY": "/usr/bin/clickhouse"}, True),
        ("native", {"CLICKHOUSE_HTTP_PORT": "8088"}, True),
        ("native", {"CLICKHOUSE_HTTP_PORT": "8088", "CLICKHOUSE_HOST": "warehouse.example.com"}, False),
    ],
)
def test_ports_are_equal_only_where_both_are_listened_on(
    made: Path, mode: str, values: dict[str, str], wrong: bool
) -> None:
    for name, value in {"STACK_MODE": mode, **values}.items():
        _with(made, name, value)
    if not wrong:
        env_file.load(made)
        return
    with pytest.raises(StackError, match="give each a port of its own"):
        env_file.load(made)


def test_currencies_are_those_that_a_library_knows(venvs: Path) -> None:
    listing = "from babel import Locale; print(*Locale('en').currencies)"
    known = subprocess.run([venvs / "superset/bin/python", "-c", listing], capture_output=True, text=True, check=True)
    assert set(known.stdout.split()) >= currencies.CODES
    assert {"USD", "EUR", "JPY", "INR", "BRL", "CHF"} <= currencies.CODES


@pytest.mark.parametrize(
    "url",
    [
        "postgres://me@db/shop",
        "postgresql://me:p%40ss@db.example.org:5432/shop?sslmode=require",
        "postgresql://me@one:5432,two:5433/shop?target_session_attrs=any",
        "postgresql://me@[2001:db8::1]/shop",
        "postgresql:///shop?host=/run/postgresql",
    ],
)
def test_a_source_is_what_libpq_reads(made: Path, url: str) -> None:
    assert url == env_file.load(_with(made, "SOURCE_URL", url)).SOURCE_URL


@pytest.mark.parametrize(
    ("host", "here"), [("localhost", True), ("db,127.0.0.1", True), ("[::1]", True), ("db", False)]
)
def test_localhost_means_the_container_itself(made: Path, host: str, here: bool) -> None:
    _with(_with(made, "STACK_MODE", "docker"), "SOURCE_URL", f"postgresql://me@{host}/shop")
    if not here:
        env_file.load(made)
        return
    with pytest.raises(StackError, match="inside a container is the container itself"):
        env_file.load(made)


def test_no_secret_is_shown(made: Path) -> None:
    assert {*env_file.SECRETS, "NOTIFY_SIGNING_SECRET", "SOURCE_URL", "NOTIFY_URL"} == {*env_file.CONFIDENTIAL_NAMES}
    for name in env_file.CONFIDENTIAL_NAMES:
        kept = made.read_text()
        with pytest.raises(StackError) as refused:
            env_file.load(_with(made, name, "no`good"))
        assert f"{name} is a value that is not shown (7 characters)" in str(refused.value)
        made.write_text(kept)
