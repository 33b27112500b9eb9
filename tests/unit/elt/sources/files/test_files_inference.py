"""Types from values: the narrowest that holds every one exactly, as a table of texts and types."""

import pyarrow as pa
import pytest
from elt.mapping import NARROW, WIDE, YearRange
from elt.sources.files.inference import Column
from elt.sources.files.kinds import Kind

INSTANT = "DateTime64(6, 'UTC')"


def kind_of(*batches: list[str | None], comma: bool = False, years: YearRange = WIDE) -> str:
    column = Column()
    for texts in batches:
        column.see(pa.array(texts, pa.string()), None, has_schema=False, comma=comma, years=years)
    return column.kind()


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20", "0", None], "Int64"),
        (["9223372036854775807", "-9223372036854775808"], "Int64"),
        (["9223372036854775808"], "Decimal(38, 0)"),
        (["19.99", "5", "-.5"], "Decimal(18, 2)"),
        (["12.50", "19.00"], "Decimal(18, 2)"),
        (["1234567890123456.789"], "Decimal(38, 3)"),
        (["1" * 70 + "." + "1" * 6], "Decimal(76, 6)"),
        (["1" * 70 + "." + "1" * 7], "String"),
        (["007", "1"], "String"),
        (["+49", "1"], "String"),
        (["1e5", "1"], "String"),
        (["NaN"], "String"),
        (["1,5"], "String"),
        (["1 000"], "String"),
        ([" 1"], "String"),
        (["1\n"], "String"),
        (["٣"], "String"),
        (["true", "FALSE", "False"], "Bool"),
        (["true", "1"], "String"),
        (["2026-02-28", "0001-01-01", "9999-12-31"], "Date32"),
        (["2026-02-30"], "String"),
        (["0000-01-01"], "String"),
        (["26-02-03"], "String"),
        (["03.02.2026"], "String"),
        (["2026-02-03", "2026-02-03 04:05"], INSTANT),
        (["2026-02-03T04:05:06.123456", "2026-02-03 04:05:06.1234560000"], INSTANT),
        (["2026-02-03T04:05:06.1234567"], "String"),
        (["2026-02-03T04:05:06Z", "2026-02-03 04:05:06.5+02:00", "2026-02-03T04:05-0730"], INSTANT),
        (["2026-02-03T04:05:06Z", "2026-02-03T04:05:06"], "String"),
        (["2026-02-03T24:00:00"], "String"),
        (["9999-12-31T23:00:00-02:00"], "String"),
        (["", "1"], "String"),
        (["1", "a"], "String"),
        ([None, None], "String"),
        ([], "String"),
    ],
)
def test_the_narrowest_type_that_holds_every_value(texts: list[str | None], kind: str) -> None:
    assert kind_of(texts) == kind
    # In whatever pieces the values come.
    assert kind_of(*([text] for text in texts)) == kind


def test_a_decimal_comma_is_one_only_where_pipeline_yml_says_so() -> None:
    assert kind_of(["1,50", "2"], comma=True) == "Decimal(18, 2)"
    assert kind_of(["1.50"], comma=True) == "String"
    assert kind_of(["1.234,50"], comma=True) == "String"


def test_years_that_the_server_moves_are_no_dates() -> None:
    assert kind_of(["1899-12-31"], years=NARROW) == "String"
    assert kind_of(["1900-01-01"], years=NARROW) == "Date32"
    assert kind_of(["2300-01-01 00:00:00"], years=NARROW) == "String"


@pytest.mark.parametrize(
    ("kind", "held", "refused"),
    [
        ("Int64", ["007", "+5", "-0"], ["9223372036854775808", "1.0", "", "1e3"]),
        ("Decimal(4, 2)", ["1.500", "+12.34", "007", ".5", "5."], ["1.234", "123", "1e1", "", "."]),
        ("Float64", ["1e5", "NaN", "-inf", ".5", "1"], ["1,5", "", "e5", "infinite"]),
        ("Bool", ["true", "No", "1", "f"], ["2", "", "wahr"]),
        ("Date32", ["2026-02-28"], ["2026-02-30", "2026-2-3", "", "28.02.2026"]),
        (INSTANT, ["2026-02-28", "2026-02-28 10:00", "2026-02-28T10:00Z"], ["2026-02-28 25:00", "", "2026-02-28Z"]),
        ("String", ["", "x"], []),
    ],
)
def test_a_type_of_pipeline_yml_holds_a_text_or_not(kind: str, held: list[str], refused: list[str]) -> None:
    texts = pa.array([*held, *refused, None], pa.string())
    assert Kind(kind, WIDE).fits(texts).to_pylist() == [True] * len(held) + [False] * len(refused) + [True]
