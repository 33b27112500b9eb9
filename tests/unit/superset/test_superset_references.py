"""Assets that refer to what is not there are found before Superset is started, by file and field."""

from pathlib import Path

import pytest
from provisioning.bundles import bundle_folders, read_contents
from provisioning.errors import ProvisionError
from provisioning.references import check

GOOD = {
    "metadata.yaml": "type: assets",
    "databases/d.yaml": "uuid: d",
    "datasets/d/s.yaml": "uuid: s\ndatabase_uuid: d",
    "charts/c.yaml": "uuid: c\ndataset_uuid: s",
    "dashboards/b.yaml": "uuid: b\nposition: {ROOT_ID: {type: ROOT}, CHART-1: {type: CHART, meta: {chartId: 1, uuid: c}}}",
}


def test_our_own_assets_hold_together(repo: Path) -> None:
    for shop in (True, False):
        check(read_contents(bundle_folders(repo / "superset" / "assets", sample_shop=shop), {}))


def test_whole_assets_are_accepted() -> None:
    check(GOOD)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "datasets/d/s.yaml",
            "uuid: s\ndatabase_uuid: x",
            "datasets/d/s.yaml: database_uuid x is in no file of databases/",
        ),
        ("charts/c.yaml", "uuid: c", "charts/c.yaml: dataset_uuid None is in no file of datasets/"),
        ("charts/c.yaml", "uuid: [c", "charts/c.yaml is not YAML .* line 1"),
        ("charts/c.yaml", "- uuid", "charts/c.yaml is not a mapping"),
        ("charts/e.yaml", "uuid: c\ndataset_uuid: s", "charts/e.yaml has the uuid of charts/c.yaml"),
        (
            "dashboards/b.yaml",
            "uuid: b\nposition: {CHART-1: {type: CHART, meta: {chartId: 1, uuid: x}}}",
            "dashboards/b.yaml: position.CHART-1.meta needs .* not x",
        ),
        (
            "dashboards/b.yaml",
            "uuid: b\nposition: {CHART-1: {type: CHART, meta: {uuid: c}}}",
            "dashboards/b.yaml: position.CHART-1.meta needs chartId",
        ),
    ],
)
def test_a_broken_reference_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(ProvisionError, match=said):
        check({**GOOD, name: text})
