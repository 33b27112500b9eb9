"""The web process: a Flask application around the routes, behind a gate."""

import logging
import sys
from http import HTTPStatus

from environment.reading import SettingsError
from flask import Response, g, request
from flask_openapi3 import Info, OpenAPI
from flask_openapi3.models import Schema
from flask_openapi3.utils import get_model_schema
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from webhook import VERSION
from webhook.queue.database import Database
from webhook.queue.runs import RunRequest
from webhook.queue.store import RunStore
from webhook.settings import Settings
from webhook.web.auth import Gate
from webhook.web.contract import SECURITY_SCHEMES, ProblemAnswer
from webhook.web.health import Health
from webhook.web.pages import make_pages
from webhook.web.problems import Problem, from_http_exception, unfit
from webhook.web.routes import make_routes
from webhook.web.starting import MAX_BODY

# Everything that is not named here needs the token.
OPEN = {"webhook.show_health", "webhook.show_status"}
SIGNED = {"webhook.start_by_system"}
_INFO = Info(
    title="dbt webhook",
    version=VERSION,
    description="Start, watch and trust a dbt run over HTTP. Errors are problems (RFC 9457).",
)


def create_app(settings: Settings) -> OpenAPI:
    """Returns the application. Raises SettingsError without a token: the webhook is never open."""
    if settings.token is None:
        raise SettingsError("WEBHOOK_TOKEN is not set: put a random text of at least 16 characters into .env.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    app = OpenAPI(
        "webhook",
        info=_INFO,
        security_schemes=SECURITY_SCHEMES,
        doc_prefix="/api",
        validation_error_model=ProblemAnswer,
        validation_error_callback=lambda error: _unfit(error).response(),
        static_folder=None,
    )
    # One byte above our limit: Werkzeug silently truncates a chunked body at its limit, and the extra byte shows that ours
    # was exceeded.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.json.sort_keys = False  # type: ignore[attr-defined]
    store = RunStore(Database(settings.database))
    app.register_api(make_routes(settings, store, Health(settings)))
    app.register_blueprint(make_pages(settings, store))
    for name, model in (("RunRequest", RunRequest), ("Problem", ProblemAnswer)):
        app.components_schemas[name] = Schema(**get_model_schema(model))
    app.add_url_rule("/api/docs", endpoint="try", view_func=app.view_functions["swagger.swagger"])
    _guard(app, Gate(settings.token, settings.signing_secrets, failed_tries=settings.failed_tries))
    _answer_errors(app)
    return app


def _guard(app: OpenAPI, gate: Gate) -> None:
    @app.before_request
    def check() -> None:
        # Unknown addresses and methods have no rule; their 404 and 405 are no secret.
        if request.url_rule is not None and request.endpoint not in OPEN:
            g.proof = gate.check(request, signed=request.endpoint in SIGNED)

    @app.after_request
    def harden(answer: Response) -> Response:
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        answer.headers.setdefault("X-Frame-Options", "DENY")
        answer.headers.setdefault("Referrer-Policy", "no-referrer")
        return answer


def _answer_errors(app: OpenAPI) -> None:
    @app.errorhandler(Problem)
    def show_problem(problem: Problem) -> Response:
        return problem.response()

    @app.errorhandler(HTTPException)
    def show_http_exception(error: HTTPException) -> Response:
        # flask-openapi3 wraps our own response in this exception.
        return error.response if isinstance(error.response, Response) else from_http_exception(error)

    @app.errorhandler(Exception)
    def show_fault(error: Exception) -> Response:
        app.logger.error("request failed", exc_info=error)
        return Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "The webhook itself failed: read its log for the cause, then try again."
        ).response()


def _unfit(error: ValidationError) -> Problem:
    return unfit("address", error)
