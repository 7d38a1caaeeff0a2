/** Whether a pack may run here, by the cluster's PackTrustPolicies: the same rules as crds/signing.py, with WebCrypto. */
import type { Pack, Selector, TrustPolicy } from './kinds';

const PAYLOAD_TYPE = 'application/vnd.stark.pack.v1+json';

/** The messages of the policies that are enforced and not met. */
export async function distrusts(policies: TrustPolicy[], namespaceLabels: Record<string, string>, pack: Pack['spec']): Promise<string[]> {
  const found: string[] = [];
  for (const { metadata, spec } of policies) {
    const isAbout = (spec.packs?.length ? spec.packs : ['*']).some((pattern) => glob(pattern).test(pack.name));
    if (!isAbout || !matches(spec.namespaceSelector ?? {}, namespaceLabels) || (spec.action ?? 'Enforce') !== 'Enforce') continue;
    const got = await signers(pack, (spec.keys ?? []).map((key) => key.publicKey));
    const wanted = spec.threshold ?? 1;
    if (got.size < wanted) found.push(`pack ${pack.name} version ${pack.version} is not trusted by PackTrustPolicy "${metadata.name}": ${got.size} of ${wanted} needed signatures`);
  }
  return found;
}

function glob(pattern: string): RegExp {
  return new RegExp(`^${pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`);
}

export function matches(selector: Selector, labels: Record<string, string>): boolean {
  const all = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return all && (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    if (operator === 'In') return value !== undefined && values.includes(value);
    if (operator === 'NotIn') return value === undefined || !values.includes(value);
    return operator === 'Exists' ? value !== undefined : value === undefined;
  });
}

/** JSON as Python's json.dumps(sort_keys=True, separators=(',', ':')) writes it, since that is what was signed. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).sort(([a], [b]) => byCodePoints(a, b));
    return `{${fields.map(([key, one]) => `${canonical(key)}:${canonical(one)}`).join(',')}}`;
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (sign) => (sign === '\u007f' ? sign : `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`));
}

function byCodePoints(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
    const difference = left[index]!.codePointAt(0)! - right[index]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

export function statement(pack: Pack['spec']): Uint8Array<ArrayBuffer> {
  const metadata: Record<string, unknown> = Object.fromEntries(Object.entries(pack.metadata ?? {}).filter(([, value]) => value !== null));
  metadata.entrypoint ??= 'default';
  if (Object.keys((metadata.env as object | undefined) ?? {}).length === 0) delete metadata.env;
  const bundles = pack.bundles.map(({ architecture, sha256, size }) => ({ architecture: architecture || 'any', sha256, size }));
  bundles.sort((a, b) => byCodePoints(a.architecture, b.architecture));
  const { name, version, runtime } = pack;
  const payload = canonical({ name, version, runtime, metadata, bundles });
  return new TextEncoder().encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} ${payload}`);
}

async function signers(pack: Pack['spec'], keys: string[]): Promise<Set<string>> {
  const given = new Map((pack.signatures ?? []).map((one) => [one.keyID, one.signature]));
  const found = new Set<string>();
  for (const pem of keys) {
    try {
      const der = fromBase64(pem.replace(/-----[^-]+-----|\s/g, ''));
      const id = await sha256(der);
      const signature = given.get(id);
      if (signature === undefined) continue;
      const key = await crypto.subtle.importKey('spki', der, 'Ed25519', false, ['verify']);
      if (await crypto.subtle.verify('Ed25519', key, fromBase64(signature), statement(pack))) found.add(id);
    } catch {
      // A key or a signature that cannot be read has signed nothing.
    }
  }
  return found;
}

export async function sha256(bytes: BufferSource): Promise<string> {
  return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}
