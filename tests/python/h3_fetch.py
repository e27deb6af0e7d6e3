#!/usr/bin/env python3
"""An independent HTTP/3 client on aioquic: fetches one URL, so that bytes are checked by code that is not ours.

Writes the body to a file and one JSON object to standard output: status, headers (lower-case names in the order of
arrival), bytes, sha256 of the body, alpn. Exit status 0 whenever a whole response arrived, whatever its status; 1 with
{"error": …} when none did, 2 for wrong usage.
"""

import argparse
import asyncio
import hashlib
import json
import ssl
import sys
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamReset


class FetchError(Exception):
    """No whole response, for the reason given."""


class Http(H3Connection):
    """Leaves the check of content-length to `Client.check_length`: the pinned aioquic closes the connection over a HEAD
    or 304 response that announces a length, as RFC 9110 section 8.6 allows it to."""

    def _check_content_length(self, stream):
        pass


class Client(QuicConnectionProtocol):
    """One connection, one request. Invariant: `done` is settled exactly once, by the body's end or a failure."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.done = None
        self.out = None
        self.alpn = None
        self.bodiless = False
        self.stream = None
        self.status = None
        self.headers = []
        self.bytes = 0
        self.digest = hashlib.sha256()

    async def fetch(self, fields, out):
        """Sends the request and waits until its response is whole; the body goes to `out`."""
        self.http = Http(self._quic)
        self.done = asyncio.get_running_loop().create_future()
        self.out = out
        # What would be sent is announced, and nothing comes (RFC 9110 sections 9.3.2 and 15.4.5).
        self.bodiless = (b":method", b"HEAD") in fields
        self.stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(self.stream, fields, end_stream=True)
        self.transmit()
        await self.done

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            self.alpn = event.alpn_protocol
        elif isinstance(event, ConnectionTerminated):
            self.fail(f"connection closed: {event.error_code:#x} {event.reason_phrase}".strip())
        elif isinstance(event, StreamReset) and event.stream_id == self.stream:
            self.fail(f"stream reset: {event.error_code:#x} after {self.bytes} bytes")
        if self.http is None:
            return
        for http_event in self.http.handle_event(event):
            if getattr(http_event, "stream_id", None) == self.stream:
                self.response_event(http_event)

    def response_event(self, event):
        if isinstance(event, HeadersReceived):
            fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
            status = dict(fields).get(":status")
            # An interim response (1xx) announces the real one; a second block behind that is trailers.
            if self.status is None and status is not None and not status.startswith("1"):
                self.status = int(status)
                self.headers = [field for field in fields if not field[0].startswith(":")]
                self.bodiless = self.bodiless or self.status == 304
        elif isinstance(event, DataReceived):
            self.out.write(event.data)
            self.digest.update(event.data)
            self.bytes += len(event.data)
        if event.stream_ended and not self.done.done():
            self.check_length()

    def check_length(self):
        length = dict(self.headers).get("content-length")
        if self.status is None:
            self.fail("the stream ended before a response")
        elif length is not None and int(length) != self.bytes and not (self.bodiless and self.bytes == 0):
            self.fail(f"content-length says {length}, {self.bytes} bytes arrived")
        else:
            self.done.set_result(None)

    def fail(self, reason):
        if self.done is not None and not self.done.done():
            self.done.set_exception(FetchError(reason))


def arguments():
    parser = argparse.ArgumentParser(description="Fetch one URL over HTTP/3 and print what arrived as JSON.")
    parser.add_argument("url", metavar="URL", help="https://HOST[:PORT]/PATH")
    parser.add_argument("--method", default="GET", help="request method (default: GET)")
    parser.add_argument("--header", action="append", default=[], metavar="K:V", help="request field; may be repeated")
    parser.add_argument("--range", metavar="A-B", help="byte range: A-B, A- or -N")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--insecure", action="store_true", help="accept any certificate")
    trust.add_argument("--ca", metavar="FILE", help="trust the certificates in this PEM file instead of the system's")
    parser.add_argument("--connect", metavar="HOST:PORT", help="connect there instead of to the URL's host")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the body goes; - writes it nowhere")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds for everything (default: 30)")
    args = parser.parse_args()
    args.target = urlsplit(args.url)
    if args.target.scheme != "https" or not args.target.hostname:
        parser.error("URL must be https://HOST[:PORT]/PATH")
    for header in args.header:
        if ":" not in header[1:]:
            parser.error(f"not a field K:V: {header!r}")
    return args


def request_fields(args):
    path = args.target.path or "/"
    if args.target.query:
        path += "?" + args.target.query
    fields = [
        (":method", args.method),
        (":scheme", "https"),
        (":authority", args.target.netloc.rpartition("@")[2]),
        (":path", path),
    ]
    for header in args.header:
        name, _, value = header.partition(":")
        fields.append((name.strip().lower(), value.strip()))
    if args.range:
        fields.append(("range", f"bytes={args.range}"))
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def address(args):
    if args.connect:
        host, _, port = args.connect.rpartition(":")
        return host.strip("[]"), int(port)
    return args.target.hostname, args.target.port or 443


async def fetch(args, out):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=True, server_name=args.target.hostname)
    if args.insecure:
        configuration.verify_mode = ssl.CERT_NONE
    elif args.ca:
        configuration.load_verify_locations(args.ca)
    host, port = address(args)
    async with connect(host, port, configuration=configuration, create_protocol=Client) as client:
        await client.fetch(request_fields(args), out)
        return {
            "status": client.status,
            "headers": client.headers,
            "bytes": client.bytes,
            "sha256": client.digest.hexdigest(),
            "alpn": client.alpn,
        }


def main():
    args = arguments()
    try:
        with open("/dev/null" if args.out == "-" else args.out, "wb") as out:
            result = asyncio.run(asyncio.wait_for(fetch(args, out), args.timeout))
    except TimeoutError:
        result = {"error": f"no whole response within {args.timeout} s"}
    except (FetchError, ConnectionError, OSError) as error:
        result = {"error": str(error) or type(error).__name__}
    print(json.dumps(result))
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
