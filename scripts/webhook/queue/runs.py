"""A request for a run (`RunRequest`) and its record (`Run`, `Node`)."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StrictBool, model_validator

Command = Literal["build", "test", "docs"]
Status = Literal["queued", "running", "success", "error", "cancelled", "interrupted"]

FINAL: frozenset[str] = frozenset({"success", "error", "cancelled", "interrupted"})
# After a run with one of these statuses, its key starts a successor.
UNSUCCESSFUL: frozenset[str] = FINAL - {"success"}

# dbt's selection syntax only: no blank, no quote, and no leading hyphen, so that an item is never read as an option.
_SELECTOR = re.compile(r"[A-Za-z0-9_@+*][A-Za-z0-9_@+*.,:/\[\]?-]{0,199}")


def _selector(text: str) -> str:
    if not _SELECTOR.fullmatch(text):
        raise ValueError("a selector is a name, path or method:value of dbt, such as fact_sales+ or tag:daily")
    return text


def _variables(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        json.dumps(values, allow_nan=False)
    except ValueError:
        raise ValueError("NaN and infinity are no JSON") from None
    return values


Selector = Annotated[str, AfterValidator(_selector), Field(json_schema_extra={"pattern": f"^{_SELECTOR.pattern}$"})]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Variables = Annotated[dict[VariableName, JsonValue], Field(max_length=50), AfterValidator(_variables)]


class RunRequest(BaseModel):
    """Body of a start. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Command = "build"
    select: Annotated[tuple[Selector, ...], Field(max_length=50)] = ()
    exclude: Annotated[tuple[Selector, ...], Field(max_length=50)] = ()
    full_refresh: StrictBool = False
    vars: Variables = {}

    @model_validator(mode="after")
    def _only_a_build_refreshes(self) -> "RunRequest":
        if self.full_refresh and self.command != "build":
            raise ValueError("full_refresh goes with the command build only: leave it out")
        return self

    @property
    def fingerprint(self) -> str:
        """Equal for requests that ask for the same thing; order and repetition of selectors do not matter."""
        same: list[Any] = [self.command, sorted(set(self.select)), sorted(set(self.exclude)), self.full_refresh]
        if self.vars:
            same.append(self.vars)
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Node:
    """One node of the dbt project within one attempt of a run."""

    node: str
    name: str
    resource_type: str
    status: str
    seconds: float
    rows: int | None
    message: str
    ended_at: datetime | None
    started_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "name": self.name,
            "resource_type": self.resource_type,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "rows": self.rows,
            "message": self.message,
            "started_at": _text(self.started_at),
            "ended_at": _text(self.ended_at),
        }


@dataclass(frozen=True)
class Run:
    """One accepted run. Instants are UTC; `attempts` counts the starts of dbt, `interruptions` those that a kill ended."""

    id: str
    request: RunRequest
    idempotency_key: str
    requested_by: str
    status: Status
    attempts: int
    interruptions: int
    queued_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None
    error: str
    note: str
    cancel_requested: bool
    nodes_total: int
    nodes_done: int
    nodes_failed: int
    revision: int

    @property
    def url(self) -> str:
        return f"/runs/{self.id}"

    @property
    def seconds(self) -> float | None:
        """Duration of dbt; None for a run that has not started or not ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def as_json(self) -> dict[str, Any]:
        """Returns the run as the API shows it, without its nodes."""
        return {
            "id": self.id,
            "status": self.status,
            "url": self.url,
            "logs_url": f"{self.url}/logs",
            "command": self.request.command,
            "select": list(self.request.select),
            "exclude": list(self.request.exclude),
            "full_refresh": self.request.full_refresh,
            "vars": self.request.vars,
            "requested_by": self.requested_by,
            "idempotency_key": self.idempotency_key,
            "attempts": self.attempts,
            "queued_at": _text(self.queued_at),
            "started_at": _text(self.started_at),
            "ended_at": _text(self.ended_at),
            "progress": {"total": self.nodes_total, "done": self.nodes_done, "failed": self.nodes_failed},
            "note": self.note,
            "error": self.error or None,
        }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
