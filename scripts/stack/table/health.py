"""Health checks of the services from outside, each well under a second. Standard library only.

The service manager runs them in native mode; containers run `python -m stack.table.health SERVICE`.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Names = Mapping[str, str]
# A check takes the service's environment and the instant of its start; returns "" or what is missing.
Check = Callable[[Names, datetime], str]
SECONDS = 2.0
# The agent touches its file every 5 s; busy cores take longer.
AGENT_SILENCE = 60.0
# Every page here is the stack's own, which no proxy can reach.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _local(env: Names) -> str:
    """Returns the address of a service on its own machine."""
    bind = env.get("BIND_ADDRESS", "127.0.0.1")
    return "127.0.0.1" if bind in ("0.0.0.0", "::") else bind


def _get(url: str) -> tuple[int, Any]:
    """Returns status and body (parsed if JSON) of a page; status 0 without a response."""
    try:
        with _OPENER.open(url, timeout=SECONDS) as answer:
            status, body, kind = answer.status, answer.read(), answer.headers.get("content-type", "")
    except urllib.error.HTTPError as refusal:
        status, body, kind = refusal.code, refusal.read(), refusal.headers.get("content-type", "")
    except OSError:
        return 0, None
    return status, json.loads(body) if "json" in kind else body


def _page(port: str, path: str) -> Check:
    def check(env: Names, _: datetime) -> str:
        status, _body = _get(f"http://{_local(env)}:{env[port]}{path}")
        return "" if status == 200 else f"does not answer {path}"

    return check


def webhook_worker(env: Names, _: datetime) -> str:
    """Checks the worker by the web process, which reads its heartbeat."""
    status, body = _get(f"{env['WEBHOOK_URL']}/health")
    if status == 200:
        return ""
    if not isinstance(body, dict):
        return "webhook-server does not answer /health"
    bad = [str(check.get("detail", name)) for name, check in body.get("checks", {}).items() if not check.get("ok")]
    return "; ".join(bad) or "is degraded"


def _airflow_part(part: str) -> Check:
    """Returns a check for a heartbeat since the start: the heartbeat of a killed predecessor does not count."""

    def check(env: Names, started: datetime) -> str:
        api = urlsplit(env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"])
        status, body = _get(f"{api.scheme}://{api.netloc}/api/v2/monitor/health")
        if status != 200 or not isinstance(body, dict):
            return "waits for airflow-webserver"
        state = body.get(part) or {}
        beat = state.get(f"latest_{part}_heartbeat")
        if state.get("status") != "healthy" or not beat:
            return "no heartbeat yet"
        at = datetime.fromisoformat(beat.replace("Z", "+00:00"))
        return "" if at.astimezone(UTC) >= started else "no heartbeat since its start"

    return check


def elt_agent(env: Names, started: datetime) -> str:
    """Checks the agent's heartbeat, a file: the agent listens nowhere."""
    try:
        beat = datetime.fromtimestamp((Path(env["AGENT_HOME"]) / "heartbeat").stat().st_mtime, UTC)
    except FileNotFoundError:
        return "no heartbeat yet"
    if beat < started:
        return "no heartbeat since its start"
    silence = (datetime.now(UTC) - beat).total_seconds()
    return f"no heartbeat for {silence:.0f} s" if silence > AGENT_SILENCE else ""


CHECKS: dict[str, Check] = {
    "clickhouse-server": _page("CLICKHOUSE_HTTP_PORT", "/ping"),
    "webhook-server": _page("WEBHOOK_PORT", "/status"),
    "webhook-worker": webhook_worker,
    "airflow-webserver": _page("AIRFLOW__API__PORT", "/api/v2/monitor/health"),
    "airflow-scheduler": _airflow_part("scheduler"),
    "airflow-dag-processor": _airflow_part("dag_processor"),
    "elt-agent": elt_agent,
    "superset": _page("SUPERSET_PORT", "/health"),
}


def main(arguments: list[str]) -> int:
    (name,) = arguments
    missing = CHECKS[name](os.environ, datetime.fromtimestamp(0, UTC))
    if missing:
        print(f"{name} {missing}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
