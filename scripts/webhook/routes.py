"""The calls of the API. Each reads its input, asks the record of runs, and answers; none of them touches dbt."""

import logging
import threading
import time
from http import HTTPStatus
from typing import Any, get_args

from flask import Blueprint, Response, current_app, json, request
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from webhook.auth import BearerToken
from webhook.health import Health
from webhook.intake import KeyConflictError, QueueFullError, accept
from webhook.problems import Problem
from webhook.runs import Run, RunRequest, Status
from webhook.selection import unknown_names
from webhook.settings import Settings
from webhook.store import RunStore

MAX_BODY = 64 * 1024
MAX_WAIT = 300.0
# Waiting requests hold a thread each; beyond this number a request is answered at once, so that some stay free.
MAX_WAITERS = 8
_KEY_LENGTH = 255
_LOOK = 0.1
_RETRY_AFTER = "30"

logger = logging.getLogger(__name__)


def make_blueprint(settings: Settings, store: RunStore, token: BearerToken, health: Health) -> Blueprint:
    """All routes, bound to what they work with."""
    routes = Blueprint("webhook", __name__)
    waiters = threading.BoundedSemaphore(MAX_WAITERS)

    def start(requested_by: str) -> Response:
        asked = _read_request(settings)
        key = _read_key()
        wait = _read_wait()
        try:
            run_id = accept(store.database, asked, key=key, requested_by=requested_by, queue_limit=settings.queue_limit)
        except QueueFullError:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{settings.queue_limit} runs are waiting, which is the limit: send the request again later.",
                headers={"Retry-After": _RETRY_AFTER},
            ) from None
        except KeyConflictError as conflict:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"This Idempotency-Key belongs to run {conflict.run_id}, which was asked for something else:"
                " send a new key with a new request.",
            ) from None
        run = _await(run_id, wait)
        logger.info("run %s accepted (%s): %s", run.id, requested_by, run.status)
        status = HTTPStatus.OK if wait and run.is_final else HTTPStatus.ACCEPTED
        return _json(_with_nodes(store, run) if run.is_final else run.as_json(), status, {"Location": run.url})

    def _await(run_id: str, seconds: float) -> Run:
        """The run as it is when it ends or the wait does."""
        run = _existing(store, run_id)
        if seconds and waiters.acquire(blocking=False):
            try:
                deadline = time.monotonic() + seconds
                while not run.is_final and time.monotonic() < deadline:
                    time.sleep(_LOOK)
                    run = _existing(store, run_id)
            finally:
                waiters.release()
        return run

    @routes.post("/webhook/manual")
    @token.required
    def start_by_hand() -> Response:
        return start("manual")

    @routes.post("/webhook")
    @token.required
    def start_by_system() -> Response:
        return start("webhook")

    @routes.get("/runs")
    @token.required
    def list_runs() -> Response:
        limit = _read_limit()
        status = request.args.get("status")
        if status is not None and status not in get_args(Status):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"status must be one of {', '.join(get_args(Status))}.")
        runs = store.latest(limit=limit, status=status, before=request.args.get("before"))
        more = f"/runs?limit={limit}&before={runs[-1].id}" + (f"&status={status}" if status else "") if runs else None
        return _json({"runs": [run.as_json() for run in runs], "next": more if len(runs) == limit else None})

    @routes.get("/runs/<run_id>")
    @token.required
    def show_run(run_id: str) -> Response:
        wait = _read_wait()
        _existing(store, run_id)
        return _json(_with_nodes(store, _await(run_id, wait)))

    @routes.get("/runs/<run_id>/logs")
    @token.required
    def show_log(run_id: str) -> Response:
        path = settings.run_log(_existing(store, run_id).id)
        text = path.read_bytes() if path.is_file() else b""
        return Response(text, content_type="text/plain; charset=utf-8")

    @routes.post("/runs/<run_id>/cancel")
    @token.required
    def cancel_run(run_id: str) -> Response:
        run = _existing(store, run_id)
        if run.is_final:
            raise Problem(
                HTTPStatus.CONFLICT, f"Run {run.id} has ended already ({run.status}): there is nothing to cancel."
            )
        store.request_cancel(run.id)
        return _json(_existing(store, run_id).as_json(), HTTPStatus.ACCEPTED)

    @routes.get("/health")
    def show_health() -> Response:
        checks = health.checks()
        healthy = all(check["ok"] for check in checks.values())
        body = {"status": "ok" if healthy else "degraded", "checks": checks}
        return _json(body, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)

    @routes.get("/status")
    def show_status() -> Response:
        counts = store.counts()
        running = store.latest(limit=1, status="running")
        last, success = store.last_final(), store.latest(limit=1, status="success")
        return _json(
            {
                "queue": {"queued": counts["queued"], "limit": settings.queue_limit},
                "running": _brief(running[0]) if running else None,
                "last": _brief(last) if last else None,
                "last_success": _brief(success[0]) if success else None,
                "runs": counts,
            }
        )

    return routes


def _existing(store: RunStore, run_id: str) -> Run:
    run = store.get(run_id)
    if run is None:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "No run has this id, or it is so old that it was forgotten: GET /runs lists those that are kept.",
        )
    return run


def _with_nodes(store: RunStore, run: Run) -> dict[str, Any]:
    """The run with the nodes that finished, and the names of those at work."""
    nodes = [node.as_json() for node in store.nodes(run)]
    return run.as_json() | {"at_work": store.nodes_at_work(run), "nodes": nodes}


def _brief(run: Run) -> dict[str, Any]:
    """What everybody may know of a run: no error text and no key."""
    shown = ("id", "status", "command", "queued_at", "started_at", "ended_at", "progress")
    whole = run.as_json()
    return {name: whole[name] for name in shown}


def _read_request(settings: Settings) -> RunRequest:
    """The body, whatever its content type: curl sends JSON as a form unless told otherwise."""
    body = request.get_data()
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        asked = RunRequest.model_validate_json(body) if body.strip() else RunRequest()
    except ValidationError as error:
        errors = [
            {"field": ".".join(map(str, one["loc"])), "message": one["msg"].removeprefix("Value error, ")}
            for one in error.errors(include_input=False)
        ]
        if any(one["type"] == "json_invalid" for one in error.errors(include_input=False)):
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "The body is no valid JSON: send an object such as {} or leave it out.",
                errors=errors,
            ) from None
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The body does not fit: "
            + "; ".join(f"{one['field'] or 'body'}: {one['message']}" for one in errors)
            + ".",
            errors=errors,
        ) from None
    unknown = unknown_names(asked, settings.project)
    if unknown:
        said = [
            f"Nothing in the dbt project is called '{name}'" + (f"; near it are {', '.join(near)}" if near else "")
            for name, near in unknown.items()
        ]
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            ". ".join(said) + ". Name models, folders, tags or paths of the project.",
            unknown=unknown,
        )
    return asked


def _read_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= _KEY_LENGTH or not key.isprintable():
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"Idempotency-Key must have 1 to {_KEY_LENGTH} printable characters."
        )
    return key


def _read_wait() -> float:
    text = request.args.get("wait", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"wait must be a whole number of seconds, 0 to {MAX_WAIT:.0f}.")
    return min(float(text), MAX_WAIT)


def _read_limit() -> int:
    text = request.args.get("limit", "20")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 200:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "limit must be a whole number from 1 to 200.")
    return int(text)


def _json(body: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    answer: Response = current_app.response_class(json.dumps(body) + "\n", status=status, mimetype="application/json")
    answer.headers.update(headers or {})
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer
