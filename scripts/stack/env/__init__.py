"""Reads, validates, creates and extends the file .env."""
