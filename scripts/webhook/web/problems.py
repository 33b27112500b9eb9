"""Errors of the API as RFC 9457 problems: what is wrong and what to do, in one sentence."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Response, json
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An error that becomes the request's response. `members` are added to the problem's JSON."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        self.members = members

    def response(self) -> Response:
        body = {"type": "about:blank", "title": self.status.phrase, "status": int(self.status), "detail": self.detail}
        answer = Response(
            json.dumps(body | self.members) + "\n", status=self.status, content_type="application/problem+json"
        )
        for name, value in self.headers:
            answer.headers.add(name, value)
        return answer


_DETAILS = {
    HTTPStatus.NOT_FOUND: "Nothing lives at this address: start a run with POST /webhook/manual, look at runs with GET /runs.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take this method: use one that the Allow header names.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than 64 kB: a start needs only command, select, exclude,"
    " full_refresh and vars.",
}


def from_http_exception(error: HTTPException) -> Response:
    """Converts an error of Werkzeug to a problem; keeps its headers (Allow, for one)."""
    status = HTTPStatus(error.code or 500)
    detail = _DETAILS.get(status) or error.description or status.phrase
    answer = Problem(status, detail).response()
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def unfit(what: str, error: ValidationError) -> Problem:
    """Returns a 422 that names every invalid field and repeats nothing of what was sent."""
    errors = [
        {"field": ".".join(map(str, one["loc"])), "message": one["msg"].removeprefix("Value error, ")}
        for one in error.errors(include_input=False, include_context=False, include_url=False)
    ]
    said = "; ".join(f"{one['field'] or what}: {one['message']}" for one in errors)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The {what} does not fit: {said}.", errors=errors)
