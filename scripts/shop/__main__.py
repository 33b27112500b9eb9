"""`scripts/generate_data`: adds a believable shop to the source database."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

import psycopg2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shop.errors import ShopError
from shop.load import add_shop, connect
from shop.settings import read_owner

MOST_DAYS = 36_500


def positive(text: str) -> int:
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def span(text: str) -> int:
    days = positive(text)
    if days > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{days} days are more than a hundred years")
    return days


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="generate_data",
        description="Adds a believable shop to the source database: customers, products, orders and order items, in one transaction. "
        "What is there stays.",
    )
    parser.add_argument("--orders", type=positive, required=True, help="orders to add; about three items each")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another shop (default: 1)")
    parser.add_argument("--days", type=span, default=730, help="days that the orders are spread over (default: 730)")
    parser.add_argument(
        "--until",
        type=date.fromisoformat,
        default=datetime.now(UTC).date(),
        help="day, at midnight UTC, before which they end (default: today)",
    )
    return parser.parse_args(argv)


@contextmanager
def shown_progress(console: Console, orders: int) -> Iterator[Callable[[dict[str, int]], None]]:
    """A bar on a terminal; elsewhere a line for each tenth."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("orders", total=orders)
            yield lambda added: bar.update(task, completed=added["orders"])
        return
    told = 0

    def tell(added: dict[str, int]) -> None:
        nonlocal told
        tenth = added["orders"] * 10 // orders
        if tenth > told:
            told = tenth
            console.print(f"{added['orders']:,} of {orders:,} orders", highlight=False)

    yield tell


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the shop was added; 1, with one sentence, when nothing was."""
    asked = arguments(argv)
    console = Console(stderr=True)
    started = time.monotonic()
    try:
        with connect(read_owner(os.environ)) as source, shown_progress(console, asked.orders) as progress:
            added = add_shop(
                source, orders=asked.orders, seed=asked.seed, days=asked.days, until=asked.until, progress=progress
            )
    except ShopError as error:
        print(f"generate_data: {error}", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"generate_data: Postgres refused ({str(error).strip()}); nothing was added.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("generate_data: interrupted; nothing was added.", file=sys.stderr)
        return 130
    counts = ", ".join(f"{count:,} {table}" for table, count in added.items())
    print(
        f"Added {counts} in {time.monotonic() - started:.1f} s. Next: scripts/refresh takes them to the dashboards, as the next run of the DAG elt_pipeline does."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
