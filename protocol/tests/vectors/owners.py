#!/usr/bin/env python3
"""Ranks the owners of objects as docs/protocol.md, section 11, says, without any code of this project.

Needs what check.py needs. Without arguments it compares its ranking with owners.json and ends with status 1 when they
differ; with --write it makes owners.json.
"""

import functools
import hashlib
import json
import sys

from check import HERE, derive_key, need
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
WORD = (1 << 64) - 1
MULTIPLIER = 0xD6E8FEB86659FD93
LN_2 = 199786072581291494
MINUTE, HOUR = 60_000, 3_600_000
NOW = 1_800_000_000_000


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def unbase58(text):
    number = functools.reduce(lambda sum, digit: sum * 58 + BASE58.index(digit), text, 0)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def halves(data):
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")


def mix(seed, point):
    wide = (seed[0] ^ point[0]) * (seed[1] ^ point[1])
    x = (wide & WORD) ^ (wide >> 64)
    for _ in range(2):
        x = (x ^ x >> 32) * MULTIPLIER & WORD
    return x ^ x >> 32


def exponential(v):
    left = (1 << 64) - v
    doublings = 0 if left == 1 << 64 else 64 - left.bit_length()
    t = (1 << 64) - (left << doublings)
    s = (t << 63) // ((1 << 65) - t)
    square = s * s >> 63
    total = 0
    for j in reversed(range(12)):
        total = (1 << 63) // (2 * j + 1) + (total * square >> 63)
    return doublings * LN_2 + ((s * total >> 63) >> 4)


def weight(member, now):
    age = max(0, now - member["since"])
    shift = 3 if age < 10 * MINUTE else 2 if age < HOUR else 1 if age < 6 * HOUR else 0
    return member["weight"] * 8 >> shift


def owners(members, resource, now):
    point = halves(resource)
    ranked = []
    for member in members:
        peer = unbase58(member["relay"])
        variate = exponential(mix(halves(derive_key("weir/owner/1", peer)), point))
        ranked.append((variate, weight(member, now), peer, member))
    # a before b when a's variate / a's weight is less; ties by the identity's bytes.
    order = lambda a, b: (a[0] * b[1] > b[0] * a[1]) - (a[0] * b[1] < b[0] * a[1]) or (a[2] > b[2]) - (a[2] < b[2])
    ranked.sort(key=functools.cmp_to_key(order))
    proven = [entry for entry in ranked if now - entry[3]["since"] >= 24 * HOUR]
    young = [entry for entry in ranked if now - entry[3]["since"] < 24 * HOUR]
    result, taken = [], 0
    while proven or young:
        first = young and (not proven or order(young[0], proven[0]) < 0 and 2 * (taken + 1) <= len(result) + 2)
        taken += bool(first)
        result.append((young if first else proven).pop(0)[3]["relay"])
    return result


def make():
    ages = [5 * MINUTE, 30 * MINUTE, 3 * HOUR, 12 * HOUR, 48 * HOUR, 480 * HOUR, NOW]
    members = []
    for n in range(20):
        secret = Ed25519PrivateKey.from_private_bytes(bytes([n + 1] * 32))
        public = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        relay = base58(bytes([0, 36, 8, 1, 18, 32]) + public)
        members.append({"relay": relay, "weight": [1, 7, 50, 100, 1000, 100_000][n % 6], "since": NOW - ages[n % 7]})
    resources = [hashlib.sha256(bytes([n])).hexdigest() for n in range(24)]
    objects = [{"resource": r, "owners": owners(members, bytes.fromhex(r), NOW)} for r in resources]
    hashes = [0, 1, 2**20, 2**40, 2**63 - 1, 2**63, 2**63 + 1, WORD - 1, WORD]
    variates = [{"hash": str(v), "variate": str(exponential(v))} for v in hashes]
    return {"now": NOW, "members": members, "objects": objects, "variates": variates}


def main():
    path = HERE / "owners.json"
    if "--write" in sys.argv:
        path.write_text(json.dumps(make(), indent=2) + "\n", encoding="utf-8")
    need(json.loads(path.read_text(encoding="utf-8")) == make(), "the ranking of owners.json")
    print("owners rank as in owners.json")


if __name__ == "__main__":
    main()
