"""One build of prod as the worker does it, in a process that a test may kill: `build_once.py RUN_ID dbt-command..`."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from webhook.publishing import Publisher
from webhook.queue.runs import RunRequest
from webhook.settings import Settings
from webhook.worker.execution import Outcome


def execute() -> Outcome:
    code = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, check=False).returncode
    print("dbt has ended", flush=True)
    return Outcome("success") if code == 0 else Outcome("error", "dbt failed.")


run: Any = SimpleNamespace(id=sys.argv[1], request=RunRequest())
print(Publisher(Settings.from_environ(os.environ)).run(run, 1, execute))
