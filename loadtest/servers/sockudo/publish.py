#!/usr/bin/env python3
"""Publishes over Pusher's HTTP API: reads lines of channel, tab, payload. One argument: the server's port.

Requests are pipelined on one connection, so that the answers' way back does not slow it down."""

import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time

APP, KEY, SECRET = "load", "load-key", b"load-secret"


def request(channel: str, payload: str) -> bytes:
    body = json.dumps({"name": "m", "channel": channel, "data": payload}, separators=(",", ":")).encode()
    path = f"/apps/{APP}/events"
    query = (
        f"auth_key={KEY}&auth_timestamp={int(time.time())}&auth_version=1.0"
        f"&body_md5={hashlib.md5(body).hexdigest()}"
    )
    signature = hmac.new(SECRET, f"POST\n{path}\n{query}".encode(), hashlib.sha256).hexdigest()
    head = (
        f"POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read_answers(connection: socket.socket, done: threading.Event) -> None:
    """Reads the answers away, and says so if one is no 200: then what is measured is worth nothing."""
    answers = connection.makefile("rb")
    while status := answers.readline():
        length = 0
        while (line := answers.readline().strip().lower()):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = answers.read(length)
        if b" 200 " not in status:
            print(f"refused: {status.decode().strip()} {body.decode(errors='replace')}", file=sys.stderr, flush=True)
            os._exit(1)
    done.set()


def main() -> None:
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    done = threading.Event()
    threading.Thread(target=read_answers, args=(connection, done), daemon=True).start()
    for line in sys.stdin:
        channel, payload = line.rstrip("\n").split("\t", 1)
        connection.sendall(request(channel, payload))
    connection.shutdown(socket.SHUT_WR)
    done.wait(10)


if __name__ == "__main__":
    main()
