"""JSON APIs as a source: fetched into the lake by the day, loaded from there."""
