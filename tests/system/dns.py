#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A name server for tests: shop.example has the address 192.0.2.7, and nothing else is known.

usage: dns.py ADDRESS PORT
"""
import socket
import struct
import sys

NAME = b"\x04shop\x07example\x00"
A_IN = struct.pack(">HH", 1, 1)
OK, NXDOMAIN = 0x8180, 0x8183


def answer(query):
    end = query.index(b"\x00", 12) + 5
    question = query[12:end]
    found = question.lower() == NAME + A_IN
    reply = query[:2] + struct.pack(">5H", OK if found else NXDOMAIN, 1, int(found), 0, 0) + question
    if found:
        reply += b"\xc0\x0c" + A_IN + struct.pack(">IH", 60, 4) + socket.inet_aton("192.0.2.7")
    return reply


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer(query), client)


main()
