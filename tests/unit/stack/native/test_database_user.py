"""The user of Postgres where root starts the stack. What is made in /etc is made in a copy that these tests alone see."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stack.errors import StackError
from stack.native import database_user, prepare
from stack.native.database_user import NOBODY, User
from stack.paths import Paths
from stack.screen import Screen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another user")

# A user that exists on no machine: numbers are enough for files.
USER = User(61234, 61235)
READ_ONLY = "mount -o remount,bind,ro /etc"
NO_USERADD = "mount --bind /dev/null $(command -v useradd)"
ASKED = """
import sys
from pathlib import Path
from stack.native import database_user
from stack.native import prepare
from stack.paths import Paths
from stack.screen import Screen
home = Path(sys.argv[1])
paths = Paths(home=home, env_file=home, venvs=home)
prepare.make_database_user(paths, Screen())
if paths.data.exists():
    prepare.move_postgres_data(paths, Screen())
print(database_user.find().uid)
"""


@pytest.fixture
def boot(repo: Path, venvs: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Output of a boot on user and data, with /etc as a copy: lines, the last of which is the uid of Postgres."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("root may make no mount namespace here, as in most containers")
    shutil.copytree("/etc", tmp_path / "etc", symlinks=True)
    # This machine may have the user.
    for file in (tmp_path / "etc").glob("*"):
        if file.name in ("passwd", "group", "shadow", "gshadow"):
            lines = file.read_text().splitlines(keepends=True)
            file.write_text("".join(line for line in lines if not line.startswith(f"{database_user.NAME}:")))

    def run(*before: str, home: Path = tmp_path / "home") -> list[str]:
        script = "\n".join(["set -e", f"mount --bind {tmp_path / 'etc'} /etc", *before, 'exec "$@"'])
        answer = subprocess.run(
            [
                "unshare",
                "--mount",
                "bash",
                "-c",
                script,
                "bash",
                str(venvs / "scripts/bin/python"),
                "-c",
                ASKED,
                str(home),
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(repo / "scripts")},
            capture_output=True,
            text=True,
            check=True,
        )
        return answer.stdout.splitlines()

    return run


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder of nobody with files at two depths, one of them root's, in a folder that everybody can enter."""
    top = Path(tempfile.mkdtemp(prefix="stack-tests-", dir="/tmp"))
    top.chmod(0o755)
    folder = top / "data" / "postgres"
    for name in ("base/1", "pg_wal", "pg_tblspc"):
        (folder / name).mkdir(parents=True)
    for name in ("PG_VERSION", "base/1/1259", "base/1/root"):
        (folder / name).write_text("15\n")
    give_back(folder)
    os.chown(folder / "base/1/root", 0, 0)
    yield folder
    shutil.rmtree(top)


def give_back(folder: Path) -> None:
    """Gives everything to nobody, as an earlier version did."""
    for place in (folder, *folder.rglob("*")):
        os.chown(place, NOBODY, NOBODY, follow_symlinks=False)


def owner(place: Path) -> int:
    return place.stat(follow_symlinks=False).st_uid


def test_the_first_boot_makes_a_system_user_that_cannot_log_in_and_the_next_one_finds_it(
    boot: Callable[..., list[str]], tmp_path: Path
) -> None:
    (first,) = boot()
    assert first == boot()[-1]
    passwd = (tmp_path / "etc/passwd").read_text().splitlines()
    (line,) = [line for line in passwd if line.startswith(f"{database_user.NAME}:")]
    assert line.split(":")[2] == first != str(NOBODY)
    assert int(first) < 1000
    assert line.split(":")[5:] == ["/nonexistent", "/usr/sbin/nologin"]


@pytest.mark.parametrize(
    ("before", "why"), [(READ_ONLY, "cannot lock /etc/passwd"), (NO_USERADD, "useradd is missing")]
)
def test_where_no_user_can_be_made_it_is_nobody_and_that_is_said(
    boot: Callable[..., list[str]], before: str, why: str
) -> None:
    *said, uid = boot(before)
    assert uid == str(NOBODY)
    assert "Postgres runs as nobody" in said[0] and why in said[0] and database_user.NAME in said[0]


def test_the_first_boot_after_an_upgrade_moves_the_data_and_the_next_one_has_nothing_to_do(
    boot: Callable[..., list[str]], data: Path
) -> None:
    said, uid = boot(home=data.parents[1])
    assert f"Gave Postgres' data to the user that it runs as (uid {uid})" in said
    assert str(owner(data)) == str(owner(data / "base/1/1259")) == uid != str(NOBODY)
    assert boot(home=data.parents[1]) == [uid]


def test_where_no_user_can_be_made_the_data_stays_nobodys(boot: Callable[..., list[str]], data: Path) -> None:
    assert len(boot(READ_ONLY, home=data.parents[1])) == 2
    assert owner(data) == NOBODY


def test_data_of_nobody_moves_whole_and_is_closed_to_others(data: Path) -> None:
    data.chmod(0o755)
    database_user.move(data, USER)
    places = [data, *data.rglob("*")]
    assert {place for place in places if owner(place) != USER.uid} == {data / "base/1/root"}
    assert data.stat().st_mode & 0o777 == 0o700
    assert database_user.of(data) == USER


def test_a_link_is_given_and_what_it_leads_to_is_not(data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    os.chown(tmp_path / "secret", NOBODY, NOBODY)
    (data / "base/link").symlink_to(tmp_path / "secret")
    (data / "base/folder").symlink_to(tmp_path)
    give_back(data)
    database_user.move(data, USER)
    assert owner(data / "base/link") == owner(data / "base/folder") == USER.uid
    assert owner(tmp_path / "secret") == NOBODY and owner(tmp_path) == 0


def test_a_tablespace_elsewhere_is_named_with_the_cure_before_anything_moves(data: Path, tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    (data / "pg_tblspc/16400").symlink_to(tmp_path / "fast")
    give_back(data)
    os.chown(tmp_path / "fast", NOBODY, NOBODY)
    with pytest.raises(StackError, match=rf"16400 leads to .*/fast.*`chown -R 61234:61235 {tmp_path}/fast`"):
        database_user.move(data, USER)
    assert {owner(place) for place in (data, data / "PG_VERSION")} == {NOBODY}
    os.chown(tmp_path / "fast", USER.uid, USER.gid)
    database_user.move(data, USER)
    assert owner(data) == USER.uid


def test_a_move_that_was_killed_is_completed_by_the_next_one(data: Path, repo: Path, venvs: Path) -> None:
    for number in range(4_000):
        (data / "base/1" / str(number)).touch()
    program = (
        "import sys; from pathlib import Path; from stack.native.database_user import User, move;"
        f"move(Path(sys.argv[1]), User({USER.uid}, {USER.gid}))"
    )
    command = [str(venvs / "scripts/bin/python"), "-c", program, str(data)]
    for _ in range(20):
        give_back(data)
        with subprocess.Popen(command, env={"PYTHONPATH": str(repo / "scripts")}) as mover:
            while owner(data) == NOBODY and mover.poll() is None:
                pass
            mover.send_signal(signal.SIGKILL)
        if owner(data) == 0:
            break
    assert owner(data) == 0 and owner(data / "PG_VERSION") == NOBODY
    assert database_user.is_unclaimed(data)
    database_user.move(data, USER)
    assert {owner(place) for place in (data, *data.rglob("*"))} == {USER.uid}


def test_data_of_another_user_stays_that_users(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = Paths(home=data.parents[1], env_file=data, venvs=data)
    os.chown(data, 61236, 61236)
    prepare.make_database_user(paths, Screen())
    prepare.move_postgres_data(paths, Screen())
    assert owner(data) == 61236
    assert database_user.of(data) == User(61236, 61236)
    assert capsys.readouterr().out == ""
