"""`python -m stack VERB`: the command behind run.sh, stop.sh, check_all_works.sh, scripts/exec and scripts/logs."""

import argparse
import os
import subprocess
import sys

from stack import down, proxies, summary, up
from stack.check import all_works as check
from stack.env import file as env_file
from stack.errors import StackError
from stack.first_run import await_first_green_run
from stack.lock import only_one
from stack.native import launch, preflight, prepare, supervisor
from stack.paths import Paths, find_paths, shown
from stack.screen import Screen, fail
from stack.table import services


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stack")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("up", prog="./run.sh", description="Boot the stack; run again, it starts what is missing.")
    run.add_argument("--native", dest="mode", action="store_const", const="native", help="without Docker")
    run.add_argument("--docker", dest="mode", action="store_const", const="docker", help="in containers")
    run.add_argument("--no-wait", action="store_true", help="do not wait for the first green DAG run")
    make = verbs.add_parser("env", description="Make or complete .env, and start nothing.")
    make.add_argument("mode", choices=["native", "docker"])
    make.add_argument("--check", action="store_true", help="only say what cannot be used")
    make.add_argument("--with-data", action="store_true", help="volumes of an earlier boot are there")
    verbs.add_parser("await", description="Wait for the first green DAG run.")
    verbs.add_parser("summary", description="Say where everything is.")
    stop = verbs.add_parser("down", prog="./stop.sh", description="Stop the stack; its data stays.")
    stop.add_argument("--wipe", action="store_true", help="also remove all data (.env stays)")
    stop.add_argument("--yes", action="store_true", help="with --wipe: do not ask")
    prove = verbs.add_parser("check", prog="./check_all_works.sh", description="Prove that every service does its job.")
    prove.add_argument("--exact", action="store_true", help="compare raw and marts with Postgres itself")
    # Exit code and output of python -m elt verify --published. The shell runs it, since it is in another service, natively or in a container.
    prove.add_argument("--verified", help=argparse.SUPPRESS)
    execute = verbs.add_parser("exec", prog="scripts/exec", description="Run a command in a service's surroundings.")
    execute.add_argument("service", choices=[*(row.name for row in services.SERVICES if not row.one_shot), "dbt"])
    execute.add_argument("command", nargs=argparse.REMAINDER)
    logs = verbs.add_parser("logs", prog="scripts/logs", description="Show a service's log.")
    logs.add_argument("service", choices=[*(row.name for row in services.SERVICES), "supervisord"])
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.add_argument("-n", "--lines", type=int, default=100, help="lines to begin with (100)")
    return parser


def _context(paths: Paths) -> services.Context:
    env = env_file.load(paths.env_file)
    proxies.leave_out(env.own_hosts)
    return services.context_of(paths, env)


def _logs(paths: Paths, arguments: argparse.Namespace) -> int:
    log = supervisor.log_path(paths, arguments.service)
    if not log.exists():
        raise StackError(f"{arguments.service} has no log yet: start the stack by ./run.sh.")
    words = ["tail", "-n", str(arguments.lines), *(["-F"] if arguments.follow else []), str(log)]
    return subprocess.run(words, check=False).returncode


def _exec(paths: Paths, arguments: argparse.Namespace) -> int:
    """Replaces this process by the command, with the service's environment and its programs first on the PATH."""
    context = _context(paths)
    row = services.by_name(arguments.service)
    env = {**launch.environment(context, row), **row.for_people(context)}
    folder = services.programs(context, row)
    env["PATH"] = f"{folder}{os.pathsep}{env.get('PATH', os.defpath)}"
    env |= {name: os.environ[name] for name in ("TERM", "COLUMNS", "LINES") if name in os.environ}
    command = arguments.command or [os.environ.get("SHELL", "/bin/sh")]
    os.chdir(paths.repo / "dbt" if row.name == "dbt" else paths.repo)
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        raise StackError(f"{command[0]} is not to be found in {row.name}: check the spelling.") from None


def main() -> int:
    arguments = _parser().parse_args()
    paths = find_paths()
    try:
        if arguments.verb in ("exec", "logs", "check") and not paths.env_file.exists():
            raise StackError(f"There is no {shown(paths.env_file)}: start the stack by ./run.sh first.")
        match arguments.verb:
            case "up":
                with only_one(paths, "./run.sh"):
                    up.up(paths, Screen(), mode=arguments.mode, wait_for_run=not arguments.no_wait)
            case "env" if arguments.check:
                env_file.load(paths.env_file)
            case "env":
                in_volumes = preflight.CONTAINER_DATA if arguments.with_data else None
                data = in_volumes if arguments.mode == "docker" else preflight.native_data(paths)
                prepare.prepare_env(paths, Screen(), arguments.mode, data)
            case "await":
                screen = Screen()
                with screen.spinner():
                    await_first_green_run(_context(paths), screen)
            case "summary":
                summary.show(_context(paths), Screen())
            case "down":
                if arguments.wipe and not arguments.yes:
                    down.ask(paths)
                screen = Screen()
                with only_one(paths, "./stop.sh"):
                    down.down(paths, screen)
                    if arguments.wipe:
                        down.wipe(paths, screen)
            case "check":
                return check.check(_context(paths), verified=arguments.verified)
            case "exec":
                return _exec(paths, arguments)
            case "logs":
                return _logs(paths, arguments)
    except StackError as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        fail("Interrupted: what was started goes on running; ./run.sh continues, ./stop.sh stops it.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
