"""Bad `.env` files: what each is told, the same both ways, and that the file stays as it was."""

import os
import re
from pathlib import Path

import pytest
from stack.env import file as env_file
from stack.errors import StackError
from stack.native import prepare
from stack.paths import Paths
from stack.screen import Screen

REPO = Path(__file__).resolve().parents[4]
SECRET = "a-secret-that-nobody-may-see"
WHSEC = "write whsec_ and the base64 of 24 to 64 random bytes"
PORT = "a port is a number from 1 to 65535; choose a free one."
DOLLAR = "has a $ that Compose would replace; put the value in single quotes."
WEAK = "a secret has at least 8 characters, and no space, quote, \\, $, # or `."
HOST = (
    "write the name of a host alone, without https:// and port, which CLICKHOUSE_SECURE and CLICKHOUSE_HTTP_PORT say."
)
LAKE = "write file:///folder, s3://bucket/prefix or gs://bucket/prefix, or nothing."
URL = "write an address such as https://host/path, or nothing."
SOURCE = "write an address such as postgresql://user:password@host:5432/database, or nothing."
UNSEEN = "is a value that is not shown ({} characters)"
QUOTE = "opens a quote that its line does not close; close it, or take it out."
HASH = "has a # that Compose may take for a comment; put the value in single quotes."
CRON = "write @daily or a cron expression in UTC."

# A line in place of the line of that name -> what is said of it, after the number of the line.
LINES = [
    ("WEBHOOK_TOKEN", f'WEBHOOK_TOKEN="{SECRET}', f"WEBHOOK_TOKEN {QUOTE}"),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN='{SECRET}", f"WEBHOOK_TOKEN {QUOTE}"),
    ("WEBHOOK_TOKEN", f'WEBHOOK_TOKEN="{SECRET}" more', "WEBHOOK_TOKEN has text after its closing quote; take out the quote or the text."),
    ("WEBHOOK_TOKEN", f'WEBHOOK_TOKEN="{SECRET}\\n"', "WEBHOOK_TOKEN has a backslash in quotes, which programs read differently; leave out the quotes."),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN={SECRET}$HOME", f"WEBHOOK_TOKEN {DOLLAR}"),
    ("WEBHOOK_TOKEN", f'WEBHOOK_TOKEN="{SECRET}${{X}}"', f"WEBHOOK_TOKEN {DOLLAR}"),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN={SECRET}#1", f"WEBHOOK_TOKEN {HASH}"),
    ("SOURCE_URL", "SOURCE_URL= # none", f"SOURCE_URL {HASH}"),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN {SECRET}", "has no =; write NAME=value, or begin a comment with #."),
    ("WEBHOOK_TOKEN", SECRET, "has no =; write NAME=value, or begin a comment with #."),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN: {SECRET}", "has no =; write NAME=value, or begin a comment with #."),
    ("WEBHOOK_TOKEN", f"WEBHOOK TOKEN={SECRET}", "does not begin with a name; write NAME=value, with letters, digits and _ in the name."),
    ("WEBHOOK_TOKEN", f"={SECRET}", "does not begin with a name; write NAME=value, with letters, digits and _ in the name."),
    ("WEBHOOK_TOKEN", f"set -a; WEBHOOK_TOKEN={SECRET}", "does not begin with a name; write NAME=value, with letters, digits and _ in the name."),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN={SECRET}\0", "WEBHOOK_TOKEN holds a character that cannot be seen, such as NUL; type its value anew."),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN={SECRET}\u00a0", "WEBHOOK_TOKEN holds a character that cannot be seen, such as NUL; type its value anew."),
    ("WEBHOOK_TOKEN", f"WEBHOOK_TOKEN={SECRET}\rX=y", "WEBHOOK_TOKEN holds a character that cannot be seen, such as NUL; type its value anew."),
]  # fmt: skip

# A value -> what is said of it, after the number of the line and the name.
VALUES = [
    ("POSTGRES_PORT", "70000", f"is '70000': {PORT}"),
    ("POSTGRES_PORT", "0", f"is '0': {PORT}"),
    ("AIRFLOW_PORT", "eighty", f"is 'eighty': {PORT}"),
    ("WEBHOOK_PORT", "5001.0", f"is '5001.0': {PORT}"),
    ("SUPERSET_PORT", "", f"is empty: {PORT}"),
    ("SUPERSET_PORT", "8080", "is '8080', as AIRFLOW_PORT is; give each a port of its own."),
    ("BIND_ADDRESS", "localhost", "is 'localhost': write an IP address of this machine, such as 127.0.0.1."),
    ("SHOP_TIMEZONE", "Mars/Olympus", "is 'Mars/Olympus': write a time zone of the IANA list, such as Europe/Paris."),
    ("SHOP_TIMEZONE", "../../etc/passwd", "is '../../etc/passwd': write a time zone of the IANA list, such as Europe/Paris."),
    ("SHOP_CURRENCY", "dollars", "is 'dollars': write a code of ISO 4217, such as EUR."),
    ("SHOP_CURRENCY", "XYZ", "is 'XYZ': write a code of ISO 4217, such as EUR."),
    ("SAMPLE_SHOP", "yes", "is 'yes': write true or false."),
    ("NOTIFY_SUCCESS", "True", "is 'True': write true or false."),
    ("CLICKHOUSE_TABLE_ENGINE", "Log", "is 'Log': write MergeTree or ReplicatedMergeTree."),
    ("SOURCE_URL", f"mysql://me:{SECRET}@db/shop", f"{UNSEEN.format(47)}: {SOURCE}"),
    ("SOURCE_URL", f"me:{SECRET}@db/shop", f"{UNSEEN.format(39)}: {SOURCE}"),
    ("SOURCE_URL", f"postgresql://me:{SECRET}@db:port/shop", f"{UNSEEN.format(57)}: {SOURCE}"),
    ("NOTIFY_URL", f"hooks.example.com/{SECRET}", f"{UNSEEN.format(46)}: {URL}"),
    ("NOTIFY_URL", f"https:///{SECRET}", f"{UNSEEN.format(37)}: {URL}"),
    ("LAKE_URL", "/srv/lake", f"{UNSEEN.format(9)}: {LAKE}"),
    ("LAKE_URL", "s3:///raw", f"{UNSEEN.format(9)}: {LAKE}"),
    ("CLICKHOUSE_HOST", "https://warehouse.example.com", f"is 'https://warehouse.example.com': {HOST}"),
    ("CLICKHOUSE_HOST", "warehouse.example.com:8443", f"is 'warehouse.example.com:8443': {HOST}"),
    ("POSTGRES_DB", "Robert; DROP", "is 'Robert; DROP': write small letters, digits and _, such as ecommerce, up to 63."),
    ("POSTGRES_USER", "", "is empty: write small letters, digits and _, such as ecommerce, up to 63."),
    ("CLICKHOUSE_PASSWORD", "short", f"{UNSEEN.format(5)}: {WEAK}"),
    ("MASK_SALT", "'with $ dollar'", f"{UNSEEN.format(13)}: {WEAK}"),
    ("WEBHOOK_TOKEN", "eight-ch", f"{UNSEEN.format(8)}: the token has at least 16 characters, and no space, quote, \\, $, # or `."),
    ("AIRFLOW_DB_PASSWORD", "with/slash@sign", f"{UNSEEN.format(15)}: this secret has at least 8 characters: letters, digits, and . _ ~ -."),
    ("AIRFLOW_FERNET_KEY", SECRET, f"{UNSEEN.format(28)}: a Fernet key is 32 bytes in URL-safe base64; put the old key back."),
    ("WEBHOOK_SIGNING_SECRET", SECRET, f"{UNSEEN.format(28)}: {WHSEC}; several are separated by a space."),
    ("NOTIFY_SIGNING_SECRET", "whsec_c2hvcnQ=", f"{UNSEEN.format(14)}: {WHSEC}; several are separated by a space."),
    ("ELT_SCHEDULE", "", f"is empty: the schedule is neither a preset such as @daily nor a cron expression of five fields, such as 0 4 * * *; {CRON}"),
    ("ELT_SCHEDULE", "every five minutes", f"is 'every five minutes': the schedule is neither a preset such as @daily nor a cron expression of five fields, such as 0 4 * * *; {CRON}"),
    ("ELT_SCHEDULE", "61 * * * *", f"is '61 * * * *': the schedule has '61' as its minute, which goes from 0 to 59; {CRON}"),
    ("ELT_SCHEDULE", "0 0 30 2 *", f"is '0 0 30 2 *': the schedule never fires: none of its months has such a day; {CRON}"),
]  # fmt: skip


def good(way: str) -> str:
    return "\n".join(env_file.fill(REPO / ".env.example", {}, {}, STACK_MODE=way)) + "\n"


def with_line(text: str, name: str, line: str) -> tuple[str, int]:
    """The text with `line` in place of the line of `name`, and the number of that line."""
    lines = text.split("\n")
    number = next(n for n, each in enumerate(lines) if each.startswith(f"{name}="))
    lines[number] = line
    return "\n".join(lines), number + 1


@pytest.fixture(params=["native", "docker"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refused(home: Path, mode: str, content: bytes) -> str:
    """Output of a boot of that mode of `.env`; that it shows no secret and leaves nothing but that file is asserted."""
    home.mkdir()
    file = home / ".env"
    file.write_bytes(content)
    with pytest.raises(StackError) as refusal:
        prepare.prepare_env(Paths(home=home, env_file=file, venvs=home), Screen(), mode, None)
    assert SECRET not in str(refusal.value)
    assert file.read_bytes() == content
    assert list(home.iterdir()) == [file]
    return f"{refusal.value}\n"


@pytest.mark.parametrize(("name", "line", "sentence"), LINES)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(tmp_path, mode, name, line, sentence) -> None:
    text, number = with_line(good(mode), name, line)
    said = refused(tmp_path / "home", mode, text.encode())
    assert said == (
        f"{tmp_path}/home/.env cannot be used, and nothing was changed or started:\n  line {number}: {sentence}\n"
    )


@pytest.mark.parametrize(("name", "value", "sentence"), VALUES)
def test_a_value_that_cannot_be_used_is_refused_with_its_number(tmp_path, mode, name, value, sentence) -> None:
    text, number = with_line(good(mode), name, f"{name}={value}")
    said = refused(tmp_path / "home", mode, text.encode())
    assert said.endswith(f":\n  line {number}: {name} {sentence}\n")


def test_every_mistake_is_named_at_once_in_the_order_of_the_lines(tmp_path, mode) -> None:
    text = good(mode)
    numbers = []
    for name, value in [("POSTGRES_PORT", "x"), ("SHOP_CURRENCY", "EURO"), ("NOTIFY_URL", "here")]:
        text, number = with_line(text, name, f"{name}={value}")
        numbers.append(number)
    said = refused(tmp_path / "home", mode, text.encode())
    assert [int(number) for number in re.findall(r"^  line (\d+):", said, re.MULTILINE)] == numbers


def test_the_verbs_name_every_bad_line_both_ways_and_start_nothing(way, tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    text = good(way.name) + "".join(f"{line}\n" for _, line, _ in LINES)
    first = good(way.name).count("\n") + 1
    (home / ".env").write_text(text, newline="")
    code, said = way.make(home)
    assert code == 1
    for number, (_, _, sentence) in enumerate(LINES, start=first):
        assert f"  line {number}: {sentence}\n" in said
    assert SECRET not in said
    assert [file.name for file in home.iterdir()] == [".env"]
    assert (home / ".env").read_bytes() == text.encode()


def test_one_stray_quote_names_its_line_alone_and_no_secret_is_made_anew(way, tmp_path) -> None:
    """The lines up to the next quote used to be one value, and the names in them were made anew."""
    home = tmp_path / "home"
    home.mkdir()
    text, first = with_line(good(way.name), "CLICKHOUSE_PASSWORD", f'CLICKHOUSE_PASSWORD="{SECRET}')
    text, _ = with_line(text, "MASK_SALT", f'MASK_SALT="{SECRET}"')
    (home / ".env").write_text(text)
    code, said = way.make(home)
    assert code == 1
    assert re.findall(r"^  line (\d+):", said, re.MULTILINE) == [str(first)]
    assert (home / ".env").read_text() == text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"A=1\nB=caf\xe9\n", "  line 2: holds bytes that are not UTF-8; save the file in that encoding."),
        ("A=1\n".encode("utf-16"), "  line 1: holds bytes that are not UTF-8; save the file in that encoding."),
        ("A=1\n".encode("utf-16-le"), "  line 1: holds a character that cannot be seen, such as NUL or a lone carriage return; type the line anew."),
        (b"A=1\rB=2\r", "  line 1: A holds a character that cannot be seen, such as NUL; type its value anew."),
        (b"\x7fELF\x02\x01", "  line 1: holds a character that cannot be seen, such as NUL or a lone carriage return; type the line anew."),
    ],
)  # fmt: skip
def test_a_file_that_is_no_text_is_one_sentence(tmp_path, mode, content, sentence) -> None:
    assert f"{sentence}\n" in refused(tmp_path / "home", mode, content)


def test_a_folder_in_its_place_is_told(way, tmp_path) -> None:
    (tmp_path / "home" / ".env").mkdir(parents=True)
    code, said = way.make(tmp_path / "home")
    assert (code, "home/.env is no plain file: put one in its place." in said) == (1, True), said


def test_a_link_that_leads_nowhere_is_no_first_boot(way, tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".env").symlink_to(tmp_path / "gone")
    code, said = way.make(home)
    assert (code, f"links to {tmp_path}/gone, which is not there: put the file back." in said) == (1, True), said
    assert not (tmp_path / "gone").exists()


def test_a_file_that_this_user_cannot_read_is_told(server_folder: Path) -> None:
    file = server_folder / "unreadable"
    file.write_text(good("native"))
    file.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(StackError, match="cannot be read by this user: `chmod 600` and `chown` it"):
            env_file.load(file)
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("gone", ["line", "value"])
def test_a_secret_that_data_was_made_with_is_not_made_anew(way, tmp_path, gone) -> None:
    home = tmp_path / "home"
    home.mkdir()
    text, number = with_line(
        good(way.name), "SUPERSET_SECRET_KEY", "# here" if gone == "line" else "SUPERSET_SECRET_KEY="
    )
    (home / ".env").write_text(text)
    code, said = way.make(home, data=True)
    where = "SUPERSET_SECRET_KEY is missing" if gone == "line" else f"line {number}: SUPERSET_SECRET_KEY is empty"
    assert code == 1
    assert f"  {where}; put the old value back.\n  The data was made with them; {home}/.env.bak may have them" in said
    assert (home / ".env").read_text() == text
    assert not (home / ".env.bak").exists()


def test_a_password_that_is_applied_at_each_boot_is_made_anew_and_said_although_there_is_data(way, tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    text, number = with_line(good(way.name), "SUPERSET_ADMIN_PASSWORD", "SUPERSET_ADMIN_PASSWORD=")
    (home / ".env").write_text(text)
    code, said = way.make(home, data=True)
    assert code == 0, said
    assert f"Added SUPERSET_ADMIN_PASSWORD to {home}/.env; the file as it was is {home}/.env.bak" in said
    lines = (home / ".env").read_text().splitlines()
    assert re.fullmatch(r"SUPERSET_ADMIN_PASSWORD=\w{48}", lines[number - 1])
    assert [line for n, line in enumerate(lines, 1) if n != number] == [
        line for n, line in enumerate(text.splitlines(), 1) if n != number
    ]
    assert (home / ".env.bak").read_text() == text
    assert {(home / name).stat().st_mode & 0o777 for name in (".env", ".env.bak")} == {0o600}


def test_data_without_its_file_is_no_first_boot(way, tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code, said = way.make(home, data=True)
    assert (code, f"{home}/.env with its secrets is gone: put that file back, or " in said) == (1, True), said
    assert not (home / ".env").exists()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SHOP_CURRENCY", "dollars", "the environment: SHOP_CURRENCY is 'dollars': write a code of ISO 4217"),
        ("POSTGRES_PORT", "abc", f"the environment: POSTGRES_PORT is 'abc': {PORT}"),
        ("BIND_ADDRESS", "localhost", "the environment: BIND_ADDRESS is 'localhost': write an IP address"),
        ("BIND_ADDRESS", "192.0.2.1", "BIND_ADDRESS=192.0.2.1 is no address of this machine: write one of"),
        (
            "SHOP_TIMEZONE",
            "UTC\nX=1",
            "The environment's SHOP_TIMEZONE holds what no line of the file can: a line break",
        ),
    ],
)
def test_a_value_of_the_environment_that_cannot_be_used_makes_no_file(way, tmp_path, name, value, sentence) -> None:
    (tmp_path / "home").mkdir()
    code, said = way.make(tmp_path / "home", **{name: value})
    assert (code, sentence in said) == (1, True), said
    assert not (tmp_path / "home" / ".env").exists()


def test_localhost_in_a_container_is_refused_and_natively_it_is_not(way, tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    text, number = with_line(good(way.name), "SOURCE_URL", "SOURCE_URL=postgresql://me:pass@127.0.0.1/shop")
    (home / ".env").write_text(text)
    code, said = way.make(home)
    assert code == (1 if way.name == "docker" else 0), said
    assert (f"line {number}: SOURCE_URL names localhost" in said) == (way.name == "docker")


def test_an_unknown_way_is_refused_before_anything_is_started(way, tmp_path) -> None:
    text, _ = with_line(good(way.name), "STACK_MODE", "STACK_MODE=podman")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".env").write_text(text)
    code, said = way.make(home)
    assert code == 1
    assert "This stack runs the podman way" in said
    assert (home / ".env").read_text() == text
