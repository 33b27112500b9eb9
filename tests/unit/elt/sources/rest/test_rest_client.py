"""An error that can pass is tried again, any other ends at once; no secret leaves for another host, a log or an object."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from testing.demo_api.server import DemoApi, Fault, serving
from warehouse.errors import PipelineError, TerminalError, TransientError

PRODUCTS = {"path": "/products"}
SECRET_HEADERS = {"headers": {"Authorization": {"env": "API_TOKEN"}}}
TOKEN = "token/that+nobody=may see"
WRITTEN = (TOKEN, quote(TOKEN), quote(TOKEN, safe=""), quote_plus(TOKEN))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", 502),
        Fault("status", 500, body=b"oops"),
        Fault("status", 408),
        Fault("reset"),
        Fault("cut"),
        Fault("cut chunk"),
        Fault("text", 200, {"Content-Type": "text/html"}, b"<html>Please wait</html>"),
        Fault("text", 200, {}, b'[{"id": 1'),
        Fault("text", 200, {}, b'[{"id": "\xff"}]'),
        Fault("text", 200, {"Content-Encoding": "gzip"}, b"no gzip"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status} {fault.body[:12]!r}",
)
def test_what_can_pass_is_tried_again_and_the_list_is_whole(api: Any, fault: Fault) -> None:
    api.demo.faults = [fault] * 3
    assert api.items(api.fetch(PRODUCTS)) == api.demo.products
    assert len(api.demo.seen) == 4 and len(api.waits) == 3


def test_an_api_that_hangs_is_asked_again(api: Any) -> None:
    api.demo.faults = [Fault("hang")]
    assert api.fetch(PRODUCTS, limits={"timeout": 1}).items == 20
    api.demo.released.set()
    assert len(api.demo.seen) == 2


def test_the_tries_of_a_request_end(api: Any) -> None:
    api.demo.faults = [Fault("status", 503)] * 20
    with pytest.raises(TransientError, match="/products answers 503: Service Unavailable"):
        api.fetch(PRODUCTS, limits={"tries": 4})
    assert len(api.demo.seen) == 4 and not list(api.lake.objects())


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "7"}, 7),
        (403, {"Retry-After": "61"}, 61),
        (503, {"Retry-After": "5"}, 5),
        (429, {}, 60),
        (429, {"RateLimit-Reset": "11"}, 11),
        (429, {"Retry-After": "0"}, 1),
        (429, {"Retry-After": "soon"}, 60),
        # A date is read by the API's own clock.
        (429, {"Retry-After": "Fri, 02 Jan 2026 00:15:00 GMT", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}, 900),
        (503, {"Retry-After": "Fri, 02 Jan 2026 00:00:00 GMT", "Date": "Fri, 02 Jan 2026 00:00:30 GMT"}, 1),
    ],
)
def test_a_limit_is_waited_for_as_long_as_the_api_says_and_costs_no_try(
    api: Any, status: int, headers: dict[str, str], seconds: int
) -> None:
    api.demo.faults = [Fault("status", status, headers)] * 2
    assert api.fetch(PRODUCTS, limits={"tries": 1}).items == 20
    assert api.waits == [seconds, seconds]


def test_the_end_of_a_window_is_waited_for(api: Any) -> None:
    reset = int(time.time()) + 900
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    api.demo.faults = [Fault("status", 403, headers)]
    before = time.time()
    assert api.fetch(PRODUCTS).items == 20
    assert len(api.waits) == 1 and reset - time.time() <= api.waits[0] <= reset - before


def test_a_wait_that_is_too_long_ends_the_fetch_and_says_when_to_go_on(api: Any) -> None:
    api.demo.faults = [Fault("status", 429, {"Retry-After": "600"})] * 5
    with pytest.raises(
        TransientError, match=r"it answers again at 20\d\d-.* UTC: run again then, or raise wait_at_most"
    ):
        api.fetch(PRODUCTS, limits={"wait_at_most": "20min"})
    assert api.waits == [600, 600]
    assert sum("too many requests" in text and text.endswith("asking again in 600 s") for text in api.told) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            Fault("status", 401, body=b'{"message":"Bad credentials"}'),
            "answers 401.*Bad credentials.*correct the headers",
        ),
        (Fault("status", 403, {"X-RateLimit-Remaining": "41"}, b"no"), "answers 403"),
        (Fault("status", 404), "answers 404.*correct path"),
        (Fault("status", 422, body=b"bad page"), "answers 422: bad page"),
        (Fault("text", 200, {}, b'{"message":"ok"}'), "answers with the keys message and not with a list"),
    ],
)
def test_what_cannot_pass_ends_at_once(api: Any, fault: Fault, words: str) -> None:
    api.demo.faults = [fault]
    with pytest.raises(TerminalError, match=words):
        api.fetch(PRODUCTS)
    assert len(api.demo.seen) == 1 and not api.waits and not list(api.lake.objects())


def test_records_that_are_not_there_are_named(api: Any) -> None:
    with pytest.raises(TerminalError, match=r"has no data\.rows; it has the keys data, next"):
        api.fetch({"path": "/by_cursor", "records": "data.rows"})


def _redirect(url: str) -> Callable[[DemoApi], None]:
    def order(demo: DemoApi) -> None:
        demo.faults = [Fault("status", 302, {"Location": f"{url}/products"})]

    return order


def test_another_host_is_never_asked_neither_by_a_redirect_nor_by_a_next_page(api: Any) -> None:
    other = DemoApi()
    with serving(other) as url:
        api.demo.faults = [Fault("status", 302, {"Location": f"{url}/products"})]
        with pytest.raises(TerminalError, match="sends the loader on to"):
            api.fetch(PRODUCTS, **SECRET_HEADERS)
        link = Fault("text", 200, {"Link": f'<{url}/products>; rel="next"'}, b'[{"id":1}]')
        api.demo.faults = [link]
        with pytest.raises(TerminalError, match="sends the loader on to"):
            api.fetch({**PRODUCTS, "paging": "link"}, **SECRET_HEADERS)
        api.demo.faults = [Fault("text", 200, {}, f'{{"items":[{{"id":1}}],"next":"{url}/products"}}'.encode())]
        with pytest.raises(TerminalError, match="sends the loader on to"):
            api.fetch({"path": "/x", "records": "items", "paging": {"link": {"at": "next"}}}, **SECRET_HEADERS)
        assert not other.seen


def test_a_redirect_on_the_same_host_is_followed(api: Any) -> None:
    api.demo.faults = [Fault("status", 307, {"Location": "/products"})]
    assert api.fetch({"path": "/old"}).items == 20
    api.demo.faults = [Fault("status", 302, {"Location": "/products"})] * 9
    with pytest.raises(TerminalError, match="redirects more than 5 times"):
        api.fetch(PRODUCTS, run=2)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", 401, body=f'{{"message":"Bearer {TOKEN} is no good"}}'.encode()),
        Fault("status", 404, body=TOKEN.encode()),
        Fault("status", 400, body=f"GET /products?key={quote_plus(TOKEN)}".encode()),
        Fault("status", 400, body=f"GET /products?key={quote(TOKEN, safe='')}".encode()),
        Fault("text", 200, {}, f'{{"echo":"{TOKEN}"}}'.encode()),
        Fault("text", 200, {}, f"<p>{TOKEN}</p>".encode()),
        Fault("reset"),
    ],
)
def test_a_secret_stands_in_no_message(api: Any, fault: Fault) -> None:
    api.demo.faults = [fault]
    with pytest.raises(PipelineError) as error:
        api.fetch({**PRODUCTS, "params": {"key": {"env": "API_KEY"}}}, limits={"tries": 1}, **SECRET_HEADERS)
    assert not [written for written in WRITTEN if written in str(error.value)], str(error.value)
    assert TOKEN in api.demo.seen[0].headers["authorization"] and api.demo.seen[0].query["key"] == TOKEN


def test_a_secret_stands_in_no_object_and_no_progress(api: Any) -> None:
    api.demo.token = TOKEN
    endpoint = {"path": "/repos/a/b/issues", "params": {"key": {"env": "API_KEY"}, "per_page": "100"}, "paging": "link"}
    assert api.fetch(endpoint, **SECRET_HEADERS).items == 250
    stored = b"".join(api.lake.read(one.path) for one in api.lake.objects())
    assert b"{env: API_KEY}" in stored
    for written in WRITTEN:
        assert written.encode() not in stored and not any(written in text for text in api.told)


def test_a_variable_that_is_not_set_is_named_before_anything_is_asked(api: Any) -> None:
    with pytest.raises(TerminalError, match="NOT_THERE is not in the environment"):
        api.fetch(PRODUCTS, headers={"Authorization": {"env": "NOT_THERE"}})
    assert not api.demo.seen


def test_packed_answers_and_a_rate(api: Any) -> None:
    api.demo.packs = True
    assert api.fetch(PRODUCTS).items == 20 and "gzip" in api.demo.seen[0].headers["accept-encoding"]
    api.fetch({"path": "/by_page", "paging": "page", "params": {"size": 5}}, run=2, limits={"requests_per_second": 0.5})
    # Nobody has slept here: each of the later requests would have waited for nearly two seconds.
    assert len(api.waits) == 4 and all(1 < wait <= 2 for wait in api.waits)
