"""The rule of plurals, compiled once and not for each text of a page.

Superset's scripts translate by Jed, which parses and compiles its rule of plurals ("nplurals=2; plural=(n != 1);") for each text that it finds no
translation for. In English that is each text: some thousand a page, a twentieth of the time of a page that is opened again. So the one
script of Superset 6.1.0 that holds Jed is served with a function that keeps what it made. Where no script has that function, as may be in a newer
Superset, all are served as they are.
"""

import re
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, request

COMPILING = re.compile(
    rb'function (\w+)\((\w+)\)\{return (\w+\.PF\.compile)\(\2\|\|("nplurals=2; plural=\(n != 1\);")\)\}'
)
KEEPING = rb"function \1(\2){return(\1.made||(\1.made={}))[\2||=\4]||(\1.made[\2]=\3(\2))}"


def with_jed(scripts: Path) -> tuple[str, bytes] | None:
    """The name of the script that holds Jed, and its text, changed."""
    for file in scripts.glob("*.entry.js"):
        text, number = COMPILING.subn(KEEPING, file.read_bytes())
        if number:
            return file.name, text
    return None


def served() -> Blueprint:
    """One of Superset's BLUEPRINTS."""
    blueprint = Blueprint("plurals", __name__)
    if found := with_jed(Path(str(files("superset"))) / "static" / "assets"):
        name, text = found

        @blueprint.get(f"/static/assets/{name}")
        def script() -> Response:
            answer = Response(text, mimetype="text/javascript")
            # StaticFiles says for how long.
            answer.cache_control.public = True
            answer.add_etag()
            answer.make_conditional(request)
            return answer

    return blueprint
