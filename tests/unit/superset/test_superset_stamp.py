"""Changes that make provisioning necessary, and those that do not."""

from pathlib import Path

import pytest
from provisioning import stamp
from provisioning.bundles import bundle_folders, read_contents
from provisioning.errors import ProvisionError
from stack_superset.settings import Settings

ENVIRON = {
    "SUPERSET_HOME": "/nowhere",
    "SUPERSET_SECRET_KEY": "key",
    "SUPERSET_DB_HOST": "127.0.0.1",
    "SUPERSET_DB_PORT": "5432",
    "SUPERSET_DB_PASSWORD": "a",
    "CLICKHOUSE_HOST": "127.0.0.1",
    "CLICKHOUSE_HTTP_PORT": "8123",
    "CLICKHOUSE_SUPERSET_PASSWORD": "b",
    "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD": "c",
    "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD": "d",
}
SETTINGS = Settings.from_environ(ENVIRON)


ASSETS = {"charts/a.yaml": "a"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("requirements.lock", "provision.py", "config/superset_config.py", "provisioning/steps.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


def make(
    root: Path, password: str = "p", settings: Settings = SETTINGS, assets: dict[str, str] = ASSETS
) -> dict[str, str]:
    return stamp.wanted(settings, password, assets, root)


def test_without_a_change_nothing_differs(root: Path) -> None:
    assert stamp.changed(make(root), make(root)) == []


def test_a_new_database_needs_everything(root: Path) -> None:
    assert stamp.changed({}, make(root)) == ["lock", "config", "assets", "admin"]


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("requirements.lock", "lock"),
        ("provision.py", "config"),
        ("config/superset_config.py", "config"),
        ("provisioning/steps.py", "config"),
    ],
)
def test_a_changed_file_is_found_in_its_part(root: Path, file: str, part: str) -> None:
    before = make(root)
    (root / file).write_text("changed")
    assert stamp.changed(before, make(root)) == [part]


@pytest.mark.parametrize(
    "assets", [{"charts/b.yaml": "a"}, {"charts/a.yaml": "b"}, {}, {**ASSETS, "charts/b.yaml": ""}]
)
def test_a_changed_renamed_removed_or_new_asset_is_found(root: Path, assets: dict[str, str]) -> None:
    assert stamp.changed(make(root), make(root, assets=assets)) == ["assets"]


def test_the_password_is_not_in_the_stamp_and_cannot_be_tried_without_the_key(root: Path) -> None:
    other_key = Settings.from_environ({**ENVIRON, "SUPERSET_SECRET_KEY": "other"})
    assert stamp.changed(make(root), make(root, "q")) == ["admin"]
    assert stamp.changed(make(root), make(root, settings=other_key)) == ["admin"]
    assert "p" not in make(root).values()


def test_the_shop_is_left_out_without_it(tmp_path: Path) -> None:
    for bundle in ("warehouse", "shop"):
        (tmp_path / bundle / "datasets").mkdir(parents=True)
        (tmp_path / bundle / "metadata.yaml").write_text("type: assets")
        (tmp_path / bundle / "datasets" / f"{bundle}.yaml").write_text(bundle)
    with_shop = read_contents(bundle_folders(tmp_path, sample_shop=True), {})
    assert set(with_shop) == {"metadata.yaml", "datasets/warehouse.yaml", "datasets/shop.yaml"}
    without = read_contents(bundle_folders(tmp_path, sample_shop=False), {})
    assert set(without) == {"metadata.yaml", "datasets/warehouse.yaml"}


def test_two_bundles_with_the_same_file_are_refused(tmp_path: Path) -> None:
    for bundle in ("warehouse", "shop"):
        (tmp_path / bundle / "charts").mkdir(parents=True)
        (tmp_path / bundle / "charts" / "same.yaml").write_text(bundle)
    with pytest.raises(ProvisionError, match=r"charts/same\.yaml in two bundles"):
        read_contents(bundle_folders(tmp_path, sample_shop=True), {})


def test_names_of_the_environment_are_put_in(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "a.yaml").write_text("symbol: ${SHOP_CURRENCY}, ${OTHER}")
    contents = read_contents(bundle_folders(tmp_path, sample_shop=False), {"SHOP_CURRENCY": "EUR"})
    assert contents == {"a.yaml": "symbol: EUR, ${OTHER}"}
