#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hold what recapd answers against the interface file: no member too many, none too few, each of its type.

usage: interface.py INTERFACE SOCKET METHOD PARAMETERS [FILE...]
    Call METHOD with "more", pass the FILEs along, print what each reply has, a line each, and fail on
    the first that is not as INTERFACE declares it.
"""
import array
import json
import os
import re
import socket
import sys


class Interface:
    """A reader of Varlink's language as far as ours goes."""

    def __init__(self, text):
        text = re.sub("#.*", "", text)
        self.tokens = re.findall(r"->|[A-Za-z_][\w.]*|[()\[\]:,?]", text)
        self.type, self.method, self.error = {}, {}, {}
        assert self.take() == "interface"
        self.name = self.take()
        while self.tokens:
            kind, name = self.take(), self.take()
            getattr(self, kind)[name] = self.struct()
            if kind == "method":
                assert self.take() == "->"
                self.method[name] = self.struct()

    def take(self):
        return self.tokens.pop(0)

    def any(self):
        token = self.tokens[0]
        if token == "(":
            return self.struct()
        self.take()
        if token == "?":
            return "maybe", self.any()
        if token != "[":
            return "name", token
        kind = "map" if self.tokens[0] == "string" else "array"
        while self.take() != "]":
            pass
        return kind, self.any()

    def struct(self):
        assert self.take() == "("
        members, values = {}, []
        while self.tokens[0] != ")":
            name = self.take()
            if self.tokens[0] == ":":
                self.take()
                members[name] = self.any()
            else:
                values.append(name)
            if self.tokens[0] == ",":
                self.take()
        self.take()
        return ("enum", values) if values else ("struct", members)

    def check(self, declared, value, path):
        kind, what = declared
        simple = {"int": int, "bool": bool, "string": str, "object": dict}
        if kind == "maybe":
            fits = value is None or self.check(what, value, path)
        elif kind == "name" and what in self.type:
            fits = self.check(self.type[what], value, path)
        elif kind == "name":
            fits = type(value) is simple[what]
        elif kind == "enum":
            fits = value in what
        elif kind == "array":
            fits = type(value) is list and all(self.check(what, v, path + "[]") for v in value)
        else:
            fits = type(value) is dict
            for name in (what if kind == "struct" else value) if fits else ():
                inner = what.get(name) if kind == "struct" else what
                self.check(inner, value.get(name), f"{path}.{name}")
            extra = set(value) - set(what) if fits and kind == "struct" else ()
            if extra:
                sys.exit(f"{path} has {sorted(extra)}, which the interface does not declare")
        if not fits:
            sys.exit(f"{path} is {value!r}, and not as the interface has it: {declared}")
        return True


def replies(path, message, files):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    fds = array.array("i", (os.open(f, os.O_RDWR if f == "/dev/null" else os.O_RDONLY) for f in files))
    sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if files else [])
    data, more = b"", True
    while more:
        while b"\0" not in data:
            chunk = sock.recv(1 << 16)
            if not chunk:
                sys.exit("hung up on")
            data += chunk
        text, data = data.split(b"\0", 1)
        reply = json.loads(text)
        more = reply.get("continues", False)
        yield reply


def main(interface, path, method, parameters, *files):
    with open(interface, encoding="ascii") as f:
        known = Interface(f.read())
    message = {"method": f"{known.name}.{method}", "parameters": json.loads(parameters), "more": True}
    for reply in replies(path, json.dumps(message).encode() + b"\0", files):
        error = reply.get("error", "").removeprefix(known.name + ".")
        got = reply.get("parameters", {})
        known.check(known.error[error] if error else known.method[method], got, error or method)
        print(json.dumps(got))


main(*sys.argv[1:])
