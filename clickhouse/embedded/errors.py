"""ClickHouse's errors: a code, its name, a sentence, and the code's HTTP status."""

from __future__ import annotations

import re

NAMES = {
    36: "BAD_ARGUMENTS",
    40: "CHECKSUM_DOESNT_MATCH",
    48: "NOT_IMPLEMENTED",
    62: "SYNTAX_ERROR",
    115: "UNKNOWN_SETTING",
    164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    210: "NETWORK_ERROR",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    236: "ABORTED",
    243: "NOT_ENOUGH_SPACE",
    271: "CANNOT_DECOMPRESS",
    290: "LIMIT_EXCEEDED",
    344: "SUPPORT_IS_DISABLED",
    354: "INFLATE_FAILED",
    372: "SESSION_NOT_FOUND",
    373: "SESSION_IS_LOCKED",
    374: "INVALID_SESSION_TIMEOUT",
    394: "QUERY_WAS_CANCELLED",
    432: "UNKNOWN_CODEC",
    481: "PATH_ACCESS_DENIED",
    497: "ACCESS_DENIED",
    512: "SET_NON_GRANTED_ROLE",
    516: "AUTHENTICATION_FAILED",
    1000: "POCO_EXCEPTION",
    1001: "STD_EXCEPTION",
}

# As in ClickHouse's exceptionCodeToHTTPStatus; every other code is 500. Never 429, 503 or 504: clients retry those.
_STATUS = (
    dict.fromkeys((6, 26, 27, 32, 33, 36, 38, 41, 43, 53, 62, 69, 70, 72, 117, 131, 321, 427, 1000), 400)
    | dict.fromkeys((164, 192, 193, 497, 512, 516), 403)
    | dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 81, 115, 372, 511), 404)
    | {159: 408, 48: 501, 194: 401}
)
_PREFIX = re.compile(r"\s*Code: (\d+)\. DB::(?:Exception|NetException|ErrnoException): ")
_VERSION = re.compile(r" \(version [^()]*(?:\([^()]*\))?\)")
# Texts that mention the pipe of the data, and a server's text instead.
_PIPE = re.compile(r":? \(in file/uri /dev/fd/\d+\)|(?<=: )While executing File: data for INSERT was parsed from file")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]{2,})\)\s*\.?\s*$")


class StartError(Exception):
    """The server cannot start; the message is one sentence with cause and cure."""


class QueryError(Exception):
    """A failed request: `code` and `name` are ClickHouse's, `message` is the sentence between them."""

    def __init__(self, code: int, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.name = name or NAMES.get(code, "UNKNOWN_EXCEPTION")
        self.message = message

    @property
    def status(self) -> int:
        return _STATUS.get(self.code, 500)

    def text(self, version: str) -> str:
        """Returns the line that ClickHouse's HTTP interface sends for this error."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version} (embedded))\n"


class ClientGoneError(Exception):
    """The client closed its connection before the response was complete."""


def from_engine(error: BaseException) -> QueryError:
    """Parses the engine's exception text, which may repeat code and name for each layer that the error passed."""
    text = str(error)
    first = _PREFIX.search(text)
    if first is None:
        return QueryError(1001, text.strip() or type(error).__name__)
    code = int(first.group(1))
    text = text[first.start() :]
    while (again := _PREFIX.match(text)) is not None:
        text = text[again.end() :]
    text = _VERSION.sub("", text).strip()
    text = _PIPE.sub(lambda found: "" if "/dev/fd" in found.group() else "data for INSERT was parsed from query", text)
    name = None
    while (found := _NAME.search(text)) is not None and (name is None or found.group(1) == name):
        name = found.group(1)
        text = text[: found.start()].rstrip()
    return QueryError(code, text, name)
