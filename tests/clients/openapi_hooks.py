"""What the document of the HTTP API can only say in words, for schemathesis: data that keep the schema and break these
words would be refused rightly."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    cursor = body.get("cursor")
    # A cursor is what an answer named, and no made-up text.
    if isinstance(cursor, str) and len(cursor) <= 255:
        del body["cursor"]
    # Lengths are counted in bytes.
    for name in ("channel", "user", "prefix", "after"):
        text = body.get(name)
        if isinstance(text, str) and len(text) <= 255 < len(text.encode()):
            body[name] = text[:63]
    text = body.get("id")
    if isinstance(text, str) and len(text) <= 128 < len(text.encode()):
        body["id"] = text[:32]
