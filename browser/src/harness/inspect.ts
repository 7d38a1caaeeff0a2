/** Values as console shows them: near enough to what Node.js prints that a log reads the same. */
const DEPTH_MAX = 4;
const ITEMS_MAX = 100;

export function inspect(value: unknown, depth = 0, seen: Set<object> = new Set()): string {
  if (typeof value === 'string') return depth === 0 ? value : `'${value}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return value.name ? `[Function: ${value.name}]` : '[Function (anonymous)]';
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return value.stack ?? `${value.name}: ${value.message}`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (seen.has(value)) return '[Circular *1]';
  if (depth > DEPTH_MAX) return Array.isArray(value) ? '[Array]' : '[Object]';
  seen.add(value);
  const inner = (one: unknown) => inspect(one, depth + 1, seen);
  try {
    if (Array.isArray(value)) return list('[', value.map(inner), ']');
    if (value instanceof Map) return `Map(${value.size}) ${list('{', [...value].map(([k, v]) => `${inner(k)} => ${inner(v)}`), '}')}`;
    if (value instanceof Set) return `Set(${value.size}) ${list('{', [...value].map(inner), '}')}`;
    const name = value.constructor?.name;
    const fields = Object.entries(value).map(([key, one]) => `${key}: ${inner(one)}`);
    return (name && name !== 'Object' ? `${name} ` : '') + list('{', fields, '}');
  } finally {
    seen.delete(value);
  }
}

function list(open: string, items: string[], close: string): string {
  if (items.length === 0) return open + close;
  const shown = items.length > ITEMS_MAX ? [...items.slice(0, ITEMS_MAX), `... ${items.length - ITEMS_MAX} more`] : items;
  return `${open} ${shown.join(', ')} ${close}`;
}

/** `%s %d %i %f %j %o %O %c %%`, then the rest with blanks between. */
export function format(...values: unknown[]): string {
  const [first, ...rest] = values;
  if (typeof first !== 'string') return values.map((value) => inspect(value)).join(' ');
  const text = first.replace(/%[sdifjoOc%]/g, (mark) => {
    if (mark === '%%') return '%';
    if (rest.length === 0) return mark;
    const value = rest.shift();
    if (mark === '%s') return typeof value === 'object' ? inspect(value, 1) : String(value);
    if (mark === '%d' || mark === '%f') return String(Number(value));
    if (mark === '%i') return String(Number.parseInt(String(value), 10));
    if (mark === '%j') return JSON.stringify(value) ?? 'undefined';
    return mark === '%c' ? '' : inspect(value, 1);
  });
  return [text, ...rest.map((value) => inspect(value))].join(' ');
}
