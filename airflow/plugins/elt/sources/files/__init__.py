"""Files of a folder as a source: CSV, JSON lines, Parquet and Excel."""
