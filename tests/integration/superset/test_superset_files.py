"""The files and Superset say the same: hand edits go back to the files, removed files remove, and a round trip changes nothing."""

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml


def export(superset: Any, folder: Path) -> str:
    """Superset as files below `folder`. Returns what was said."""
    command = [str(superset.python), str(superset.repo / "superset" / "export.py"), "--to", str(folder)]
    done = subprocess.run(command, env=superset.env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def texts(folder: Path) -> dict[str, str]:
    """The exported files; metadata.yaml and access.yaml are not exported."""
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in sorted(folder.rglob("*.yaml"))
        if file.name not in ("metadata.yaml", "access.yaml")
    }


@pytest.fixture
def copy(superset: Any, tmp_path: Path) -> Any:
    """A copy of the project's files that a test may change, for the same Superset."""
    shutil.copytree(superset.repo / "superset", tmp_path / "superset", ignore=shutil.ignore_patterns("__pycache__"))
    return dataclasses.replace(superset, repo=tmp_path)


@contextmanager
def empty_database(postgres: Any) -> Iterator[None]:
    """Superset's metadata database is a new one for a while."""
    admin = psycopg2.connect(postgres.dsn("postgres"))
    admin.autocommit = True
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'superset'"
    with admin.cursor() as cur:
        cur.execute(ended)
        cur.execute("ALTER DATABASE superset RENAME TO superset_kept")
        cur.execute("CREATE DATABASE superset OWNER superset")
        yield
        cur.execute(ended)
        cur.execute("DROP DATABASE superset")
        cur.execute("ALTER DATABASE superset_kept RENAME TO superset")
    admin.close()


def test_a_hand_edit_is_the_only_difference_and_survives_a_round_trip(
    superset: Any, postgres: Any, api: Any, pruned: Any, copy: Any, tmp_path: Path
) -> None:
    """Edited, exported, imported into an empty database, exported again: equal."""
    assets = copy.repo / "superset" / "assets"
    before = texts(assets)
    charts = {row["slice_name"]: row["id"] for row in api.get("/api/v1/chart/?q=(page_size:100)").json()["result"]}
    chart = charts["Orders by status"]
    assert api.put(f"/api/v1/chart/{chart}", {"description": "Edited by hand."}).status_code == 200
    said = export(superset, assets)
    assert "wrote shop/charts/sales_by_status.yaml" in said and "1 files changed" in said
    edited = texts(assets)
    assert {name for name in edited if edited[name] != before.get(name)} == {"shop/charts/sales_by_status.yaml"}
    fresh = tmp_path / "fresh"
    with empty_database(postgres):
        first = copy.provision()
        assert first.returncode == 0, first.stderr
        export(dataclasses.replace(superset, repo=copy.repo), fresh)
    assert {name: yaml.safe_load(text) for name, text in texts(fresh).items()} == {
        name: yaml.safe_load(text) for name, text in edited.items()
    }
    for name in ("warehouse", "operations"):
        del edited[f"warehouse/databases/{name}.yaml"]  # Has comments, which an export cannot know.
    assert {name: text for name, text in texts(fresh).items() if name in edited} == edited


def test_what_is_removed_from_the_files_is_removed_and_what_was_made_by_hand_stays(
    superset: Any, api: Any, copy: Any
) -> None:
    shop = copy.repo / "superset" / "assets" / "shop"
    gone = yaml.safe_load((shop / "charts" / "customers_best.yaml").read_text())
    for name in (
        "dashboards/customers.yaml",
        *(f"charts/{file.name}" for file in (shop / "charts").glob("customers_*")),
    ):
        (shop / name).unlink()
    (shop / "access.yaml").write_text("dashboards: {sales: [Viewer]}\n")
    (shop / "datasets" / "Warehouse" / "agg_customer_value.yaml").unlink()
    (shop / "datasets" / "Warehouse" / "agg_cohort_retention.yaml").unlink()
    datasets = {row["table_name"]: row["id"] for row in api.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]}
    mine = {
        "slice_name": "Made by hand",
        "viz_type": "table",
        "datasource_id": datasets["agg_customer_value"],
        "datasource_type": "table",
        "params": "{}",
    }
    made = api.post("/api/v1/chart/", mine)
    assert made.status_code == 201, made.text
    try:
        done = copy.provision()
        assert done.returncode == 0, done.stderr
        assert "Keeping" in done.stdout and "because Made by hand needs it" in done.stdout
        charts = {row["slice_name"] for row in api.get("/api/v1/chart/?q=(page_size:100)").json()["result"]}
        assert gone["slice_name"] not in charts and {"Made by hand", "Orders by status"} <= charts
        slugs = {row["slug"] for row in api.get("/api/v1/dashboard/").json()["result"]}
        assert slugs == {"sales", "pipeline-health"}
        left = {row["table_name"] for row in api.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]}
        assert "agg_customer_value" in left and "agg_cohort_retention" not in left
        roles = {row["name"] for row in api.get("/api/v1/security/roles/").json()["result"]}
        assert {"Analyst", "Viewer"} <= roles and "Only California" not in roles
    finally:
        api.delete(f"/api/v1/chart/{made.json()['id']}")
        back = superset.provision()
    assert back.returncode == 0, back.stderr
    slugs = {row["slug"] for row in api.get("/api/v1/dashboard/").json()["result"]}
    assert slugs == {"sales", "customers", "pipeline-health"}


def test_a_role_that_superset_does_not_know_fails_with_its_name(copy: Any) -> None:
    access = copy.repo / "superset" / "assets" / "warehouse" / "access.yaml"
    access.write_text(access.read_text().replace("Gamma", "Gama"))
    refused = copy.provision()
    assert refused.returncode == 1
    assert "roles: Analyst: Superset has no role 'Gama'" in refused.stderr
