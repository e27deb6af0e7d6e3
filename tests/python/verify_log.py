#!/usr/bin/env python3
"""Verifies a published log without any code of this project.

usage: verify_log.py FOLDER LOG_KEY [--witness KEY] [--since CHECKPOINT] [--proof FILE]

Needs Python 3.9 and `cryptography`. It reads the signed note by hand (C2SP signed-note, tlog-checkpoint,
tlog-cosignature), hashes every entry (RFC 6962), compares every tile (C2SP tlog-tiles), opens every opening, checks a
consistency proof that it makes from the tiles, and an inclusion proof in the form tlog-proof. It ends with status 1 at
the first thing that does not hold.
"""

import argparse
import base64
import hashlib
import pathlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


def need(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


def read_key(text):
    """A verifier key NAME+ID+BASE64(type, key): name, id, type, public key."""
    name, key_id, key = text.strip().split("+", 2)
    raw = base64.b64decode(key, validate=True)
    need(len(raw) == 33, "a key has 32 bytes and a type")
    expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    need(key_id == expected.hex(), f"the id of the key of {name}")
    return name, expected, raw[0], Ed25519PublicKey.from_public_bytes(raw[1:])


def read_note(data):
    text, signatures = data.decode().rsplit("\n\n", 1)
    lines = []
    for line in signatures.splitlines():
        mark, name, signature = line.split(" ")
        need(mark == "\u2014", "a signature line begins with an em dash")
        raw = base64.b64decode(signature, validate=True)
        lines.append((name, raw[:4], raw[4:]))
    return text + "\n", lines


def verify(key, message, signature, what):
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise SystemExit(f"FAILED: signature of {what}") from None


def read_checkpoint(data, log_key, witness_key=None):
    name, key_id, kind, public = read_key(log_key)
    need(kind == 1, "a log's key has type 1")
    text, signatures = read_note(data)
    own = [raw for signer, signer_id, raw in signatures if (signer, signer_id) == (name, key_id)]
    need(len(own) == 1, "the log signed the checkpoint once")
    verify(public, text.encode(), own[0], "the log")
    if witness_key is not None:
        witness, witness_id, kind, public = read_key(witness_key)
        need(kind == 4, "a witness's key has type 4")
        raw = [raw for signer, signer_id, raw in signatures if (signer, signer_id) == (witness, witness_id)]
        need(len(raw) == 1, "the witness signed the checkpoint once")
        time = int.from_bytes(raw[0][:8], "big")
        verify(public, f"cosignature/v1\ntime {time}\n{text}".encode(), raw[0][8:], "the witness")
    origin, size, root = text.splitlines()
    need(origin == name, "the origin is the key's name")
    return int(size), base64.b64decode(root, validate=True)


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def tree(hashes):
    """The Merkle Tree Hash of RFC 6962 section 2.1 over leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(tree(hashes[:split]), tree(hashes[split:]))


def path(index, width):
    groups = []
    while True:
        groups.insert(0, f"{index % 1000:03}")
        index //= 1000
        if index == 0:
            break
    groups = ["x" + group for group in groups[:-1]] + groups[-1:]
    return "/".join(groups) + (f".p/{width}" if width < WIDTH else "")


def places(count):
    for index in range((count + WIDTH - 1) // WIDTH):
        yield index, min(WIDTH, count - index * WIDTH)


def check_tiles(folder, size):
    leaves = []
    for index, width in places(size):
        data = (folder / "tile/entries" / path(index, width)).read_bytes()
        at = 0
        for number in range(width):
            length = int.from_bytes(data[at : at + 2], "big")
            entry = data[at + 2 : at + 2 + length]
            need(length == 33 and len(entry) == 33 and entry[0] == 1, f"entry {index * WIDTH + number} has version 1")
            leaves.append((entry[1:], leaf_hash(entry)))
            at += 2 + length
        need(at == len(data), f"nothing follows the entries of bundle {index}")
    level, hashes = 0, [leaf for _, leaf in leaves]
    while hashes:
        for index, width in places(len(hashes)):
            tile = (folder / f"tile/{level}" / path(index, width)).read_bytes()
            need(tile == b"".join(hashes[index * WIDTH : index * WIDTH + width]), f"tile {level}/{index}")
        full = len(hashes) // WIDTH
        hashes = [tree(hashes[index * WIDTH : (index + 1) * WIDTH]) for index in range(full)]
        level += 1
    return leaves


def check_openings(folder, leaves):
    opened = 0
    for index, width in places(len(leaves)):
        data = (folder / "openings" / path(index, width)).read_bytes()
        at = 0
        for number in range(index * WIDTH, index * WIDTH + width):
            length = int.from_bytes(data[at : at + 4], "big")
            opening = data[at + 4 : at + 4 + length]
            at += 4 + length
            if length == 0:
                continue
            # Salt, time, kind and message stand one after the other, as they are hashed.
            commitment = hashlib.sha256(b"weir/leaf/1" + opening).digest()
            need(commitment == leaves[number][0], f"the opening of leaf {number}")
            opened += 1
        need(at == len(data), f"nothing follows the openings of bundle {index}")
    return opened


def consistency_proof(leaves, old):
    """PROOF(old, D[n]) of RFC 6962 section 2.1.2."""

    def sub(first, last, count, whole):
        if count == last - first:
            return [] if whole else [tree(leaves[first:last])]
        split = 1 << (last - first - 1).bit_length() - 1
        if count <= split:
            return sub(first, first + split, count, whole) + [tree(leaves[first + split : last])]
        return sub(first + split, last, count - split, False) + [tree(leaves[first : first + split])]

    return sub(0, len(leaves), old, True)


def verify_consistency(old, old_root, new, new_root, proof):
    """The algorithm of RFC 9162 section 2.1.4.2."""
    if old == new:
        need(old_root == new_root and not proof, "two trees of one size are the same")
        return
    proof = ([old_root] if old & (old - 1) == 0 else []) + proof
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for step in proof[1:]:
        need(sn != 0, "the consistency proof is not too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(step, fr), node_hash(step, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, step)
        fn, sn = fn >> 1, sn >> 1
    need(fr == old_root and sr == new_root and sn == 0, "the log begins with what it was")


def verify_inclusion(leaf, index, size, root, proof):
    """The algorithm of RFC 9162 section 2.1.3.2."""
    need(index < size, "the leaf is in the tree")
    fn, sn, found = index, size - 1, leaf
    for step in proof:
        need(sn != 0, "the inclusion proof is not too long")
        if fn & 1 or fn == sn:
            found = node_hash(step, found)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, step)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and found == root, "the leaf is under the root")


def check_proof(data, log_key):
    head, note = data.decode().split("\n\n", 1)
    lines = head.split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", "the proof's first line")
    need(lines[0].startswith("extra "), "the proof carries the opening")
    opening = base64.b64decode(lines.pop(0)[6:], validate=True)
    index = int(lines.pop(0).removeprefix("index "))
    size, root = read_checkpoint(note.encode(), log_key)
    commitment = hashlib.sha256(b"weir/leaf/1" + opening).digest()
    verify_inclusion(leaf_hash(b"\1" + commitment), index, size, root, [base64.b64decode(line) for line in lines])
    return index


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("log_key")
    parser.add_argument("--witness")
    parser.add_argument("--since", type=pathlib.Path)
    parser.add_argument("--proof", type=pathlib.Path)
    args = parser.parse_args()
    size, root = read_checkpoint((args.folder / "checkpoint").read_bytes(), args.log_key, args.witness)
    leaves = check_tiles(args.folder, size)
    hashes = [leaf for _, leaf in leaves]
    need(tree(hashes) == root, "the entries come to the signed root")
    print(f"{size} leaves come to the signed root")
    if (args.folder / "openings").is_dir():
        print(f"{check_openings(args.folder, leaves)} openings open their leaves")
    if args.since:
        old, old_root = read_checkpoint(args.since.read_bytes(), args.log_key)
        verify_consistency(old, old_root, size, root, consistency_proof(hashes, old))
        print(f"it begins with the {old} leaves of the earlier checkpoint")
    if args.proof:
        print(f"leaf {check_proof(args.proof.read_bytes(), args.log_key)} is under its checkpoint")


if __name__ == "__main__":
    main()
