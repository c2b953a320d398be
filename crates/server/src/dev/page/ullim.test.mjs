// How ullim.js behaves when connections come and go at the wrong moment. Run it with `node --test`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

// The page's files have no package that would say that they are modules.
const source = readFileSync(new URL("ullim.js", import.meta.url));
const { Ullim } = await import(`data:text/javascript;base64,${source.toString("base64")}`);

/** A socket whose other end is the test. */
class FakeSocket {
  static all = [];
  sent = [];
  isOpen = false;
  isClosed = false;

  constructor() {
    FakeSocket.all.push(this);
  }

  send(text) {
    if (!this.isOpen) throw new Error("still connecting");
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  async open() {
    this.isOpen = true;
    this.onopen();
    await settled();
    await this.answer("connect", { session: "s", resume: "r", ping: 1e9 });
  }

  /** Answers the last command of this name. */
  async answer(name, reply, error) {
    const { id } = this.sent.findLast((command) => command[name]);
    const message = error ? { id, error } : { id, [name]: reply };
    this.onmessage({ data: JSON.stringify(message) });
    await settled();
  }

  async push(push) {
    this.onmessage({ data: JSON.stringify({ push }) });
    await settled();
  }

  async lose() {
    this.onclose({ code: 1006, reason: "" });
    await settled();
  }
}

async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

const retriable = { code: 111, name: "unavailable", message: "later", retry: true };

/** Time that passes when the test says so. */
const clock = { now: 0, timers: new Map(), last: 0 };

function addTimer(run, after, every) {
  clock.timers.set(++clock.last, { run, at: clock.now + after, every });
  return clock.last;
}

/** Lets time pass, and what follows from it happen. */
async function wait(milliseconds) {
  for (const end = clock.now + milliseconds; clock.now < end; ) {
    clock.now = Math.min(end, clock.now + 100);
    for (const [id, timer] of [...clock.timers]) {
      if (timer.at > clock.now || !clock.timers.has(id)) continue;
      if (timer.every) timer.at += timer.every;
      else clock.timers.delete(id);
      timer.run();
      await settled();
    }
  }
}

/** A client that hears a channel and its members. */
async function started() {
  Object.assign(globalThis, {
    WebSocket: FakeSocket,
    setTimeout: (run, after) => addTimer(run, after),
    setInterval: (run, every) => addTimer(run, every, every),
    clearTimeout: (id) => clock.timers.delete(id),
    clearInterval: (id) => clock.timers.delete(id),
  });
  Date.now = () => clock.now;
  Math.random = () => 0.5;
  clock.timers.clear();
  FakeSocket.all = [];
  const ullim = new Ullim("ws://node/");
  const heard = [];
  ullim.subscribe("room:1", { members: (members) => heard.push([...members.keys()]) });
  ullim.connect();
  const [socket] = FakeSocket.all;
  await socket.open();
  return { ullim, socket, heard };
}

test("members that could not be read are not asked for on a socket that is connecting", async () => {
  const { ullim, socket } = await started();
  await socket.answer("subscribe", { presence: { members: [], cursor: "1" } });
  await socket.answer("presence", undefined, retriable);
  await socket.lose();
  await wait(300);
  const next = FakeSocket.all[1];
  await wait(800);
  await next.open();
  assert.equal(ullim.state.name, "connected");
  await next.answer("subscribe", { presence: { members: [] } });
  await wait(11_000);
  assert.equal(next.isClosed, false, "a healthy connection is kept");
  assert.equal(FakeSocket.all.length, 2);
});

test("whoever has closed stays closed", async () => {
  const { ullim, socket } = await started();
  await socket.answer("subscribe", { presence: { members: [], cursor: "1" } });
  await socket.answer("presence", undefined, retriable);
  ullim.close();
  await wait(60_000);
  assert.equal(ullim.state.name, "closed");
  assert.equal(FakeSocket.all.length, 1);
});

test("pages that come from an earlier connection are forgotten", async () => {
  const { socket, heard } = await started();
  await socket.answer("subscribe", { presence: { members: [{ session: "1", user: "old" }], cursor: "1" } });
  await socket.lose();
  await wait(300);
  const next = FakeSocket.all[1];
  await next.open();
  await next.answer("subscribe", { presence: { members: [{ session: "2", user: "new" }] } });
  await next.push({ channel: "room:1", join: { user: "late" } });
  assert.deepEqual(heard, [["new"], ["new", "late"]]);
  assert.equal(next.sent.filter((command) => command.presence).length, 0);
});

test("a node that does not answer is left, and only then", async () => {
  const { ullim, socket } = await started();
  await wait(9_999);
  assert.equal(socket.isClosed, false);
  await wait(1);
  assert.equal(socket.isClosed, true);
  assert.equal(ullim.state.name, "waiting");
});
