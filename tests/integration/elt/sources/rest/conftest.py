"""An imitated API over HTTP, a pipeline.yml that names it, and a lake of the test's own."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from elt.lake.store import Lake
from elt.settings import Settings
from testing.demo_api.server import DemoApi, serving

STORE = """
  - {name: products, path: /products, key: [id], expect: {required: [id, price], at_least: 1}}
  - {name: users, path: /users, key: [id], drop: [password], mask: [email, name.lastname]}
  - {name: carts, path: /carts, key: [id]}
"""


@dataclass
class Store:
    """The imitated API as a source `store` beside nothing else."""

    shop: Any
    api: DemoApi
    url: str
    folder: Path

    @property
    def settings(self) -> Settings:
        settings: Settings = self.shop.settings
        return settings

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_url)

    def pipeline(self, endpoints: str = STORE, more: str = "") -> None:
        text = f"sources:\n- name: store\n  kind: rest\n  url: {self.url}\n{more}  endpoints:{endpoints}"
        self.settings.elt_pipeline.write_text(text)

    def load(self, *tables: str, **options: Any) -> Any:
        return self.shop.load(*tables, **options)

    def rows(self, table: str, select: str = "toString(dt), data") -> list[tuple[Any, ...]]:
        return list(self.shop.warehouse(f"SELECT {select} FROM raw.{table} ORDER BY dt, object, row"))

    def days(self, table: str) -> dict[str, int]:
        return dict(self.shop.warehouse(f"SELECT toString(dt), count() FROM raw.{table} GROUP BY dt ORDER BY dt"))

    def stored(self) -> str:
        """Everything that lies in the lake, unpacked."""
        texts = []
        for one in self.lake.objects():
            content = self.lake.read(one.path)
            texts.append((gzip.decompress(content) if one.path.endswith(".gz") else content).decode())
        return "\n".join(texts)


@pytest.fixture
def store(shop: Any, tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "lake"
    url = folder.as_uri()
    here = replace(
        shop,
        settings=shop.settings.model_copy(update={"lake_url": url}),
        environment={**shop.environment, "LAKE_URL": url},
    )
    for table in ("publishes", "loads", "runs"):
        # Tables of these names were published by other tests, and dropped behind the loader's back.
        shop.admin_client.command(f"TRUNCATE TABLE ops.{table}")
    api = DemoApi()
    with serving(api) as address:
        found = Store(here, api, address, folder)
        found.pipeline()
        yield found
