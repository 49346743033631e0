#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Print what was reached of the sources below user/: lines and branches, by file and in total.

usage: summary.py BUILD-FOLDER PERCENT
The exit status is 1 when fewer than PERCENT of the lines were. Behind each file are the lines that were not. Counts are not
to be trusted, not even to be positive, since several processes count at once (counters.c); but 0 is never.
"""
import collections
import json
import pathlib
import subprocess
import sys


def reports(build):
    """What gcov says of each object; of one that never ran, from the compiler's notes alone."""
    for notes in sorted(build.glob("user/**/*.gcno")):
        out = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--stdout", str(notes)],
                             capture_output=True, text=True, check=True).stdout
        yield from json.loads(out)["files"]


def ranges(numbers):
    found = []
    for n in numbers:
        if found and found[-1][1] == n - 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def percent(some, all_):
    return 100 * some / all_ if all_ else 100


def main():
    lines = collections.defaultdict(dict)
    branches = collections.defaultdict(dict)
    for report in reports(pathlib.Path(sys.argv[1])):
        name = report["file"]
        if not name.startswith("user/"):
            continue
        for line in report["lines"]:
            n = line["line_number"]
            lines[name][n] = lines[name].get(n, False) or line["count"] != 0
            for i, branch in enumerate(line["branches"]):
                branches[name][n, i] = branches[name].get((n, i), False) or branch["count"] != 0
    print(f"{'':38} {'lines':>12} {'':>5} {'branches':>12}")
    for name in sorted(lines):
        hit, all_ = sum(lines[name].values()), len(lines[name])
        bhit, ball = sum(branches[name].values()), len(branches[name])
        missed = ranges(sorted(n for n, reached in lines[name].items() if not reached))
        print(f"{name:38} {hit:5} of {all_:4} {percent(hit, all_):3.0f} % {bhit:4} of {ball:4} "
              f"{percent(bhit, ball):3.0f} %  {missed}")
    hit, all_ = (sum(f(v.values()) for v in lines.values()) for f in (sum, len))
    bhit, ball = (sum(f(v.values()) for v in branches.values()) for f in (sum, len))
    print(f"branches: {percent(bhit, ball):.1f} % ({bhit} of {ball})")
    print(f"lines: {percent(hit, all_):.1f} % ({hit} of {all_})")
    sys.exit(percent(hit, all_) < float(sys.argv[2]))


main()
