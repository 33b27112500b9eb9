"""Options in pipeline.yml of a JSON API and of its endpoints."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from warehouse.errors import TerminalError

from elt.pipeline.options import Options, SourceEntry, TableEntry, Variable

PLACEHOLDERS = ("day", "start", "end", "start_epoch", "end_epoch")
"""Names in braces that a path or a parameter may have: the day, and its first and last instant."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACES = re.compile(r"\{([^{}]*)\}")
_DURATION = re.compile(r"(\d+) ?(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_OWN = {
    "exclude": "drop: leaves keys out of items",
    "order_by": "the table is ordered by day, object and row",
    "partition_by": "the table is divided by day",
}


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name; write letters, digits and underscores, no digit first")
    return name


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of an API; write https://host or https://host/path")
    if "@" in parts.netloc:
        raise ValueError("a password does not stand in pipeline.yml; write headers: {Authorization: {env: NAME}}")
    return url.rstrip("/")


def _path(path: str) -> str:
    if not path.startswith("/") or "?" in path or "#" in path:
        raise ValueError(f"{path!r} is no path; write /items, and what stands behind ? under params:")
    return path


def _seconds(value: object) -> object:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return int(match[1]) * _SECONDS[match[2]]
    return value


def _text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


def _key(path: str) -> str:
    if not path or not all(path.split(".")):
        raise ValueError(f"{path!r} is no key of an item; write password, or address.phone for one inside another")
    return path


Text = Annotated[str, BeforeValidator(_text)]
Key = Annotated[str, AfterValidator(_key)]
"""A key of an item; dots lead into objects, and through lists of them."""
Value = Text | Variable


class Size(Options):
    """How many items a page has."""

    size: Annotated[int, Field(ge=1)] | None = None
    """Items of a full page; a shorter one is then the last."""
    size_param: str | None = None
    """Parameter that asks for so many."""

    @model_validator(mode="after")
    def _both(self) -> Size:
        if self.size_param and self.size is None:
            raise ValueError("size_param needs size: the number of items to ask for")
        return self


class Link(Options):
    """The answer names the next page: in its Link header, or in its body."""

    at: Key | None = None
    """Key of the body that has the address."""


class Page(Size):
    """Pages have numbers."""

    param: str = "page"
    first: int = 1


class Offset(Size):
    """Each request says how many items to leave out."""

    param: str = "offset"
    size: Annotated[int, Field(ge=1)]
    size_param: str | None = "limit"


class Cursor(Size):
    """Each request names the place that the answer before gave."""

    param: str
    at: Key | None = None
    """Key of the body that has the place; none, or an empty one, ends the list."""
    field: Key | None = None
    """Key of the last item that is the place."""
    more: Key | None = None
    """Key of the body that says whether there is more."""

    @model_validator(mode="after")
    def _one(self) -> Cursor:
        if (self.at is None) == (self.field is None):
            raise ValueError("a cursor stands at: a key of the answer, or is the field: of its last item; name one")
        return self


class Keyset(Size):
    """Each request asks for items from the last value on; the list is ordered by it and may change while it is read."""

    param: str
    """Parameter for the value, which takes items of that value, too."""
    field: Key
    """Key of items, an instant or a number; the API gives them in its order."""
    page: str | None = None
    """Parameter for the number of a page, for more items of one value than fit on one."""


_KINDS: dict[str, type[Options]] = {"link": Link, "page": Page, "offset": Offset, "cursor": Cursor, "keyset": Keyset}


def _paging(value: object) -> object:
    """`link` stands for {link: {}}, and so on."""
    if isinstance(value, str) and value in _KINDS:
        return {value: {}}
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _KINDS:
        return value
    if value == "none" or isinstance(value, Paging):
        return value
    raise ValueError(f"paging is none, or one of {', '.join(_KINDS)}, as in {{page: {{param: page}}}}")


class Paging(Options):
    """How the pages of a list are asked for; one of these."""

    link: Link | None = None
    page: Page | None = None
    offset: Offset | None = None
    cursor: Cursor | None = None
    keyset: Keyset | None = None

    @property
    def kind(self) -> Link | Page | Offset | Cursor | Keyset:
        found = self.link or self.page or self.offset or self.cursor or self.keyset
        if found is None:
            raise ValueError("paging names no kind")
        return found


def _is_paging(value: object) -> str:
    return "none" if value == "none" else "paging"


Pages = Annotated[
    Annotated[Literal["none"], Tag("none")] | Annotated[Paging, Tag("paging")],
    Discriminator(_is_paging),
    BeforeValidator(_paging),
]


class Expect(Options):
    """Conditions that must hold for a fetch to count."""

    required: tuple[str, ...] = ()
    """Keys that each item has."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """Items of the day."""


class RestEndpoint(TableEntry):
    """One endpoint, whose items are rows of one table."""

    name: Annotated[str, AfterValidator(_name)]
    mode: Literal["by_day"] = "by_day"
    path: Annotated[str, AfterValidator(_path)]
    """Below the source's address; names in braces are of `for_each`, or of the day."""
    params: dict[str, Value] = Field(default_factory=dict)
    for_each: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Values for names in braces; each combination is a list of its own."""
    records: Key | None = None
    """Key of the answer that has the list; the answer is the list where nothing is said."""
    paging: Pages = "none"
    since: Literal["interval_start"] | None = None
    """Keyset: the first value that is asked for; everything where nothing is said."""
    until: Literal["interval_end"] | None = None
    """Keyset: where the list ends for this day."""
    drop: tuple[Key, ...] = ()
    """Keys that are stored nowhere."""
    mask: tuple[Key, ...] = ()
    """Keys of whose values a salted hash is stored."""
    expect: Expect = Expect()
    order_by: tuple[str, ...] = ("dt", "object", "row")
    partition_by: str = "dt"

    @model_validator(mode="before")
    @classmethod
    def _not_own(cls, given: Any) -> Any:
        if isinstance(given, dict) and (taken := [name for name in _OWN if name in given]):
            raise ValueError(f"{taken[0]} is not for an endpoint: {_OWN[taken[0]]}")
        return given

    @model_validator(mode="after")
    def _fits(self) -> RestEndpoint:
        keyset = isinstance(self.paging, Paging) and self.paging.keyset is not None
        if (self.since or self.until) and not keyset:
            raise ValueError(
                "since and until are for paging: keyset; elsewhere write '{start}' and '{end}' under params"
            )
        texts = [self.path, *(value for value in self.params.values() if isinstance(value, str))]
        used = {name for text in texts for name in _BRACES.findall(text)}
        known = {*PLACEHOLDERS, *self.for_each}
        if unknown := sorted(used - known):
            raise ValueError(
                f"{{{unknown[0]}}} is not known; name it under for_each, or use one of {', '.join(PLACEHOLDERS)}"
            )
        if unused := sorted(set(self.for_each) - used):
            raise ValueError(
                f"{unused[0]} of for_each stands neither in path nor in params; write {{{unused[0]}}} there"
            )
        if twice := sorted({*self.drop} & {*self.mask}):
            raise ValueError(f"{twice[0]} stands under drop and mask; take it out of one")
        return self

    def combinations(self) -> Iterator[Mapping[str, str]]:
        """Yields the values of `for_each`; one empty mapping where it says nothing."""
        for values in itertools.product(*self.for_each.values()):
            yield dict(zip(self.for_each, values, strict=True))


class Limits(Options):
    """How hard the API may be asked, and how long it is waited for."""

    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    wait_at_most: Annotated[int, BeforeValidator(_seconds), Field(ge=0)] = 3600
    """Seconds that one fetch of an endpoint waits in all because the API says that there were too many requests."""
    tries: Annotated[int, Field(ge=1, le=20)] = 6
    """Of one request that fails in a way that may pass."""
    timeout: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] = 60
    """Seconds without a byte of the answer."""


class RestSource(SourceEntry):
    """One API."""

    lists: ClassVar[tuple[str, ...]] = ("endpoints",)

    kind: Literal["rest"]
    url: Annotated[str, AfterValidator(_url)]
    headers: dict[str, Value] = Field(default_factory=dict)
    """Headers of each request; {env: NAME} is a value of the environment, which no log and no object has."""
    limits: Limits = Limits()
    endpoints: Annotated[tuple[RestEndpoint, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _apart(self) -> RestSource:
        listed = Counter(endpoint.name for endpoint in self.endpoints)
        if twice := [name for name, count in listed.items() if count > 1]:
            raise ValueError(f"the endpoints {', '.join(twice)} stand twice; give each a name of its own")
        return self

    @property
    def entries(self) -> tuple[RestEndpoint, ...]:
        return self.endpoints

    def table(self, name: str) -> RestEndpoint:
        raise TerminalError(
            f"{name} is not in pipeline.yml; write it under endpoints: of the source {self.name}, with its path"
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables of the environment that it reads."""
        values = [*self.headers.values(), *(value for one in self.endpoints for value in one.params.values())]
        return tuple(dict.fromkeys(value.env for value in values if isinstance(value, Variable)))
