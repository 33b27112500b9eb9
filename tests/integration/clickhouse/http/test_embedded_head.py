"""A head within ClickHouse's limits is read; one beyond them is answered as ClickHouse does: 400 without a text."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from typing import Any

import pytest
from embedded import __version__

MANY = "".join(f"X-{number}: y\r\n" for number in range(1000))
PARTS = "".join(f'--zz\r\nContent-Disposition: form-data; name="param_{number}"\r\n\r\n1\r\n' for number in range(1001))


def answer_of(server: Any, head: bytes, wait: float = 10) -> bytes:
    """All that the server says to it until it closes the connection."""
    with socket.create_connection((server.host, server.port), timeout=wait) as plain:
        got = b""
        try:
            plain.sendall(head)
            while data := plain.recv(1 << 16):
                got += data
        except ConnectionError:
            pass
        return got


@pytest.mark.parametrize(
    "lines",
    [MANY, f"X: {'y' * (1 << 17)}\r\n", f"{'X' * (1 << 12)}: y\r\n", "x-empty:\r\nX:y \t\r\n"],
    ids=["many", "long value", "long name", "empty value"],
)
def test_large_heads_are_read(admin: Any, lines: str) -> None:
    head = f"GET /ping HTTP/1.1\r\n{lines}".encode()
    if lines != MANY:
        head += b"Connection: close\r\n"
    else:
        head = head.replace(b"X-0: y", b"Connection: close")
    assert answer_of(admin, head + b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "head",
    [
        f"GET /ping HTTP/1.1\r\n{MANY}One: more\r\n\r\n",
        f"GET /ping HTTP/1.1\r\nX: {'y' * ((1 << 17) + 1)}\r\n\r\n",
        f"GET /ping HTTP/1.1\r\n{'X' * ((1 << 12) + 1)}: y\r\n\r\n",
        "GET /ping HTTP/1.1\r\n" + "".join(f"X-{number}: {'y' * (1 << 17)}\r\n" for number in range(81)) + "\r\n",
        f"GET /ping?{'x' * (1 << 20)} HTTP/1.1\r\n\r\n",
        "GET /ping HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /ping HTTP/1.1\r\nX: y\r\n folded: z\r\n\r\n",
        "GET /ping HTTP/1.1\r\nX : y\r\n\r\n",
        "GET /ping\r\n\r\n",
        "GET /ping HTTP/2.0\r\n\r\n",
        f"{'G' * 33} /ping HTTP/1.1\r\n\r\n",
    ],
    ids=["many", "value", "name", "together", "address", "colon", "folded", "space", "words", "version", "method"],
)
def test_heads_beyond_the_limits(admin: Any, head: str) -> None:
    got = answer_of(admin, head.encode())
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n"), got[:200]
    assert b"\r\nConnection: Close\r\n" in got
    assert got.endswith(b"\r\n\r\n")
    assert admin.ask("SELECT 1") == "1"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("&".join(f"param_{number}=1" for number in range(1001)), "Too many form fields"),
        (f"param_x={'y' * ((1 << 17) + 1)}", "Field value too long"),
        (f"param_{'x' * (1 << 12)}=1", "Field name too long"),
    ],
)
def test_addresses_beyond_the_limits(admin: Any, query: str, message: str) -> None:
    connection = admin.connect()
    connection.request("POST", f"/?{query}", b"SELECT 1", admin.authorization)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("X-ClickHouse-Exception-Code")) == (400, "1000")
    assert f"HTML Form Exception: {message} (POCO_EXCEPTION)" in answer.read().decode()
    connection.close()


def test_forms_beyond_the_limits(admin: Any) -> None:
    answer = admin.call(
        f"{PARTS}--zz--\r\n", query="SELECT 1", headers={"Content-Type": "multipart/form-data; boundary=zz"}
    )
    assert (answer.code, "Too many form fields" in answer.text) == (1000, True)


def profile(own_server: Any, repo: Any, settings: str) -> str:
    """Returns a folder of configuration whose default profile has more settings."""
    folder = own_server.folder / "config"
    folder.mkdir()
    (folder / "server.xml").write_text((repo / "clickhouse/config/server.xml").read_text())
    users, old = (repo / "clickhouse/config/users.xml").read_text(), "<log_queries>1</log_queries>"
    assert old in users
    (folder / "users.xml").write_text(users.replace(old, old + settings))
    return str(folder)


def test_limits_are_those_of_the_default_profile(own_server: Any, repo: Any) -> None:
    config = profile(
        own_server,
        repo,
        "<http_max_fields>8</http_max_fields><http_headers_read_timeout>1</http_headers_read_timeout>"
        "<http_max_multipart_form_data_size>4</http_max_multipart_form_data_size>",
    )
    own_server.start(CLICKHOUSE_CONFIG=config)
    admin = own_server.api()
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(9))
    assert answer_of(admin, b"GET /ping HTTP/1.1\r\n" + lines + b"\r\n").startswith(b"HTTP/1.1 400 ")
    form = '--zz\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n12345\r\n--zz--\r\n'
    large = admin.call(
        form,
        query="SELECT * FROM t",
        t_structure="a String",
        headers={"Content-Type": "multipart/form-data; boundary=zz"},
    )
    assert (large.code, "http_max_multipart_form_data_size" in large.text) == (290, True)
    assert admin.call("SELECT 1", http_max_fields=8).text == "1\n"
    assert admin.call("SELECT 1", http_max_fields=1000).code == 48
    with socket.create_connection((admin.host, admin.port), timeout=10) as slow:
        slow.sendall(b"GET /ping HTTP/1.1\r\n")
        began, got = time.monotonic(), b""
        while not got and time.monotonic() - began < 8:  # a byte now and then does not keep the connection
            slow.sendall(b"X")
            slow.settimeout(0.2)
            try:
                got = slow.recv(100)
            except TimeoutError:
                continue
        assert got.startswith(b"HTTP/1.1 400 ")


def test_profile_with_what_cannot_be_done_does_not_start(own_server: Any, repo: Any) -> None:
    config = profile(
        own_server, repo, "<http_write_exception_in_output_format>1</http_write_exception_in_output_format>"
    )
    assert own_server.launch(CLICKHOUSE_CONFIG=config).wait(timeout=30) == 1
    assert (
        "Profile default in users.xml: http_write_exception_in_output_format = 1 is not supported"
        in own_server.log.read_text()
    )


def test_connection_goes_on_after_an_empty_line(admin: Any) -> None:
    """Some clients end a body with one more line break."""
    with socket.create_connection((admin.host, admin.port), timeout=10) as plain:
        for end in (b"", b"Connection: close\r\n"):
            plain.sendall(b"\r\nGET /ping HTTP/1.1\r\n" + end + b"\r\n")
            answer = http.client.HTTPResponse(plain)
            answer.begin()
            assert answer.read() == b"Ok.\n"


def test_server_says_its_own_version(admin: Any, venvs: Any, repo: Any) -> None:
    """Beside the engine's, which SELECT version() gives."""
    told = subprocess.run(
        [venvs / "clickhouse/bin/python", "-m", "embedded", "--version"],
        env={"PYTHONPATH": str(repo / "clickhouse")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.startswith(f"clickhouse-embedded {__version__} (engine: chdb-core 26.")
    assert admin.call(path="/ping").headers["Server"] == f"clickhouse-embedded/{__version__}"
    assert f"Version {__version__}" in (repo / "clickhouse/embedded/README.md").read_text()
