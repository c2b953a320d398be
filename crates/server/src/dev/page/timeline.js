// The list of what was heard: messages, gaps in their place, who came and went. All of it is text, whatever it holds.

/** How many lines are kept. */
const MOST_LINES = 500;

/** How much of one message is shown, in UTF-16 units. */
const MOST_TEXT = 4_000;

/** How long a JSON value may be to be shown on one line. */
const ONE_LINE = 60;

/** How near to its end the list follows what comes, in pixels. */
const NEAR = 80;

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

export class Timeline {
  #scroll;
  #lines;
  #quiet;
  /** Whether the newest line is to stay in sight: until the reader scrolls away from it. */
  #follows = true;

  constructor({ scroll, lines, quiet }) {
    this.#scroll = scroll;
    this.#lines = lines;
    this.#quiet = quiet;
    scroll.addEventListener("scroll", () => {
      this.#follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
    });
    new ResizeObserver(() => this.#follow()).observe(scroll);
  }

  /** A publication of any kind; `me` is the name under which this page publishes. */
  publication(pub, me) {
    const chat = asChat(pub.data);
    const isMine = chat?.user === me;
    const line = element("li", isMine ? "message mine" : "message");
    const about = element("p", "about");
    about.append(element("span", "who", chat?.user ?? kindOf(pub)), time(pub.time));
    const body = chat ? element("p", "body", shortened(chat.text)) : element("pre", "body", shortened(written(pub)));
    line.append(about, body);
    if (pub.headers) line.append(element("p", "headers", shortened(headers(pub.headers))));
    this.#add(line, isMine);
  }

  /** Messages may be missing here. */
  gap({ from, to, reason }) {
    const line = element("li", "gap");
    line.append("Messages from ", time(from), " to ", time(to), " may be missing: ", element("code", "", reason));
    this.#add(line);
  }

  /** Anything else that happened. */
  event(text) {
    this.#add(element("li", "event", text));
  }

  clear() {
    this.#lines.replaceChildren();
    this.#quiet.hidden = false;
  }

  #add(line, isMine = false) {
    this.#lines.append(line);
    while (this.#lines.childElementCount > MOST_LINES) this.#lines.firstElementChild.remove();
    if (!line.matches(".event")) this.#quiet.hidden = true;
    this.#follows ||= isMine;
    this.#follow();
  }

  #follow() {
    if (this.#follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

/** An element with this text: text, never markup. */
export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** What this page publishes: {"text": …, "user": …}, and nothing beside it. */
function asChat(data) {
  if (typeof data?.text !== "string") return undefined;
  const { text, user = "someone", ...rest } = data;
  return typeof user === "string" && Object.keys(rest).length === 0 ? { text, user } : undefined;
}

function kindOf(pub) {
  if ("data" in pub) return "JSON";
  return "text" in pub ? "text" : "binary";
}

function written({ data, text, b64 }) {
  if (text !== undefined) return text;
  if (b64 === undefined) {
    const line = JSON.stringify(data);
    return line.length <= ONE_LINE ? line : JSON.stringify(data, null, 2);
  }
  return `${Math.floor((b64.replace(/=+$/, "").length * 3) / 4)} bytes\n${b64}`;
}

function headers(pairs) {
  return Object.entries(pairs).map(([name, value]) => `${name}: ${value}`).join(", ");
}

function shortened(text) {
  return text.length <= MOST_TEXT ? text : `${text.slice(0, MOST_TEXT)}… (${text.length} characters)`;
}

function time(milliseconds) {
  const date = new Date(milliseconds);
  // Whoever publishes may say any time, also one that no calendar has.
  if (Number.isNaN(date.getTime())) return element("time", "", String(milliseconds));
  const made = element("time", "", date.toLocaleTimeString([], CLOCK));
  made.dateTime = date.toISOString();
  return made;
}
