"""./stop.sh: stops everything in reverse order and leaves no process behind."""

import os
import shutil
import sys

from stack.errors import StackError
from stack.native import database_user, processes, supervisor
from stack.paths import Paths
from stack.screen import Screen
from stack.table import services


def down(paths: Paths, screen: Screen) -> None:
    """Stops each service gracefully, dependents first; then ends the remaining processes."""
    states = supervisor.states(paths)
    if states is None:
        leftovers = processes.end_all(paths)
        screen.done(
            f"Ended {leftovers} processes that a killed supervisor had left behind"
            if leftovers
            else "Nothing was running"
        )
        return
    with screen.spinner():
        for row in reversed(services.SERVICES):
            if states.get(row.name) in ("RUNNING", "STARTING", "BACKOFF"):
                screen.waiting(f"stopping {row.name} (up to {row.stop_seconds} s)")
                supervisor.stop(paths, row.name)
                screen.done(f"{row.name} stopped")
        screen.waiting("stopping the supervisor")
        supervisor.shutdown(paths)
        leftovers = processes.end_all(paths)
    screen.done(
        "Everything is stopped"
        + (f"; {leftovers} stray processes were ended" if leftovers else "")
        + ". Start again: ./run.sh"
    )


def ask(paths: Paths) -> None:
    """Asks the user to confirm the removal of all data. Raises StackError unless the answer is yes."""
    if not sys.stdin.isatty():
        raise StackError("--wipe removes all data and nobody is there to ask: say --yes as well.")
    answer = input(f"Stop the stack and remove all data below {paths.home}? This cannot be undone. [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise StackError("Nothing was stopped or removed: the answer was not yes.")


def wipe(paths: Paths, screen: Screen) -> None:
    """Removes the data, logs and records of a stopped stack. Keeps `.env` and the environments."""
    for folder in (paths.data, paths.logs, paths.run):
        if folder.exists():
            shutil.rmtree(folder)
    screen.done(f"Removed the data; {paths.env_file} is kept. Start with empty data: ./run.sh")
    if os.geteuid() == 0 and database_user.find().uid != database_user.NOBODY:
        screen.done(
            f"The system user {database_user.NAME} stays, for other stacks: `userdel {database_user.NAME}` removes it"
        )
