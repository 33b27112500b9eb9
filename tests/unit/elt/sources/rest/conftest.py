"""The imitated API over HTTP, and fetches from it into a lake of the test's own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from elt.lake.manifest import Manifest
from elt.lake.store import Lake
from elt.sources.rest.fetch import Fetcher
from elt.sources.rest.options import RestSource
from pydantic import SecretStr
from testing.demo_api.server import DemoApi, serving

TOKEN = "token/that+nobody=may see"
DAY = date(2026, 1, 2)


@dataclass
class Api:
    """The imitated API, and what the loader makes of it."""

    demo: DemoApi
    url: str
    lake: Lake
    waits: list[float] = field(default_factory=list)
    """Seconds that the loader would have slept."""
    told: list[str] = field(default_factory=list)

    def source(self, endpoint: dict[str, Any], **more: Any) -> RestSource:
        given = {"name": "api", "kind": "rest", "url": self.url, "endpoints": [{"name": "e", **endpoint}], **more}
        return RestSource.model_validate(given)

    def fetch(self, endpoint: dict[str, Any], *, run: int = 1, salt: str = "salt", **more: Any) -> Manifest:
        source = self.source(endpoint, **more)
        secrets = {"API_TOKEN": f"Bearer {TOKEN}", "API_KEY": TOKEN}
        fetcher = Fetcher(self.lake, source, lambda name: SecretStr(secrets.get(name, "")), salt, str)
        fetcher.sleep = self.waits.append
        return fetcher.fetch(source.endpoints[0], DAY, run, self.told.append)

    def items(self, manifest: Manifest) -> list[str]:
        """The stored items, as they are stored."""
        return [
            line
            for one in manifest.objects
            for line in gzip.decompress(self.lake.read(one.path)).decode().split("\n")[:-1]
        ]

    def ids(self, manifest: Manifest) -> list[int]:
        return [int(json.loads(item)["id"]) for item in self.items(manifest)]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    demo = DemoApi()
    with serving(demo) as url:
        yield Api(demo, url, Lake((tmp_path / "lake").as_uri()))
