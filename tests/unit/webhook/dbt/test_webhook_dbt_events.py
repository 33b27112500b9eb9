"""dbt's events as lines: fired by dbt's own event manager, in the environment that has dbt."""

import subprocess
from pathlib import Path

from webhook.dbt.events import read_event

# Lines longer than the pipe, so that a thread waits in the middle of one while others go on.
FIRE = """
import fcntl, sys, threading
from dbt_common.events.base_types import EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.types import Note
from webhook.dbt.callbacks import EventPrinter

manager = EventManager()
manager.add_callback(EventPrinter())
fcntl.fcntl(sys.stdout, fcntl.F_SETPIPE_SZ, 4096)

def fire(thread):
    for number in range(200):
        manager.fire_event(Note(msg=f"{thread} {number} " + "x" * 30_000), EventLevel.INFO)
        manager.fire_event(Note(msg="nobody reads this"), EventLevel.DEBUG)

threads = [threading.Thread(target=fire, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_lines_of_several_threads_are_whole_and_in_the_order_of_each_thread(venvs: Path, repo: Path) -> None:
    process = subprocess.Popen(
        [venvs / "dbt/bin/python", "-c", FIRE],
        # Unbuffered, as the worker starts it.
        env={"PYTHONPATH": str(repo / "scripts"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        events = [read_event(line, str) for line in process.stdout]
    assert process.returncode == 0
    assert {event.level for event in events} == {"info"}
    told = [event.text.split(" ")[:2] for event in events]
    assert len(told) == 800
    assert all([number for by, number in told if by == str(n)] == list(map(str, range(200))) for n in range(4))
