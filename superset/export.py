"""Writes what was edited in Superset back to the files: all that came from files, and every published dashboard with what it shows.

`scripts/export_dashboards [--to FOLDER]`. A file whose asset did not change stays as it is, comments included.
"""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "config"
SCRIPTS = HERE.parent / "scripts"
sys.path[:0] = [folder for folder in map(str, (HERE, CONFIG, SCRIPTS)) if folder not in sys.path]

from provisioning import files, stamp  # noqa: E402
from provisioning.bundles import bundle_folders  # noqa: E402
from provisioning.errors import ProvisionError  # noqa: E402
from stack_superset.settings import Settings, SettingsError  # noqa: E402


def run(folder: Path) -> None:
    """Raises ProvisionError or SettingsError with one sentence."""
    settings = Settings.from_environ(os.environ)
    with stamp.metadata_database(settings) as database:
        ours = stamp.read_assets(database)
    if not ours:
        raise ProvisionError("Nothing was ever provisioned into this Superset; start it once by ./run.sh.")
    os.environ["SUPERSET_CONFIG_PATH"] = str(CONFIG / "superset_config.py")
    # Not before here: it imports Superset, which takes seconds.
    from provisioning.reading import exported

    bundles = [bundle.name for bundle in bundle_folders(HERE / "assets", sample_shop=settings.sample_shop)]
    written = files.write(exported(ours), HERE / "assets", folder, bundles, settings.currency)
    for line in written:
        print(f"superset: {line}")
    # A container sees this repository at another path.
    shown = folder.relative_to(HERE.parent) if folder.is_relative_to(HERE.parent) else folder
    print(f"superset: {len(written)} files changed in {shown}; git diff shows what.")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the files are as the metadata database says; 1, with one sentence, when not."""
    parser = argparse.ArgumentParser(prog="export.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, default=HERE / "assets", help="another folder than superset/assets")
    asked = parser.parse_args(argv)
    try:
        run(asked.to)
    except (ProvisionError, SettingsError) as error:
        print(f"superset: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
