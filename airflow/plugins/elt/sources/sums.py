"""Checksums of a table's columns: the arithmetic that a source and the warehouse share. The order of rows does not matter.

Each value is a number of 64 signed bits. A column's checksum is the sum, modulo 2^64, of a mix of each number. The checksum of the rows sums a mix
of all numbers of a row, so it also finds values that were swapped between rows. A row's bucket comes from the numbers of its key. `%` is that of
SQL: it has the sign of the number that is divided.
"""

from __future__ import annotations

from collections.abc import Sequence

BUCKETS = 256
"""Number of buckets of a table's keys; only buckets that differ are read row by row."""

# The primes and offsets are so small that no product overflows 64 signed bits, an error in Postgres. The two moduli distinguish any two numbers
# less than 2^61 apart.
FIRST, FIRST_OFFSET, SECOND, SECOND_OFFSET = 2147483647, 715827883, 2147483629, 536870909
MIX = f"({{0}} % {{c}}{FIRST}{{d}} + {FIRST_OFFSET}) * ({{0}} % {{c}}{SECOND}{{d}} + {SECOND_OFFSET})"
"""The mix of a number; {c} and {d} stand around constants."""
PRIME = 2147483587
NULL = 1152921504606846883
"""The mix of NULL."""
NULL_IN_ROW = 805306457
BUCKET_PRIME = 1048573
WORD = 1 << 64
PADDING = "padding"
"""A last column of rows of numbers, always 0: an empty line could be taken for the end of the row before."""
_FACTOR = 1640531527


def number(place: int) -> str:
    """Returns the alias of a column's number. No source column may have this name: in ClickHouse an alias hides the column of the same name."""
    return f"_elt_number_{place}"


def factor(place: int) -> int:
    """Returns a different odd number below 2^31 for each column, so that values swapped between columns are found."""
    return (_FACTOR + 2 * 48271 * place) % (1 << 31) | 1


def folded(parts: Sequence[str], form: str) -> str:
    """Joins all parts by an operator, in a tree flat enough for the parsers at any number of columns."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return form.format(folded(parts[:middle], form), folded(parts[middle:], form))
