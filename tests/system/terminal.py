#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Run a command on a terminal of its own, and act at it as an operator does.

usage: terminal.py STEP... -- COMMAND...
  wait TEXT        until the terminal has shown TEXT (10 seconds at most, RT_TIMEOUT times as many)
  type TEXT        type it; \\n, \\x03 and the like as in Python
  size ROWS COLS   change the window's size
  raw, cooked      until the terminal's own settings are so: it echoes (cooked), or does not

Prints what the terminal showed, and a last line with its settings afterwards: "restored" or
"changed". The exit status is the command's.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 10 * int(os.environ.get("RT_TIMEOUT", "1"))


class Terminal:
    def __init__(self, command):
        self.master, self.slave = pty.openpty()
        self.shown = b""
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.execvp(command[0], command)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.shown += os.read(self.master, 65536)

    def until(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                self.fail("never came: " + what)
            self.read(0.02)

    def fail(self, why):
        sys.stdout.write(self.shown.decode(errors="replace"))
        os.kill(self.pid, 9)
        sys.exit("terminal: " + why)

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def step(self, words):
        verb = words.pop(0)
        if verb == "wait":
            text = words.pop(0)
            self.until(lambda: text.encode() in self.shown, text)
        elif verb == "type":
            os.write(self.master, words.pop(0).encode().decode("unicode_escape").encode())
        elif verb == "size":
            self.resize(int(words.pop(0)), int(words.pop(0)))
        elif verb in ("raw", "cooked"):
            self.until(lambda: self.echoes() == (verb == "cooked"), verb)
        else:
            self.fail("no such step: " + verb)

    def finish(self):
        status = []

        def ended():
            pid, value = os.waitpid(self.pid, os.WNOHANG)
            status.append(value)
            return pid
        self.until(ended, "the command's end")
        self.read(0)
        sys.stdout.write(self.shown.decode(errors="replace").replace("\r\n", "\n"))
        same = termios.tcgetattr(self.slave) == self.before
        print("restored" if same else "changed")
        return os.waitstatus_to_exitcode(status[-1])


def main():
    split = sys.argv.index("--")
    steps = sys.argv[1:split]
    terminal = Terminal(sys.argv[split + 1:])
    while steps:
        terminal.step(steps)
    sys.exit(terminal.finish() % 256)


main()
