"""The rules of types that need no server."""

import pytest
from elt.mapping import NARROW, WIDE
from elt.sources.postgres.catalogue import SourceColumn
from elt.sources.postgres.columns import map_column
from elt.sources.postgres.options import override_problem
from hypothesis import given
from hypothesis import strategies as st


def numeric(precision: int, scale: int) -> SourceColumn:
    typmod = ((precision << 16) | (scale & 0x7FF)) + 4
    return SourceColumn("n", f"numeric({precision},{scale})", True, "numeric", typmod, 0)


@pytest.mark.parametrize(
    ("precision", "scale", "kind"),
    [
        (10, 2, "Decimal(10, 2)"),
        (76, 76, "Decimal(76, 76)"),
        (5, -3, "Decimal(8, 0)"),
        (3, 5, "Decimal(5, 5)"),
        (1000, 2, "Decimal(76, 2)"),
        (1000, 1000, "Decimal(76, 38)"),
    ],
)
def test_numeric_is_a_decimal_that_holds_it(precision: int, scale: int, kind: str) -> None:
    assert map_column(numeric(precision, scale), WIDE).clickhouse == kind


@given(st.integers(1, 1000), st.integers(-1000, 1000))
def test_a_numeric_that_a_decimal_cannot_hold_is_watched_at_the_source(precision: int, scale: int) -> None:
    carried = map_column(numeric(precision, scale), WIDE)
    digits = max(precision - min(scale, 0), scale)
    assert carried.refused is not None
    assert ("CASE WHEN" in carried.select) == (digits > 76)


def test_servers_that_move_years_silently_are_not_trusted_with_them() -> None:
    column = SourceColumn("d", "date", False, "date", -1, 0)
    assert map_column(column, WIDE).select == '"d"'
    assert (
        map_column(column, NARROW).select.startswith("CASE WHEN NOT (")
        and "2300-01-01" in map_column(column, NARROW).select
    )


def test_overrides() -> None:
    assert override_problem("String") is None and override_problem("Decimal(76,38)") is None
    for wrong in ("Int32", "Decimal(77, 2)", "Decimal(4, 5)", "Decimal(10)", "String) ENGINE"):
        assert override_problem(wrong) is not None
    assert map_column(numeric(1000, 10), WIDE, "Decimal(20, 10)").clickhouse == "Decimal(20, 10)"
    with pytest.raises(ValueError, match="only numeric"):
        map_column(SourceColumn("a", "text", True, "text", -1, 0), WIDE, "Decimal(5, 2)")


def test_a_type_that_nobody_knows_travels_as_text() -> None:
    carried = map_column(SourceColumn("a", "app.pair", False, "", -1, 0), WIDE)
    assert (carried.clickhouse, carried.select, carried.as_text) == ("Nullable(String)", '"a"::text', True)
