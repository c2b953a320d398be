"""A STOMP client over PyPI `stomp.py`: 1.0, 1.1 and 1.2 over TCP, 1.2 over WebSocket (which offers no subprotocol).

    python stomp_py.py

It is told what to do in lines of JSON, one command each, and prints every event as a line of JSON, as stompjs.mjs
says. What differs: `connect` takes one version, and a `login` and `passcode` of its own; `{"frame":{"command":"…",
"headers":{…},"body":"…"}}` sends any frame; `{"failed":"…"}` is printed when the library raises.
"""

import base64
import json
import sys
import threading
from urllib.parse import urlsplit

import stomp
from stomp.adapter.ws import WSStompConnection

CONNECTIONS = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}

printing = threading.Lock()


def show(**event):
    with printing:
        print(json.dumps(event), flush=True)


def content(body):
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.messages = {}

    def on_connected(self, frame):
        show(connected=frame.headers)

    def on_message(self, frame):
        self.messages[frame.headers["message-id"]] = frame.headers
        show(message={"headers": frame.headers, **content(frame.body)})

    def on_receipt(self, frame):
        show(receipt=frame.headers)

    def on_error(self, frame):
        show(error={"headers": frame.headers, **content(frame.body)})

    def on_heartbeat_timeout(self):
        show(silent=True)

    def on_disconnected(self):
        show(closed=True)


class Program:
    def __init__(self):
        self.listener = Listener()
        self.version = None
        self.connection = None

    def connect(self, version="1.2", tcp=None, url=None, headers=None, beats=(0, 0), login=None, passcode=None,
                binary=False, vhost=None):
        # Bodies are bytes here: stomp.py decodes them otherwise.
        options = {"auto_decode": False, "reconnect_attempts_max": 1}
        if version != "1.0":
            options.update(heartbeats=tuple(beats), vhost=vhost)
        self.version = version
        if url:
            parts = urlsplit(url)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            where = [(parts.hostname, parts.port)]
            self.connection = WSStompConnection(where, ws_path=path, binary_mode=binary, **options)
        else:
            host, port = tcp.split(":")
            self.connection = CONNECTIONS[version]([(host, int(port))], **options)
        self.connection.set_listener("printer", self.listener)
        self.connection.connect(login, passcode, wait=False, headers=headers)

    def subscribe(self, destination, headers=None):
        headers = dict(headers or {})
        self.connection.subscribe(destination, id=headers.pop("id", None), ack=headers.pop("ack", "auto"),
                                  headers=headers)

    def unsubscribe(self, id=None, destination=None, headers=None):
        if self.version == "1.0":
            self.connection.unsubscribe(destination=destination, id=id, headers=headers)
        else:
            self.connection.unsubscribe(id, headers=headers)

    def send(self, destination, headers=None, body="", times=1, **encoded):
        body = base64.b64decode(encoded["base64"]) if encoded else body * times
        self.connection.send(destination, body, headers=headers)

    def acknowledge(self, name, message, headers=None):
        told = self.listener.messages[message]
        headers = headers or {}
        options = {"transaction": headers.get("transaction"), "receipt": headers.get("receipt")}
        if self.version == "1.0":
            self.connection.ack(message, **options)
        elif self.version == "1.1":
            getattr(self.connection, name)(message, told["subscription"], **options)
        else:
            getattr(self.connection, name)(told["ack"], **options)

    def disconnect(self, receipt=None):
        self.connection.disconnect(receipt)

    def frame(self, command, headers=None, body=""):
        self.connection.send_frame(command, headers or {}, body)

    def run(self, name, body):
        if name in ("begin", "commit", "abort"):
            getattr(self.connection, name)(body)
        elif name in ("ack", "nack"):
            self.acknowledge(name, **body)
        else:
            getattr(self, name)(**body)


program = Program()
for line in sys.stdin:
    ((name, body),) = json.loads(line).items()
    try:
        program.run(name, body)
    except Exception as error:
        show(failed=f"{type(error).__name__}: {error}")
