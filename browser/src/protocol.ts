/** What the page and the program in the sandbox say to each other over their port. */
export interface RunSettings {
  bundle: string;
  entrypoint: string;
  args: string[];
  env: Record<string, string>;
  /** Of the module contract: ids, names, metadata. */
  context: Record<string, unknown>;
}

export type ToRun = { type: 'start'; settings: RunSettings } | { type: 'shutdown'; reason: string; graceMs: number };

export type FromRun =
  | { type: 'called' }
  | { type: 'log'; at: number; text: string }
  | { type: 'failed'; reason: string; message: string }
  | { type: 'exit'; code: number };
