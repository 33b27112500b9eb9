"""dbt's command line in a process that cannot outlive its worker.

Started by path, as `python -P dbt_child.py WORKER_PID dbt-arguments...`, so that nothing of this package is on dbt's
import path. If the worker dies, even by kill -9, Linux kills this process at once: the next worker must not find an older
dbt writing the same tables.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; see prctl(2)


def main(arguments: list[str]) -> None:
    worker, dbt_arguments = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The worker may have died before prctl took effect.
    if os.getppid() != worker:
        raise SystemExit("the worker that started this dbt is gone")

    from dbt.cli.main import cli  # late: the import takes a second, and the guard above must not wait for it

    sys.argv = ["dbt", *dbt_arguments]
    cli()


if __name__ == "__main__":
    main(sys.argv[1:])
