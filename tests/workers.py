"""Workers of backends, watched and killed."""

import os
import signal
import time
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


class Watched:
    """A backend; ``act`` is called with each run and the number of each epoch that it tells of."""

    def __init__(self, backend, act):
        self.backend, self.act = backend, act

    def carry_out(self, jobs, work, on_epoch):
        def on_epoch_and_act(job, epoch):
            on_epoch(job, epoch)
            self.act(job[0], epoch)

        return self.backend.carry_out(jobs, work, on_epoch_and_act)


def kill(pids):
    """Kills processes with -9; returns how many."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return len(pids)


def processes():
    """This machine's processes: number, parent's number and command line, without zombies."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:  # gone
            continue
        if stat[0] != "Z":
            yield int(pid), int(stat[1]), command


def workers(of=None):
    """Processes that work for another, without the resource tracker; None: for this one."""
    return [
        pid
        for pid, parent, command in processes()
        if parent == (of or os.getpid()) and ("spawn_main" in command or "LokyProcess" in command)
    ]


def until(condition, seconds=90):
    """Waits for something to become true; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
