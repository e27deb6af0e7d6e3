#!/usr/bin/env python3
"""The share of profile samples that belong to parts of a program.

usage: perf script --no-demangle --no-inline -F ip,sym,symoff,dso | shares.py PROGRAM LEAST NAME=PATH[,PATH...]...

A sample belongs to a part when the call chain, functions that were inlined included, passes through a source file whose
path contains one of the part's paths. Prints a line for each part; exit code 1 with fewer samples than LEAST.
"""

import re
import subprocess
import sys

program, least, parts = sys.argv[1], int(sys.argv[2]), [part.split("=", 1) for part in sys.argv[3:]]
parts = [(name, paths.split(",")) for name, paths in parts]

# "     55d0c2 symbol+0x1f (/path/of/weir)": one frame; a line without one ends a sample.
FRAME = re.compile(r"^\s*[0-9a-f]+ (?P<symbol>\S.*)\+0x(?P<offset>[0-9a-f]+) \((?P<object>.*)\)$")
chains, chain = [], []
for line in sys.stdin:
    if not line.strip():
        if chain:
            chains.append(chain)
        chain = []
        continue
    frame = FRAME.match(line)
    # Frames of the kernel and of libraries count for the sample, and belong to no part.
    own = frame and frame["object"].endswith(program.rsplit("/", 1)[-1])
    chain.append((frame["symbol"], int(frame["offset"], 16)) if own else None)
if chain:
    chains.append(chain)

symbols = {}
for line in subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines():
    address, kind, name = (line.split(" ", 2) + ["", ""])[:3]
    if kind in "tTwW" and address:
        symbols[name] = int(address, 16)

# The address that returns is behind the call.
wanted = set()
for chain in chains:
    for depth, frame in enumerate(chain):
        if frame and frame[0] in symbols:
            wanted.add(symbols[frame[0]] + frame[1] - (depth > 0))
wanted = sorted(wanted)
asked = "".join(f"0x{address:x}\n" for address in wanted)
told = subprocess.run(["addr2line", "-a", "-i", "-e", program], input=asked, capture_output=True, text=True, check=True)
files, address = {}, None
for line in told.stdout.splitlines():
    if line.startswith("0x") and ":" not in line:
        address = int(line, 16)
        files[address] = set()
    else:
        files[address].add(line.rsplit(":", 1)[0])

counts, unresolved = {name: 0 for name, _ in parts}, 0
for chain in chains:
    seen = set()
    for depth, frame in enumerate(chain):
        if frame and frame[0] in symbols:
            seen |= files[symbols[frame[0]] + frame[1] - (depth > 0)]
    unresolved += not seen
    for name, paths in parts:
        counts[name] += any(path in file for file in seen for path in paths)

print(f"{len(chains)} samples, {unresolved} of them without a function of the program")
for name, count in counts.items():
    print(f"{name:<12} {count:>6} samples  {100 * count / max(len(chains), 1):.2f} %")
sys.exit(len(chains) < least)
