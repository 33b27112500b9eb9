"""The web process: a Flask application around the routes."""

import logging
import sys
from http import HTTPStatus

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from webhook.auth import BearerToken
from webhook.database import Database
from webhook.health import Health
from webhook.problems import Problem, from_http_exception
from webhook.routes import MAX_BODY, make_blueprint
from webhook.settings import Settings, SettingsError
from webhook.store import RunStore


def create_app(settings: Settings) -> Flask:
    """The application. Raises SettingsError without a token: an open webhook is not a smaller one but another one."""
    if settings.token is None:
        raise SettingsError("WEBHOOK_TOKEN is not set: put a random text of at least 16 characters into .env.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    app = Flask("webhook", static_folder=None)
    # One byte more than is allowed: Werkzeug cuts a chunked body off at its limit without a word, so that only a body
    # that reaches beyond ours can be told from one that ends there.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.json.sort_keys = False  # type: ignore[attr-defined]
    store = RunStore(Database(settings.database))
    app.register_blueprint(make_blueprint(settings, store, BearerToken(settings.token), Health(settings)))

    @app.errorhandler(Problem)
    def show_problem(problem: Problem) -> Response:
        return problem.response()

    @app.errorhandler(HTTPException)
    def show_http_exception(error: HTTPException) -> Response:
        return from_http_exception(error)

    @app.errorhandler(Exception)
    def show_fault(error: Exception) -> Response:
        app.logger.error("request failed", exc_info=error)
        return Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "The webhook itself failed: read its log for the cause, then try again."
        ).response()

    return app
