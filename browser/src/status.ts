/** How a pod looks in the API, by kubelet's rules, from its containers' states. Pure. */
import { type Condition, type ContainerStatus, type Pod, seconds } from './kinds';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

export function phaseOf(policy: string, containers: ContainerStatus[], initial: ContainerStatus[]): Phase {
  const failed = initial.some((one) => (one.state.terminated?.exitCode ?? 0) !== 0);
  if (failed && policy === 'Never') return 'Failed';
  if (initial.some((one) => !one.ready) && !containers.some((one) => one.state.running ?? one.state.terminated)) return 'Pending';
  let [waiting, running, stopped, succeeded] = [0, 0, 0, 0];
  for (const { state, lastState } of containers) {
    if (state.running) running += 1;
    else if (state.terminated) {
      stopped += 1;
      if (state.terminated.exitCode === 0) succeeded += 1;
    } else if (lastState.terminated) stopped += 1;
    else waiting += 1;
  }
  if (waiting > 0) return 'Pending';
  if (running > 0 || policy === 'Always') return 'Running';
  if (stopped === succeeded) return 'Succeeded';
  return policy === 'Never' ? 'Failed' : 'Running';
}

export function conditionsOf(pod: Pod, phase: Phase, containers: ContainerStatus[], initial: ContainerStatus[]): Condition[] {
  const done = phase === 'Succeeded' ? 'PodCompleted' : phase === 'Failed' ? 'PodFailed' : undefined;
  const unready = containers.filter((one) => !one.ready).map((one) => one.name);
  const notReady = { status: 'False', reason: done ?? 'ContainersNotReady', message: done ? null : `containers with unready status: [${unready.join(' ')}]` };
  const ready = unready.length === 0 && !done ? { status: 'True', reason: null, message: null } : notReady;
  const waitedFor = initial.filter((one) => !one.ready).map((one) => one.name);
  const initialized =
    waitedFor.length === 0
      ? { status: 'True', reason: phase === 'Succeeded' ? 'PodCompleted' : null, message: null }
      : { status: 'False', reason: 'ContainersNotInitialized', message: `containers with incomplete status: [${waitedFor.join(' ')}]` };
  const named = { Initialized: initialized, ContainersReady: ready, Ready: ready };
  return Object.entries(named).map(([type, conclusion]) => {
    const before = pod.status?.conditions?.find((one) => one.type === type);
    const since = before?.status === conclusion.status ? before.lastTransitionTime : undefined;
    return { type, ...conclusion, lastTransitionTime: since ?? seconds(), observedGeneration: pod.metadata.generation };
  });
}

const FIRST_BACKOFF_MS = 10_000;
const BACKOFF_MAX_MS = 300_000;

/** The wait before the next restart: none, ten seconds, then doubled up to five minutes. */
export function nextBackoffMs(previous: number | undefined): number {
  if (previous === undefined) return 0;
  return previous === 0 ? FIRST_BACKOFF_MS : Math.min(previous * 2, BACKOFF_MAX_MS);
}

/** Why a browser cannot run this pod as it is written; empty when it can. Nothing that is asked for is passed over in silence. */
export function unsupported(pod: Pod): string {
  for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
    const mounts = (container.volumeMounts ?? []).filter((one) => !one.name.startsWith('kube-api-access-'));
    const asks = [
      [mounts.length > 0, 'volumes'],
      [container.livenessProbe ?? container.readinessProbe ?? container.startupProbe, 'probes'],
      [container.lifecycle, 'lifecycle hooks'],
      [container.command?.length, 'a command: a pack has an entry point'],
      [container.restartPolicy, 'sidecars'],
    ] as const;
    const found = asks.find(([asked]) => asked);
    if (found) return `container ${container.name}: a browser has no ${found[1]}`;
  }
  return '';
}
