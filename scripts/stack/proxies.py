"""Keeps requests to the stack's own services away from the user's proxies."""

import os


def leave_out(own_hosts: str) -> None:
    """Adds hosts to NO_PROXY and no_proxy of this process; each HTTP client reads one of them."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([*own_hosts.split(","), *filter(None, given.split(","))]))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = hosts
