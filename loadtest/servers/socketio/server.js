// Socket.IO as its documentation tunes it: WebSocket only, the native add-ons of ws, and the request of the handshake
// forgotten. Compression is off, as it is by default.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: `redis://${process.env.REDIS}` });
const subscriber = publisher.duplicate();
for (const client of [publisher, subscriber]) {
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
}
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  connectTimeout: 60_000,
  adapter: createAdapter(publisher, subscriber),
});
io.engine.on("connection", (socket) => {
  socket.request = null;
});
io.on("connection", (socket) => {
  socket.on("join", (channel, answer) => {
    socket.join(channel);
    answer("joined");
  });
});
http.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
