#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An NTP server for tests, whose clock is ahead of the machine's.

usage: ntp.py ADDRESS PORT SECONDS
"""
import socket
import struct
import sys
import time

EPOCH = 2208988800  # 1970 in NTP's count, which begins with 1900


def timestamp(ahead):
    return int((time.time() + EPOCH + ahead) * 2**32).to_bytes(8, "big")


def main():
    ahead = float(sys.argv[3])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        query, client = server.recvfrom(512)
        received = timestamp(ahead)
        if len(query) < 48:
            continue
        # No leap second, version 4, a server of stratum 1; precision 2^-20 s.
        head = struct.pack(">BBbbII4s", 0x24, 1, query[2], -20, 0, 0, b"TEST")
        server.sendto(head + timestamp(ahead - 1) + query[40:48] + received + timestamp(ahead), client)


main()
