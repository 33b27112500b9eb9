"""`scripts/lake`: looks into the lake, and deletes what no manifest names."""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from warehouse.errors import PipelineError, TerminalError

from elt.lake import manifest as manifests
from elt.lake.prune import find_unnamed
from elt.lake.store import Lake
from elt.settings import read_settings

_KEPT_DAYS = 7


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _COMMANDS[options.command](options, Lake(read_settings().lake_url))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # `| head` has seen enough.
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/lake", description="Looks into the lake of LAKE_URL.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listed = commands.add_parser(
        "ls", help="what was fetched: endpoints with their days, or the days and objects of one"
    )
    listed.add_argument("source", nargs="?", metavar="SOURCE[/ENDPOINT]", help="without: every source")
    cat = commands.add_parser("cat", help="print items: of a day of an endpoint, or an object")
    cat.add_argument(
        "path", metavar="SOURCE/ENDPOINT|OBJECT", help="as ls prints it, or as in the column `object` of raw"
    )
    cat.add_argument("--dt", metavar="DAY", help="as 2026-01-31; the newest day without")
    prune = commands.add_parser("prune", help="delete objects that no manifest names any more")
    prune.add_argument(
        "--older-than",
        type=int,
        default=_KEPT_DAYS,
        metavar="DAYS",
        help=f"({_KEPT_DAYS}) younger ones may belong to a fetch that goes on",
    )
    prune.add_argument("--dry-run", action="store_true", help="print only")
    return parser


def _ls(options: argparse.Namespace, lake: Lake) -> None:
    source, _, endpoint = (options.source or "").partition("/")
    sources = [source] if source else lake.names(manifests.RAW)
    found = False
    for one in sources:
        for name in [endpoint] if endpoint else lake.names(f"{manifests.RAW}/{one}"):
            if name == manifests.INSTANTS:
                continue
            for day in manifests.days(lake, one, name):
                if (manifest := manifests.of_day(lake, one, name, day)) is not None:
                    found = True
                    size = sum(item.bytes for item in manifest.objects)
                    print(
                        f"{one}/{name}  {day}  {manifest.items:,} items  {size:,} bytes  fetched {manifest.ended_at:%Y-%m-%d %H:%M:%S} UTC"
                    )
                    for item in manifest.objects if endpoint else ():
                        print(f"  {item.path}  {item.items:,} items  {item.bytes:,} bytes")
    if not found:
        print(f"Nothing is there, in {lake.url}. Next: python -m elt fetch SOURCE")


def _cat(options: argparse.Namespace, lake: Lake) -> None:
    if options.path.startswith(f"{manifests.RAW}/"):
        _print(lake, options.path)
        return
    source, _, endpoint = options.path.partition("/")
    days = manifests.days(lake, source, endpoint)
    wanted = options.dt or (days[-1].isoformat() if days else "")
    day = next((one for one in days if one.isoformat() == wanted), None)
    manifest = manifests.of_day(lake, source, endpoint, day) if day else None
    if manifest is None:
        raise TerminalError(f"The lake has nothing of {options.path} {wanted}; scripts/lake ls shows what there is")
    for one in manifest.objects:
        _print(lake, one.path)


def _print(lake: Lake, path: str) -> None:
    content = lake.read(path)
    sys.stdout.buffer.write(gzip.decompress(content) if path.endswith(".gz") else content)
    sys.stdout.buffer.flush()


def _prune(options: argparse.Namespace, lake: Lake) -> None:
    before = datetime.now(UTC) - timedelta(days=options.older_than)
    count = size = 0
    for one in find_unnamed(lake, before):
        print(f"{'would delete' if options.dry_run else 'deleted'} {one.path}")
        if not options.dry_run:
            lake.delete(one.path)
        count, size = count + 1, size + one.size
    print(f"{count:,} objects, {size:,} bytes, that no manifest named for {options.older_than} days.")


_COMMANDS = {"ls": _ls, "cat": _cat, "prune": _prune}

# Airflow imports every file of its plugins folder under the file's name, this one as `__main__`. Run only as part of the package.
if __name__ == "__main__" and __package__ == "elt.lake":
    sys.exit(main(sys.argv[1:]))
