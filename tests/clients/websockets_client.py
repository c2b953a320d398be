"""A client of Ullim's native protocol over PyPI `websockets`, in JSON.

    python websockets_client.py URL TOKEN json CHANNEL[,CHANNEL…] COUNT

Subscribes, prints {"subscribed":[…]}, then each push as a line of JSON, until COUNT publications came in each
channel. Then a ping proves that nothing came beside them, and {"done":true} is the last line.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


def show(value):
    print(json.dumps(value), flush=True)


async def command(socket, **message):
    await socket.send(json.dumps(message))
    reply = json.loads(await socket.recv())
    if "error" in reply:
        sys.exit(f"refused: {reply}")
    return reply


async def listen(url, token, encoding, channels, count):
    left = {channel: count for channel in channels}
    subprotocol = f"ullim.v1.{encoding}"
    async with connect(url, subprotocols=[subprotocol]) as socket:
        assert socket.subprotocol == subprotocol, socket.subprotocol
        await command(socket, id=1, connect={"token": token})
        wanted = [{"channel": channel} for channel in channels]
        reply = await command(socket, id=2, subscribe={"channels": wanted})
        results = reply["subscribe"]["channels"]
        assert not any("error" in result for result in results), results
        show({"subscribed": [result["channel"] for result in results]})
        async for text in socket:
            assert isinstance(text, str), "a binary message"
            message = json.loads(text)
            if "ping" in message:
                break
            push = message["push"]
            show(push)
            if "pub" in push:
                left[push["channel"]] -= 1
                if not any(left.values()):
                    await socket.send(json.dumps({"id": 3, "ping": {}}))
    show({"done": True})


url, token, encoding, channels, count = sys.argv[1:]
asyncio.run(listen(url, token, encoding, channels.split(","), int(count)))
