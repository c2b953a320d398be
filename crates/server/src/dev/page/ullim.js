// A small client of Ullim's native protocol for browsers: one WebSocket that comes back by itself. Copy it.
//
//   const ullim = new Ullim("wss://example.com/ws", { token: async () => (await fetch("/token")).text() });
//   ullim.addEventListener("state", () => console.log(ullim.state));
//   ullim.subscribe("chat:lobby", { pub: (pub) => console.log(pub.data), gap: (gap) => console.log(gap) });
//   ullim.connect();
//   await ullim.publish("chat:lobby", { data: { text: "hello" } });
//
// The state is {name: "connecting"}, {name: "connected", session, user, resumed, …},
// {name: "waiting", until, code, reason} before it tries again, or {name: "closed", code, reason}.

/** Closes after which coming back would lead to the same: see "Close codes" in docs/protocol.md. */
const FINAL_CLOSES = new Set([1000, 1002, 1003, 1007, 1009, 4006, 4007]);

/** The token has expired while it was in use. */
const TOKEN_EXPIRED = 4005;

/** How long a reply may take before the connection is held for dead, in milliseconds. */
const REPLY_TIMEOUT = 10_000;

/** The longest wait before the first and before any later attempt, in milliseconds. */
const BACKOFF = { base: 500, cap: 10_000 };

/** A session that lasted so long was no failure, in milliseconds. */
const STABLE = 10_000;

/** How many members are kept of a channel. */
const MOST_MEMBERS = 5_000;

/** The node refused a command. */
export class Refused extends Error {
  constructor({ code, name, message, retry }) {
    super(`${name}: ${message}`);
    Object.assign(this, { code, name, retry });
  }
}

export class Ullim extends EventTarget {
  /** Names the session to whichever node comes next: keep it where only this tab reads it. */
  resume;
  state = { name: "closed", code: 1000, reason: "" };

  #url;
  #token;
  #tokenIsStale = false;
  #socket;
  #lastId = 0;
  #pending = new Map();
  #subscriptions = new Map();
  #failures = 0;
  #refusals = 0;
  #connectedAt = 0;
  #provenAt = 0;
  #heartbeat;
  #retry;

  /** `token(isStale)` gives a token, a promise of one, or nothing to stay anonymous; `resume` is an earlier page's. */
  constructor(url, { token, resume } = {}) {
    super();
    this.#url = url;
    this.#token = token;
    this.resume = resume;
  }

  /** Connects, now if it was waiting to. */
  connect() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#become({ name: "connecting" });
    const socket = new WebSocket(this.#url, "ullim.v1.json");
    this.#socket = socket;
    let failed = false;
    socket.onopen = () => this.#open(socket);
    socket.onmessage = ({ data }) => socket === this.#socket && this.#read(JSON.parse(data));
    // It says nothing more, and a close event follows.
    socket.onerror = () => (failed = true);
    socket.onclose = ({ code, reason }) => {
      this.#lost(socket, { code, reason: reason || (failed ? "the connection failed" : "") });
    };
  }

  /** Ends the session, or stops waiting to come back. */
  close() {
    clearTimeout(this.#retry);
    this.#drop(this.#socket, { code: 1000, reason: "closed", isFinal: true });
  }

  /**
   * Hears a channel until it is unsubscribed, over all reconnections. `handlers` may have
   * `pub(publication)`, `gap({from, to, reason})`, `join(member)`, `leave(member)`,
   * `members(map)`, which is called with the members by their names whenever they change,
   * `subscribed()`, and `refused(error)`, the last that comes unless `error.retry`: then it tries again.
   */
  subscribe(channel, handlers) {
    const subscription = { channel, handlers, members: new Map(), asked: 0, stands: false };
    this.#subscriptions.set(channel, subscription);
    if (this.state.name === "connected") this.#subscribe(subscription);
  }

  unsubscribe(channel) {
    if (!this.#subscriptions.delete(channel) || this.state.name !== "connected") return;
    this.#call("unsubscribe", { channel }).catch(() => {});
  }

  /**
   * Publishes `content`: {data: any JSON}, {text: "…"} or {b64: "…"}. The promise fails with `Refused`, or with
   * another error when the connection was lost: then it may or may not have been published, and is never repeated.
   */
  async publish(channel, content) {
    if (this.state.name !== "connected") throw new Error("not connected");
    await this.#call("publish", { channel, ...content });
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  async #open(socket) {
    try {
      const token = await this.#token?.(this.#tokenIsStale);
      if (socket !== this.#socket) return;
      this.#tokenIsStale = false;
      const session = await this.#call("connect", { token, resume: this.resume });
      if (socket !== this.#socket) return;
      this.#refusals = 0;
      this.#connectedAt = Date.now();
      this.resume = session.resume;
      // Browsers do not show the node's own heartbeat to the page.
      this.#heartbeat = setInterval(() => this.#call("ping", {}).catch(() => {}), session.ping);
      for (const subscription of this.#subscriptions.values()) this.#subscribe(subscription);
      this.#become({ ...session, name: "connected" });
    } catch (error) {
      if (socket !== this.#socket) return;
      if (error instanceof Refused && !error.retry) {
        // What this client brought may be old: one more try without it.
        this.resume = undefined;
        this.#tokenIsStale = true;
        this.#refusals += 1;
      }
      this.#drop(socket, { code: error.code, reason: error.message, isFinal: this.#refusals > 1 });
    }
  }

  #call(name, body) {
    const socket = this.#socket;
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (!socket) throw new Error("not connected");
      // It throws while the socket is connecting: then nothing may wait for a reply.
      socket.send(JSON.stringify({ id, [name]: body }));
      const late = () => socket === this.#socket && this.#drop(socket, { code: 1006, reason: "the node did not answer" });
      this.#pending.set(id, { name, resolve, reject, sentAt: Date.now(), timer: setTimeout(late, REPLY_TIMEOUT) });
    });
  }

  #read(message) {
    if (message.push) return this.#push(message.push);
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
    // Replies and pushes share one queue: what came before the command was sent has been read.
    this.#provenAt = pending.sentAt;
    if (message.error) pending.reject(new Refused(message.error));
    else pending.resolve(message[pending.name]);
  }

  #push({ channel, pub, gap, join, leave, unsubscribed }) {
    const subscription = this.#subscriptions.get(channel);
    if (!subscription) return;
    const { handlers } = subscription;
    if (pub) {
      this.#tellGap(subscription);
      handlers.pub?.(pub);
    } else if (gap) {
      handlers.gap?.(gap);
      // Joins and leaves may be missing too.
      if (handlers.members) this.#readMembers(subscription);
    } else if (join || leave) {
      this.#comeOrGo(subscription, { join, leave });
    } else if (unsubscribed) {
      this.#refuse(subscription, unsubscribed);
    }
  }

  async #subscribe(subscription) {
    const { channel, handlers } = subscription;
    const socket = this.#socket;
    const isOver = () => socket !== this.#socket || subscription !== this.#subscriptions.get(channel);
    try {
      const wants = { presence: Boolean(handlers.members), events: Boolean(handlers.join || handlers.members) };
      const { presence } = await this.#call("subscribe", { channel, ...wants });
      if (isOver()) return;
      subscription.stands = true;
      this.#tellGap(subscription);
      handlers.subscribed?.();
      if (presence) this.#readMembers(subscription, presence);
    } catch (error) {
      if (isOver()) return;
      if (!error.retry) return this.#refuse(subscription, error);
      handlers.refused?.(error);
      setTimeout(() => isOver() || this.#subscribe(subscription), 1000);
    }
  }

  #refuse(subscription, error) {
    this.#subscriptions.delete(subscription.channel);
    subscription.handlers.refused?.(error);
  }

  /** Tells what this client may have missed while it was away, before anything that comes after. */
  #tellGap(subscription) {
    const from = subscription.awaySince;
    if (from === undefined) return;
    const to = Date.now();
    // Until the reply nothing promises that all comes: the rest is a gap of its own.
    subscription.awaySince = subscription.stands ? undefined : to;
    subscription.handlers.gap?.({ from, to, reason: "disconnected" });
  }

  /** Reads all members, page by page. Whoever comes or goes meanwhile comes and goes once more at the end. */
  async #readMembers(subscription, page) {
    const { channel, handlers } = subscription;
    const socket = this.#socket;
    const asked = ++subscription.asked;
    const isOver = () =>
      socket !== this.#socket || asked !== subscription.asked || subscription !== this.#subscriptions.get(channel);
    const members = new Map();
    const ask = (cursor) => this.#call("presence", { channel, limit: 500, cursor });
    subscription.meanwhile = [];
    try {
      page ??= await ask();
      while (!isOver()) {
        for (const member of page.members) {
          const user = member.user ?? `~${member.session}`;
          members.set(user, { user, info: member.info });
        }
        if (!page.cursor || members.size >= MOST_MEMBERS) break;
        page = await ask(page.cursor);
      }
    } catch (error) {
      if (isOver()) return;
      subscription.meanwhile = undefined;
      if (error.retry) setTimeout(() => isOver() || this.#readMembers(subscription), 1000);
      return;
    }
    if (isOver()) return;
    for (const change of subscription.meanwhile) note(members, change);
    subscription.meanwhile = undefined;
    subscription.members = members;
    handlers.members?.(members);
  }

  #comeOrGo(subscription, change) {
    const { handlers, members } = subscription;
    if (!handlers.members && !handlers.join) return;
    const { join, leave } = change;
    subscription.meanwhile?.push(change);
    // After a fault of the broker those who never left are told once more.
    if (join && !members.has(join.user)) handlers.join?.(join);
    if (leave) handlers.leave?.(leave);
    note(members, change);
    handlers.members?.(members);
  }

  /** Gives a connection up, whatever the browser makes of it. */
  #drop(socket, { code, reason, isFinal }) {
    socket?.close(1000);
    this.#lost(socket, { code, reason, isFinal });
  }

  #lost(socket, { code, reason, isFinal = FINAL_CLOSES.has(code) }) {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    clearInterval(this.#heartbeat);
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Error("the connection was lost"));
    }
    this.#pending.clear();
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.stands) subscription.awaySince ??= this.#provenAt;
      subscription.stands = false;
      // Whoever reads the members is too late.
      subscription.meanwhile = undefined;
    }
    this.#tokenIsStale ||= code === TOKEN_EXPIRED;
    if (isFinal) return this.#become({ name: "closed", code, reason });
    const lasted = this.state.name === "connected" ? Date.now() - this.#connectedAt : 0;
    if (lasted >= STABLE) this.#failures = 0;
    // Full jitter spreads clients that lost the same node best.
    const wait = Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** this.#failures);
    this.#failures += 1;
    this.#retry = setTimeout(() => this.connect(), wait);
    this.#become({ name: "waiting", until: Date.now() + wait, code, reason });
  }
}

function note(members, { join, leave }) {
  if (join) members.set(join.user, join);
  else members.delete(leave.user);
}
