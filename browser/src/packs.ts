/** Packs and their bundles: asked of the server each time, verified, and kept for when it is away. */
import { type Api, ApiError } from './api';
import type { Pack, TrustPolicy } from './kinds';
import { distrusts, sha256 } from './trust';

const CACHE = 'stark-packs';
const BUNDLES_KEPT_MAX = 20;

/** The container must wait; `reason` is its waiting reason. */
export class Unready extends Error {
  constructor(readonly reason: string, message: string) {
    super(message);
  }
}

export class Packs {
  constructor(readonly api: Api) {}

  /** The pack of a container as the server pinned it, and the text of its bundle. Throws Unready. */
  async get(objectName: string, namespace: string): Promise<{ pack: Pack; bundle: string }> {
    const pack = await this.#asked<Pack>(`/apis/stark.dev/v1/packs/${objectName}`);
    if (!['browser', 'universal', 'isomorphic'].includes(pack.spec.runtime)) {
      throw new Unready('ErrImagePull', `pack ${pack.spec.name} is for ${pack.spec.runtime}, and this is a browser`);
    }
    await this.#check(pack, namespace);
    const bundle = pack.spec.bundles.find((one) => (one.architecture ?? 'any') === 'any');
    if (!bundle) throw new Unready('ErrImagePull', `pack ${pack.spec.name} has no bundle for any architecture`);
    return { pack, bundle: new TextDecoder().decode(await this.#bundle(pack, bundle.sha256)) };
  }

  async #check(pack: Pack, namespace: string): Promise<void> {
    const policies = await this.#asked<{ items: TrustPolicy[] }>('/apis/stark.dev/v1/packtrustpolicies');
    if (policies.items.length === 0) return;
    const labels = (await this.#asked<{ metadata: { labels?: Record<string, string> } }>(`/api/v1/namespaces/${namespace}`)).metadata.labels ?? {};
    const [why] = await distrusts(policies.items, labels, pack.spec);
    if (why !== undefined) throw new Unready('SignatureValidationFailed', why);
  }

  async #bundle(pack: Pack, digest: string): Promise<ArrayBuffer> {
    const cache = await caches.open(CACHE);
    const path = `/apis/stark.dev/v1/packs/${pack.metadata.name}/bundles/${digest}`;
    const known = await (await cache.match(path))?.arrayBuffer();
    if (known !== undefined && (await sha256(known)) === digest) return known;
    let bytes: ArrayBuffer;
    try {
      bytes = await this.api.bytes(path);
    } catch (error) {
      throw new Unready('ErrImagePull', error instanceof Error ? error.message : String(error));
    }
    const found = await sha256(bytes);
    if (found !== digest) throw new Unready('ErrImagePull', `bundle of pack ${pack.spec.name}: expected sha256 ${digest}, got ${found}`);
    await cache.put(path, new Response(bytes));
    const bundles = (await cache.keys()).filter((one) => one.url.includes('/bundles/'));
    for (const old of bundles.slice(0, -BUNDLES_KEPT_MAX)) await cache.delete(old);
    return bytes;
  }

  /** The server's answer, or its last one while it is away. */
  async #asked<T>(path: string): Promise<T> {
    const cache = await caches.open(CACHE);
    try {
      const answer = await this.api.json<T>('GET', path);
      await cache.put(path, Response.json(answer));
      return answer;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const isAway = error.status === 0 || error.status >= 500;
      const known = isAway ? await cache.match(path) : undefined;
      if (known) return (await known.json()) as T;
      throw new Unready(error.status === 404 ? 'PackNotFound' : 'ErrImagePull', error.message);
    }
  }
}
