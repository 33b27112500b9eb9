"""Sets roles, and the roles of dashboards, from the files. Importing this module imports Superset."""

from typing import Any

from superset.extensions import db
from superset.models.dashboard import Dashboard

from provisioning.access import Access, Role
from provisioning.errors import ProvisionError
from superset import security_manager


def _permissions(role: Role) -> list[Any]:
    by_id: dict[int, Any] = {}
    for name in role.like:
        other = security_manager.find_role(name)
        if other is None:
            raise ProvisionError(
                f"superset/assets: access.yaml: roles: {role.name}: Superset has no role {name!r}; correct it."
            )
        by_id |= {permission.id: permission for permission in other.permissions}
    for name, view in role.permissions:
        permission = security_manager.find_permission_view_menu(name, view)
        if permission is None:
            raise ProvisionError(
                f"superset/assets: access.yaml: roles: {role.name}: Superset has no permission '{name} on {view}'; correct it."
            )
        by_id[permission.id] = permission
    for database, schema in role.schemas:
        view = security_manager.get_schema_perm(database, None, schema)
        permission = security_manager.add_permission_view_menu("schema_access", view)
        by_id[permission.id] = permission
    return list(by_id.values())


def apply(access: Access) -> None:
    """Applies the access files; roles of unnamed dashboards stay. Raises ProvisionError for a role or permission that Superset does not know."""
    for role in access.roles:
        row = security_manager.find_role(role.name) or security_manager.add_role(role.name)
        row.permissions = _permissions(role)
    for slug, names in access.dashboards.items():
        dashboard = db.session.query(Dashboard).filter_by(slug=slug).one()
        dashboard.roles = [security_manager.find_role(name) for name in names]
    db.session.commit()
