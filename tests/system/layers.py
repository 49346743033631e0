#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Print the mount points of the capsules' layers in a recapd's private mount namespaces.

usage: layers.py PID
Nobody is in those namespaces: they are entered through recapd's descriptors of them.
"""
import ctypes
import os
import sys

CLONE_NEWNS = 0x00020000
LAYERS = "/c/"


def mount_points(namespace, proc):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "setns")
    fd = os.open("self/mountinfo", os.O_RDONLY, dir_fd=proc)
    with open(fd, encoding="ascii") as lines:
        return [line.split()[4] for line in lines]


def namespaces(pid):
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if os.readlink(path).startswith("mnt:"):
            yield os.open(path, os.O_RDONLY)


def main():
    proc = os.open("/proc", os.O_RDONLY)
    found = {point for namespace in list(namespaces(sys.argv[1]))
             for point in mount_points(namespace, proc) if point.startswith(LAYERS)}
    print("\n".join(sorted(found)), end="")


main()
