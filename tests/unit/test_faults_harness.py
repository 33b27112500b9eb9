"""The harness of faults: its proxy acts when it says, and a start goes on where the one before ended."""

import socket
import threading
from collections.abc import Iterator

import pytest
from faults.proxy import Proxy, When
from faults.results import Row, good_rounds


class Echo:
    """A server that sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                try:
                    while data := client.recv(1000):
                        self.got += data
                        client.sendall(data)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    proxy = Proxy(echo.address)
    yield proxy
    proxy.close()


def asked(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(1000)


@pytest.mark.parametrize(
    ("when", "got_at_the_moment"), [("unsent", {b"SELECT 1"}), ("answered", {b"SELECT 1SELECT 2"})]
)
def test_the_moment_is_the_one_that_was_asked_for(
    echo: Echo, proxy: Proxy, when: When, got_at_the_moment: set[bytes]
) -> None:
    seen = []
    proxy.watch("SELECT", 2, when, lambda: seen.append(echo.got))
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        assert asked(client, b"SELECT 1") == b"SELECT 1" and not seen
        if when == "unsent":
            with pytest.raises(ConnectionResetError):
                asked(client, b"SELECT 2")
        else:
            assert asked(client, b"SELECT 2") == b"SELECT 2"
    assert set(seen) == got_at_the_moment


def test_a_statement_in_two_pieces_is_one(echo: Echo, proxy: Proxy) -> None:
    met = threading.Event()
    proxy.watch("EXCHANGE TABLES", 1, "sent", met.set)
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        assert asked(client, b"EXCHANGE") == b"EXCHANGE" and not met.is_set()
        assert asked(client, b" TABLES") == b" TABLES"
        assert met.wait(10)


def test_what_is_stalled_passes_afterwards_and_what_is_cut_does_not(echo: Echo, proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        assert asked(client, b"one") == b"one"
        proxy.stall()
        client.sendall(b"two")
        proxy.resume()
        assert client.recv(1000) == b"two"
        cut = threading.Event()
        proxy.cut_after(5, cut.set)
        with pytest.raises(ConnectionResetError):
            asked(client, b"three")
        assert cut.is_set() and echo.got == b"onetwo"


def row(struck: int, result: str = "holds", code: str = "this", scenario: str = "kill") -> Row:
    return Row(scenario, 1, struck, struck, [], result, code, "")


@pytest.mark.parametrize(
    ("rows", "good"),
    [
        ([], 0),
        ([row(2), row(3)], 5),
        ([row(2), row(3, code="another")], 2),
        ([row(2), row(3, scenario="stop")], 2),
        ([row(9), row(1, "raw differs"), row(3)], 3),
    ],
)
def test_rounds_since_the_last_failure_with_this_code_count(rows: list[Row], good: int) -> None:
    assert good_rounds(rows, "kill", "this") == good
