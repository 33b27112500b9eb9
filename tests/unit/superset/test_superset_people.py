"""Which user of the warehouse a person asks as: a restricted role counts whatever else a person has."""

from collections.abc import Iterable

import pytest
from stack_superset import people


@pytest.mark.parametrize(
    ("roles", "user"),
    [
        ([], None),
        (["Viewer"], None),
        (["Admin"], None),
        (["Only California"], "superset_california"),
        (["Viewer", "Only California"], "superset_california"),
        (["Only California", "Analyst", "Admin"], "superset_california"),
        (["only california"], None),
    ],
)
def test_least_rights_win(roles: Iterable[str], user: str | None) -> None:
    assert people.restricted_user(roles) == user


def test_two_restricted_roles_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(people.RESTRICTED_USERS, "Only Texas", "superset_texas")
    with pytest.raises(PermissionError, match="Only California and Only Texas, which exclude each other"):
        people.restricted_user(["Only Texas", "Only California"])
