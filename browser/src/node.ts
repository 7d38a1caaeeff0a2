/**
 * Being the node: its token, its Node and Lease, and the life (incarnation) for which this page speaks. When the server says that
 * the life is over, what is no longer ours ends before the next one is claimed; see docs/decisions/0014.
 */
import { type Api, ApiError, MERGE, STRATEGIC } from './api';
import { type Identity, randomHex, remember } from './identity';
import { type Node, seconds } from './kinds';
import type { Pods } from './pods';
import { Backoff, sleep } from './waiting';

const HELD_PAUSE_MS = 5_000;
const JOIN_RETRY_MAX_MS = 5_000;
const STATUS_PERIOD_MS = 10_000;
const STATUS_REFRESH_MS = 60_000;
const RENEW_BEFORE_MS = 3 * 86_400_000; // of a token that is good for seven days
const LEASE_S = 40;
const NUMBER = 'stark.dev/incarnation';
const HOLDER = 'stark.dev/agent';

export type State = 'joining' | 'ready' | 'away' | 'held' | 'paused' | 'left' | 'refused';

export interface View { set(state: State, text: string): void }

export class BrowserNode {
  readonly #process = randomHex(4);
  #life = new AbortController();
  #heardAt = performance.now();
  #lease = 10_000;
  #uid = '';
  #leaving = false;
  #hasHeld = false;
  #claimed = '';
  isCordoned = false;

  constructor(readonly api: Api, readonly identity: Identity, readonly pods: () => Pods, readonly view: View) {
    api.token = identity.token;
  }

  get holder(): string {
    return `${this.identity.installation}.${this.#process}`;
  }

  get #path(): string {
    return `/api/v1/nodes/${this.identity.name}`;
  }

  fence = (): void => {
    this.api.incarnation = '';
    this.#life.abort();
  };

  /** Be the node until it is left, or the server knows this browser no more. */
  async run(): Promise<void> {
    void this.#watchContact();
    while (!this.#leaving) {
      if (!(await this.#join())) return;
      this.#life = new AbortController();
      const { signal } = this.#life;
      await Promise.all([this.pods().follow(signal), this.#heartbeats(signal), this.#statuses(signal)]);
    }
  }

  /** End everything and give the node back. Throws ApiError. */
  async leave(): Promise<void> {
    this.#leaving = true;
    await this.cordon(true); // or what replaces the pods would come here
    this.view.set('joining', 'Leaving: pods are being stopped');
    await this.pods().surrender(true);
    await Promise.race([this.pods().reported(), sleep(5_000)]);
    const seen = await this.api.json<Node>('GET', this.#path);
    await this.#patchNode(seen, { annotations: { [NUMBER]: String(numberOf(seen) + 1), [HOLDER]: null } });
    this.fence();
    this.view.set('left', 'Left the cluster');
  }

  async cordon(on: boolean): Promise<void> {
    await this.api.json('PATCH', this.#path, { spec: { unschedulable: on || null } }, MERGE);
    this.isCordoned = on;
    this.#show();
  }

  #show(): void {
    if (this.#leaving) return;
    this.view.set(this.isCordoned ? 'paused' : 'ready', this.isCordoned ? 'Paused: takes no new pods' : 'Ready');
  }

  async #join(): Promise<boolean> {
    const backoff = new Backoff(JOIN_RETRY_MAX_MS);
    for (;;) {
      try {
        await this.#claim();
        await this.#renewToken();
        this.#hasHeld = true;
        return true;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 401) return this.#refused(error);
        if (error.isHeld) {
          this.view.set('held', 'Another browser is this node');
          await sleep(HELD_PAUSE_MS);
        } else {
          this.view.set(error.status === 0 || error.status >= 500 ? 'away' : 'joining', error.message);
          await sleep(backoff.next());
        }
      }
    }
  }

  async #refused(error: ApiError): Promise<false> {
    this.#leaving = true;
    await this.pods().surrender(true).catch(() => undefined);
    this.view.set('refused', `The server knows this node no more (${error.message}): join again`);
    return false;
  }

  /** Make the Node, or begin its next life. Throws ApiError. */
  async #claim(): Promise<void> {
    let seen: Node | undefined;
    try {
      seen = await this.api.json<Node>('GET', this.#path);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
    }
    if (seen === undefined) {
      await this.pods().surrender(false);
      seen = await this.api.json<Node>('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: this.identity.name, labels: this.#labels(), annotations: { [NUMBER]: '1', [HOLDER]: this.holder } } });
    } else {
      await this.#makeWay(seen);
      if (seen.metadata.annotations?.[HOLDER] !== this.holder || this.#claimed !== seen.metadata.annotations?.[NUMBER]) {
        this.#claimed = String(numberOf(seen) + 1);
        seen = await this.#patchNode(seen, { labels: this.#labels(), annotations: { [NUMBER]: this.#claimed, [HOLDER]: this.holder } });
      }
    }
    this.#uid = seen.metadata.uid ?? '';
    this.#claimed = seen.metadata.annotations?.[NUMBER] ?? '';
    this.isCordoned = seen.spec?.unschedulable ?? false;
    this.api.incarnation = `${this.#uid}/${this.#claimed}/${this.holder}`;
    await this.#renewLease();
    await this.#writeStatus(seen);
    this.#show();
  }

  /** End what is not ours, if the node is somebody else's or nobody's. Throws ApiError. */
  async #makeWay(seen: Node): Promise<void> {
    const holder = seen.metadata.annotations?.[HOLDER] ?? '';
    const isOurs = holder.startsWith(`${this.identity.installation}.`);
    if (holder === '' || holder === this.holder || (isOurs && !this.#hasHeld)) {
      if (this.#hasHeld || holder === '') await this.pods().surrender(false);
      return;
    }
    await this.pods().surrender(true);
    throw new ApiError(409, `node ${this.identity.name} is held by another agent`, ['IdentityHeld']);
  }

  #patchNode(seen: Node, metadata: object): Promise<Node> {
    return this.api.json<Node>('PATCH', this.#path, { metadata: { ...metadata, resourceVersion: seen.metadata.resourceVersion } }, MERGE);
  }

  #labels(): Record<string, string> {
    const version = /(?:Chrome|Firefox|Version)\/(\d+[.\d]*)/.exec(navigator.userAgent)?.[1] ?? '0';
    return { 'kubernetes.io/hostname': this.identity.name, 'kubernetes.io/os': 'browser', 'stark.dev/node-type': 'browser', 'stark.dev/runtime-browser': version, 'stark.dev/isolation-process': 'true' };
  }

  async #renewToken(): Promise<void> {
    const { identity } = this;
    if (identity.bound && Date.parse(identity.expiresAt) - Date.now() > RENEW_BEFORE_MS) return;
    const { name, installation } = identity;
    const answer = await this.api.json<{ data: { token: string; expiresAt: string; bound: boolean } }>('POST', '/auth/node-token', { node: name, installation });
    Object.assign(identity, answer.data);
    this.api.token = identity.token;
    await remember(identity);
  }

  async #heartbeats(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(JOIN_RETRY_MAX_MS);
    while (!signal.aborted) {
      let pause = this.#lease;
      try {
        await this.#renewLease();
        await this.#renewToken();
        this.#heardAt = performance.now();
        backoff.reset();
        if (!signal.aborted) this.#show();
      } catch (error) {
        pause = backoff.next();
        this.#judge(error, signal);
      }
      await Promise.race([sleep(pause), aborted(signal)]);
    }
  }

  #judge(error: unknown, signal: AbortSignal): void {
    if (!(error instanceof ApiError)) throw error;
    if (signal.aborted) return;
    if (error.isStale || error.isHeld || error.status === 401 || error.status === 404) this.fence();
    else this.view.set('away', 'The server is away; pods run on');
  }

  async #renewLease(): Promise<void> {
    const { name } = this.identity;
    const folder = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    const spec = { holderIdentity: name, leaseDurationSeconds: LEASE_S, renewTime: new Date().toISOString().replace('Z', '000Z') };
    try {
      await this.api.json('PATCH', `${folder}/${name}`, { spec }, MERGE);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: this.#uid }];
      await this.api.json('POST', folder, { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace: 'kube-node-lease', ownerReferences }, spec });
    }
  }

  async #statuses(signal: AbortSignal): Promise<void> {
    let writtenAt = performance.now();
    while (!signal.aborted) {
      await Promise.race([sleep(STATUS_PERIOD_MS), aborted(signal)]);
      if (signal.aborted) return;
      try {
        const seen = await this.api.json<Node>('GET', this.#path);
        this.isCordoned = seen.spec?.unschedulable ?? false;
        const config = await this.api.json<{ spec?: { nodeHeartbeatIntervalSeconds?: number } }>('GET', '/apis/stark.dev/v1/clusterconfigs/cluster').catch(() => undefined);
        this.#lease = (config?.spec?.nodeHeartbeatIntervalSeconds ?? 10) * 1000;
        const isReady = seen.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
        if (isReady && performance.now() - writtenAt < STATUS_REFRESH_MS) continue;
        await this.#writeStatus(seen);
        writtenAt = performance.now();
      } catch (error) {
        this.#judge(error, signal);
      }
    }
  }

  async #writeStatus(seen: Node): Promise<void> {
    const { offer, name } = this.identity;
    const amounts = { cpu: offer.cpu, memory: offer.memory, pods: offer.pods, 'ephemeral-storage': offer.storage };
    const condition = (type: string, status: string, reason: string, message: string) => {
      const before = seen.status?.conditions?.find((one) => one.type === type);
      return { type, status, reason, message, lastHeartbeatTime: seconds(), lastTransitionTime: before?.status === status ? before.lastTransitionTime : seconds() };
    };
    const conditions = [condition('Ready', 'True', 'AgentReady', 'agent is posting ready status')];
    const status = { capacity: amounts, allocatable: amounts, conditions, addresses: [{ type: 'Hostname', address: name }] };
    await this.api.json('PATCH', `${this.#path}/status`, { status }, STRATEGIC);
  }

  async #watchContact(): Promise<void> {
    while (!this.#leaving) {
      await sleep(1_000);
      this.pods().look(performance.now() - this.#heardAt);
    }
  }
}

function numberOf(node: Node): number {
  const number = Number(node.metadata.annotations?.[NUMBER] ?? 0);
  return Number.isSafeInteger(number) && number > 0 ? number : 0;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener('abort', () => done(), { once: true });
  });
}
