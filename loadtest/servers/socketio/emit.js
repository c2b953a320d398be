#!/usr/bin/env node
// Publishes: reads lines of channel, tab, payload, and sends each to the channel's room through Redis. One argument:
// host:port of Redis.
import { createInterface } from "node:readline";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

// Its default gives a command five seconds, which is not enough for those behind a burst.
const client = createClient({ url: `redis://${process.argv[2]}`, commandOptions: { timeout: 600_000 } });
client.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
await client.connect();
const emitter = new Emitter(client);
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const tab = line.indexOf("\t");
  emitter.to(line.slice(0, tab)).emit("m", JSON.parse(line.slice(tab + 1)));
}
await client.close();
