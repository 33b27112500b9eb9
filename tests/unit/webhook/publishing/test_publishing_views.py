"""Views that are published read published names."""

import pytest
from webhook.publishing.names import PLACE, marked, published_name
from webhook.publishing.views import ViewError, rewritten

BUILT = {"sales__next", "over__next"}


def test_a_view_of_the_build_reads_what_will_be_published() -> None:
    query = "CREATE VIEW analytics.over__next (`id` UInt64) SQL SECURITY INVOKER AS SELECT * FROM analytics.sales__next AS s"
    assert rewritten("over__next", query, BUILT) == (
        "CREATE OR REPLACE VIEW analytics.`over__next` (`id` UInt64) SQL SECURITY INVOKER"
        " AS SELECT * FROM analytics.`sales` AS s"
    )


def test_a_quoted_name_is_found_too() -> None:
    query = "CREATE VIEW analytics.over__next (`id` UInt64) AS SELECT * FROM analytics.`sales__next`"
    assert (rewritten("over__next", query, BUILT) or "").endswith("SELECT * FROM analytics.`sales`")


def test_a_view_of_raw_alone_stays_as_it_is() -> None:
    query = "CREATE VIEW analytics.over__next (`id` UInt64) AS SELECT id, 'sales__next' AS text FROM raw.sales__next"
    assert rewritten("over__next", query, BUILT) is None


def test_a_view_that_reads_what_was_not_built_is_refused_by_name() -> None:
    query = "CREATE VIEW analytics.over__next (`id` UInt64) AS SELECT * FROM analytics.gone__next"
    with pytest.raises(ViewError, match="View over reads gone__next, which this build did not make"):
        rewritten("over__next", query, BUILT)


def test_names_that_begin_alike_are_told_apart() -> None:
    query = "CREATE VIEW analytics.over__next (`id` UInt64) AS SELECT * FROM analytics.sales__next_1a2b3c4d"
    assert rewritten("over__next", query, BUILT) is None


def test_the_name_of_a_swap_has_one_mark() -> None:
    assert marked("sales__next", "12ab") == "sales__next_12ab" == marked("sales__next_99ff", "12ab")
    assert published_name("sales__next") == "sales" == published_name("sales")
    assert PLACE.quoted("a`b") == "analytics.`a\\`b`"
