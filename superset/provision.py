"""Provisions Superset if lock, config, assets or the admin's password changed since the last time.

If nothing did, it says so in a tenth of a second. By hand: `scripts/exec superset python superset/provision.py --force`.
"""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "config"
SCRIPTS = HERE.parent / "scripts"
sys.path[:0] = [folder for folder in map(str, (HERE, CONFIG, SCRIPTS)) if folder not in sys.path]

from environment import reading  # noqa: E402
from provisioning import access, references, stamp  # noqa: E402
from provisioning.bundles import bundle_folders, read_access, read_contents  # noqa: E402
from provisioning.complete import complete  # noqa: E402
from provisioning.errors import ProvisionError  # noqa: E402
from stack_superset.settings import Admin, Settings, SettingsError  # noqa: E402


def say(line: str) -> None:
    print(f"superset: {line}", flush=True)


def _admin_password() -> str:
    return reading.read(Admin, os.environ).password


def run(*, force: bool) -> None:
    """Raises ProvisionError or SettingsError with one sentence."""
    settings = Settings.from_environ(os.environ)
    # By hand, in the surroundings of the service, there is none: then the admin keeps the password that he has.
    admin_password = os.environ.get("SUPERSET_ADMIN_PASSWORD", "") if force else _admin_password()
    folders = bundle_folders(HERE / "assets", sample_shop=settings.sample_shop)
    contents = read_contents(folders, {"SHOP_CURRENCY": settings.currency})
    rights = read_access(folders)
    future = stamp.wanted(settings, admin_password, contents | rights)
    with stamp.metadata_database(settings) as database:
        present = stamp.read(database)
        if not admin_password:
            future["admin"] = present.get("admin") or _admin_password()
        changed = (
            [part for part in future if admin_password or part != "admin"] if force else stamp.changed(present, future)
        )
        if not changed:
            say("Nothing changed since the last provisioning.")
            return
        say(f"Provisioning, because of: {', '.join(changed)}.")
        references.check(contents)
        allowed = access.read(rights, contents)
        ours = references.assets(contents) | access.names(allowed)
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["SUPERSET_CONFIG_PATH"] = str(CONFIG / "superset_config.py")
        # Not before here: it imports Superset, which takes seconds.
        from provisioning.steps import provision

        kept = provision(
            admin_password=admin_password,
            contents=complete(contents),
            access=allowed,
            gone=stamp.read_assets(database) - ours,
            changed=changed,
            say=say,
        )
        stamp.write(database, future, ours | set(kept))


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the metadata database is as the files say; 1, with one sentence, when not."""
    parser = argparse.ArgumentParser(prog="provision.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--force", action="store_true", help="all steps, whatever changed; hand edits of assets in the files are lost"
    )
    asked = parser.parse_args(argv)
    try:
        run(force=asked.force)
    except (ProvisionError, SettingsError) as error:
        print(f"superset: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
