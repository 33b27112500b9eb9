"""Takes the stylesheet that antd computes out of the dashboards of the running stack, and writes it to superset/config/stack_superset/static.

Needed after an upgrade of Superset or a change of its theme: test_antd_styles.py says so. Run it by the tests' Python, with the stack of
$STACK_HOME, or of this folder, up: `.stack/venvs/tests/bin/python tests/e2e/antd_styles.py`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from browser import Visitor, profiled
from superset_api import DASHBOARDS, REPO, running

FOLDER = REPO / "superset/config/stack_superset/static"
SERVED = "**/static/stack/antd.*.css"
# The cache of @ant-design/cssinjs is a context of React: where a component reads it, its fiber names it.
CACHES = """() => {
  const caches = new Set();
  const fibers = [document.querySelector("#app")._reactRootContainer._internalRoot.current];
  while (fibers.length) {
    const fiber = fibers.pop();
    for (let read = fiber.dependencies?.firstContext; read; read = read.next) {
      const cache = read.context._currentValue?.cache;
      if (cache?.cache instanceof Map) caches.add(cache.cache);
    }
    fibers.push(...[fiber.child, fiber.sibling].filter(Boolean));
  }
  return [...caches].flatMap(cache => [...cache.entries()])
    .filter(([path]) => path.startsWith("style%"))
    .map(([path, [, [css, , hash, effects, , order]]]) => ({ path: path.split("%").slice(1).join("|"), css, hash, effects, order: order ?? 0 }));
}"""


@dataclass(frozen=True)
class Style:
    """What antd made for one of its components: `effects` are keyframes by name, `order` its place among the others."""

    css: str
    hash: str
    effects: dict[str, str]
    order: int


@contextmanager
def without_file(visitor: Visitor) -> Iterator[None]:
    """Pages get an empty stylesheet, so that antd computes all styles."""
    visitor.page.route(SERVED, lambda route: route.fulfill(body="", content_type="text/css"))
    yield
    visitor.page.unroute(SERVED)


def computed(visitor: Visitor) -> dict[str, Style]:
    """By path, for all dashboards."""
    found: dict[str, Style] = {}
    with without_file(visitor):
        for slug in DASHBOARDS:
            visitor.open(slug)
            styles: list[dict[str, Any]] = visitor.page.evaluate(CACHES)
            found |= {style.pop("path"): Style(**style) for style in styles}
    return found


def stylesheet(styles: dict[str, Style]) -> str:
    """The text, as antd reads it (extractStyle of @ant-design/cssinjs writes the like)."""
    ordered = sorted(styles.items(), key=lambda item: (item[1].order, item[0]))
    effects = {name: text for _, style in ordered for name, text in style.effects.items()}
    parts = [style.css for _, style in ordered] + [
        text if text.startswith("@") else name + text for name, text in sorted(effects.items())
    ]
    paths = "".join(f"{path}:{style.hash};" for path, style in ordered)
    return "\n".join([*filter(None, parts), f'.data-ant-cssinjs-cache-path{{content:"{paths}"}}', ""])


def file_name(text: str) -> str:
    return f"antd.{hashlib.sha256(text.encode()).hexdigest()[:20]}.css"


def main() -> None:
    env = running()
    with profiled() as browser:
        url = f"http://127.0.0.1:{env['SUPERSET_PORT']}"
        text = stylesheet(computed(Visitor(browser, url, "admin", env["SUPERSET_ADMIN_PASSWORD"])))
    for old in FOLDER.glob("antd.*.css"):
        old.unlink()
    file = FOLDER / file_name(text)
    file.write_text(text)
    print(f"ok     {file.relative_to(REPO)}, {len(text) // 1000} kB. Next: ./stop.sh; ./run.sh, and commit it.")


if __name__ == "__main__":
    main()
