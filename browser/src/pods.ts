/** The pods of this node: followed, begun, ended, and reported. What the server does not list runs here for nobody. */
import { type Api, ApiError, STRATEGIC } from './api';
import type { Pod } from './kinds';
import { type House, RunningPod } from './pod';
import { Backoff, sleep } from './waiting';

const GRACE_S = 30;
const REPORT_RETRY_MAX_MS = 10_000;
const LAST_WORDS_MS = 3_000;

export class Pods {
  readonly running = new Map<string, RunningPod>();
  #house: House;
  #dirty = new Set<RunningPod>();
  #isWriting = false;

  constructor(readonly api: Api, readonly node: string, house: Omit<House, 'report'>, readonly fenced: (error: ApiError) => void) {
    this.#house = { ...house, report: (pod) => this.#report(pod) };
  }

  get #selector(): string {
    return `fieldSelector=${encodeURIComponent(`spec.nodeName=${this.node}`)}`;
  }

  /** Follow them until `signal` says that we are the node no more. */
  async follow(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(5_000);
    let version = '';
    while (!signal.aborted) {
      try {
        if (!version) version = await this.settle();
        await this.api.watch<Pod>(`/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=${version}&${this.#selector}`, signal, (type, pod) => {
          version = pod.metadata.resourceVersion ?? version;
          if (type === 'DELETED') this.#lose(pod.metadata.uid);
          else if (type !== 'BOOKMARK') this.#see(pod);
        });
        backoff.reset();
      } catch (error) {
        if (error instanceof ApiError && error.status === 410) version = '';
        else await sleep(backoff.next());
      }
    }
  }

  /** Make what runs here what the server lists. Throws ApiError. */
  async settle(): Promise<string> {
    const list = await this.api.json<{ metadata: { resourceVersion: string }; items: Pod[] }>('GET', `/api/v1/pods?${this.#selector}`);
    for (const pod of list.items) this.#see(pod);
    const there = new Set(list.items.map((pod) => pod.metadata.uid));
    for (const uid of [...this.running.keys()]) if (!there.has(uid)) this.#lose(uid);
    return list.metadata.resourceVersion;
  }

  /** End what the server no longer has for this node, or all, and return when it has ended. Throws ApiError. */
  async surrender(everything: boolean): Promise<void> {
    if (!everything) await this.settle();
    const told = new Set<RunningPod>();
    for (;;) {
      const going = [...this.running.values()].filter((pod) => !pod.isOver && (everything || pod.pod.metadata.deletionTimestamp));
      if (going.length === 0) return;
      for (const pod of going) {
        if (everything && !told.has(pod)) pod.stop(GRACE_S, 'NodeLeft'); // also those that came meanwhile
        told.add(pod);
      }
      await sleep(100);
    }
  }

  look(silentMs: number): void {
    for (const pod of this.running.values()) pod.look(silentMs);
  }

  /** Return when everything that there is to say has been said. */
  async reported(): Promise<void> {
    while (this.#dirty.size > 0 || this.#isWriting) await sleep(50);
  }

  #see(pod: Pod): void {
    const known = this.running.get(pod.metadata.uid);
    const isFinished = ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '');
    if (known) known.pod = pod;
    else if (!isFinished || pod.metadata.deletionTimestamp) this.#take(pod, isFinished);
    const ours = this.running.get(pod.metadata.uid);
    if (ours && pod.metadata.deletionTimestamp) {
      if (ours.isOver) this.#report(ours);
      else ours.stop(pod.metadata.deletionGracePeriodSeconds ?? GRACE_S);
    }
  }

  #take(pod: Pod, isFinished: boolean): void {
    if (isFinished) void this.#delete(pod);
    else if (pod.metadata.deletionTimestamp && pod.status?.containerStatuses === undefined) void this.#delete(pod);
    else this.running.set(pod.metadata.uid, new RunningPod(pod, this.#house));
    this.#house.changed();
  }

  #lose(uid: string): void {
    this.running.get(uid)?.stop(0);
    this.running.delete(uid);
    this.#house.changed();
  }

  #report(pod: RunningPod): void {
    this.#dirty.add(pod);
    void this.#write();
  }

  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    const backoff = new Backoff(REPORT_RETRY_MAX_MS);
    await sleep(20); // changes come in groups
    for (let pod = first(this.#dirty); pod !== undefined; pod = first(this.#dirty)) {
      this.#dirty.delete(pod);
      try {
        await this.#say(pod);
        backoff.reset();
      } catch (error) {
        if (error instanceof ApiError && error.isStale) this.fenced(error);
        else if (error instanceof ApiError && [404, 409].includes(error.status)) continue; // gone, or another of that name
        this.#dirty.add(pod);
        await sleep(backoff.next());
      }
    }
    this.#isWriting = false;
  }

  async #say(pod: RunningPod): Promise<void> {
    if (!this.api.incarnation) throw new ApiError(0, 'this browser is not the node now');
    const { namespace, name, deletionTimestamp } = pod.pod.metadata;
    await this.api.json('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}/status`, pod.statusPatch(), STRATEGIC);
    if (!pod.isOver || !deletionTimestamp) return;
    // Of a pod that is gone the server takes no more lines: its last words come first.
    await Promise.race([pod.logged(), sleep(LAST_WORDS_MS)]);
    await this.#delete(pod.pod);
  }

  async #delete(pod: Pod): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid } };
    await this.api.json('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}`, body);
  }
}

function first<T>(of: Set<T>): T | undefined {
  return of.values().next().value;
}
