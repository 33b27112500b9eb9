"""Which request comes after a page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Protocol
from urllib.parse import urljoin

from elt.errors import SourceRefusedError
from elt.sources.rest.items import Page, value_at
from elt.sources.rest.options import Cursor, Keyset, Link, Offset, RestEndpoint, Size
from elt.sources.rest.options import Page as PageOptions

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Request:
    """A GET."""

    url: str
    params: Mapping[str, str]

    def with_param(self, name: str, value: str) -> Request:
        return replace(self, params={**self.params, name: value})


class Pager(Protocol):
    """One walk through a list."""

    may_repeat: bool
    """Whether the next page may rightly be the same as the one before; else a list whose pages are the same would never end."""

    def first(self, request: Request) -> Request:
        """The first request, from the endpoint's own parameters."""
        ...

    def items(self, page: Page) -> tuple[bytes, ...]:
        """Those of the page that count."""
        ...

    def after(self, request: Request, page: Page) -> Request | None:
        """The request that follows; None where the list has ended."""
        ...


class _Base:
    may_repeat = False

    def first(self, request: Request) -> Request:
        return request

    def items(self, page: Page) -> tuple[bytes, ...]:
        return page.items

    def after(self, request: Request, page: Page) -> Request | None:
        return None


class Whole(_Base):
    """One answer has everything."""


class ByLink(_Base):
    def __init__(self, options: Link) -> None:
        self._options = options

    def after(self, request: Request, page: Page) -> Request | None:
        found = page.value(self._options.at) if self._options.at else page.answer.next_link
        if not found:
            return None
        if not isinstance(found, str):
            raise SourceRefusedError(
                f"{self._options.at} of the answer is {found!r} and no address; correct link: in pipeline.yml"
            )
        return Request(urljoin(page.answer.url, found), {})


class _Sized(_Base):
    def __init__(self, size: Size) -> None:
        self._size = size

    def first(self, request: Request) -> Request:
        if self._size.size_param:
            request = request.with_param(self._size.size_param, str(self._size.size))
        return request

    def _is_last(self, page: Page) -> bool:
        return not page.items or (self._size.size is not None and len(page.items) < self._size.size)


class ByPage(_Sized):
    def __init__(self, options: PageOptions) -> None:
        super().__init__(options)
        self._options = options
        self._number = options.first

    def first(self, request: Request) -> Request:
        return super().first(request).with_param(self._options.param, str(self._number))

    def after(self, request: Request, page: Page) -> Request | None:
        self._number += 1
        return None if self._is_last(page) else request.with_param(self._options.param, str(self._number))


class ByOffset(_Sized):
    def __init__(self, options: Offset) -> None:
        super().__init__(options)
        self._options = options
        self._seen = 0

    def first(self, request: Request) -> Request:
        return super().first(request).with_param(self._options.param, "0")

    def after(self, request: Request, page: Page) -> Request | None:
        self._seen += len(page.items)
        return None if self._is_last(page) else request.with_param(self._options.param, str(self._seen))


class ByCursor(_Sized):
    def __init__(self, options: Cursor) -> None:
        super().__init__(options)
        self._options = options

    def after(self, request: Request, page: Page) -> Request | None:
        options = self._options
        if options.more is not None and page.value(options.more) is not True:
            return None
        if options.at is not None:
            place = page.value(options.at)
        else:
            place = value_at(page.items[-1], options.field or "") if page.items else None
            if options.more is None and self._is_last(page):
                return None
        if place in (None, ""):
            return None
        if not isinstance(place, str):
            raise SourceRefusedError(
                f"The cursor of {request.url} is {place!r}, neither a text nor a number; correct cursor: in pipeline.yml"
            )
        if request.params.get(options.param) == place:
            raise SourceRefusedError(
                f"{request.url} gives the cursor {place!r} twice, so that the list would never end; correct cursor: in pipeline.yml"
            )
        return request.with_param(options.param, place)


class ByKeyset(_Sized):
    """Goes on from the last value, so that what moves while the list is read is met again and not lost."""

    def __init__(self, options: Keyset, since: str | None, until: datetime | None) -> None:
        super().__init__(options)
        self._options = options
        self._since = since
        self._until = until
        self._from: Decimal | None = None
        """Value of which the list is read from on."""
        self._number = 1
        self._is_over = False

    def first(self, request: Request) -> Request:
        request = super().first(request)
        since = self._since or request.params.get(self._options.param)
        if not since:
            return request
        self._from = self._mark(since)
        return request.with_param(self._options.param, since)

    def items(self, page: Page) -> tuple[bytes, ...]:
        if self._until is None:
            return page.items
        within = tuple(item for item in page.items if not self._is_past(self._mark_of(item)))
        # What the API gives in order has ended for this day.
        self._is_over = self._is_over or len(within) < len(page.items)
        return within

    def after(self, request: Request, page: Page) -> Request | None:
        if self._is_over or self._is_last(page):
            return None
        options = self._options
        text = self._text_of(page.items[-1])
        last, first = self._mark(text), self._mark_of(page.items[0])
        if last < first or (self._from is not None and first < self._from):
            raise SourceRefusedError(
                f"{request.url} does not give its items in the order of {options.field}, from {options.param} on; ask for that order under params:"
            )
        if self._from is None or last > self._from:
            self._from, self._number, self.may_repeat = last, 1, True
            params = {name: value for name, value in request.params.items() if name != options.page}
            return Request(request.url, {**params, options.param: text})
        if options.page is None:
            if self._size.size is None:
                # Everything from the last value on has been seen.
                return None
            raise SourceRefusedError(
                f"{request.url} has more items of {options.field} {text} than fit on a page; name the parameter of page numbers with page: under keyset:"
            )
        self._number += 1
        self.may_repeat = False
        return request.with_param(options.page, str(self._number))

    def _is_past(self, mark: Decimal) -> bool:
        return self._until is not None and mark >= _seconds(self._until)

    def _mark_of(self, item: bytes) -> Decimal:
        return self._mark(self._text_of(item))

    def _text_of(self, item: bytes) -> str:
        found = value_at(item, self._options.field)
        if not isinstance(found, str) or not found:
            raise SourceRefusedError(
                f"An item has no {self._options.field}, by which the list is paged; correct field: under keyset:"
            )
        return found

    def _mark(self, text: str) -> Decimal:
        """Returns what is compared: the number, or the seconds since 1970 of an instant."""
        with suppress(InvalidOperation):
            return Decimal(text)
        try:
            return _seconds(datetime.fromisoformat(text))
        except ValueError:
            raise SourceRefusedError(
                f"{self._options.field} is {text!r}, neither an instant nor a number; a keyset needs one of them"
            ) from None


def _seconds(when: datetime) -> Decimal:
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    return Decimal(since // _MICROSECOND) / 1_000_000


def pager_of(endpoint: RestEndpoint, start: str, until: datetime) -> Pager:
    """Returns the pager of a walk; `start` and `until` are the day's, for lists that say so."""
    if endpoint.paging == "none":
        return Whole()
    kind = endpoint.paging.kind
    if isinstance(kind, Link):
        return ByLink(kind)
    if isinstance(kind, PageOptions):
        return ByPage(kind)
    if isinstance(kind, Offset):
        return ByOffset(kind)
    if isinstance(kind, Cursor):
        return ByCursor(kind)
    return ByKeyset(kind, start if endpoint.since else None, until if endpoint.until else None)
