// One tab of the browser with the page of `ullim dev`. Nothing in it may run that is not the node's.
import assert from "node:assert/strict";

export class Tab {
  #page;
  /** Dialogs, errors, refused scripts: there are to be none. */
  #faults = [];

  static async open(context, url, { name, viewport }) {
    const tab = new Tab();
    const page = await context.newPage();
    tab.#page = page;
    page.on("dialog", (dialog) => {
      tab.#faults.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("pageerror", (error) => tab.#faults.push(`an error: ${error.stack}`));
    page.on("console", (message) => message.type() === "error" && tab.#faults.push(`console: ${message.text()}`));
    await page.addInitScript((name) => {
      if (!sessionStorage.getItem("ullim.name")) sessionStorage.setItem("ullim.name", name);
    }, name);
    if (viewport) await page.setViewportSize(viewport);
    await page.goto(url);
    await tab.isConnected();
    await tab.sees("#people .you");
    return tab;
  }

  async isConnected() {
    await this.#page.locator("[data-state=connected]").waitFor();
  }

  /** Changes one of the two settings. */
  async set(field, value) {
    await this.#page.locator(field).fill(value);
    await this.#page.locator(field).press("Enter");
    await this.isConnected();
  }

  async say(text) {
    await this.#page.locator("#text").fill(text);
    await this.#page.locator("#text").press("Enter");
  }

  /** Waits for an element that may be out of sight. */
  async sees(selector, text) {
    const found = this.#page.locator(selector, text === undefined ? {} : { hasText: text });
    await found.first().waitFor({ state: "attached" });
  }

  async seesMessage(text, from) {
    const message = this.#page.locator(".message", { hasText: text }).filter({ hasText: from });
    await message.first().waitFor({ state: "attached" });
  }

  /** Waits until exactly these are listed as being here. */
  async seesPeople(...names) {
    const wanted = JSON.stringify(names.sort());
    const listed = (wanted) => {
      const people = [...document.querySelectorAll("#people .person")];
      return JSON.stringify(people.map((person) => person.dataset.user).sort()) === wanted;
    };
    await this.#page.waitForFunction(listed, wanted);
  }

  /** The texts of all elements, in their order. */
  async texts(selector) {
    return this.#page.locator(selector).allTextContents();
  }

  async reload() {
    await this.#page.reload();
    await this.isConnected();
  }

  async close() {
    await this.#page.close();
  }

  async screenshot(path) {
    await this.#page.screenshot({ path, animations: "disabled" });
  }

  async isUnharmed() {
    assert.equal(await this.#page.evaluate(() => window.__pwned), undefined);
    assert.deepEqual(this.#faults, []);
  }

  /** All fits in the width, and all that can be touched is large enough for a thumb and has a name. */
  async fitsAPhone() {
    // They are closed at first: a phone has room for the messages.
    for (const panel of await this.#page.locator("summary").all()) await panel.click();
    const { wide, small, nameless } = await this.#page.evaluate(() => {
      const controls = [...document.querySelectorAll("button, input, summary, a")];
      const shown = controls.filter((control) => control.checkVisibility() && !control.matches(".unseen"));
      const isSmall = (box) => box.width < 44 || box.height < 44;
      return {
        wide: document.documentElement.scrollWidth - innerWidth,
        small: shown.filter((control) => isSmall(control.getBoundingClientRect())).map((control) => control.outerHTML),
        nameless: shown
          .filter((control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel)
          .map((control) => control.outerHTML),
      };
    });
    assert.deepEqual({ wide, small, nameless }, { wide: 0, small: [], nameless: [] });
    for (const panel of await this.#page.locator("summary").all()) await panel.click();
  }
}
