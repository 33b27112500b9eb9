"""The one way to the warehouse: client, quoting, errors, records in `ops`, swaps. For loader, webhook, agent and check.

It knows none of them. docs/architecture.md says who writes which table.
"""
