"""Whether each service does its job, asked from outside, in well under a second. True, or what is still missing."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg2
import requests

from stack.env_file import Env

# A check gets `.env` and the instant at which the service was started; it returns "" or what is missing.
Check = Callable[[Env, datetime], str]
SECONDS = 2.0


def _get(env: Env, port: int, path: str) -> tuple[int, Any]:
    """Status and body (JSON where it is) of a page of the stack; status 0 and the reason when nobody answers."""
    try:
        answer = requests.get(f"http://{env.address}:{port}{path}", timeout=SECONDS)
    except requests.RequestException as error:
        return 0, type(error).__name__
    if "json" in answer.headers.get("content-type", ""):
        return answer.status_code, answer.json()
    return answer.status_code, answer.text


def postgres(env: Env, _: datetime) -> str:
    try:
        psycopg2.connect(
            host=env.address,
            port=env.POSTGRES_PORT,
            dbname=env.POSTGRES_DB,
            user=env.POSTGRES_USER,
            password=env.POSTGRES_PASSWORD,
            connect_timeout=2,
        ).close()
    except psycopg2.OperationalError as error:
        return str(error).strip().splitlines()[-1]
    return ""


def clickhouse(env: Env, _: datetime) -> str:
    status, _body = _get(env, env.CLICKHOUSE_HTTP_PORT, "/ping")
    return "" if status == 200 else "does not answer /ping"


def webhook_server(env: Env, _: datetime) -> str:
    status, _body = _get(env, env.WEBHOOK_PORT, "/status")
    return "" if status == 200 else "does not answer /status"


def webhook(env: Env, _: datetime) -> str:
    status, body = _get(env, env.WEBHOOK_PORT, "/health")
    if status == 200:
        return ""
    return f"/health says {body.get('checks', body)}" if isinstance(body, dict) else "does not answer /health"


def airflow_webserver(env: Env, _: datetime) -> str:
    status, _body = _get(env, env.AIRFLOW_PORT, "/api/v2/monitor/health")
    return "" if status == 200 else "does not answer /api/v2/monitor/health"


def _airflow_part(env: Env, part: str, started: datetime) -> str:
    """Healthy means a heartbeat from after the start: the one of a killed predecessor does not count."""
    status, body = _get(env, env.AIRFLOW_PORT, "/api/v2/monitor/health")
    if status != 200:
        return "waits for airflow-webserver"
    state = body.get(part) or {}
    beat = state.get(f"latest_{part}_heartbeat")
    if state.get("status") != "healthy" or not beat:
        return "no heartbeat yet"
    at = datetime.fromisoformat(beat.replace("Z", "+00:00"))
    return "" if at.astimezone(UTC) >= started else "no heartbeat since its start"


def airflow_scheduler(env: Env, started: datetime) -> str:
    return _airflow_part(env, "scheduler", started)


def airflow_dag_processor(env: Env, started: datetime) -> str:
    return _airflow_part(env, "dag_processor", started)


def superset(env: Env, _: datetime) -> str:
    status, _body = _get(env, env.SUPERSET_PORT, "/health")
    return "" if status == 200 else "does not answer /health"
