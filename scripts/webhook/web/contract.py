"""Models of requests and responses. The OpenAPI document is made of them; paths and queries are validated by them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from webhook.queue.runs import Command, Status

MAX_LIMIT = 200

_Seconds = Annotated[
    int, Field(ge=0, le=999_999, description="Wait for the end of the run; longer than WEBHOOK_MAX_WAIT (300) is that.")
]


class RunPath(BaseModel):
    run_id: str = Field(description="The id that the start of the run answered.")


class WaitQuery(BaseModel):
    wait: _Seconds = 0


def _printable(key: str) -> str:
    if not key.isprintable():
        raise ValueError("must be printable")
    return key


Key = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]


class StartHeaders(BaseModel):
    """The same key gives the same run until that run fails; of a signed request `webhook-id` is the key."""

    idempotency_key: Key | None = Field(None, alias="Idempotency-Key")
    webhook_id: Key | None = Field(None, alias="webhook-id")


class ListQuery(BaseModel):
    limit: int = Field(20, ge=1, le=MAX_LIMIT)
    status: Status | None = None
    before: str | None = Field(None, description="The id that the page before ended with.")


class Progress(BaseModel):
    """Nodes of the dbt project, within the run's last attempt."""

    total: int
    done: int
    failed: int


class NodeAnswer(BaseModel):
    """A node that finished."""

    model_config = ConfigDict(title="Node")

    node: str
    name: str
    resource_type: str
    status: str
    seconds: float
    rows: int | None = Field(description="Rows written, or failing rows of a test, where dbt tells.")
    message: str
    started_at: datetime | None
    ended_at: datetime | None


class RunBrief(BaseModel):
    """The public part of a run."""

    id: str
    status: Status
    command: Command
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: Progress


class RunAnswer(RunBrief):
    """A run. Instants are UTC."""

    model_config = ConfigDict(title="Run")

    url: str
    logs_url: str
    select: list[str]
    exclude: list[str]
    full_refresh: bool
    vars: dict[str, JsonValue]
    requested_by: str
    idempotency_key: str
    attempts: int
    note: str
    error: str | None
    at_work: list[str] = Field([], description="Names of the nodes that dbt has started and not finished.")
    nodes: list[NodeAnswer] = Field([], description="Nodes that finished, in the order in which they did.")


class RunsAnswer(BaseModel):
    model_config = ConfigDict(title="Runs")

    runs: list[RunAnswer]
    next: str | None = Field(description="Address of the next page.")


class Check(BaseModel):
    ok: bool
    detail: str


class HealthAnswer(BaseModel):
    model_config = ConfigDict(title="Health")

    status: Literal["ok", "degraded"]
    checks: dict[str, Check]


class QueueAnswer(BaseModel):
    model_config = ConfigDict(title="Queue")

    queued: int
    limit: int


class StatusAnswer(BaseModel):
    model_config = ConfigDict(title="Status")

    queue: QueueAnswer
    running: RunBrief | None
    last: RunBrief | None
    last_success: RunBrief | None
    runs: dict[Status, int]


class ProblemAnswer(BaseModel):
    """A problem and its cure (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str


BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "description": "At most 64 kB. Without a body: build everything.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RunRequest"}}},
    }
}

TOKEN: list[dict[str, list[Any]]] = [{"bearer": []}]
BROWSER: list[dict[str, list[Any]]] = [{"bearer": []}, {"basic": []}]
SIGNED: list[dict[str, list[Any]]] = [{"bearer": []}, {"signature": []}]
SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "WEBHOOK_TOKEN of .env."},
    "basic": {"type": "http", "scheme": "basic", "description": "Any name; WEBHOOK_TOKEN as password. GET only."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Standard Webhooks 1.0.0, with webhook-id and webhook-timestamp.",
    },
}


_IN_FRONT = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
# The type that flask-openapi3 takes.
Answers = dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]


def answers(good: Answers, *problems: HTTPStatus, guarded: bool = True) -> Answers:
    """All responses of a call, for the OpenAPI document: the good ones, and its problems.

    Every call may answer 422; a guarded one also 401 and 429. gunicorn itself answers a request that is not HTTP, or whose first line or header
    is too long.
    """
    statuses = {HTTPStatus.UNPROCESSABLE_ENTITY, *problems}
    if guarded:
        statuses |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    said: Answers = {status: {"description": status.phrase, "content": content} for status in sorted(statuses)}
    for status in _IN_FRONT:
        said[status] = {
            "description": status.phrase,
            "content": content | {"text/html": {"schema": {"type": "string"}}},
        }
    return good | said


def text(*media_types: str) -> Answers:
    """A good response that is not JSON, for the OpenAPI document."""
    content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    return {HTTPStatus.OK: {"description": "OK", "content": content}}
