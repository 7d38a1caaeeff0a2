/** One pod: its containers one after the other and side by side, restarts, its deadline and its end. */
import type { Api } from './api';
import { environmentOf, expand } from './environment';
import { type Container, type ContainerStatus, type Ended, type Pod, seconds } from './kinds';
import { Log } from './logs';
import { type Packs, Unready } from './packs';
import { objectNameOf } from './images';
import { type End, Run } from './run';
import { conditionsOf, nextBackoffMs, phaseOf, type Phase, unsupported } from './status';
import { Backoff, sleep } from './waiting';

const GRACE_S = 30;
const FORGIVEN_AFTER_MS = 600_000;
const PULL_RETRY_MAX_MS = 60_000;
const STOP_WHEN_DISCONNECTED = 'stark.dev/stop-when-disconnected-seconds';
const DOM = 'stark.dev/browser-surface';

export interface House {
  api: Api;
  packs: Packs;
  /** Where frames are put: on the page for packs that have something to show, out of sight for the others. */
  place(uid: string, dom: boolean): Element;
  changed(): void;
  report(pod: RunningPod): void;
}

class Life {
  status: ContainerStatus;
  run: Run | undefined;
  log: Log | undefined;
  backoffMs: number | undefined;
  execution = '';
  imageID = '';

  constructor(readonly spec: Container, before: ContainerStatus | undefined) {
    this.status = before ?? {
      name: spec.name,
      state: { waiting: { reason: 'ContainerCreating' } },
      lastState: {},
      ready: false,
      started: false,
      restartCount: 0,
      image: spec.image ?? '',
      imageID: '',
    };
    if (before?.state.running) this.#lost(before.state.running.startedAt);
  }

  /** It ran when this page was last there, and ended with it. */
  #lost(startedAt: string): void {
    const ended: Ended = { exitCode: 137, reason: 'AgentRestarted', message: 'the page of the browser node was reloaded or closed', startedAt, finishedAt: seconds() };
    this.status = { ...this.status, state: { terminated: ended }, ready: false, started: false };
  }
}

export class RunningPod {
  readonly lives: Life[];
  readonly initial: Life[];
  readonly startTime: string;
  verdict: { reason: string; message: string } | undefined;
  isOver = false;
  #isStopping = false;
  #wake: (() => void) | undefined;

  constructor(public pod: Pod, readonly house: House) {
    const known = new Map([...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].map((one) => [one.name, one]));
    const lives = (specs: Container[] = []) => specs.map((spec) => new Life(spec, known.get(spec.name)));
    [this.lives, this.initial] = [lives(pod.spec.containers), lives(pod.spec.initContainers)];
    this.startTime = pod.status?.startTime ?? seconds();
    void this.#live();
  }

  get uid(): string {
    return this.pod.metadata.uid;
  }

  get phase(): Phase {
    if (this.verdict) return this.isOver ? 'Failed' : 'Running';
    const [containers, initial] = [this.lives.map((one) => one.status), this.initial.map((one) => one.status)];
    if (this.isOver && this.#isStopping) {
      const ends = containers.map((one) => one.state.terminated ?? one.lastState.terminated);
      return ends.every((end) => end?.exitCode === 0) ? 'Succeeded' : 'Failed';
    }
    return phaseOf(this.#policy, containers, initial);
  }

  get #policy(): string {
    return this.pod.spec.restartPolicy ?? 'Always';
  }

  /** The status as a strategic merge patch has it. */
  statusPatch(): object {
    const [containers, initial] = [this.lives.map((one) => one.status), this.initial.map((one) => one.status)];
    const status = {
      observedGeneration: this.pod.metadata.generation,
      phase: this.phase,
      startTime: this.startTime,
      reason: this.verdict?.reason ?? null,
      message: this.verdict?.message ?? null,
      conditions: conditionsOf(this.pod, this.phase, containers, initial),
      containerStatuses: containers,
      ...(initial.length > 0 ? { initContainerStatuses: initial } : {}),
    };
    return { metadata: { uid: this.uid }, status };
  }

  /** Return when what its containers said is with the server. */
  async logged(): Promise<void> {
    for (const life of [...this.initial, ...this.lives]) await life.log?.pushed();
  }

  /** End it, whatever the reason; its last status is reported when nothing of it runs. */
  stop(graceS: number, reason = 'Deleted'): void {
    this.#isStopping = true;
    this.#wake?.();
    for (const life of [...this.lives, ...this.initial]) life.run?.stop(reason, graceS * 1000);
  }

  /** It fails, for a reason that is not its containers' own. */
  condemn(reason: string, message: string): void {
    if (this.verdict || this.isOver) return;
    this.verdict = { reason, message };
    this.stop(this.pod.spec.terminationGracePeriodSeconds ?? GRACE_S, reason);
    this.#tell();
  }

  /** Look at what time has brought about: its deadline, or a server that has been away too long. */
  look(silentMs: number): void {
    const { activeDeadlineSeconds } = this.pod.spec;
    if (activeDeadlineSeconds !== undefined && Date.now() - Date.parse(this.startTime) > activeDeadlineSeconds * 1000) {
      this.condemn('DeadlineExceeded', 'Pod was active on the node longer than the specified deadline');
    }
    const patience = Number(this.pod.metadata.annotations?.[STOP_WHEN_DISCONNECTED]);
    if (patience > 0 && silentMs > patience * 1000) {
      this.condemn('NodeDisconnected', `The node has had no contact with the control plane for ${patience} s`);
    }
  }

  async #live(): Promise<void> {
    const why = unsupported(this.pod);
    if (why) for (const life of this.lives) life.status.state = { waiting: { reason: 'CreateContainerConfigError', message: why } };
    this.#tell();
    if (why) await new Promise<void>((done) => this.#untilStopped(done));
    else {
      const isInitialized = await this.#initialize();
      if (isInitialized) await Promise.all(this.lives.map((life) => this.#keep(life, this.#policy)));
    }
    this.isOver = true;
    this.#tell();
  }

  async #initialize(): Promise<boolean> {
    for (const life of this.initial) {
      const policy = this.#policy === 'Never' ? 'Never' : 'OnFailure';
      if (!life.status.ready) await this.#keep(life, policy);
      life.status.ready = life.status.state.terminated?.exitCode === 0;
      this.#tell();
      if (!life.status.ready || this.#isStopping) return false;
    }
    return true;
  }

  /** Run a container again and again, as its policy has it. */
  async #keep(life: Life, policy: string): Promise<void> {
    while (!this.#isStopping) {
      const last = life.status.state.terminated;
      if (last && (policy === 'Never' || (policy === 'OnFailure' && last.exitCode === 0))) return;
      if (last) await this.#backOff(life, last);
      if (this.#isStopping) return;
      await this.#runOnce(life);
    }
  }

  async #backOff(life: Life, last: Ended): Promise<void> {
    const ranMs = Date.parse(last.finishedAt) - Date.parse(last.startedAt);
    life.backoffMs = nextBackoffMs(ranMs > FORGIVEN_AFTER_MS ? undefined : life.backoffMs);
    if (life.backoffMs > 0) {
      const message = `back-off ${life.backoffMs / 1000}s restarting failed container=${life.spec.name}`;
      life.status = { ...life.status, state: { waiting: { reason: 'CrashLoopBackOff', message } }, lastState: { terminated: last } };
      this.#tell();
      await this.#sleep(life.backoffMs);
    }
    if (this.#isStopping) life.status = { ...life.status, state: { terminated: last } };
    else life.status = { ...life.status, restartCount: life.status.restartCount + 1, state: { waiting: { reason: 'ContainerCreating' } }, lastState: { terminated: last } };
  }

  async #runOnce(life: Life): Promise<void> {
    const backoff = new Backoff(PULL_RETRY_MAX_MS);
    while (!this.#isStopping) {
      try {
        const end = await this.#start(life);
        this.#ended(life, end);
        return;
      } catch (error) {
        const reason = error instanceof Unready ? error.reason : 'CreateContainerError';
        life.status.state = { waiting: { reason, message: error instanceof Error ? error.message : String(error) } };
        this.#tell();
        await this.#sleep(backoff.next() * 4);
      }
    }
  }

  /** Throws Unready. Resolves when the run has ended. */
  async #start(life: Life): Promise<End> {
    const { house, pod } = this;
    const { pack, bundle } = await house.packs.get(await objectNameOf(life.spec.image ?? ''), pod.metadata.namespace);
    const { spec } = pack;
    life.execution = crypto.randomUUID();
    const told = { STARK_POD_ID: this.uid, STARK_PACK_ID: pack.metadata.uid ?? pack.metadata.name, STARK_PACK_VERSION: spec.version, STARK_EXECUTION_ID: life.execution };
    const env = await environmentOf(house.api, pod, life.spec, spec.metadata?.env ?? {}, told);
    const args = (life.spec.args ?? []).map((arg) => expand(arg, env));
    const { entrypoint = 'default', timeout, env: _, ...rest } = spec.metadata ?? {};
    const context = {
      executionId: life.execution,
      podId: this.uid,
      packId: pack.metadata.uid ?? pack.metadata.name,
      packName: spec.name,
      packVersion: spec.version,
      runtimeTag: 'browser',
      timeout,
      metadata: { ...rest, entrypoint, ...pod.metadata.annotations },
    };
    life.imageID = `pack.stark/${spec.name}@sha256:${spec.bundles[0]!.sha256}`;
    if (this.#isStopping) throw new Unready('ContainerCreating', 'the pod is being deleted');
    const log = new Log(house.api, pod, life.spec.name, life.status.restartCount, house.changed);
    const asked = pod.metadata.annotations?.[DOM];
    const dom = asked === undefined ? spec.metadata?.requiresDOM === true : asked === 'dom';
    life.log = log;
    return new Promise((done) => {
      const listener = {
        called: () => this.#called(life),
        said: (at: number, text: string) => log.say(at, text),
        ended: (end: End) => {
          log.end();
          done(end);
        },
      };
      life.run = new Run({ bundle, entrypoint, args, env, context }, dom, timeout, house.place(this.uid, dom), listener);
    });
  }

  #called(life: Life): void {
    const isInit = this.initial.includes(life);
    life.status = { ...life.status, state: { running: { startedAt: seconds() } }, ready: !isInit, started: true, imageID: life.imageID, containerID: `stark://${life.execution}` };
    this.#tell();
  }

  #ended(life: Life, end: End): void {
    const startedAt = life.status.state.running?.startedAt ?? seconds();
    const terminated: Ended = { exitCode: end.code, reason: end.reason, startedAt, finishedAt: seconds(), containerID: `stark://${life.execution}`, ...(end.message ? { message: end.message } : {}) };
    life.run = undefined;
    life.status = { ...life.status, state: { terminated }, ready: false, started: false };
    this.#tell();
  }

  #untilStopped(act: () => void): void {
    if (this.#isStopping) act();
    else this.#wake = act;
  }

  async #sleep(ms: number): Promise<void> {
    await Promise.race([sleep(ms), new Promise<void>((done) => this.#untilStopped(done))]);
  }

  #tell(): void {
    this.house.changed();
    this.house.report(this);
  }
}
