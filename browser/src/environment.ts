/** The environment of a container, by the rules of agent/environment.py: pack, envFrom, env, then what the agent alone knows. */
import { type Api, ApiError } from './api';
import type { Container, EnvVar, KeyRef, Pod } from './kinds';
import { Unready } from './packs';

type Env = Record<string, string>;
interface Source { data?: Record<string, string> }

const trouble = (message: string) => new Unready('CreateContainerConfigError', message);

export async function environmentOf(api: Api, pod: Pod, container: Container, base: Env, last: Env): Promise<Env> {
  const env: Env = { ...base };
  const read = reader(api, pod.metadata.namespace);
  for (const source of container.envFrom ?? []) {
    for (const [plural, ref] of [['configmaps', source.configMapRef], ['secrets', source.secretRef]] as const) {
      if (!ref) continue;
      const found = await read(plural, ref.name);
      if (!found && !ref.optional) throw trouble(`${plural.slice(0, -1)} "${ref.name}" not found`);
      for (const [key, value] of Object.entries(found?.data ?? {})) env[(source.prefix ?? '') + key] = plural === 'secrets' ? decoded(value, key) : value;
    }
  }
  const known: Env = { ...env, ...last };
  for (const variable of container.env ?? []) {
    const value = variable.valueFrom ? await valueOf(variable, pod, read) : expand(variable.value ?? '', known);
    if (value !== undefined) env[variable.name] = known[variable.name] = value;
  }
  return { ...env, ...last };
}

export function expand(text: string, variables: Env): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (mark, name: string | undefined) => (mark === '$$' ? '$' : (variables[name!] ?? mark)));
}

type Read = (plural: 'configmaps' | 'secrets', name: string) => Promise<Source | undefined>;

function reader(api: Api, namespace: string): Read {
  return async (plural, name) => {
    try {
      return await api.json<Source>('GET', `/api/v1/namespaces/${namespace}/${plural}/${name}`);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw trouble(`${plural.slice(0, -1)} "${name}" cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
}

async function valueOf(variable: EnvVar, pod: Pod, read: Read): Promise<string | undefined> {
  const origin = variable.valueFrom!;
  if (origin.fieldRef) return field(pod, origin.fieldRef.fieldPath);
  if (origin.configMapKeyRef) return keyed(read, 'configmaps', origin.configMapKeyRef);
  if (origin.secretKeyRef) return keyed(read, 'secrets', origin.secretKeyRef);
  throw trouble(`variable ${variable.name}: a browser has no such source of values`);
}

async function keyed(read: Read, plural: 'configmaps' | 'secrets', ref: KeyRef): Promise<string | undefined> {
  const value = (await read(plural, ref.name))?.data?.[ref.key];
  if (value !== undefined) return plural === 'secrets' ? decoded(value, ref.key) : value;
  if (ref.optional) return undefined;
  throw trouble(`couldn't find key ${ref.key} in ${plural.slice(0, -1)} ${ref.name}`);
}

function decoded(value: string, key: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(atob(value), (sign) => sign.charCodeAt(0)));
  } catch {
    throw trouble(`key ${key} of a secret is not text: it cannot be an environment variable`);
  }
}

function field(pod: Pod, path: string): string {
  const inside = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (inside) return pod.metadata[inside[1] as 'labels' | 'annotations']?.[inside[2]!] ?? '';
  const values: Record<string, string | undefined> = {
    'metadata.name': pod.metadata.name,
    'metadata.namespace': pod.metadata.namespace,
    'metadata.uid': pod.metadata.uid,
    'spec.nodeName': pod.spec.nodeName,
    'spec.serviceAccountName': pod.spec.serviceAccountName ?? '',
  };
  const value = values[path];
  if (value === undefined) throw trouble(`fieldPath ${path} is not supported: a browser has no address`);
  return value;
}
