"""Proxies of the person's environment are for what is outside: none is asked for the stack's own services."""

import os


def leave_out(own_hosts: str) -> None:
    """Add hosts to NO_PROXY of this process, in both spellings; every HTTP client that it uses reads one of them."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([*own_hosts.split(","), *filter(None, given.split(","))]))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = hosts
