"""Writes merkle.json: RFC 6962 section 2.1, in the recursive words of the RFC and in another language than the crate.

    python3 merkle.py > merkle.json

The first tree has the eight inputs of the certificate-transparency reference tests; the second has a thousand leaves,
leaf i being the ASCII decimal of i. Hashes are padded base64, inputs hexadecimal.
"""

import base64
import hashlib
import json


def leaf_hash(leaf):
    return hashlib.sha256(b"\x00" + leaf).digest()


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d):
    if not d:
        return hashlib.sha256(b"").digest()
    if len(d) == 1:
        return leaf_hash(d[0])
    k = split(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m, d):
    if len(d) == 1:
        return []
    k = split(len(d))
    return path(m, d[:k]) + [mth(d[k:])] if m < k else path(m - k, d[k:]) + [mth(d[:k])]


def proof(m, d):
    return subproof(m, d, True) if 0 < m < len(d) else []


def subproof(m, d, whole):
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return subproof(m, d[:k], whole) + [mth(d[k:])]
    return subproof(m - k, d[k:], False) + [mth(d[:k])]


def text(hash_):
    return base64.b64encode(hash_).decode()


def tree(d, sizes, inclusions, consistencies):
    return {
        "roots": [{"size": n, "root": text(mth(d[:n]))} for n in sizes],
        "inclusion": [
            {"index": i, "size": n, "leaf": text(leaf_hash(d[i])), "path": [text(h) for h in path(i, d[:n])]}
            for i, n in inclusions
        ],
        "consistency": [{"old": m, "new": n, "proof": [text(h) for h in proof(m, d[:n])]} for m, n in consistencies],
    }


def main():
    known = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    eight = [bytes.fromhex(x) for x in known]
    thousand = [str(i).encode() for i in range(1000)]
    sizes = [0, 1, 2, 3, 7, 8, 63, 64, 65, 127, 500, 512, 513, 999, 1000]
    print(json.dumps({
        "version": 1,
        "about": "RFC 6962 section 2.1 over SHA-256. Inputs in hexadecimal, hashes in padded base64. "
                 "`known` has the inputs listed; leaf i of `numbered` is the ASCII decimal of i.",
        "known": {
            "inputs": known,
            **tree(
                eight,
                range(9),
                [(i, n) for n in range(1, 9) for i in range(n)],
                [(m, n) for n in range(9) for m in range(n + 1)],
            ),
        },
        "numbered": {
            "leaves": len(thousand),
            **tree(
                thousand,
                sizes,
                [(0, 1000), (511, 1000), (512, 1000), (999, 1000), (998, 999), (512, 513), (63, 64), (64, 65)],
                [(1, 1000), (64, 1000), (65, 1000), (500, 1000), (512, 513), (512, 1000), (513, 1000), (999, 1000)],
            ),
        },
    }, indent=1))


main()
