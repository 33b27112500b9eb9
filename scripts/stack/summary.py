"""The summary of ./run.sh: addresses, logins and the next step."""

import os
import socket

from stack.env.file import Env
from stack.screen import Screen
from stack.table.services import Context


def _password_command(context: Context, name: str) -> str:
    return f"grep {name} {os.path.relpath(context.paths.env_file)}"


def _rows(context: Context) -> list[tuple[str, str, str, str]]:
    env = context.env
    return [
        ("Airflow", env.page("airflow-webserver"), "admin", "AIRFLOW_ADMIN_PASSWORD"),
        ("Superset", env.page("superset"), "admin", "SUPERSET_ADMIN_PASSWORD"),
        ("Webhook", env.page("webhook-server"), "any name, or as bearer token", "WEBHOOK_TOKEN"),
        (
            "ClickHouse",
            f"http://{env.CLICKHOUSE_HOST or env.address}:{env.CLICKHOUSE_HTTP_PORT}",
            "default",
            "CLICKHOUSE_PASSWORD",
        ),
        ("Postgres", f"{env.address}:{env.POSTGRES_PORT}/{env.POSTGRES_DB}", env.POSTGRES_USER, "POSTGRES_PASSWORD"),
    ]


def _tunnel(env: Env) -> str:
    pages = (env.AIRFLOW_PORT, env.SUPERSET_PORT, env.WEBHOOK_PORT, env.CLICKHOUSE_HTTP_PORT)
    forwards = " ".join(f"-L {port}:{env.address}:{port}" for port in pages)
    return f"ssh {forwards} {os.environ.get('USER', 'you')}@{socket.gethostname()}"


def show(context: Context, screen: Screen) -> None:
    """Prints the version, the table of addresses, one curl to paste, and the next step."""
    env = context.env
    table = [("", "address", "user", "its password or token")]
    table += [(name, address, user, _password_command(context, key)) for name, address, user, key in _rows(context)]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    screen.plain()
    screen.plain(f"ecommerce-pipeline {context.paths.version}")
    for row in table:
        screen.plain("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    screen.plain()
    file = os.path.relpath(context.paths.env_file)
    screen.plain("Refresh the marts from anywhere (scripts/refresh loads first):")
    screen.plain(
        f"  curl -sS -X POST {env.page('webhook-server')}/webhook/manual "
        f'-H "Authorization: Bearer $(sed -n s/^WEBHOOK_TOKEN=//p {file})"'
    )
    if os.environ.get("SSH_CONNECTION"):
        screen.plain("Bring the pages to your desk:")
        screen.plain(f"  {_tunnel(env)}")
    screen.plain("Next: ./check_all_works.sh proves that it all works; ./stop.sh stops it.")
