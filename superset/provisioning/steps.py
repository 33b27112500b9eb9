"""The steps of provisioning, all in one process, because Superset's imports alone take seconds. Importing this module imports Superset."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from superset.app import create_app

import superset
from provisioning.access import Access
from provisioning.errors import ProvisionError
from provisioning.stamp import Asset

ADMIN = "admin"


def _upgrade_database(app: Flask) -> None:
    upgrade(directory=str(Path(superset.__file__).parent / "migrations"))
    # create_app() skipped this, because the database was not up to date then.
    app.sync_config_to_db()  # type: ignore[attr-defined]


def _set_admin(password: str) -> None:
    from superset import security_manager

    user = security_manager.find_user(ADMIN)
    if user is None:
        role = security_manager.find_role("Admin")
        if not security_manager.add_user(ADMIN, "Stack", "Admin", "admin@localhost", role, password):
            raise ProvisionError("Superset refused to make the user admin; its log above says why.")
    else:
        security_manager.reset_password(user.id, password)


def _set_permissions() -> None:
    from superset.extensions import db

    from superset import appbuilder, security_manager

    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    db.session.commit()


def _flat(messages: Any, path: str = "") -> Iterator[str]:
    """Yields Superset's nested messages as `file: field: what is wrong`."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flat(inner, f"{path}{name}: ")
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flat(inner, path)
    else:
        yield f"{path}{messages}"


def _import_assets(contents: Mapping[str, str]) -> None:
    from superset.commands.exceptions import CommandInvalidError, ImportFailedError
    from superset.commands.importers.v1.assets import ImportAssetsCommand
    from superset.utils.core import override_user

    from superset import security_manager

    command = ImportAssetsCommand(dict(contents))
    with override_user(security_manager.find_user(ADMIN)):
        try:
            # run() validates too, but logs a fault of the files as an error of Superset.
            command.validate()
            command.run()
        except CommandInvalidError as error:
            faults = ", ".join(_flat(error.normalized_messages()))
            raise ProvisionError(f"superset/assets cannot be imported ({faults}); correct the file.") from error
        except ImportFailedError as error:
            cause = error.__cause__ or error
            raise ProvisionError(
                f"superset/assets cannot be imported: {type(cause).__name__}: {cause}; correct the file."
            ) from error


def provision(
    *,
    admin_password: str,
    contents: Mapping[str, str],
    access: Access,
    gone: Collection[Asset],
    changed: Collection[str],
    say: Callable[[str], None],
) -> list[Asset]:
    """Brings the metadata database up to date. `changed` are the parts of the stamp that differ.

    It imports assets, which overwrites hand edits, only if `assets` changed. It sets the admin's password only if `admin` changed. `gone` are
    assets whose files were removed; returns those that it keeps.

    Raises ProvisionError if the assets are broken; then the assets in the database stay as they were.
    """
    started = time.monotonic()

    def step(name: str) -> None:
        say(f"{name} ({time.monotonic() - started:.1f} s)")

    kept: list[Asset] = []
    app = create_app()
    with app.app_context():
        if {"lock", "config"} & set(changed):
            step("Upgrading the metadata database")
            _upgrade_database(app)
            step("Setting roles and permissions")
            _set_permissions()
        if "admin" in changed:
            step("Setting the admin's password")
            _set_admin(admin_password)
        if "assets" in changed:
            step(f"Importing {len(contents)} files of assets")
            from provisioning import moves

            moves.move_operations(contents, say)
            _import_assets(contents)
        if {"lock", "config", "assets"} & set(changed):
            # Our roles are built from Superset's, which may change with its version.
            from provisioning import removal, roles

            roles.apply(access)
            kept = removal.remove(gone, say)
    step("Provisioned")
    return kept
