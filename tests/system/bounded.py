#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run a command with so much address space and time, and say how much memory it had at most.

usage: bounded.py MIB SECONDS REPORT INPUT CMD...
INPUT, a file or a folder, is its standard input. REPORT gets its largest resident set in KiB; its status is ours, 137 when the time was up.
"""
import os
import resource
import signal
import sys


def main():
    mib, seconds, report, given, *command = sys.argv[1:]
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(given, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (int(mib) << 20, int(mib) << 20))
        os.execvp(command[0], command)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(int(seconds))
    _, status, usage = os.wait4(pid, 0)
    with open(report, "w", encoding="ascii") as file:
        print(usage.ru_maxrss, file=file)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


main()
