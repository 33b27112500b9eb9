"""./run.sh: from whatever is there to a stack in which every service is healthy and the first DAG run is green."""

import os
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

from stack import env_file, environments, launch, ports, postgres, preflight, processes, services, summary, supervisor
from stack.airflow_api import FINAL, AirflowApi
from stack.errors import StackError
from stack.paths import Paths
from stack.screen import Screen
from stack.services import Context, Service

HEALTHY_WITHIN = 180.0
FIRST_RUN_WITHIN = 1800.0
# A service that ends this often while it is waited for will not come up by itself.
STARTS = 3


def up(paths: Paths, screen: Screen, *, mode: str | None, wait_for_run: bool) -> None:
    """Boot the stack. Whatever runs already and is up to date is left alone."""
    preflight.check_room(paths)
    preflight.check_tools(paths)
    preflight.check_data_has_its_env(paths)
    _make_folders(paths)
    preflight.check_reachable(paths)
    with screen.spinner():
        env = _prepare_env(paths, screen, mode)
        preflight.check_secrets(paths, env)
        _build_environments(paths, screen)
        context = Context(paths, env)
        started = _boot(context, screen)
        if wait_for_run:
            _await_first_green_run(context, screen)
    if not started:
        screen.done("Everything runs already and is up to date: nothing changed.")
    summary.show(context, screen)


# --- Before anything is started -----------------------------------------------------------------------------------


def _prepare_env(paths: Paths, screen: Screen, mode: str | None) -> env_file.Env:
    example = paths.repo / ".env.example"
    first = not paths.env_file.exists()
    kept = None if first else env_file.read_values(paths.env_file).get("STACK_MODE")
    if mode is not None and kept and mode != kept:
        raise StackError(
            f"This stack runs the {kept} way, and its data is there: `./stop.sh --wipe`, remove STACK_MODE from "
            f"{paths.env_file}, and start again with --{mode}."
        )
    if (mode or kept) == "docker":
        raise StackError("The Docker way is not built yet: start with `./run.sh --native`.")
    if first:
        decided = _first_ports(paths, screen)
        env_file.write_new(paths.env_file, env_file.fill(example, {}, os.environ, STACK_MODE="native", **decided))
        screen.done(f"Made {paths.env_file} with random secrets (mode 600)")
    elif keys := env_file.add_missing(example, paths.env_file, os.environ, STACK_MODE="native"):
        screen.done(f"Added {', '.join(keys)} to {paths.env_file}")
    return env_file.load(paths.env_file)


def _first_ports(paths: Paths, screen: Screen) -> dict[str, str]:
    """For each port the wanted one, or the next that is free, which is said."""
    example = env_file.read_values(paths.repo / ".env.example")
    bind = os.environ.get("BIND_ADDRESS") or example["BIND_ADDRESS"]
    chosen: dict[str, str] = {}
    for name in env_file.PORTS:
        wanted = int(os.environ.get(name) or example[name])
        port = ports.next_free(bind, wanted, {int(other) for other in chosen.values()})
        chosen[name] = str(port)
        if port != wanted:
            screen.done(f"Port {wanted} is taken by {ports.holder(wanted)}: {name}={port} instead")
    return chosen


def _build_environments(paths: Paths, screen: Screen) -> None:
    names = environments.needed()
    stale = [name for name in names if not environments.is_built(paths, name)]
    if stale:
        screen.done(f"Building the environments {', '.join(stale)} (about 2 GB, once)")
        screen.waiting("building environments")
        environments.build(
            paths, names, environments.find_uv(paths), lambda name: screen.done(f"{name} environment built")
        )


def _make_folders(paths: Paths) -> None:
    for folder in (paths.home, paths.data, paths.logs, paths.run):
        folder.mkdir(parents=True, exist_ok=True)
    # Services' folders are for their user alone; Postgres, as another user, must pass through the one above its own.
    paths.logs.chmod(0o700)
    paths.run.chmod(0o700)
    paths.data.chmod(0o711)
    for name in ("airflow", "webhook", "superset", "clickhouse"):
        (paths.data / name).mkdir(mode=0o700, exist_ok=True)


def _make_postgres_data(context: Context, screen: Screen) -> None:
    paths, env = context.paths, context.env
    data = paths.data / "postgres"
    if data.exists():
        return
    screen.waiting("making Postgres' data directory")
    folder = paths.repo / "postgres"
    shop = sorted((folder / "init").glob("*.sql"))
    if env.SAMPLE_SHOP == "false":
        shop = [folder / "init" / "03-reader.sql"]
    files = [("postgres", folder / "metadata" / "01-metadata.sql"), *((env.POSTGRES_DB, file) for file in shop)]
    names = ("USER", "PASSWORD", "DB", "READER_PASSWORD")
    values = {f"POSTGRES_{name}": env.text(f"POSTGRES_{name}") for name in names}
    values |= {name: env.text(name) for name in ("AIRFLOW_DB_PASSWORD", "SUPERSET_DB_PASSWORD")}
    binaries = postgres.find_binaries(paths.venvs)
    postgres.make_data_directory(binaries, data, init_files=files, env=values)
    sample = "with the sample shop" if env.SAMPLE_SHOP == "true" else "without the sample shop"
    screen.done(f"Made the databases of Postgres {binaries.major}, {sample}")


# --- Starting -----------------------------------------------------------------------------------------------------


def _boot(context: Context, screen: Screen) -> list[str]:
    """Start what does not run and restart what has changed, each after what it waits for; returns the names started."""
    paths = context.paths
    rows = services.enabled(context.env)
    if supervisor.states(paths) is None and (left := processes.end_all(paths)):
        screen.done(f"Ended {left} processes that an earlier supervisor had left behind")
    _make_postgres_data(context, screen)
    running = supervisor.running(paths)
    changed = [row for row in rows if row.name in running and _has_changed(context, row)]
    for row in reversed(changed):
        screen.waiting(f"restarting {row.name}, whose settings or code have changed")
        supervisor.stop(paths, row.name)
        running.discard(row.name)
    preflight.check_ports(context.env, rows, running)
    supervisor.ensure(paths, rows)
    # Once more: the supervisor has ended those whose own entry is new, such as after an upgrade.
    to_start = _to_start(context, rows, supervisor.running(paths))
    if to_start:
        _Starter(context, screen, to_start).run()
        long_lived = [row.name for row in rows if not row.one_shot]
        screen.done(f"All {len(long_lived)} services are healthy, {screen.seconds:.0f} s after the start")
    return [row.name for row in to_start]


def _has_changed(context: Context, row: Service) -> bool:
    note = launch.read_note(context.paths, row.name)
    return note is None or note.fingerprint != launch.fingerprint(context, row)


def _to_start(context: Context, rows: list[Service], running: set[str]) -> list[Service]:
    """Long-lived rows that do not run, and one-shots that these wait for or that have changed."""
    chosen = {row.name for row in rows if not row.one_shot and row.name not in running}
    for row in reversed(rows):
        waited_for = any(row.name in other.after for other in rows if other.name in chosen)
        if row.one_shot and (waited_for or _has_changed(context, row)):
            chosen.add(row.name)
    return [row for row in rows if row.name in chosen]


class _Starter:
    """Starts rows side by side, each as soon as those it waits for are healthy; stops at the first that fails."""

    def __init__(self, context: Context, screen: Screen, rows: list[Service]) -> None:
        self._context = context
        self._screen = screen
        self._rows = rows
        self._gave_up = threading.Event()

    def run(self) -> None:
        waiting = list(self._rows)
        names = {row.name for row in waiting}
        finished: set[str] = set()
        futures: dict[Future[float], str] = {}
        with ThreadPoolExecutor(max_workers=len(waiting)) as pool:
            try:
                while waiting or futures:
                    for row in [row for row in waiting if all(n in finished or n not in names for n in row.after)]:
                        waiting.remove(row)
                        futures[pool.submit(self._start, row)] = row.name
                    done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = futures.pop(future)
                        word = "done" if services.by_name(name).one_shot else "healthy"
                        self._screen.done(f"{name} {word} ({future.result():.1f} s)")
                        finished.add(name)
                    self._screen.waiting(f"waiting for {_listed(futures.values())}")
            except BaseException:
                self._gave_up.set()
                raise

    def _start(self, row: Service) -> float:
        began = time.monotonic()
        if row.one_shot:
            self._run_once(row)
        else:
            self._run_on(row)
        return time.monotonic() - began

    def _run_once(self, row: Service) -> None:
        context = self._context
        env = launch.environment(context, row)
        log = supervisor.log_path(context.paths, row.name)
        with log.open("ab") as sink:
            for command in row.commands(context):
                begin = sink.tell()
                answer = subprocess.run(command, env=env, stdout=sink, stderr=sink, cwd=context.paths.repo, check=False)
                if answer.returncode != 0:
                    last = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
                    said = last[-1] if last else f"exit code {answer.returncode}"
                    raise StackError(f"{row.name} failed ({said}): see `scripts/logs {row.name}`.")
        launch.write_note(context.paths, row.name, launch.fingerprint(context, row))

    def _run_on(self, row: Service) -> None:
        paths = self._context.paths
        asked = datetime.now(UTC)
        supervisor.start(paths, row.name)
        deadline = time.monotonic() + HEALTHY_WITHIN
        pids: set[int] = set()
        while not self._gave_up.is_set():
            missing = row.missing(self._context, asked)
            if not missing:
                return
            if (note := launch.read_note(paths, row.name)) and note.at >= asked:
                pids.add(note.pid)
            if len(pids) > STARTS or time.monotonic() > deadline:
                why = f"ended {STARTS} times" if len(pids) > STARTS else f"is not healthy ({missing})"
                raise StackError(
                    f"{row.name} {why}; its last words: {self._last_words(row)}. See `scripts/logs {row.name}`."
                )
            time.sleep(0.2)

    def _last_words(self, row: Service) -> str:
        lines = supervisor.log_path(self._context.paths, row.name).read_text(errors="replace").strip().splitlines()
        return lines[-1].rstrip(".") if lines else "none"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "the last services"


# --- The first run ------------------------------------------------------------------------------------------------


def _await_first_green_run(context: Context, screen: Screen) -> None:
    """Wait until the DAG has had one green run. Raises StackError when its first runs have failed."""
    api = AirflowApi(context.env)
    if api.dag() is not None and api.green_runs():
        return
    began = time.monotonic()
    while time.monotonic() - began < FIRST_RUN_WITHIN:
        if errors := api.import_errors():
            raise StackError(f"The DAG cannot be imported ({errors[0]}): mend it; Airflow reads it again by itself.")
        runs = api.runs(1) if api.dag() is not None else []
        if not runs:
            screen.waiting("waiting for the scheduler to begin the first DAG run")
        elif runs[0]["state"] not in FINAL:
            screen.waiting(api.progress(runs[0]))
        elif runs[0]["state"] == "success":
            screen.done(f"The first DAG run is green ({time.monotonic() - began:.0f} s)")
            return
        else:
            raise StackError(
                f"The first DAG run failed ({api.progress(runs[0])}): its tasks' logs are on "
                f"http://{context.env.address}:{context.env.AIRFLOW_PORT}; mend the cause and clear the run there."
            )
        time.sleep(1)
    raise StackError(
        "The first DAG run did not end in half an hour: look at it in Airflow, or skip the wait by --no-wait."
    )
