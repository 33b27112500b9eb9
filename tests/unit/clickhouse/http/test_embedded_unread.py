"""A large plain body is moved from the connection into the engine's pipe, byte for byte, and never looks whole when it is not."""

import os
import socket
import threading
from collections.abc import Iterator
from email.message import Message
from itertools import islice

import lz4.frame
import pytest
from embedded.errors import ClientGoneError
from embedded.http.request import CHUNK, Request, Unread
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's and a server's end of one TCP connection; the server's is silent for half a second at most."""
    yield from _ends()


def _ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.settimeout(0.5)
    with client, server:
        yield client, server


def received(server: socket.socket, read_first: int = 0, **headers: str) -> tuple[Request, bytes, int]:
    """The request, its body as a pipe's reader gets it, and how many of its pieces were moved.

    As many pieces as `read_first` are taken before any may be left in the connection, as those with the statement are.
    """
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    with server.makefile("rb", 1 << 12) as source:
        request = Request("POST", "/", message, source, lambda: None, server)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        text = bytearray()
        moved = 0

        def read() -> None:
            while piece := os.read(reader, 1 << 16):
                text.extend(piece)

        reading = threading.Thread(target=read)
        reading.start()
        try:
            pieces = request.body()
            for piece in islice(pieces, read_first):
                _through(writer, piece)
            request.leave_in_connection()
            for piece in pieces:
                if not isinstance(piece, Unread):
                    text += _through(writer, piece)
                    continue
                moved += 1
                while piece:
                    piece.move_to(writer, 0.05)
        finally:
            os.close(writer)
            reading.join()
            os.close(reader)
    return request, bytes(text), moved


def _through(writer: int, piece: bytes) -> bytes:
    """Written into the pipe as well, so that the order is that of the body."""
    left = memoryview(piece)
    while left:
        try:
            left = left[os.write(writer, left) :]
        except BlockingIOError:
            continue
    return b""


def _send(client: socket.socket, wire: bytes, cut: int) -> None:
    for at in range(0, len(wire), cut):
        client.sendall(wire[at : at + cut])


@given(st.lists(st.integers(1, 40_000), max_size=6), st.booleans(), st.integers(1, 70_000))
@settings(max_examples=60, deadline=None)
def test_the_body_arrives_byte_for_byte(sizes: list[int], chunked: bool, cut: int) -> None:
    parts = [os.urandom(size) for size in sizes]
    whole = b"".join(parts)
    if chunked:
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        headers = {"Transfer_Encoding": "chunked"}
    else:
        wire, headers = whole, {"Content_Length": str(len(whole))}
    for client, server in _ends():
        sending = threading.Thread(target=_send, args=(client, wire, cut))
        sending.start()
        request, text, _ = received(server, **headers)
        sending.join()
        assert text == whole and not request.unread


def test_most_of_a_large_body_is_moved(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    body = os.urandom(1 << 20)
    sending = threading.Thread(target=client.sendall, args=(body,))
    sending.start()
    _, text, moved = received(server, Content_Length=str(len(body)))
    sending.join()
    assert text == body and moved == 1


def test_what_the_reader_has_read_ahead_comes_first(ends: tuple[socket.socket, socket.socket]) -> None:
    """The statement stands in the body: a first piece is read through a buffer, which is then not empty."""
    client, server = ends
    body = os.urandom(3 * CHUNK + 1)
    sending = threading.Thread(target=client.sendall, args=(body,))
    sending.start()
    _, text, moved = received(server, 1, Content_Length=str(len(body)))
    sending.join()
    assert text == body and moved == 1


def test_a_body_that_nobody_reads_is_read_away(ends: tuple[socket.socket, socket.socket]) -> None:
    """The connection's next request begins behind it, also where the body might have been left in the connection."""
    client, server = ends
    body = os.urandom(300_000)
    sending = threading.Thread(target=client.sendall, args=(body + b"next",))
    sending.start()
    message = Message()
    message["Content-Length"] = str(len(body))
    with server.makefile("rb", 1 << 12) as source:
        request = Request("POST", "/", message, source, lambda: None, server)
        request.leave_in_connection()
        request.drain()
        assert not request.unread and source.read(4) == b"next"
    sending.join()


def test_a_client_that_goes_in_the_middle_is_told_from_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    client.sendall(os.urandom(50_000))
    client.close()
    with pytest.raises(ClientGoneError):
        received(server, Content_Length="100000")


def test_a_client_that_says_nothing_for_too_long_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    client.sendall(os.urandom(50_000))
    with pytest.raises(TimeoutError):
        received(server, Content_Length="100000")


def test_a_body_in_a_coding_is_decoded_and_not_moved(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    body = os.urandom(100_000)
    coded = lz4.frame.compress(body)
    client.sendall(coded)
    _, text, moved = received(server, Content_Length=str(len(coded)), Content_Encoding="lz4")
    assert text == body and moved == 0
