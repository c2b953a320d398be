// The page: joins the client (ullim.js), the list (timeline.js), the members and the lines to copy.
import { Ullim } from "./ullim.js";
import { Timeline, element } from "./timeline.js";
import { showSnippets } from "./snippets.js";

/** How many members are listed. */
const MOST_PEOPLE = 100;

/** A connection that is back sooner is not worth a notice, in milliseconds. */
const PATIENCE = 800;

// A guest is called by one of each.
const MOODS = "amber brisk calm gentle golden jolly lucky mellow merry misty quiet silver sunny velvet wise".split(" ");
const ANIMALS = "badger crane finch fox heron ibex koala lark lynx magpie otter panda robin tiger wren".split(" ");

const find = (id) => document.getElementById(id);
const pick = (words) => words[Math.floor(Math.random() * words.length)];

/** What this tab keeps over a reload. */
const kept = {
  read: (key) => sessionStorage.getItem(`ullim.${key}`) ?? undefined,
  write: (key, value) => {
    if (value === undefined) sessionStorage.removeItem(`ullim.${key}`);
    else sessionStorage.setItem(`ullim.${key}`, value);
  },
};

const timeline = new Timeline({ scroll: find("scroll"), lines: find("lines"), quiet: find("quiet") });
let name = kept.read("name") ?? `${pick(MOODS)}-${pick(ANIMALS)}`;
let channel = kept.read("channel") ?? "chat:lobby";
let session;
let countdown;
let noticeDue;

// The token that the node gives to whoever asks: only `ullim dev` does that.

async function fetchToken(user) {
  const answer = await fetch(`/token?${new URLSearchParams({ user })}`);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return (await answer.json()).token;
}

async function token(user, isStale) {
  if (isStale) kept.write("token", undefined);
  const token = kept.read("token") ?? (await fetchToken(user));
  kept.write("token", token);
  return token;
}

function start() {
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const user = name;
  const ullim = new Ullim(url.href, { token: (isStale) => token(user, isStale), resume: kept.read("resume") });
  session = ullim;
  ullim.addEventListener("state", () => ullim === session && showState(ullim));
  listen();
  ullim.connect();
}

function listen() {
  const here = channel;
  const isMe = ({ user }) => user === name;
  session.subscribe(here, {
    pub: (pub) => timeline.publication(pub, name),
    gap: (gap) => {
      // Who is here is read anew by itself; no message is missing.
      if (gap.reason === "presence") timeline.event("joins and leaves may be missing here");
      else timeline.gap(gap);
    },
    subscribed: () => showProblem(),
    refused: (error) => showProblem(`${here}: ${error.message ?? error.name}`),
    join: (member) => isMe(member) || timeline.event(`${shown(member.user)} joined`),
    leave: (member) => isMe(member) || timeline.event(`${shown(member.user)} left`),
    members: (members) => here === channel && showPeople(members),
  });
}

// The connection's state

const why = ({ code, reason }) => `${reason || "no reason given"}${code ? ` (${code})` : ""}`;

const SENTENCES = {
  closed: (state) => `Connection closed: ${why(state)}.`,
  waiting: (state) => `Connection lost: ${why(state)}. Reconnecting`,
};

function showState({ state, resume }) {
  find("state").dataset.state = state.name;
  find("state-name").textContent = state.name === "waiting" ? "reconnecting" : state.name;
  find("send").disabled = state.name !== "connected";
  if (state.name === "connected") {
    kept.write("resume", resume);
    if (state.user && state.user !== name) showProblem(`the node knows you as ${state.user}`);
  }
  showCountdown(state.until);
  // While it connects again the notice stays as it is: it would flicker.
  if (state.name === "connecting") return;
  find("notice-text").textContent = SENTENCES[state.name]?.(state) ?? "";
  showNotice(state.name);
}

function showNotice(name) {
  const show = () => (find("notice").hidden = name === "connected");
  if (name !== "waiting") {
    clearTimeout(noticeDue);
    noticeDue = undefined;
    show();
  } else {
    noticeDue ??= setTimeout(show, PATIENCE);
  }
}

function showCountdown(until) {
  clearInterval(countdown);
  const show = () => {
    const left = until === undefined ? "" : `in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))}\u00a0s`;
    find("notice-wait").textContent = left;
  };
  show();
  if (until !== undefined) countdown = setInterval(show, 250);
}

find("reconnect").addEventListener("click", () => {
  // The session may live on in another tab, which has taken it over: this one begins anew.
  if (session.state.name === "closed") session.resume = undefined;
  session.connect();
});
addEventListener("online", () => session.state.name === "waiting" && session.connect());

// Who is here

let people;
let drawn = new Set();

function showPeople(members) {
  if (!people) requestAnimationFrame(drawPeople);
  people = members;
}

function drawPeople() {
  const sorted = [...people.values()].sort((a, b) => (b.user === name) - (a.user === name) || compare(a.user, b.user));
  const items = sorted.slice(0, MOST_PEOPLE).map(person);
  if (sorted.length > MOST_PEOPLE) items.push(element("li", "more", `and ${sorted.length - MOST_PEOPLE} more`));
  find("people").replaceChildren(...items);
  find("here-count").textContent = people.size;
  drawn = new Set(people.keys());
  people = undefined;
}

function person({ user, info }) {
  const item = element("li", drawn.has(user) ? "person" : "person arriving");
  item.dataset.user = user;
  const initial = element("span", `initial hue-${hue(user)}`, [...user.replace(/^~/, "")][0]?.toUpperCase());
  initial.ariaHidden = "true";
  item.append(initial, element("span", "who", shown(user)));
  if (user === name) item.append(element("span", "you", "you"));
  if (info !== undefined) item.append(element("span", "info", JSON.stringify(info).slice(0, 200)));
  return item;
}

const compare = (a, b) => (a < b ? -1 : Number(a > b));
const hue = (user) => [...user].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 6, 7);
/** An anonymous session is the user "~" and its id. */
const shown = (user) => (user.startsWith("~") ? `guest ${user.slice(0, 7)}` : user);

// Settings

function showProblem(text = "") {
  find("problem").textContent = text;
}

function changeChannel(wanted) {
  session.unsubscribe(channel);
  channel = wanted;
  kept.write("channel", channel);
  timeline.clear();
  showPeople(new Map());
  listen();
  showSnippets(find("snippets"), channel);
}

async function changeName(wanted) {
  const token = await fetchToken(wanted);
  name = wanted;
  kept.write("name", name);
  kept.write("token", token);
  // Another user is another session.
  kept.write("resume", undefined);
  const before = session;
  start();
  before.close();
}

async function applySettings() {
  const wanted = { channel: find("channel").value.trim(), name: find("name").value.trim() };
  showProblem();
  if (wanted.channel && wanted.channel !== channel) changeChannel(wanted.channel);
  try {
    if (wanted.name && wanted.name !== name) await changeName(wanted.name);
  } catch (error) {
    showProblem(error.message);
  }
  if (!wanted.channel) find("channel").value = channel;
  if (!wanted.name) find("name").value = name;
}

// Enter is a change and a submission: one after the other, so that the second has nothing left to do.
let applied = Promise.resolve();
const apply = () => (applied = applied.then(applySettings));

find("settings").addEventListener("change", apply);
find("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  apply();
});

// Saying something

find("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = find("text");
  const text = field.value;
  if (!text || session.state.name !== "connected") return;
  field.value = "";
  field.focus();
  try {
    await session.publish(channel, { data: { text, user: name } });
    showProblem();
  } catch (error) {
    showProblem(`not published: ${error.message}`);
    if (!field.value) field.value = text;
  }
});

// A phone has room for the messages; the rest opens at a touch, the keyboard too.
if (matchMedia("(max-width: 859px)").matches) {
  for (const panel of document.querySelectorAll(".panel")) panel.open = false;
} else {
  find("text").focus();
}

kept.write("name", name);
find("name").value = name;
find("channel").value = channel;
showSnippets(find("snippets"), channel);
start();
