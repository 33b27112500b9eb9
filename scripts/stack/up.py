"""./run.sh in native mode: brings the stack from any state to healthy services and a green first DAG run."""

from stack import proxies, summary
from stack.first_run import await_first_green_run
from stack.native import launch, preflight, prepare, processes, supervisor
from stack.native.starter import Starter
from stack.paths import Paths
from stack.screen import Screen
from stack.table import services
from stack.table.services import Context, Service


def up(paths: Paths, screen: Screen, *, mode: str | None, wait_for_run: bool) -> None:
    """Boots the stack. Services that run and are up to date stay untouched."""
    preflight.check_room(paths)
    preflight.check_tools(paths)
    prepare.make_folders(paths)
    preflight.check_reachable(paths)
    with screen.spinner():
        env = prepare.prepare_env(paths, screen, mode, preflight.native_data(paths))
        preflight.check_secrets(paths, env)
        proxies.leave_out(env.own_hosts)
        prepare.build_environments(paths, screen)
        context = services.context_of(paths, env)
        started = _boot(context, screen)
        if wait_for_run:
            await_first_green_run(context, screen)
    if not started:
        screen.done("Everything runs already and is up to date: nothing changed.")
    summary.show(context, screen)


def _boot(context: Context, screen: Screen) -> list[str]:
    """Starts stopped services and restarts changed ones, in the order of dependencies; returns the names of those started."""
    paths = context.paths
    rows = services.enabled(context.env)
    if supervisor.states(paths) is None and (leftovers := processes.end_all(paths)):
        screen.done(f"Ended {leftovers} processes that an earlier supervisor had left behind")
    prepare.make_database_user(paths, screen)
    prepare.make_postgres_data(context, screen)
    prepare.make_clickhouse_config(context)
    running = supervisor.running(paths)
    changed = [row for row in rows if row.name in running and _has_changed(context, row)]
    for row in reversed(changed):
        screen.waiting(f"restarting {row.name}, whose settings or code have changed")
        supervisor.stop(paths, row.name)
        running.discard(row.name)
    # A server whose data must move has just been stopped; from now on it runs as another user.
    prepare.move_postgres_data(paths, screen)
    preflight.check_ports(context.env, rows, running)
    supervisor.ensure(paths, rows)
    # Ask again: the supervisor has stopped programs whose configuration changed, such as after an upgrade.
    to_start = _to_start(context, rows, supervisor.running(paths))
    if to_start:
        Starter(context, screen, to_start).run()
        long_lived = [row.name for row in rows if not row.one_shot]
        screen.done(f"All {len(long_lived)} services are healthy, {screen.seconds:.0f} s after the start")
    return [row.name for row in to_start]


def _has_changed(context: Context, row: Service) -> bool:
    note = launch.read_note(context.paths, row.name)
    return note is None or note.fingerprint != launch.fingerprint(context, row)


def _to_start(context: Context, rows: list[Service], running: set[str]) -> list[Service]:
    """Returns the long-lived rows that do not run, and the one-shots that they need or that have changed."""
    chosen = {row.name for row in rows if not row.one_shot and row.name not in running}
    for row in reversed(rows):
        waited_for = any(row.name in other.after for other in rows if other.name in chosen)
        if row.one_shot and (waited_for or _has_changed(context, row)):
            chosen.add(row.name)
    return [row for row in rows if row.name in chosen]
