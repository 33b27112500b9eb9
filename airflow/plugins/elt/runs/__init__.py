"""The steps of a run: begin, hold a snapshot, load each table, publish; and reconciling."""
