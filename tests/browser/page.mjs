// The page of `ullim dev` in two tabs of Chromium, as a user would use it.
//
//   node page.mjs URL
//
// Prints {"at": "redis"} where Redis is to be restarted, and waits for a line on stdin. The last line is {"done": true}.
// With ULLIM_SCREENSHOTS=FOLDER the page is left there as page.png and page-phone.png.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import readline from "node:readline";
import { Tab } from "./tab.mjs";

const { chromium } = createRequire(new URL("../clients/package.json", import.meta.url))("playwright-core");

/** How long somebody who was cut off stays, in milliseconds: `namespaces.<name>.presence_grace`. */
const GRACE = 5_000;

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };

const OTTER = "amber-otter";
const HERON = "misty-heron";
const EVIL_NAME = `<img src=x onerror="window.__pwned=1">`;
const EVIL_TEXT = `<script>window.__pwned=1</script><img src=x onerror="alert(1)"><svg onload="alert(2)">`;
const EVIL_CHANNEL = `chat:<img src=x onerror='window.__pwned=1'>"</script><script>alert(3)</script>`;

const [url] = process.argv.slice(2);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function pause(at) {
  console.log(JSON.stringify({ at }));
  await lines.next();
}

function findChromium() {
  const found = process.env.PATH.split(":").map((folder) => join(folder, "chromium")).find((path) => existsSync(path));
  assert(found, "chromium is not installed: tests/run installs it");
  return found;
}

async function talk(otter, heron) {
  await otter.seesPeople(OTTER, HERON);
  await heron.seesPeople(OTTER, HERON);
  await otter.sees(".event", `${HERON} joined`);
  await otter.say("Good morning! Is anybody here?");
  await heron.seesMessage("Good morning!", OTTER);
  await heron.say("Yes, on the phone.");
  await otter.seesMessage("on the phone", HERON);
  await heron.sees(".mine", "on the phone");
}

/** Somebody else leaves after the reload: had the reload been a leave, it would have come before. */
async function reload(context, otter, heron) {
  const guest = await Tab.open(context, url, { name: "velvet-robin" });
  await otter.seesPeople(OTTER, HERON, "velvet-robin");
  const before = await otter.texts(".event");
  await heron.reload();
  const closedAt = Date.now();
  await guest.close();
  await otter.sees(".event", "velvet-robin left");
  const grace = Date.now() - closedAt;
  assert(grace > GRACE - 1_000, `the leave came after ${grace} ms`);
  const since = (await otter.texts(".event")).slice(before.length);
  assert.deepEqual(since, ["velvet-robin left"]);
  await otter.seesPeople(OTTER, HERON);
  await heron.seesPeople(OTTER, HERON);
}

async function restart(otter, heron) {
  await pause("redis");
  for (const tab of [otter, heron]) await tab.sees(".gap", "may be missing: broker_link");
  await otter.say("Did Redis just go away?");
  await heron.seesMessage("Did Redis", OTTER);
  await heron.say("It did, and we were told.");
  await otter.seesMessage("we were told", HERON);
  for (const tab of [otter, heron]) {
    assert.equal((await tab.texts(".gap")).length, 1);
    await tab.seesPeople(OTTER, HERON);
  }
}

/** The line that the page shows does what it says, whatever the channel is called. */
async function publishAsABackend(tab) {
  const [line] = (await tab.texts(".snippet pre")).filter((text) => text.startsWith("redis-cli"));
  execFileSync("sh", ["-c", line]);
  await tab.seesMessage("hello from Redis", "someone");
}

async function attack(context, otter) {
  const evil = await Tab.open(context, url, { name: "silver-lynx" });
  await evil.set("#name", EVIL_NAME);
  await otter.sees(".event", `${EVIL_NAME} joined`);
  await evil.say(EVIL_TEXT);
  await otter.seesMessage(EVIL_TEXT, EVIL_NAME);
  for (const tab of [otter, evil]) await tab.set("#channel", EVIL_CHANNEL);
  for (const tab of [otter, evil]) await tab.seesPeople(OTTER, EVIL_NAME);
  await evil.say(EVIL_TEXT);
  await otter.seesMessage(EVIL_TEXT, EVIL_NAME);
  await publishAsABackend(otter);
  await evil.reload();
  await evil.seesPeople(OTTER, EVIL_NAME);
  for (const tab of [otter, evil]) await tab.isUnharmed();
}

const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath: findChromium(), args: sandbox });
try {
  const context = await browser.newContext();
  const otter = await Tab.open(context, url, { name: OTTER, viewport: DESKTOP });
  const heron = await Tab.open(context, url, { name: HERON, viewport: PHONE });
  await talk(otter, heron);
  await reload(context, otter, heron);
  await restart(otter, heron);
  await publishAsABackend(otter);
  await heron.fitsAPhone();
  const screenshots = process.env.ULLIM_SCREENSHOTS;
  if (screenshots) {
    await otter.screenshot(join(screenshots, "page.png"));
    await heron.screenshot(join(screenshots, "page-phone.png"));
  }
  await attack(context, otter);
  await heron.isUnharmed();
} finally {
  await browser.close();
}
console.log(JSON.stringify({ done: true }));
process.exit();
