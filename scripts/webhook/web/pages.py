"""Pages for a browser: runs, and dbt's documentation of the last good run. Rendered on the server, no build step."""

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Response, make_response, redirect, render_template, send_file
from werkzeug.wrappers import Response as AnyResponse

from webhook.queue.runs import Node, Run
from webhook.queue.store import RunStore
from webhook.settings import Settings
from webhook.web.problems import Problem
from webhook.worker.lock import is_held

_SHOWN = 25
# No resource of another host, and no script but the page's own file.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)


def make_pages(settings: Settings, store: RunStore) -> Blueprint:
    """Returns the pages as a blueprint."""
    pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static")

    @pages.get("/")
    def show_overview() -> Response:
        counts = store.counts()
        runs = store.latest(limit=_SHOWN)
        active = next((run for run in runs if run.status == "running"), None)
        success = store.latest(limit=1, status="success")
        return _page(
            "overview.html",
            runs=runs,
            active=active,
            at_work=store.nodes_at_work(active) if active else [],
            counts=counts,
            limit=settings.queue_limit,
            has_worker=_has_worker(settings.worker_lock),
            success=success[0] if success else None,
            has_docs=settings.documentation.is_file(),
        )

    @pages.get("/view/<run_id>")
    def show_run(run_id: str) -> Response:
        run = store.get(run_id)
        if run is None:
            raise Problem(
                HTTPStatus.NOT_FOUND, "No run has this id, or it was forgotten: the first page lists the last ones."
            )
        return _page(
            "run.html", run=run, nodes=sorted(store.nodes(run), key=_is_good), at_work=store.nodes_at_work(run)
        )

    @pages.get("/docs/")
    def show_documentation() -> AnyResponse:
        if not settings.documentation.is_file():
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "There is no documentation yet: it is written after the first build that succeeds.",
            )
        page = send_file(settings.documentation.resolve(), mimetype="text/html", conditional=True, max_age=0)
        page.headers["Cache-Control"] = "no-cache"
        return page

    @pages.get("/docs")
    def lead_to_documentation() -> AnyResponse:
        return redirect("/docs/", HTTPStatus.PERMANENT_REDIRECT)

    @pages.app_template_filter()
    def moment(instant: datetime | None) -> str:
        return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}"

    @pages.app_template_filter()
    def duration(run: Run | Node) -> str:
        return _duration(run)

    return pages


def _has_worker(lock: Path) -> bool:
    try:
        return is_held(lock)
    except FileNotFoundError:
        return False


def _is_good(node: Node) -> bool:
    """Sort key: nodes that failed come first."""
    return node.status not in {"error", "fail", "warn"}


def _page(template: str, **content: object) -> Response:
    page = make_response(render_template(template, now=datetime.now(UTC), **content))
    page.headers["Content-Security-Policy"] = _POLICY
    return page


def _duration(run: Run | Node) -> str:
    """Duration to the end, or until now; empty before the start."""
    if isinstance(run, Node):
        return f"{run.seconds:.2f} s"
    if run.started_at is None:
        return ""
    seconds = ((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
