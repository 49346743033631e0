#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Be journald's native socket: journal.py SOCKET FILE appends each entry, a JSON object a line, with
the member "memfd" for one that came as a sealed file. Prints "ready"."""
import array
import fcntl
import json
import os
import socket
import sys

F_GET_SEALS = 1034
ALL_SEALS = 0xF


def entry(data, fds):
    if fds:
        assert not data and len(fds) == 1 and fcntl.fcntl(fds[0], F_GET_SEALS) == ALL_SEALS
        data = os.pread(fds[0], os.fstat(fds[0]).st_size, 0)
        os.close(fds[0])
    assert data.endswith(b"\n")
    fields = dict(line.split("=", 1) for line in data.decode("ascii")[:-1].split("\n"))
    return fields | {"memfd": bool(fds)}


def main(path, out):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    print("ready", flush=True)
    with open(out, "a", encoding="ascii") as file:
        while True:
            data, control, _, _ = sock.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            fds = array.array("i")
            for _, _, passed in control:
                fds.frombytes(passed)
            print(json.dumps(entry(data, fds)), file=file, flush=True)


main(*sys.argv[1:])
