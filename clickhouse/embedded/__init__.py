"""The ClickHouse engine (chDB) behind ClickHouse's HTTP interface, for machines without a clickhouse binary."""

__version__ = "1.0.0"
NAME = "clickhouse-embedded"
