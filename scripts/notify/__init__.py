"""Tells NOTIFY_URL what has happened: signed events in the form of Standard Webhooks 1.0.0."""
