"""Checksums of rows of numbers, as the warehouse computes them from the copy (elt.sources.sums)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from operator import xor

from elt.sources.sums import FIRST, FIRST_OFFSET, NULL, NULL_IN_ROW, PRIME, SECOND, SECOND_OFFSET, WORD, factor

NUMBER_OF_TEXT = "reinterpretAsInt64(reverse(substring(MD5({0}), 1, 8)))"
"""ClickHouse's expression for `number_of_text`."""


def number_of_text(text: bytes) -> int:
    """Returns the number of a text in UTF-8, a signed 64-bit integer."""
    return int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:8], "big", signed=True)


def mix(number: int) -> int:
    """Returns what a column's checksum adds up, modulo 2^64."""
    return (_remainder(number, FIRST) + FIRST_OFFSET) * (_remainder(number, SECOND) + SECOND_OFFSET)


class Checksums:
    """Checksums of rows of numbers."""

    def __init__(self, width: int) -> None:
        self._sums = [0] * (2 + width)

    def add(self, columns: Sequence[Sequence[int | None]]) -> None:
        """Adds rows, given as columns."""
        rows: list[int] = [0] * len(columns[0])
        for place, numbers in enumerate(columns):
            by, null = factor(place), NULL_IN_ROW * (place + 1)
            parts = [null if number is None else _remainder(number, PRIME) * by for number in numbers]
            rows = list(map(xor, rows, parts))
            self._sums[2 + place] += sum(NULL if number is None else mix(number) for number in numbers)
        self._sums[0] += len(rows)
        self._sums[1] += sum(rows)

    def result(self) -> tuple[int, ...]:
        """Returns the number of rows, their checksum, and the checksum of each column."""
        return tuple(value % WORD for value in self._sums)


def _remainder(number: int, divisor: int) -> int:
    """Returns the remainder with the sign of the number, as in SQL."""
    return number % divisor if number >= 0 else -(-number % divisor)
