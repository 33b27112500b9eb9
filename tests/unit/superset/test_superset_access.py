"""Roles and the roles of dashboards as files: what refers to nothing is named before Superset is started."""

from pathlib import Path

import pytest
from provisioning import access
from provisioning.bundles import bundle_folders, read_access, read_contents
from provisioning.errors import ProvisionError

CONTENTS = {"dashboards/d.yaml": "uuid: d\nslug: sales", "datasets/w/s.yaml": "uuid: s\ntable_name: facts"}
GOOD = "roles: [{name: R, like: [Gamma], permissions: [can_read on Chart], schemas: [Warehouse.analytics]}]\n"


def test_our_own_files_hold_together(repo: Path) -> None:
    for shop in (True, False):
        folders = bundle_folders(repo / "superset" / "assets", sample_shop=shop)
        found = access.read(read_access(folders), read_contents(folders, {}))
        assert {"Analyst", "Viewer"} <= {role.name for role in found.roles}
        assert ("Only California" in {role.name for role in found.roles}) == shop


def test_a_role_is_read() -> None:
    (role,) = access.read({"a/access.yaml": GOOD}, CONTENTS).roles
    assert (role.like, role.permissions, role.schemas) == (
        ("Gamma",),
        (("can_read", "Chart"),),
        (("Warehouse", "analytics"),),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("roles: [{like: [Gamma]}]", r"access.yaml: roles\[0\]: name is missing"),
        ("roles: [{name: R, likes: [Gamma]}]", r"roles\[0\]: likes is no field"),
        ("roles: [{name: R, permissions: [can_read]}]", "roles: R: 'can_read' must be two words"),
        ("dashboards: {sale: [R]}", "dashboards: sale is the slug of no file"),
        ("dashboards: {sales: [Boss]}", "dashboards: sales: 'Boss' is no role"),
        ("rules: [{name: X}]", "access.yaml: rules is no field"),
    ],
)
def test_what_refers_to_nothing_is_named(text: str, said: str) -> None:
    with pytest.raises(ProvisionError, match=said):
        access.read({"a/access.yaml": text}, CONTENTS)
