"""How Superset is served: one process, eight threads. Read by gunicorn, in both ways of running:
`gunicorn --config superset/config/gunicorn_conf.py 'superset.app:create_app()'`.
"""

import os
from typing import Any

bind = f"{os.environ.get('BIND_ADDRESS', '127.0.0.1')}:{os.environ.get('SUPERSET_PORT', '8088')}"
# One process holds 300 MB and more; the work is done by the warehouse, so threads are enough.
workers = 1
worker_class = "gthread"
threads = 8
timeout = 120
graceful_timeout = 10
# Links into Explore carry the whole chart in the address.
limit_request_line = 0
limit_request_field_size = 0
# All gunicorns of a user would share one path for it.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Starts the daily pruning in the process that serves."""
    from stack_superset import pruning

    pruning.start(worker.wsgi)
