/** The API server, which is where this page came from. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string, readonly causes: string[] = []) {
    super(message);
  }
  get isStale(): boolean {
    return this.causes.includes('StaleIncarnation');
  }
  get isHeld(): boolean {
    return this.causes.includes('IdentityHeld');
  }
}

const ANSWER_MS = 10_000;
const WATCH_SILENT_MS = 120_000; // bookmarks come each minute: a connection without any is one that the network has forgotten

export class Api {
  token = '';
  /** What the server knows this life of the node by (`Stark-Incarnation`). */
  incarnation = '';

  async json<T>(method: string, path: string, body?: unknown, type = 'application/json'): Promise<T> {
    const answer = await this.raw(method, path, body === undefined ? undefined : JSON.stringify(body), type, ANSWER_MS);
    return (await answer.json()) as T;
  }

  async bytes(path: string): Promise<ArrayBuffer> {
    return (await this.raw('GET', path, undefined, '', 600_000)).arrayBuffer();
  }

  async raw(method: string, path: string, body: string | undefined, type: string, ms: number): Promise<Response> {
    const stop = AbortSignal.timeout(ms);
    return this.#send(method, path, body, type, stop);
  }

  async #send(method: string, path: string, body: string | undefined, type: string, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (this.incarnation) headers['Stark-Incarnation'] = this.incarnation;
    if (body !== undefined) headers['Content-Type'] = type;
    let answer: Response;
    try {
      answer = await fetch(path, { method, headers, body, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
    } catch (error) {
      throw new ApiError(0, `the server cannot be reached: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (answer.ok) return answer;
    throw await refusal(answer);
  }

  /** Each event of a watch as it comes. Returns when the server ends it. Throws ApiError. */
  async watch<T>(path: string, signal: AbortSignal, heard: (type: string, object: T) => void): Promise<void> {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), WATCH_SILENT_MS);
    const answer = await this.#send('GET', path, undefined, '', AbortSignal.any([signal, silent.signal]));
    let rest = '';
    try {
      for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
        clearTimeout(timer);
        timer = setTimeout(() => silent.abort(), WATCH_SILENT_MS);
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          if (line === '') continue;
          const event = JSON.parse(line) as { type: string; object: T & { code?: number; message?: string } };
          if (event.type === 'ERROR') throw new ApiError(event.object.code ?? 500, event.object.message ?? 'the watch failed');
          heard(event.type, event.object);
        }
      }
    } catch (error) {
      if (error instanceof ApiError) throw error;
      throw new ApiError(0, `the watch broke: ${String(error)}`);
    } finally {
      clearTimeout(timer);
    }
  }
}

async function refusal(answer: Response): Promise<ApiError> {
  try {
    const body = await answer.json();
    const causes = (body.details?.causes ?? []) as { reason?: string }[];
    return new ApiError(answer.status, body.error?.message ?? body.message ?? answer.statusText, causes.map((one) => one.reason ?? ''));
  } catch {
    return new ApiError(answer.status, answer.statusText || `the server answered ${answer.status}`);
  }
}

export const MERGE = 'application/merge-patch+json';
export const STRATEGIC = 'application/strategic-merge-patch+json';
