"""antd's styles as a file of ours, in place of computing them in each page.

antd, of which Superset's pages are made, writes its stylesheet while it draws: for a dashboard 0.4 MB of text, the same each time, in forty
pieces after each of which the browser styles the page anew. A seventh of the time of a page that is opened again goes into it. antd
takes styles from a stylesheet instead, when that says by the class `data-ant-cssinjs-cache-path` which ones it holds. What it does not hold,
as those of another theme, antd computes as before.

The file is taken from the pages by tests/e2e/antd_styles.py; a test there says when it has to be taken again.
"""

from pathlib import Path

from flask import Blueprint

FOLDER = Path(__file__).with_name("static")


def stylesheet() -> Path | None:
    """The file; its name changes with its contents, so that browsers keep it."""
    return next(FOLDER.glob("antd.*.css"), None)


def served() -> Blueprint:
    """One of Superset's BLUEPRINTS: serves the file, and tells head_custom_extra.html its name."""
    blueprint = Blueprint("stack", __name__, static_folder=str(FOLDER), static_url_path="/static/stack")
    file = stylesheet()
    blueprint.app_context_processor(lambda: {"antd_stylesheet": file.name if file else ""})
    return blueprint
