"""The shop's products with prices, costs, and how often each is bought in which month."""

from random import Random
from typing import NamedTuple


class Category(NamedTuple):
    """Facts shared by the products of a category.

    Prices in whole dollars; cost as a share of the price; demand by month from January on, where 1 is an average month.
    """

    cheapest: int
    dearest: int
    cost_share: float
    demand: tuple[float, ...]
    kinds: tuple[str, ...]


# The categories are those of the seed, so that a grown shop reads like a small one.
CATEGORIES = {
    "Electronics": Category(
        15,
        900,
        0.66,
        (0.9, 0.8, 0.8, 0.8, 0.8, 0.9, 1.0, 1.0, 0.9, 0.9, 1.8, 1.9),
        (
            "Headphones",
            "Charger",
            "Smart Watch",
            "Keyboard",
            "Speaker",
            "Monitor",
            "Webcam",
            "Tablet",
            "Router",
            "Camera",
        ),
    ),
    "Clothing": Category(
        12,
        180,
        0.42,
        (0.8, 0.8, 1.1, 1.2, 1.1, 1.0, 0.9, 1.0, 1.2, 1.1, 1.2, 1.3),
        ("T-Shirt", "Jacket", "Shoes", "Sweater", "Jeans", "Dress", "Scarf", "Cap", "Coat", "Socks"),
    ),
    "Home": Category(
        9,
        350,
        0.50,
        (1.0, 0.9, 1.1, 1.2, 1.1, 0.9, 0.9, 0.9, 1.0, 1.1, 1.2, 1.2),
        ("Coffee Set", "Bed Set", "Desk Lamp", "Pan", "Knife", "Towel", "Rug", "Chair", "Clock", "Vase"),
    ),
    "Books": Category(
        7,
        70,
        0.38,
        (1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 1.0, 1.1, 1.2, 1.0, 1.1, 1.9),
        ("Novel", "Cookbook", "Atlas", "Biography", "Handbook", "Poems", "Guide", "Comic", "Mystery", "History"),
    ),
    "Sports": Category(
        8,
        420,
        0.52,
        (1.6, 1.1, 1.1, 1.2, 1.4, 1.5, 1.3, 1.1, 0.9, 0.8, 0.8, 1.0),
        ("Yoga Mat", "Dumbbells", "Backpack", "Tent", "Helmet", "Racket", "Ball", "Bottle", "Skates", "Sleeping Bag"),
    ),
}
LINES = (
    "Alder", "Basalt", "Cedar", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper", "Keystone", "Lumen", "Meridian",
    "Nimbus", "Orchard", "Prairie", "Quartz", "Ridge", "Summit", "Tundra", "Umber", "Vista", "Willow", "Yarrow", "Zephyr",
)  # fmt: skip
MODELS = ("", " Mini", " Plus", " Pro", " Classic", " Lite", " Max", " II")
# Half of the names that the lists make.
MOST_PRODUCTS = 5_000

TICKETS = 1 << 16


class Product(NamedTuple):
    """A product; money in cents."""

    name: str
    category: str
    price: int
    cost: int


def product_count(orders: int) -> int:
    """How many products a shop with that many orders carries: 15 and more, at most MOST_PRODUCTS."""
    return min(MOST_PRODUCTS, max(15, int(2 * orders**0.5)))


def make_products(count: int, rng: Random) -> list[Product]:
    """`count` products with distinct names, categories taking turns, prices spread evenly over orders of magnitude.

    Raises ValueError for a count above MOST_PRODUCTS.
    """
    if count > MOST_PRODUCTS:
        raise ValueError(f"at most {MOST_PRODUCTS} products, not {count}")
    names = list(CATEGORIES)
    articles = {
        name: rng.sample(
            [f"{line} {kind}{model}" for kind in category.kinds for line in LINES for model in MODELS],
            -(-count // len(names)),
        )
        for name, category in CATEGORIES.items()
    }
    products = []
    for number in range(count):
        name = names[number % len(names)]
        low, high, cost_share, _, _ = CATEGORIES[name]
        price = int(low * (high / low) ** rng.random()) * 100 + rng.choice((0, 50, 90, 95, 99))
        cost = int(price * min(0.9, max(0.15, rng.gauss(cost_share, 0.07))))
        products.append(Product(articles[name][number // len(names)], name, price, cost))
    return products


def demand(products: list[Product], rng: Random) -> list[list[int]]:
    """For each month from January on, TICKETS indexes of products: one drawn at random is what a customer of that month buys.

    A few products sell a lot and most sell little (Zipf's law), cheap ones more than dear ones.
    """
    ranks = list(range(1, len(products) + 1))
    rng.shuffle(ranks)
    popularity = [1 / rank**0.8 / (1 + product.price / 20_000) for rank, product in zip(ranks, products, strict=True)]
    months = []
    for month in range(12):
        weights = [
            weight * CATEGORIES[product.category].demand[month]
            for weight, product in zip(popularity, products, strict=True)
        ]
        months.append(rng.choices(range(len(products)), weights, k=TICKETS))
    return months
