"""Items of an answer, as they were sent: cut from the JSON text, not rebuilt, so that numbers keep their digits."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from elt.errors import SourceRefusedError, SourceUnavailableError
from elt.sources.rest.client import Answer

_SHOWN = 16
"""Bytes of an answer in a message: its kind, and not what it says."""
_NO_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")

Raw = msgspec.Raw


@dataclass(frozen=True)
class Page:
    """One answer."""

    answer: Answer
    items: tuple[bytes, ...]

    def value(self, path: str) -> object:
        """Returns what stands at a key of the body; None where nothing does."""
        return value_at(self.answer.body, path)


def read_page(answer: Answer, records: str | None) -> tuple[bytes, ...]:
    """Returns the items of an answer, whose list stands at the key `records`.

    Raises SourceUnavailableError where it is no JSON: a page of a proxy or a load balancer, which may pass; SourceRefusedError where there is no list.
    """
    try:
        # msgspec takes any bytes inside a text for UTF-8.
        answer.body.decode("utf-8")
        found: Raw | None = msgspec.json.decode(answer.body, type=Raw)
        for key in records.split(".") if records else ():
            found = None if found is None else _object(found).get(key)
        if found is None:
            raise SourceRefusedError(
                f"{_path(answer)} has no {records}; it has {_keys(answer.body)}: correct records: in pipeline.yml"
            )
        if bytes(found).lstrip()[:1] != b"[":
            cure = (
                "name the key of the list with records: in pipeline.yml"
                if not records
                else "correct records: in pipeline.yml"
            )
            raise SourceRefusedError(f"{_path(answer)} answers with {_keys(bytes(found))} and not with a list; {cure}")
        items = msgspec.json.decode(found, type=list[Raw])
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        kind = answer.headers.get("content-type", "no content type")
        begins = answer.body[:_SHOWN].decode("utf-8", "replace")
        raise SourceUnavailableError(
            f"{_path(answer)} answers 200 and no JSON ({error}; {kind}; it begins {begins!r}); run again"
        ) from None
    return tuple(bytes(item) for item in items)


def value_at(text: bytes, path: str) -> object:
    """Returns what stands at a key of an object, numbers as text; None where nothing does."""
    found: Raw | None = Raw(text)
    for key in path.split("."):
        found = None if found is None else _object(found).get(key)
    if found is None:
        return None
    plain = bytes(found).strip()
    return plain.decode() if plain[:1] in b"-0123456789" else msgspec.json.decode(plain)


class Filter:
    """Takes keys out of items, and values, before anything is stored."""

    def __init__(self, drop: Sequence[str], mask: Sequence[str], salt: str) -> None:
        self._changes: list[tuple[list[str], Callable[[Raw], Raw] | None]] = [(path.split("."), None) for path in drop]
        self._changes += [(path.split("."), self._masked) for path in mask]
        self._salt = salt

    def __call__(self, item: bytes) -> bytes:
        """Returns the item; the very same text where nothing is to be taken out of any item."""
        changed = Raw(item)
        for path, change in self._changes:
            changed = _changed(changed, path, change)
        return bytes(changed)

    def _masked(self, value: Raw) -> Raw:
        """Returns the SHA-256, in hex, of the salt followed by the value's text, as other sources have it; null stays null."""
        found = msgspec.json.decode(value) if bytes(value).strip()[:1] == b'"' else bytes(value).strip().decode()
        if found == "null" and bytes(value).strip() == b"null":
            return value
        return Raw(b'"' + hashlib.sha256(f"{self._salt}{found}".encode()).hexdigest().encode() + b'"')


def missing_key(item: bytes, required: Sequence[str]) -> str:
    """Returns the first of the required keys that the item lacks; empty where it has all."""
    keys = _object(Raw(item)) if required else {}
    return next((key for key in required if key not in keys), "")


def packed(items: Sequence[bytes]) -> bytes:
    """Returns an object: a line for each item, packed by gzip."""
    lines = b"".join([item.translate(_NO_LINE_ENDS) + b"\n" for item in items])
    return gzip.compress(lines, 1, mtime=0)


def _changed(value: Raw, path: Sequence[str], change: Callable[[Raw], Raw] | None) -> Raw:
    begins = bytes(value).lstrip()[:1]
    if begins == b"[":
        # A key inside each item of a list.
        return Raw(
            msgspec.json.encode([_changed(one, path, change) for one in msgspec.json.decode(value, type=list[Raw])])
        )
    if begins != b"{":
        return value
    found = _object(value)
    if path[0] not in found:
        return value
    if len(path) > 1:
        found[path[0]] = _changed(found[path[0]], path[1:], change)
    elif change is None:
        del found[path[0]]
    else:
        found[path[0]] = change(found[path[0]])
    return Raw(msgspec.json.encode(found))


def _object(value: Raw) -> dict[str, Raw]:
    return msgspec.json.decode(value, type=dict[str, Raw]) if bytes(value).lstrip()[:1] == b"{" else {}


def _keys(text: bytes) -> str:
    found = _object(Raw(text))
    return f"the keys {', '.join(list(found)[:10])}" if found else f"{text[:_SHOWN].decode('utf-8', 'replace')!r}"


def _path(answer: Answer) -> str:
    return answer.url.partition("?")[0]
