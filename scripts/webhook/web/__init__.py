"""The HTTP side: calls, pages, authentication, models of requests and responses."""
