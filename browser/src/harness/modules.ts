/** The built-in modules that a universal pack may require in a browser, as far as a browser has them. */
import { format, inspect } from './inspect';

const path = {
  sep: '/',
  delimiter: ':',
  normalize(given: string): string {
    const parts: string[] = [];
    const rooted = given.startsWith('/');
    for (const part of given.split('/')) {
      if (part === '' || part === '.') continue;
      if (part !== '..') parts.push(part);
      else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
      else if (!rooted) parts.push('..');
    }
    const text = parts.join('/') + (given.endsWith('/') && parts.length > 0 ? '/' : '');
    return rooted ? `/${text}` : text || '.';
  },
  isAbsolute: (given: string) => given.startsWith('/'),
  join: (...parts: string[]): string => path.normalize(parts.filter((part) => part !== '').join('/') || '.'),
  resolve(...parts: string[]): string {
    let found = '';
    for (const part of [...parts].reverse()) {
      if (part === '') continue;
      found = found ? `${part}/${found}` : part;
      if (part.startsWith('/')) break;
    }
    const text = path.normalize(found.startsWith('/') ? found : `/${found}`);
    return text.length > 1 ? text.replace(/\/$/, '') : text;
  },
  dirname(given: string): string {
    const at = given.replace(/\/+$/, '').lastIndexOf('/');
    return at > 0 ? given.slice(0, at) : at === 0 ? '/' : '.';
  },
  basename(given: string, suffix = ''): string {
    const name = given.replace(/\/+$/, '').split('/').at(-1) ?? '';
    return suffix && name !== suffix && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  },
  extname(given: string): string {
    const name = path.basename(given);
    const at = name.lastIndexOf('.');
    return at > 0 ? name.slice(at) : '';
  },
};

const querystring = {
  escape: encodeURIComponent,
  unescape: decodeURIComponent,
  parse(text: string): Record<string, string | string[]> {
    const found: Record<string, string | string[]> = Object.create(null);
    for (const [key, value] of new URLSearchParams(text)) {
      const known = found[key];
      found[key] = known === undefined ? value : Array.isArray(known) ? [...known, value] : [known, value];
    }
    return found;
  },
  stringify(values: Record<string, unknown>): string {
    const pairs = Object.entries(values).flatMap(([key, value]) => (Array.isArray(value) ? value : [value]).map((one) => [key, one]));
    return pairs.map(([key, value]) => `${encodeURIComponent(String(key))}=${encodeURIComponent(String(value ?? ''))}`).join('&');
  },
};

type Encoding = 'utf8' | 'utf-8' | 'hex' | 'base64' | 'base64url' | 'latin1' | 'ascii';

class Bytes extends Uint8Array {
  static override from(source: unknown, encoding: unknown = 'utf8'): Bytes {
    const plain = typeof source === 'string' ? decoded(source, encoding as Encoding) : new Uint8Array(source as ArrayLike<number>);
    const made = new Bytes(plain.length);
    made.set(plain);
    return made;
  }
  static alloc(size: number, fill = 0): Bytes {
    return new Bytes(size).fill(fill);
  }
  static isBuffer(value: unknown): boolean {
    return value instanceof Bytes;
  }
  static byteLength(text: string): number {
    return new TextEncoder().encode(text).length;
  }
  static concat(parts: Uint8Array[]): Bytes {
    const whole = new Bytes(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
  override toString(encoding: Encoding = 'utf8'): string {
    if (encoding === 'hex') return Array.from(this, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (encoding === 'utf8' || encoding === 'utf-8') return new TextDecoder().decode(this);
    const text = Array.from(this, (byte) => String.fromCharCode(byte)).join('');
    if (encoding === 'base64') return btoa(text);
    if (encoding === 'base64url') return btoa(text).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
    return text;
  }
  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, index) => byte === other[index]);
  }
}

function decoded(text: string, encoding: Encoding): Uint8Array {
  if (encoding === 'utf8' || encoding === 'utf-8') return new TextEncoder().encode(text);
  if (encoding === 'hex') return Uint8Array.from(text.match(/[0-9a-fA-F]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16));
  const plain = encoding.startsWith('base64') ? atob(text.replace(/-/g, '+').replace(/_/g, '/')) : text;
  return Uint8Array.from(plain, (sign) => sign.charCodeAt(0));
}

type Listener = (...given: unknown[]) => void;

export class EventEmitter {
  #listeners = new Map<string, Listener[]>();
  on(name: string, listener: Listener): this {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return this;
  }
  addListener(name: string, listener: Listener): this {
    return this.on(name, listener);
  }
  once(name: string, listener: Listener): this {
    const once: Listener = (...given) => {
      this.off(name, once);
      listener(...given);
    };
    return this.on(name, once);
  }
  off(name: string, listener: Listener): this {
    this.#listeners.set(name, (this.#listeners.get(name) ?? []).filter((one) => one !== listener));
    return this;
  }
  removeListener(name: string, listener: Listener): this {
    return this.off(name, listener);
  }
  emit(name: string, ...given: unknown[]): boolean {
    const listeners = this.#listeners.get(name) ?? [];
    for (const listener of listeners) listener.apply(this, given);
    return listeners.length > 0;
  }
  listenerCount(name: string): number {
    return this.#listeners.get(name)?.length ?? 0;
  }
}

const promisify = (act: (...given: unknown[]) => void) => (...given: unknown[]) =>
  new Promise((done, fail) => act(...given, (error: unknown, value: unknown) => (error ? fail(error) : done(value))));

const modules: Record<string, unknown> = {
  path: Object.assign(path, { posix: path }),
  url: { URL, URLSearchParams },
  querystring,
  util: { format, inspect: (value: unknown) => inspect(value, 1), promisify, TextEncoder, TextDecoder },
  buffer: { Buffer: Bytes },
  events: Object.assign(EventEmitter, { EventEmitter }),
  crypto: {
    webcrypto: crypto,
    subtle: crypto.subtle,
    randomUUID: () => crypto.randomUUID(),
    getRandomValues: (into: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(into),
    randomBytes: (size: number) => crypto.getRandomValues(Bytes.alloc(size) as Uint8Array<ArrayBuffer>),
  },
};

export const Buffer = Bytes;

export function require(name: string): unknown {
  const found = modules[name.replace(/^node:/, '')];
  if (found !== undefined) return found;
  const there = Object.keys(modules).join(', ');
  throw Object.assign(new Error(`Cannot find module '${name}': a browser has ${there}`), { code: 'MODULE_NOT_FOUND' });
}
