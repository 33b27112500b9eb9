"""When an incremental load is given up for a full copy."""

import pytest
from elt.runs.modes.incremental import SMALL_ROWS, WHOLE_FROM_SHARE, costs_more


@pytest.mark.parametrize(
    ("rows", "whole", "expected"),
    [
        (WHOLE_FROM_SHARE * 10_000_000 + 1, 10_000_000, True),
        (WHOLE_FROM_SHARE * 10_000_000, 10_000_000, False),
        # More than there are: estimates of two kinds.
        (20_000_000, 10_000_000, True),
        # What the planner takes for a third, it knows nothing of.
        (10_000_000 / 3, 10_000_000, False),
        (SMALL_ROWS, SMALL_ROWS, True),
        (SMALL_ROWS - 1, SMALL_ROWS - 1, False),
        (1, 1, False),
        (0, 0, False),
    ],
)
def test_a_large_table_of_which_most_would_be_read_is_copied_whole(rows: float, whole: float, expected: bool) -> None:
    assert costs_more(rows, whole) is expected
