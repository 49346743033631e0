#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Speak to a Varlink socket as no well-behaved client would.

usage: varlink.py send SOCKET [FILE]       send standard input, say that no more comes, make FILE,
                                           and print what is answered until the end, a line a
                                           message
       varlink.py pass SOCKET MESSAGE FILE...
                                           send MESSAGE with the files, opened for reading, and
                                           print the first answer
       varlink.py hold SOCKET N TEXT       N connections that send TEXT and then nothing: prints
                                           "ready", and stays until it is ended
       varlink.py mute SOCKET MESSAGE      send MESSAGE and read nothing: prints "ready", and stays
       varlink.py deaf SOCKET MESSAGE      send MESSAGE again and again and read nothing: prints
                                           "ready" when no more is taken, "closed" when hung up on
"""
import array
import os
import resource
import signal
import socket
import sys

PATIENCE_S = 0.5 * int(os.environ.get("RT_TIMEOUT", "1"))


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return sock


def send(path, sent=None):
    sock = connect(path)
    try:
        sock.sendall(sys.stdin.buffer.read())
        sock.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass  # hung up on in the middle: what was answered until then is still there
    if sent:
        with open(sent, "x", encoding="ascii"):
            pass
    answer = b""
    try:
        while chunk := sock.recv(65536):
            answer += chunk
    except ConnectionResetError:
        pass
    sys.stdout.buffer.write(answer.replace(b"\0", b"\n"))


def pass_files(path, message, *files):
    sock = connect(path)
    fds = array.array("i", (os.open(name, os.O_RDONLY) for name in files))
    sock.sendmsg([message.encode() + b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    answer = b""
    try:
        while not answer.endswith(b"\0") and (chunk := sock.recv(65536)):
            answer += chunk
    except ConnectionResetError:
        pass
    print(answer.rstrip(b"\0").decode())


def hold(path, count, text):
    # A shell often has 1024 descriptors and no more, and may ask for more.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    socks = [connect(path) for _ in range(int(count))]
    for sock in socks:
        try:
            sock.send(text.encode())
        except BrokenPipeError:
            pass  # one too many
    print("ready", flush=True)
    signal.pause()


def mute(path, message):
    hold(path, 1, message + "\0")


def deaf(path, message):
    sock = connect(path)
    sock.settimeout(PATIENCE_S)
    try:
        while True:
            sock.sendall(message.encode() + b"\0")
    except TimeoutError:
        print("ready", flush=True)
    except (BrokenPipeError, ConnectionResetError):
        print("closed", flush=True)
        return
    signal.pause()


{"send": send, "pass": pass_files, "hold": hold, "mute": mute, "deaf": deaf}[sys.argv[1]](*sys.argv[2:])
