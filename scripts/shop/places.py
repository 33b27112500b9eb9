"""Where customers live and what they are called."""

from typing import NamedTuple


class Place(NamedTuple):
    """A city, its state's two-letter code, a telephone area code, and how many customers live there, as a weight."""

    city: str
    state: str
    area: int
    weight: int


PLACES = tuple(
    Place(*row)
    for row in (
        ("Los Angeles", "CA", 213, 38),
        ("San Diego", "CA", 619, 14),
        ("San Francisco", "CA", 415, 20),
        ("Sacramento", "CA", 916, 7),
        ("Houston", "TX", 713, 23),
        ("Dallas", "TX", 214, 19),
        ("Austin", "TX", 512, 15),
        ("San Antonio", "TX", 210, 12),
        ("Miami", "FL", 305, 15),
        ("Orlando", "FL", 407, 10),
        ("Tampa", "FL", 813, 10),
        ("Jacksonville", "FL", 904, 8),
        ("New York", "NY", 212, 40),
        ("Buffalo", "NY", 716, 5),
        ("Albany", "NY", 518, 3),
        ("Philadelphia", "PA", 215, 16),
        ("Pittsburgh", "PA", 412, 8),
        ("Chicago", "IL", 312, 24),
        ("Springfield", "IL", 217, 3),
        ("Columbus", "OH", 614, 9),
        ("Cleveland", "OH", 216, 7),
        ("Cincinnati", "OH", 513, 6),
        ("Atlanta", "GA", 404, 17),
        ("Savannah", "GA", 912, 3),
        ("Charlotte", "NC", 704, 10),
        ("Raleigh", "NC", 919, 8),
        ("Detroit", "MI", 313, 11),
        ("Grand Rapids", "MI", 616, 4),
        ("Newark", "NJ", 973, 10),
        ("Jersey City", "NJ", 201, 8),
        ("Richmond", "VA", 804, 7),
        ("Norfolk", "VA", 757, 6),
        ("Seattle", "WA", 206, 18),
        ("Spokane", "WA", 509, 3),
        ("Phoenix", "AZ", 602, 13),
        ("Tucson", "AZ", 520, 4),
        ("Boston", "MA", 617, 15),
        ("Worcester", "MA", 508, 3),
        ("Nashville", "TN", 615, 9),
        ("Memphis", "TN", 901, 5),
        ("Indianapolis", "IN", 317, 9),
        ("Baltimore", "MD", 410, 8),
        ("St. Louis", "MO", 314, 7),
        ("Kansas City", "MO", 816, 6),
        ("Milwaukee", "WI", 414, 6),
        ("Madison", "WI", 608, 4),
        ("Denver", "CO", 303, 13),
        ("Colorado Springs", "CO", 719, 4),
        ("Minneapolis", "MN", 612, 10),
        ("Charleston", "SC", 843, 5),
        ("Birmingham", "AL", 205, 5),
        ("New Orleans", "LA", 504, 6),
        ("Louisville", "KY", 502, 5),
        ("Portland", "OR", 503, 11),
        ("Oklahoma City", "OK", 405, 5),
        ("Hartford", "CT", 860, 5),
        ("Salt Lake City", "UT", 801, 7),
        ("Des Moines", "IA", 515, 4),
        ("Las Vegas", "NV", 702, 7),
        ("Little Rock", "AR", 501, 3),
        ("Jackson", "MS", 601, 2),
        ("Wichita", "KS", 316, 3),
        ("Albuquerque", "NM", 505, 3),
        ("Omaha", "NE", 402, 3),
        ("Boise", "ID", 208, 4),
        ("Charleston", "WV", 304, 1),
        ("Honolulu", "HI", 808, 3),
        ("Manchester", "NH", 603, 2),
        ("Portland", "ME", 207, 2),
        ("Billings", "MT", 406, 1),
        ("Providence", "RI", 401, 2),
        ("Wilmington", "DE", 302, 2),
        ("Sioux Falls", "SD", 605, 1),
        ("Fargo", "ND", 701, 1),
        ("Anchorage", "AK", 907, 1),
        ("Burlington", "VT", 802, 1),
        ("Cheyenne", "WY", 307, 1),
        ("Washington", "DC", 202, 6),
    )
)

_FIRST_NAMES = """
Aaliyah Aaron Abigail Adam Aisha Alejandro Alice Amara Amelia Andre Angela Anthony Ava Benjamin Bianca Brandon Camila
Carlos Caroline Charlotte Chloe Christopher Daniel David Diana Diego Dmitri Elena Eli Elijah Elizabeth Emily Emma
Ethan Eva Fatima Felix Gabriel Grace Hannah Harper Henry Hiro Imani Isaac Isabella Jack Jacob Jamal James Jasmine Jia
Jordan José Julia Kai Katherine Kenji Laila Lena Leo Liam Lily Lucas Lucía Madison Marcus Maria Mateo Maya Mei Mia
Michael Naomi Nathan Nina Noah Nora Olivia Omar Oscar Owen Penelope Priya Rachel Rafael Ravi Rosa Ryan Samuel Sarah
Sebastian Sofia Stella Theo Thomas Valentina Victor William Wyatt Yara Yusuf Zara Zoë
"""
FIRST_NAMES = tuple(_FIRST_NAMES.split())

_LAST_NAMES = """
Adams Ahmed Allen Alvarez Anderson Bailey Baker Barnes Bell Bennett Brooks Brown Campbell Carter Castillo Chen Clark
Coleman Collins Cook Cooper Cox Cruz Davis Diaz Edwards Evans Fischer Fisher Flores Foster Garcia Gomez Gonzalez Gray
Green Griffin Gupta Hall Harris Hayes Henderson Hernandez Hill Howard Hughes Ivanov Jackson James Jenkins Johnson
Jones Kelly Kim King Kowalski Lee Lewis Long Lopez Martin Martinez Miller Mitchell Moore Morales Morgan Morris Müller
Murphy Murray Myers Nelson Nguyen Okafor Ortiz Parker Patel Perez Perry Peterson Phillips Powell Price Ramirez Reed
Reyes Rivera Roberts Robinson Rogers Ross Russell Sanchez Sanders Scott Shah Singh Smith Stewart Sullivan Tanaka
Taylor Thomas Thompson Torres Turner Walker Ward Washington Watson White Williams Wilson Wood Wright Young Zhang
"""
LAST_NAMES = tuple(_LAST_NAMES.split())
