#!/usr/bin/env python3
"""Checks the test vectors without any code of this project.

Needs Python 3.9 and `cryptography` (pip install cryptography). It rebuilds the RFC 9421 signature base of the record from
its fields, reads the COSE_Sign1 messages with a small CBOR reader, recomputes every hash (BLAKE3 too, for inputs of one
1024-byte chunk), and verifies every Ed25519 signature. It ends with status 1 at the first thing that does not hold.
"""

import base64
import hashlib
import json
import pathlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HERE = pathlib.Path(__file__).parent
MASK = 0xFFFFFFFF
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, ROOT, DERIVE_CONTEXT, DERIVE_MATERIAL = 1, 2, 8, 32, 64


def load(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def need(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


def blake3_block(chaining, block, flags):
    words = [int.from_bytes(block.ljust(64, b"\0")[i : i + 4], "little") for i in range(0, 64, 4)]
    v = chaining + IV[:4] + [0, 0, len(block), flags]

    def mix(a, b, c, d, x, y):
        for word, first, second in ((x, 16, 12), (y, 8, 7)):
            v[a] = (v[a] + v[b] + word) & MASK
            v[d] = turn(v[d] ^ v[a], first)
            v[c] = (v[c] + v[d]) & MASK
            v[b] = turn(v[b] ^ v[c], second)

    def turn(value, count):
        return (value >> count | value << (32 - count)) & MASK

    for _ in range(7):
        for column in range(4):
            mix(column, column + 4, column + 8, column + 12, words[2 * column], words[2 * column + 1])
        for column in range(4):
            places = column, (column + 1) % 4 + 4, (column + 2) % 4 + 8, (column + 3) % 4 + 12
            mix(*places, words[8 + 2 * column], words[9 + 2 * column])
        words = [words[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def blake3(data, chaining=None, flags=0):
    need(len(data) <= 1024, "this BLAKE3 hashes one chunk only")
    chaining = chaining or IV
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    for index, block in enumerate(blocks):
        last = CHUNK_END | ROOT if index == len(blocks) - 1 else 0
        chaining = blake3_block(chaining, block, flags | last | (CHUNK_START if index == 0 else 0))
    return b"".join(word.to_bytes(4, "little") for word in chaining)


def derive_key(context, material):
    key = blake3(context.encode(), flags=DERIVE_CONTEXT)
    words = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    return blake3(material, words, DERIVE_MATERIAL)


def head(major, value):
    """A CBOR initial byte with its shortest argument."""
    if value < 24:
        return bytes([major << 5 | value])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | extra]) + value.to_bytes(size, "big")
    raise ValueError(value)


def encode(value):
    """Deterministic CBOR of the kinds this protocol uses."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(encode(k) + encode(v) for k, v in sorted(value.items()))
    raise TypeError(value)


def decode(data, at=0):
    """One CBOR value and where it ends; a tag is dropped after it has been compared with 18."""
    major, small = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        need(small == 22, "of the simple values only null occurs")
        return None, at
    if small < 24:
        argument = small
    else:
        size = 1 << (small - 24)
        argument, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major == 0:
        return argument, at
    if major == 1:
        return -1 - argument, at
    if major in (2, 3):
        piece = data[at : at + argument]
        return (piece if major == 2 else piece.decode()), at + argument
    if major == 4:
        items = []
        for _ in range(argument):
            item, at = decode(data, at)
            items.append(item)
        return items, at
    if major == 5:
        pairs = {}
        for _ in range(argument):
            key, at = decode(data, at)
            pairs[key], at = decode(data, at)
        return pairs, at
    need(major == 6 and argument == 18, "the only tag is 18")
    return decode(data, at)


def ed25519(public, signature, message, what):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise SystemExit(f"FAILED: signature of {what}") from None


def sign1(message, context, public, what):
    """Verifies a COSE_Sign1 message (RFC 9052 section 4.4) and returns its decoded payload."""
    need(message[0] == 0xD2, f"{what} is tagged 18")
    (protected, unprotected, payload, signature), end = decode(message)
    need(end == len(message) and unprotected == {}, f"{what} has the one allowed shape")
    kid = hashlib.sha256(public).digest()[:8]
    need(protected == encode({1: -8, 4: kid}), f"{what} has the one allowed protected header")
    need(b"\xd2" + encode([protected, {}, payload, signature]) == message, f"{what} is deterministic")
    ed25519(public, signature, encode(["Signature1", protected, context.encode(), payload]), what)
    value, end = decode(payload)
    need(end == len(payload) and encode(value) == payload, f"the payload of {what} is deterministic")
    return value


def publisher_text(public):
    return "pub-" + base64.b32encode(public).decode().rstrip("=").lower()


def check_keys():
    vector = load("keys.json")
    root = bytes.fromhex(vector["root_public"])
    need(publisher_text(root) == vector["publisher"], "the publisher's text form")
    keys = sign1(bytes.fromhex(vector["cose"]), "weir/keys/1", root, "the key list")
    need(keys[0] == root and keys[2] == vector["expires_ms"] > vector["now_ms"], "publisher and expiry of the key list")
    ring = {entry[0]: entry for entry in keys[3]}
    for key_id, entry in ring.items():
        need(hashlib.sha256(entry[1]).digest()[:8] == key_id, "key ids are hashes of their keys")
    return root, ring


def check_resources(root):
    vector = load("resource_keys.json")
    for entry in vector["accepted"]:
        key = {0: root, 1: entry["path"]}
        if entry["query"] is not None:
            key[2] = entry["query"]
        need(encode(key).hex() == entry["cbor"], f"CBOR of the key of {entry['input']}")
        need(derive_key("weir/resource/1", encode(key)).hex() == entry["hash"], f"hash of {entry['input']}")
        key[3] = vector["variant"]
        need(derive_key("weir/resource/1", encode(key)).hex() == entry["hash_with_variant"], "hash with variant")
    ids = load("ids.json")["unsigned_publisher"]
    namespace = derive_key("weir/unsigned-publisher/1", ids["upstream"].encode())
    need(publisher_text(namespace) == ids["text"], "the namespace of an unsigned upstream")


def check_record(root, ring):
    vector = load("record.json")
    params = vector["signature_input"].removeprefix("weir=")
    match = re.fullmatch(r'\(([^)]*)\);created=(\d+);keyid="([0-9a-f]{16})";alg="ed25519";tag="weir/record/1"', params)
    need(match is not None, "Signature-Input has the one allowed shape")
    values = {name: vector[name.replace("-", "_")] for name in ("content-type", "content-encoding", "repr-digest", "weir-record")}
    covered = [name for name in values if values[name] is not None]
    need(match[1] == " ".join(f'"{name}"' for name in covered), "the covered components, in order")
    lines = [f'"{name}": {values[name]}' for name in covered] + [f'"@signature-params": {params}']
    base = "\n".join(lines)
    need(base == vector["signature_base"], "the signature base")
    entry = ring[bytes.fromhex(match[3])]
    need(entry[2] // 1000 <= int(match[2]) < entry[3] // 1000, "the key may sign at that time")
    signature = base64.b64decode(re.fullmatch(r"weir=:([A-Za-z0-9+/=]+):", vector["signature"])[1])
    ed25519(entry[1], signature, base.encode(), "the record")

    body = bytes.fromhex(vector["body"])
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    need(vector["repr_digest"] == f"sha-256=:{digest}:", "Repr-Digest")
    headers = "".join(f"{name}: {value}\n" for name, value in vector["headers"]).encode()
    need(headers.hex() == vector["headers_canonical"], "the canonical header block")
    for member in (
        f'pub="{publisher_text(root)}"',
        f"length={len(body)}",
        f"blake3=:{base64.b64encode(blake3(body)).decode()}:",
        f"headers=:{base64.b64encode(hashlib.sha256(headers).digest()).decode()}:",
    ):
        need(member in vector["weir_record"].split(", "), f"{member} in Weir-Record")
    wire, end = decode(bytes.fromhex(vector["wire"]))
    fields = {0: vector["repr_digest"], 1: vector["weir_record"], 2: vector["signature_input"], 3: vector["signature"]}
    need(wire == {0: fields, 1: vector["content_type"], 3: vector["headers"]}, "the record's wire form")
    need(end == len(vector["wire"]) // 2, "nothing follows the record's wire form")


def check_head(root, ring):
    vector = load("head.json")
    public = bytes.fromhex(vector["signing_public"])
    need(public in [entry[1] for entry in ring.values()], "the head's key is in the list")
    body = sign1(bytes.fromhex(vector["cose"]), "weir/head/1", public, "the head")
    headers = "".join(f"{name}: {value}\n" for name, value in vector["headers"]).encode()
    need(body[8] == hashlib.sha256(headers).digest(), "the head's header block")
    target = body[0][1] + ("?" + body[0][2] if 2 in body[0] else "")
    need(body[0][0] == root and target == vector["path_and_query"], "the head's resource")


def check_chunk(ring):
    vector = load("chunk.json")
    public = bytes.fromhex(vector["signing_public"])
    need(public in [entry[1] for entry in ring.values()], "the chunk's key is in the list")
    chunk = sign1(bytes.fromhex(vector["cose"]), "weir/chunk/1", public, "the chunk")
    payload = bytes.fromhex(vector["payload"])
    expected = [bytes.fromhex(vector["resource"]), vector["generation"], vector["offset"], len(payload), blake3(payload)]
    need([chunk[n] for n in range(5)] == expected and len(chunk) == 5, "what the chunk states")


def check_grant(root, ring):
    vector = load("grant.json")
    public = bytes.fromhex(vector["signing_public"])
    need(public in [entry[1] for entry in ring.values()], "the grants' key is in the list")
    for entry in vector["grants"]:
        grant = sign1(bytes.fromhex(entry["cose"]), vector["context"], public, f"grant {entry['name']}")
        names = {2: "scopes", 3: "first", 4: "last", 5: "region", 6: "weight", 7: "issued_ms", 8: "since_ms"}
        need(all(grant[n] == entry[name] for n, name in names.items()), f"what grant {entry['name']} states")
        need(grant[0] == root and base58(grant[1]) == vector["relay"], "who grants to whom")
        need(grant.get(12) == entry["budget"], "the budget")
        need(grant[3] <= vector["now_ms"] // 3_600_000 <= grant[4], "the grant holds now")


def check_takedown(root, ring):
    vector = load("takedown.json")
    public = bytes.fromhex(vector["signing_public"])
    need(public in [entry[1] for entry in ring.values()], "the takedowns' key is in the list")
    for entry in vector["takedowns"]:
        message = bytes.fromhex(entry["cose"])
        need(len(message) <= 256, "a takedown has at most 256 bytes")
        body = sign1(message, vector["context"], public, f"takedown {entry['name']}")
        need(body[0] == root and body[1] == entry["serial_ms"] and body.get(2) == entry["until_ms"], "its members")
        path = entry["target"].get("path")
        if path is None:
            target = [0, bytes.fromhex(entry["target"]["resource"])]
        elif len(path) <= vector["longest_plain_path"]:
            target = [1, path]
        else:
            target = [2, len(path), derive_key("weir/path/1", path.encode())]
        need(body[3] == target, f"the target of takedown {entry['name']}")


def base58(data):
    digits, number = "", int.from_bytes(data, "big")
    while number:
        number, digit = divmod(number, 58)
        digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits
def check_interim(ring):
    vector = load("interim.json")
    public = bytes.fromhex(vector["signing_public"])
    need(public in [entry[1] for entry in ring.values()], "the interim response's key is in the list")
    said = sign1(bytes.fromhex(vector["cose"]), "weir/interim/1", public, "the interim response")
    expected = [bytes.fromhex(vector["resource"]), vector["status"], vector["now_ms"], vector["headers"]]
    need([said[n] for n in range(4)] == expected, "what the interim response states")


def check_vary():
    vector = load("vary.json")
    for case in vector["selected"]:
        names = sorted({name.strip().lower() for name in case["vary"].split(",")} - {"accept-encoding", "origin"})
        if names == ["*"] or not names:
            need(case["variant"] is None, f"no variant for {case}")
            continue
        text = b""
        counted = lambda data: len(data).to_bytes(8, "big") + data
        for name in names:
            lines = [value for field, value in case["fields"] if field == name]
            text += counted(name.encode()) + bytes([bool(lines)])
            members = [member.strip() for line in lines for member in line.split(",")]
            if name == "accept-language":
                ranges = []
                for member in members:
                    tag, _, weight = member.lower().partition(";q=")
                    ranges.append((-round(1000 * float(weight or 1)), tag))
                value = "".join(f"{tag};q={-weight}," for weight, tag in sorted(ranges) if weight)
            else:
                value = ",".join(members)
            if lines:
                text += counted(value.encode())
        need(case["variant"] == "vary=" + derive_key("weir/variant/1", text)[:16].hex(), f"the variant of {case}")


def check_token():
    vector = load("token.json")
    header, claims, signature = vector["token"].split(".")
    part = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    public = bytes.fromhex(vector["signing_public"])
    ed25519(public, part(signature), f"{header}.{claims}".encode(), "the token")
    need(json.loads(part(header))["alg"] == "EdDSA", "the token's algorithm")
    need(json.loads(part(header))["kid"] == hashlib.sha256(public).hexdigest()[:16], "the token's key id")
    need(json.loads(part(claims)) == vector["claims"], "the token's claims")


def check_statements():
    vector = load("statements.json")
    need(hashlib.sha256(vector["token"].encode()).hexdigest() == vector["token_hash"], "the token's hash")
    payloads = {}
    for entry in vector["statements"]:
        message = bytes.fromhex(entry["cose"])
        name = "the " + entry["name"]
        payloads[entry["name"]] = sign1(message, entry["context"], bytes.fromhex(entry["public"]), name)
        need(hashlib.sha256(message).hexdigest() == entry["sha256"], f"the hash of {name}")
    publisher = payloads["promise"][0]
    need(all(payload[0] == publisher for payload in payloads.values()), "every statement names its publisher first")

    received = vector["received"]
    numbers = b"".join(received[name].to_bytes(8, "big") for name in ("generation", "offset", "length"))
    digest = derive_key(received["context"], bytes(32) + bytes.fromhex(received["resource"]) + numbers)
    need(digest.hex() == received["digest"], "the running digest")
    need(payloads["peer receipt"][8] == digest, "the receipt's running digest")
    # A relay's name is a PeerId: an identity multihash around its public key.
    keys = {entry["name"]: bytes.fromhex(entry["public"]) for entry in vector["statements"]}
    peer_id = bytes.fromhex("002408011220")
    need(payloads["peer receipt"][2] == peer_id + keys["peer receipt"], "the receiver signs the receipt")
    need(payloads["edge claim"][1] == peer_id + keys["edge claim"], "the edge signs the claim")
    need(payloads["payee change"][1] == peer_id + keys["payee change"], "the relay signs its payee")
    need(payloads["viewer receipt"][2] == keys["viewer receipt"], "the session's key signs the viewer's receipt")
    jwk = {name: vector["session_jwk"][name] for name in ("crv", "kty", "x")}
    need(base64.urlsafe_b64decode(jwk["x"] + "=") == keys["viewer receipt"], "the session's key as JWK")
    thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
    need(base64.urlsafe_b64encode(thumbprint).decode().rstrip("=") == vector["session_jkt"], "its thumbprint")

    reveal = payloads["probe reveal"]
    plan = encode([[probe[0], probe[1]] for probe in reveal[4]])
    commitment = hashlib.sha256(b"weir/probe-plan/1" + reveal[3] + plan).digest()
    need(commitment.hex() == vector["probe_commitment"], "the hash of the probe plan")
    need(payloads["probe commitment"][3] == commitment, "the reveal opens the commitment")

    proof, end = decode(bytes.fromhex(vector["contradiction"]["cbor"]))
    need(proof[0] == 6 and end == len(vector["contradiction"]["cbor"]) // 2, "the contradiction is about claims")
    first, second = (sign1(proof[n], "weir/edge-claim/1", keys["edge claim"], "a contradicting claim") for n in (1, 2))
    need(first != second and all(first[n] == second[n] for n in (0, 1, 2, 6)), "same edge, epoch and counter")


def main():
    root, ring = check_keys()
    check_resources(root)
    check_record(root, ring)
    check_head(root, ring)
    check_chunk(ring)
    check_interim(ring)
    check_vary()
    check_grant(root, ring)
    check_takedown(root, ring)
    check_token()
    check_statements()
    print("keys, resource keys, record, head, chunk, interim response, variants, grants, takedowns, token and statements verify")


if __name__ == "__main__":
    main()
