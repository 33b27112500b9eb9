"""Superset's scripts and styles, kept by browsers as long as they stay the same."""

import re
from collections.abc import Callable, Iterable
from typing import Any

STATIC = "/static/"
# The name changes with the contents: 616.94c331d4202698eb2aa9.entry.js
HASHED = re.compile(r"[0-9a-f]{20}\.(entry\.|chunk\.)?(js|css|woff2|png|svg|jpg|gif)$")
YEAR = "public, max-age=31536000, immutable"

Headers = list[tuple[str, str]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _kept(path: str, headers: Headers) -> Headers:
    left = []
    for name, value in headers:
        if name.lower() == "set-cookie":
            continue
        if name.lower() == "vary":
            value = ", ".join(part for part in re.split(r"\s*,\s*", value) if part.lower() != "cookie")
        if name.lower() == "cache-control" and HASHED.search(path):
            value = YEAR
        if value:
            left.append((name, value))
    return left


class StaticFiles:
    """A middleware (ADDITIONAL_MIDDLEWARE) that takes the session out of the answers below /static/.

    Superset looks at the session in every request, so Flask says `Vary: Cookie` even of a script. A browser then asks again for each of them
    after each login, and, what is worse, throws away the machine code that it had made of them.
    """

    def __init__(self, app: Wsgi) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if not path.startswith(STATIC):
            return self._app(environ, start_response)

        def start(status: str, headers: Headers, *rest: Any) -> Any:
            return start_response(status, _kept(path, headers) if status[:3] in ("200", "304") else headers, *rest)

        return self._app(environ, start)
