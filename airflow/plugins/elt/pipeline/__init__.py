"""pipeline.yml: the file, the plan made from it, names on both sides, and adding an entry."""
