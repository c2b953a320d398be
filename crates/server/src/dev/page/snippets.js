// The lines to copy: how backends publish to the channel, and how a browser hears it.
import { element } from "./timeline.js";

let node;

/** Shows the lines for `channel` in `place`. */
export async function showSnippets(place, channel) {
  node ??= fetch("/dev.json").then((answer) => answer.json());
  try {
    const lines = snippets(await node, channel);
    place.replaceChildren(...lines.map(([title, text]) => block(title, text)));
  } catch {
    node = undefined;
    place.replaceChildren(element("p", "hint", "The node did not say how it is reached: reload the page."));
  }
}

function snippets({ api_url, api_key, redis_url, prefix }, channel) {
  const curl = [
    `curl ${shellWord(api_url)}`,
    `  -H ${shellWord(`Authorization: Bearer ${api_key}`)}`,
    `  -d ${shellWord(JSON.stringify({ channel, data: { text: "hello from curl" } }))}`,
  ].join(" \\\n");
  const redis = [
    `redis-cli -u ${shellWord(redis_url ?? "")} PUBLISH`,
    `  ${shellWord(`${prefix}:{${channel}}`)}`,
    `  ${shellWord(JSON.stringify({ text: "hello from Redis" }))}`,
  ].join(" \\\n");
  const script = [
    `const socket = new WebSocket(${JSON.stringify(`${location.origin.replace(/^http/, "ws")}/ws`)});`,
    "socket.onmessage = (event) => console.log(event.data);",
    "socket.onopen = () => {",
    "  const send = (command) => socket.send(JSON.stringify(command));",
    "  send({ id: 1, connect: {} });",
    `  send({ id: 2, subscribe: { channel: ${JSON.stringify(channel)} } });`,
    "};",
  ].join("\n");
  const lines = [["Publish with curl", curl], ["Subscribe in JavaScript", script]];
  if (redis_url) lines.splice(1, 0, ["Publish with Redis", redis]);
  return lines;
}

/** As a shell takes it for one word. */
function shellWord(text) {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function block(title, text) {
  const made = element("div", "snippet");
  const code = element("pre", "", text);
  code.tabIndex = 0;
  code.ariaLabel = title;
  const copy = element("button", "copy", "Copy");
  copy.type = "button";
  copy.ariaLabel = `Copy: ${title}`;
  const said = element("span", "unseen");
  said.role = "status";
  copy.addEventListener("click", async () => {
    const isCopied = await copied(text, code);
    copy.textContent = isCopied ? "Copied" : "Selected";
    said.textContent = isCopied ? "copied" : "selected: copy it with the keyboard";
    setTimeout(() => {
      copy.textContent = "Copy";
      said.textContent = "";
    }, 2000);
  });
  const head = element("div", "snippet-head");
  head.append(element("h2", "", title), copy, said);
  made.append(head, code);
  return made;
}

/** Whether the browser let the page copy; else the text is selected. */
async function copied(text, code) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
