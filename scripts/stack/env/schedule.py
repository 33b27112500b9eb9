"""Validates a schedule, a preset or a cron expression: Airflow must accept it, and it must fire.

Airflow uses croniter, which accepts far more than five numeric fields. Syntax that only croniter knows passes here; Airflow checks it when it
parses the DAG.
"""

import re

PRESETS = frozenset(
    {
        "@once",
        "@continuous",
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@quarterly",
        "@yearly",
        "@annually",
    }
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# Name, lowest, highest, and words for numbers. Both 0 and 7 are Sunday.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?")
# The last day, the nearest weekday, the n-th weekday, and random values.
_CRONITERS_OWN = re.compile(r"l|l\w+|\d+w|w\d+|\w+#\w+|r(\(.*\))?(/\d+)?")


def mistake(schedule: str) -> str:
    """Returns "" if the schedule can fire, else the mistake."""
    if schedule.startswith("@"):
        return "" if schedule in PRESETS else f"is no preset of Airflow ({', '.join(sorted(PRESETS))})"
    fields = schedule.lower().split()
    if not 5 <= len(fields) <= 7:
        return "is neither a preset such as @daily nor a cron expression of five fields, such as 0 4 * * *"
    seen: list[set[int] | None] = []
    for text, (name, low, high, words) in zip(fields, _FIELDS, strict=False):
        try:
            seen.append(_numbers("*" if text == "?" and name.startswith("day") else text, low, high, words))
        except ValueError:
            return f"has {text!r} as its {name}, which goes from {low} to {high}"
    _, _, days, months, _ = seen
    # Classic cron would still fire on its weekdays, but croniter finds no date.
    if days and months and min(days) > max(_LONGEST[month - 1] for month in months):
        return "never fires: none of its months has such a day"
    return ""


def _numbers(text: str, lowest: int, highest: int, words: dict[str, int]) -> set[int] | None:
    """Returns the numbers of a field; None if only croniter knows them. Raises ValueError."""
    allowed: set[int] = set()
    for part in text.split(","):
        if part not in words and _CRONITERS_OWN.fullmatch(part):
            return None
        match = _PART.fullmatch(part)
        if match is None or match["step"] == "0":
            raise ValueError
        if match["low"] is None:
            low, high = lowest, highest
        else:
            low = _number(match["low"], words)
            high = _number(match["high"], words) if match["high"] else highest if match["step"] else low
        if not (lowest <= low <= highest and lowest <= high <= highest):
            raise ValueError
        # A backward range wraps around, such as fri-mon.
        numbers = [*range(low, high + 1)] if low <= high else [*range(low, highest + 1), *range(lowest, high + 1)]
        allowed.update(numbers[:: int(match["step"] or 1)])
    return allowed


def _number(text: str, words: dict[str, int]) -> int:
    return words[text] if text in words else int(text)
