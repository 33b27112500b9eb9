"""A process is told from one that died and from one that got its pid."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from warehouse.process import Process


@pytest.fixture
def child() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_this_process_is_here() -> None:
    here = Process.of(os.getpid())
    assert here.is_here and not here.is_dead


def test_a_process_that_ended_is_dead_before_and_after_it_is_reaped(child: "subprocess.Popen[bytes]") -> None:
    process = Process.of(child.pid)
    assert process.is_here
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_dead and not process.is_here
    child.communicate()
    assert process.is_dead


def test_another_process_with_its_pid_is_not_it() -> None:
    here = Process.of(os.getpid())
    machine, _, start = here.started.rpartition(" ")
    assert replace(here, started=f"{machine} {int(start) - 1}").is_dead


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"started": "other-boot pid:[1] 5"}, {"started": ""}])
def test_of_a_process_elsewhere_nothing_is_known(change: dict[str, str]) -> None:
    there = replace(Process.of(os.getpid()), pid=2**22 - 1, **change)
    assert not there.is_dead and not there.is_here
