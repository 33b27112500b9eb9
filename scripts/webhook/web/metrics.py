"""The record of runs as Prometheus metrics. Each scrape reads the database, so web process and worker share no memory."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from webhook.queue.runs import FINAL
from webhook.queue.schema import DURATIONS
from webhook.queue.store import Ended, RunStore
from webhook.settings import Settings

__all__ = ["CONTENT_TYPE", "exposition"]


def exposition(store: RunStore, settings: Settings) -> bytes:
    """Returns the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Runs(store, settings))
    return generate_latest(registry)


class _Runs(Collector):
    def __init__(self, store: RunStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        counts, ended = self._store.counts(), self._store.ended()
        yield from _ended(ended)
        yield GaugeMetricFamily("dbt_runs_queued", "Runs that wait.", value=counts["queued"])
        yield GaugeMetricFamily("dbt_runs_queued_limit", "Runs that may wait.", value=self._settings.queue_limit)
        yield GaugeMetricFamily("dbt_runs_running", "Runs at work.", value=counts["running"])
        success = [one.last_at.timestamp() for one in ended if one.status == "success"]
        yield GaugeMetricFamily(
            "dbt_last_success_timestamp_seconds",
            "End of the last run that succeeded, in seconds since 1970-01-01 UTC; 0 if none has.",
            value=max(success, default=0),
        )


def _ended(ended: list[Ended]) -> Iterator[Metric]:
    totals = CounterMetricFamily("dbt_runs", "Runs that have ended, by result.", labels=["status"])
    durations = HistogramMetricFamily("dbt_run_duration_seconds", "From start to end of a run.", labels=["status"])
    for status in sorted(FINAL):
        own = [one for one in ended if one.status == status]
        runs = {one.up_to: one.runs for one in own}
        total = sum(runs.values())
        totals.add_metric([status], total)
        counted, buckets = 0, list[tuple[str, float]]()
        for end in DURATIONS:
            counted += runs.get(end, 0)
            buckets.append((str(float(end)), counted))
        durations.add_metric([status], [*buckets, ("+Inf", total)], sum(one.seconds for one in own))
    yield totals
    yield durations
