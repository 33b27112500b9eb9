"""The ClickHouse engine (chDB) behind ClickHouse's HTTP interface, for machines without a clickhouse binary."""
