// A STOMP client over npm `@stomp/stompjs`: WebSocket as browsers do it, or TCP by `@stomp/tcp-wrapper`.
//
//   node stompjs.mjs
//
// It is told what to do in lines of JSON, one command each, and prints every event as a line of JSON:
//
//   {"connect":{"url":"ws://…"|"tcp":"host:port","headers":{…},"versions":["1.2"],"beats":[out,in],"reconnect":ms,
//               "protocols":[…],"upgrade":{…},"shown":true,"subscribe":[{"destination":"…","headers":{…}}]}}
//   {"subscribe":{"destination":"…","headers":{…}}}   {"unsubscribe":{"id":"…","headers":{…}}}
//   {"send":{"destination":"…","headers":{…},"body":"…"|"base64":"…","times":n}}
//   {"begin":"tx"}  {"commit":"tx"}  {"abort":"tx"}
//   {"ack":{"message":"<message-id>","headers":{…}}}  {"nack":{…}}
//   {"disconnect":{"receipt":"…"}}
//
//   {"connected":{…headers}}  {"message":{"headers":{…},"body":"…"|"base64":"…"}}  {"receipt":{…headers}}
//   {"error":{"headers":{…},"body":"…"}}  {"silent":true}  {"closed":code}  {"disconnected":{…headers}}
//   {"subprotocol":"…"|null}, where "protocols" or "upgrade" is given; {"beat":true}, where beats are "shown"
//
// Without "protocols" it offers what stompjs offers (v12.stomp, v11.stomp, v10.stomp); with [] nothing.
// What "subscribe" names is subscribed after each connection, also after those that stompjs makes by itself.
import process from "node:process";
import readline from "node:readline";
import { Buffer } from "node:buffer";
import { Client, Versions } from "@stomp/stompjs";
import { TCPWrapper } from "@stomp/tcp-wrapper";
import WebSocket from "ws";

const print = (event) => console.log(JSON.stringify(event));

// What cannot be told apart by its text is printed as base64.
const content = (bytes) => {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString("base64") };
  }
};

const messages = new Map();
const onMessage = (message) => {
  messages.set(message.headers["message-id"], message);
  print({ message: { headers: message.headers, ...content(message.binaryBody) } });
};

const socketOf = (options) => {
  if (options.tcp) {
    const [host, port] = options.tcp.split(":");
    return new TCPWrapper(host, Number(port));
  }
  const offered = options.protocols ?? ["v12.stomp", "v11.stomp", "v10.stomp"];
  const socket = new WebSocket(options.url, offered, { headers: options.upgrade });
  if (options.upgrade || options.protocols) {
    socket.on("upgrade", (response) => print({ subprotocol: response.headers["sec-websocket-protocol"] ?? null }));
  }
  return socket;
};

let client;
const connect = (options) => {
  const [heartbeatOutgoing, heartbeatIncoming] = options.beats ?? [0, 0];
  client = new Client({
    connectHeaders: options.headers ?? {},
    stompVersions: new Versions(options.versions ?? ["1.2", "1.1", "1.0"]),
    reconnectDelay: options.reconnect ?? 0,
    heartbeatOutgoing,
    heartbeatIncoming,
    discardWebsocketOnCommFailure: true,
    webSocketFactory: () => socketOf(options),
    onConnect: (frame) => {
      for (const { destination, headers } of options.subscribe ?? []) client.subscribe(destination, onMessage, headers);
      print({ connected: frame.headers });
    },
    onStompError: (frame) => print({ error: { headers: frame.headers, ...content(frame.binaryBody) } }),
    onHeartbeatReceived: () => options.shown && print({ beat: true }),
    onHeartbeatLost: () => print({ silent: true }),
    onWebSocketClose: (event) => print({ closed: event.code }),
    onDisconnect: (frame) => print({ disconnected: frame.headers }),
    onUnhandledMessage: (message) => print({ unexpected: message.headers }),
    onUnhandledReceipt: (frame) => print({ receipt: frame.headers }),
    onUnhandledFrame: (frame) => print({ unexpected: frame.command }),
  });
  client.activate();
};

const publish = ({ destination, headers, body, base64, times }) =>
  base64 === undefined
    ? client.publish({ destination, headers, body: body.repeat(times ?? 1) })
    : client.publish({ destination, headers, binaryBody: new Uint8Array(Buffer.from(base64, "base64")) });

const commands = {
  connect,
  subscribe: ({ destination, headers }) => client.subscribe(destination, onMessage, headers),
  unsubscribe: ({ id, headers }) => client.unsubscribe(id, headers),
  send: publish,
  begin: (transaction) => client.begin(transaction),
  commit: (transaction) => client.commit(transaction),
  abort: (transaction) => client.abort(transaction),
  ack: ({ message, headers }) => messages.get(message).ack(headers),
  nack: ({ message, headers }) => messages.get(message).nack(headers),
  disconnect: ({ receipt }) => {
    client.disconnectHeaders = receipt === undefined ? {} : { receipt };
    client.deactivate();
  },
};

// Its process ends with its input.
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [[name, body]] = Object.entries(JSON.parse(line));
  commands[name](body);
}
process.exit(0);
