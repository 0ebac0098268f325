/**
 * HTTP headers for the bundle, in place of Node's own class: that one brings the whole of `fetch` with it, which the
 * command line does not use and which takes longer to load than the command line itself. As much of the standard as
 * the calls of the hub need; names are compared without case, values of one name are joined.
 */

/** @typedef {Iterable<readonly [string, string]> | Readonly<Record<string, string>> | undefined} Init */

export class Headers {
  /** @type {Map<string, string>} */
  #values = new Map();

  /** @param {Init} [init] */
  constructor(init) {
    const entries =
      init !== undefined && Symbol.iterator in init ? init : Object.entries(init ?? {});
    for (const [name, value] of /** @type {Iterable<readonly [string, string]>} */ (entries)) {
      this.append(name, value);
    }
  }

  /** @param {string} name */
  get(name) {
    return this.#values.get(name.toLowerCase()) ?? null;
  }

  /** @param {string} name */
  has(name) {
    return this.#values.has(name.toLowerCase());
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  set(name, value) {
    this.#values.set(name.toLowerCase(), String(value).trim());
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  append(name, value) {
    const before = this.get(name);
    const text = String(value).trim();
    this.#values.set(name.toLowerCase(), before === null ? text : `${before}, ${text}`);
  }

  /** @param {string} name */
  delete(name) {
    this.#values.delete(name.toLowerCase());
  }

  /** @param {(value: string, name: string, headers: Headers) => void} visit */
  forEach(visit) {
    for (const [name, value] of this) visit(value, name, this);
  }

  entries() {
    return [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)).values();
  }

  keys() {
    return [...this.entries()].map(([name]) => name).values();
  }

  values() {
    return [...this.entries()].map(([, value]) => value).values();
  }

  [Symbol.iterator]() {
    return this.entries();
  }
}
