// A client of Ullim's native protocol over npm `ws`: JSON, or MessagePack by `@msgpack/msgpack`.
//
//   node ws.mjs URL TOKEN json|msgpack CHANNEL[,CHANNEL…] COUNT
//
// Subscribes, prints {"subscribed":[…]}, then each push as a line of JSON, until COUNT publications came in each
// channel. Then a ping proves that nothing came beside them, and {"done":true} is the last line.
// Binary data is printed as {"$bin":"<base64>"}.
import process from "node:process";
import { Buffer } from "node:buffer";
import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";

const [url, token, encoding, channelList, count] = process.argv.slice(2);
const channels = channelList.split(",");
const left = new Map(channels.map((channel) => [channel, Number(count)]));
const subprotocol = `ullim.v1.${encoding}`;

const packed = encoding === "msgpack";
const socket = new WebSocket(url, [subprotocol]);
const send = (command) => socket.send(packed ? encode(command) : JSON.stringify(command));
const print = (value) =>
  console.log(
    JSON.stringify(value, (_key, value) =>
      value instanceof Uint8Array ? { $bin: Buffer.from(value).toString("base64") } : value,
    ),
  );
const fail = (why) => {
  console.error(why);
  process.exit(1);
};

// JSON.stringify turns a Buffer into an object before the replacer sees it: `decode` gives plain Uint8Arrays.
const read = (data, isBinary) => {
  if (isBinary !== packed) fail(`a message of the wrong type: binary is ${isBinary}`);
  return packed ? decode(data) : JSON.parse(data.toString());
};

const onReply = (reply) => {
  if (reply.error) fail(`refused: ${JSON.stringify(reply)}`);
  if (reply.connect) send({ id: 2, subscribe: { channels: channels.map((channel) => ({ channel })) } });
  if (reply.subscribe) {
    const refused = reply.subscribe.channels.find((result) => result.error);
    if (refused) fail(`refused: ${JSON.stringify(refused)}`);
    print({ subscribed: reply.subscribe.channels.map((result) => result.channel) });
  }
  if (reply.ping) {
    print({ done: true });
    socket.close(1000);
  }
};

const onPush = (push) => {
  print(push);
  if (!push.pub) return;
  left.set(push.channel, left.get(push.channel) - 1);
  if ([...left.values()].every((count) => count === 0)) send({ id: 3, ping: {} });
};

socket.on("open", () => {
  if (socket.protocol !== subprotocol) fail(`the node chose ${socket.protocol}`);
  send({ id: 1, connect: { token } });
});
socket.on("message", (data, isBinary) => {
  const message = read(data, isBinary);
  if (message.push) onPush(message.push);
  else onReply(message);
});
socket.on("error", (error) => fail(`error: ${error.message}`));
socket.on("close", (code, reason) => {
  if (code !== 1000) fail(`closed: ${code} ${reason}`);
});
