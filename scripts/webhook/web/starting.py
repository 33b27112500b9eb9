"""Reads and validates the body of a request that starts a run."""

from http import HTTPStatus
from pathlib import Path

from flask import Request
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from webhook.queue.runs import RunRequest
from webhook.web.problems import Problem, unfit
from webhook.web.selection import unknown_names

MAX_BODY = 64 * 1024


def read_body(request: Request, project: Path) -> RunRequest:
    """Returns the request, whatever its content type: curl labels JSON as a form by default. Raises Problem."""
    body = request.get_data()
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        wanted = RunRequest.model_validate_json(body) if body.strip() else RunRequest()
    except ValidationError as error:
        if any(one["type"] == "json_invalid" for one in error.errors(include_input=False, include_context=False)):
            raise Problem(
                HTTPStatus.BAD_REQUEST, "The body is no valid JSON: send an object such as {} or leave it out."
            ) from None
        raise unfit("body", error) from None
    unknown = unknown_names(wanted, project)
    if unknown:
        said = [_unknown(name, near) for name, near in unknown.items()]
        cure = "Name models, folders, tags, paths of the project, or sources that models read"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{'. '.join(said)}. {cure}.", unknown=unknown)
    return wanted


def _unknown(name: str, near: list[str]) -> str:
    if name.startswith("source:"):
        said = f"No model of the dbt project reads the source '{name.removeprefix('source:')}'"
        return said + (f"; those that are read are {', '.join(near)}" if near else "")
    return f"Nothing in the dbt project is called '{name}'" + (f"; near it are {', '.join(near)}" if near else "")
