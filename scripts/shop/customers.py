"""Who buys: new customers as the shop grows, and old ones who come back."""

import unicodedata
from datetime import datetime, timedelta
from random import Random

from shop.places import FIRST_NAMES, LAST_NAMES, PLACES

ORDERS_A_CUSTOMER = 6
DOMAINS = ("example.com", "example.org", "example.net")
_CITIES = [place for place in PLACES for _ in range(place.weight)]


def money(cents: int) -> str:
    """Cents as Postgres reads them: 1234 is 12.34."""
    return f"{cents // 100}.{cents % 100:02d}"


def mailbox(name: str) -> str:
    """A name as mail addresses have it: lower case, without accents."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()


class Clientele:
    """Chooses the customer of each order and writes the rows of new ones. Memory does not grow with their number."""

    def __init__(self, orders: int, first_id: int, rng: Random) -> None:
        self._orders = orders
        self._first_id = first_id
        self._rng = rng
        self._expected = max(1, orders // ORDERS_A_CUSTOMER)
        self._seen = 0
        self.known = 0

    def next_buyer(self, at: datetime) -> tuple[int, str | None]:
        """The id of the customer who orders at that instant, and the customer's row in COPY text if it is a new one.

        The share of orders by new customers falls as the shop ages. Of the others, three of five are by somebody who came lately,
        the rest by regulars, some of whom order very often.
        """
        self._seen += 1
        if self.known < self._expected * (self._seen / self._orders) ** 0.8:
            self.known += 1
            number = self._first_id + self.known - 1
            return number, self._row(number, at)
        draw = self._rng.random()
        if draw < 0.6:
            return self._first_id + self.known - 1 - int(self.known * (draw / 0.6) ** 3), None
        return self._first_id + int(self.known * ((draw - 0.6) / 0.4) ** 2), None

    def _row(self, number: int, at: datetime) -> str:
        rng = self._rng
        first = FIRST_NAMES[int(rng.random() * len(FIRST_NAMES))]
        last = LAST_NAMES[int(rng.random() * len(LAST_NAMES))]
        place = _CITIES[int(rng.random() * len(_CITIES))]
        email = f"{mailbox(first)}.{mailbox(last)}.{number}@{DOMAINS[number % len(DOMAINS)]}"
        chance = rng.random()
        # 555-0100 to 555-0199 are kept for fiction.
        phone = r"\N" if chance < 0.1 else f"+1-{place.area}-555-01{int(chance * 1000) % 100:02d}"
        city = r"\N" if chance > 0.97 else place.city
        created = at - timedelta(seconds=60 + int(rng.random() * 1800))
        return f"{number}\t{first}\t{last}\t{email}\t{phone}\t{place.state}\t{city}\t{created:%Y-%m-%d %H:%M:%S}+00\n"
