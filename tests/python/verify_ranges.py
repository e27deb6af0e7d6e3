#!/usr/bin/env python3
"""Verifies, without any code of this project, the publisher's word on each byte range that a playlist lists.

usage: verify_ranges.py ADAPTER RELAY PLAYLIST

ADAPTER and RELAY are base URLs, PLAYLIST is a path. The root key comes from the publisher's name in the adapter's join
document, the signing keys from its key list (COSE, RFC 9052). For each range of the playlist the relay's page
`/weir/record?key=...&range=...` is verified: its signature (RFC 9421) over its digest (RFC 9530), that it is the page for this
range, and that the digest in it is that of the bytes a player gets (RFC 9110 section 15.3.7). It ends with status 1 at the
first thing that does not hold, and prints how many ranges do.
"""

import base64
import hashlib
import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "protocol/tests/vectors"))
from check import ed25519, need, publisher_text, sign1  # noqa: E402

PATIENCE = 20


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.status, response.headers, response.read()


def keys_of(adapter):
    """The publisher's root key and, by id, the keys that it lets sign."""
    document = json.loads(get(f"{adapter}/.well-known/weir")[2])
    text = document["publisher"].removeprefix("pub-").upper()
    root = base64.b32decode(text + "=" * (-len(text) % 8))
    need(publisher_text(root) == document["publisher"], "the publisher's name is its root key")
    listed = sign1(base64.b64decode(document["keys"]), "weir/keys/1", root, "the key list")
    return document["publisher"], {entry[0]: entry[1] for entry in listed[3]}


def verify_page(headers, body, ring, publisher, target):
    """An RFC 9421 signature over content type, digest and record, and the digest over the body."""
    params = headers["Signature-Input"].removeprefix("weir=")
    covered = re.match(r"\(([^)]*)\)", params)[1].replace('"', "").split(" ")
    need({"repr-digest", "weir-record"} <= set(covered), "the signature covers digest and record")
    lines = [f'"{name}": {headers[name]}' for name in covered] + [f'"@signature-params": {params}']
    key = ring[bytes.fromhex(re.search(r'keyid="([0-9a-f]{16})"', params)[1])]
    signature = base64.b64decode(re.fullmatch(r"weir=:([A-Za-z0-9+/=]+):", headers["Signature"])[1])
    ed25519(key, signature, "\n".join(lines).encode(), "the page")
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    need(f"sha-256=:{digest}:" in headers["Repr-Digest"], "the page's digest")
    members = headers["Weir-Record"].split(", ")
    path, query = target.split("?", 1)
    for member in (f'pub="{publisher}"', f'path="{path}"', f'query="{query}"'):
        need(member in members, f"{member} in {members}")


def ranges_of(text):
    """(URI, first, last) of every range in a media playlist, in order."""
    found, uri_at, pending = [], {}, None
    for line in text.splitlines():
        if line.startswith("#EXT-X-MAP:") and "BYTERANGE" in line:
            uri = re.search(r'URI="([^"]*)"', line)[1]
            length, offset = map(int, re.search(r'BYTERANGE="(\d+)@(\d+)"', line).groups())
            found.append((uri, offset, offset + length - 1))
        elif line.startswith("#EXT-X-BYTERANGE:"):
            pending = line.split(":", 1)[1]
        elif line and not line.startswith("#") and pending:
            length, _, offset = pending.partition("@")
            first = int(offset) if offset else uri_at[line]
            found.append((line, first, first + int(length) - 1))
            uri_at[line], pending = first + int(length), None
    return found


def signed_page(url):
    """The page once it is signed: a page that is still on its way is sent before its signature is there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        _, headers, body = get(url)
        if headers["Signature"] is not None:
            return headers, body
        need(time.monotonic() < deadline, "the page is signed in time")
        time.sleep(0.1)


def main():
    adapter, relay, playlist = (argument.rstrip("/") for argument in sys.argv[1:])
    publisher, ring = keys_of(adapter)
    text = get(f"{relay}{playlist}")[2].decode()
    checked = 0
    for uri, first, last in ranges_of(text):
        key = urllib.parse.urljoin(playlist, uri)
        query = f"key={urllib.parse.quote(key, safe='')}&range={first}-{last}"
        headers, page = signed_page(f"{relay}/weir/record?{query}")
        verify_page(headers, page, ring, publisher, f"/weir/record?{query}")
        said = json.loads(page)
        status, headers, part = get(f"{relay}{key}", Range=f"bytes={first}-{last}")
        need(status == 206 and headers["Content-Range"] == said["content_range"], f"{key} {first}-{last}: Content-Range")
        digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
        need(said["content_digest"] == f"sha-256=:{digest}:", f"{key} {first}-{last}: digest")
        need(said["publisher"] == publisher and said["key"] == key, "whose resource it is")
        checked += 1
    need(checked > 0, "the playlist lists ranges")
    try:
        get(f"{relay}/weir/record?key={urllib.parse.quote(key, safe='')}&range=1-2")
        raise SystemExit("FAILED: a range that no playlist lists has a digest")
    except urllib.error.HTTPError as refused:
        need(refused.code == 404 and b"no playlist" in refused.read(), "a range that nobody lists is refused")
    print(f"{checked} ranges verify")


if __name__ == "__main__":
    main()
