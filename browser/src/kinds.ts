/** The parts of Kubernetes objects that the agent reads and writes. */
export interface Meta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
}
export interface KeyRef { name: string; key: string; optional?: boolean }
export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: { fieldRef?: { fieldPath: string }; configMapKeyRef?: KeyRef; secretKeyRef?: KeyRef; resourceFieldRef?: object };
}
export interface Container {
  name: string;
  image?: string;
  command?: string[];
  args?: string[];
  env?: EnvVar[];
  envFrom?: { prefix?: string; configMapRef?: { name: string; optional?: boolean }; secretRef?: { name: string; optional?: boolean } }[];
  restartPolicy?: string;
  volumeMounts?: { name: string }[];
  lifecycle?: object;
  livenessProbe?: object;
  readinessProbe?: object;
  startupProbe?: object;
}
export interface Ended {
  exitCode: number;
  reason: string;
  message?: string;
  startedAt: string;
  finishedAt: string;
  containerID?: string;
}
export interface State { waiting?: { reason: string; message?: string }; running?: { startedAt: string }; terminated?: Ended }
export interface ContainerStatus {
  name: string;
  state: State;
  lastState: State;
  ready: boolean;
  started: boolean;
  restartCount: number;
  image: string;
  imageID: string;
  containerID?: string;
}
export interface Condition { type: string; status: string; reason?: string | null; message?: string | null; lastTransitionTime?: string; observedGeneration?: number; lastHeartbeatTime?: string }
export interface Pod {
  metadata: Meta & { uid: string; namespace: string };
  spec: {
    containers: Container[];
    initContainers?: Container[];
    restartPolicy?: 'Always' | 'OnFailure' | 'Never';
    terminationGracePeriodSeconds?: number;
    activeDeadlineSeconds?: number;
    nodeName?: string;
    serviceAccountName?: string;
  };
  status?: {
    phase?: string;
    startTime?: string;
    conditions?: Condition[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}
export interface Node {
  metadata: Meta;
  spec?: { unschedulable?: boolean };
  status?: { conditions?: Condition[] };
}
export interface Pack {
  metadata: Meta;
  spec: {
    name: string;
    version: string;
    runtime: string;
    metadata?: { entrypoint?: string; timeout?: number; env?: Record<string, string>; [key: string]: unknown };
    bundles: { architecture?: string; sha256: string; size: number }[];
    signatures?: { keyID: string; signature: string }[];
  };
}
export interface Selector { matchLabels?: Record<string, string>; matchExpressions?: { key: string; operator: string; values?: string[] }[] }
export interface TrustPolicy {
  metadata: Meta;
  spec: { namespaceSelector?: Selector; packs?: string[]; keys?: { name: string; publicKey: string }[]; threshold?: number; action?: string };
}

export const seconds = (ms = Date.now()): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
