/** The page: the form by which it joins, how the node is, and its pods with what they say. */
import { Api, ApiError } from './api';
import { forget, type Identity, randomHex, remember, remembered } from './identity';
import { BrowserNode, type State } from './node';
import { Packs } from './packs';
import type { RunningPod } from './pod';
import { Pods } from './pods';

const LOCK = 'stark-node';
const DRAW_MS = 150;
const TAIL = 12;

const at = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const api = new Api();
let pods: Pods | undefined;
let node: BrowserNode | undefined;
let identity: Identity | undefined;
let isDrawing = false;

function show(state: State, text: string): void {
  const line = at('state');
  if (line.dataset.state === state && line.lastElementChild!.textContent === text) return;
  line.dataset.state = state;
  line.lastElementChild!.textContent = text;
  at('cordon').textContent = node?.isCordoned ? 'Take pods again' : 'Pause';
  if (state === 'left' || state === 'refused') void over(text);
}

async function over(text: string): Promise<void> {
  await forget();
  showForm(text);
}

function showForm(trouble = ''): void {
  at('node').hidden = at('pods').hidden = true;
  const form = at<HTMLFormElement>('join');
  form.hidden = false;
  (form.elements.namedItem('name') as HTMLInputElement).value ||= `browser-${randomHex(3)}`;
  at('trouble').textContent = trouble;
  at('trouble').hidden = trouble === '';
}

/** What came in the fragment, and away with it: neither history nor a copied address may keep it. */
function takeFragment(): URLSearchParams {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, '', location.pathname);
  return given;
}

async function join(given: (name: string) => string): Promise<Identity> {
  const offer = { cpu: given('cpu') || '500m', memory: given('memory') || '512Mi', pods: given('pods') || '5', storage: given('storage') || '100M' };
  const [name, installation] = [given('name') || `browser-${randomHex(3)}`, randomHex(8)];
  api.token = given('token');
  if (!api.token) {
    const body = { email: given('email'), password: given('password') };
    api.token = (await api.json<{ data: { accessToken: string } }>('POST', '/auth/login', body)).data.accessToken;
  }
  const answer = await api.json<{ data: { token: string; expiresAt: string; bound: boolean } }>('POST', '/auth/node-token', { node: name, installation });
  const made = { name, installation, offer, ...answer.data };
  await remember(made);
  return made;
}

function be(who: Identity): void {
  identity = who;
  at('join').hidden = true;
  at('node').hidden = at('pods').hidden = false;
  show('joining', 'Joining');
  node = new BrowserNode(api, who, () => pods!, { set: show });
  pods = new Pods(api, who.name, { api, packs: new Packs(api), place, changed }, node.fence);
  facts(who);
  changed();
  void node.run();
}

function facts(who: Identity): void {
  const told = { Name: who.name, CPU: who.offer.cpu, Memory: who.offer.memory, Pods: who.offer.pods, Storage: who.offer.storage };
  at('facts').replaceChildren(
    ...Object.entries(told).map(([term, value]) => {
      const pair = document.createElement('div');
      const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
      [dt.textContent, dd.textContent] = [term, value];
      pair.append(dt, dd);
      return pair;
    }),
  );
}

function place(uid: string, dom: boolean): Element {
  if (!dom) return at('hidden-runs');
  draw();
  const surface = card(uid)!.querySelector<HTMLElement>('.surface')!;
  surface.hidden = false;
  return surface;
}

const card = (uid: string): HTMLElement | null => document.querySelector(`[data-uid="${CSS.escape(uid)}"]`);

function changed(): void {
  if (isDrawing) return;
  isDrawing = true;
  setTimeout(() => {
    isDrawing = false;
    draw();
  }, DRAW_MS);
}

function draw(): void {
  const all = [...(pods?.running.values() ?? [])];
  at('empty').hidden = all.length > 0;
  at('count').textContent = all.length > 0 ? `${all.length} of ${identity?.offer.pods}` : '';
  for (const old of document.querySelectorAll<HTMLElement>('[data-uid]')) if (!pods?.running.has(old.dataset.uid!)) old.remove();
  for (const pod of all) fill(card(pod.uid) ?? newCard(pod), pod);
}

function newCard(pod: RunningPod): HTMLElement {
  const made = document.createElement('li');
  made.dataset.uid = pod.uid;
  made.innerHTML = '<header><strong></strong> <span class="quiet where"></span><span class="badge"></span></header><p class="quiet why"></p><div class="surface"></div><pre tabindex="0" aria-label="Last lines of the log"></pre>';
  made.querySelector('strong')!.textContent = pod.pod.metadata.name;
  made.querySelector('.where')!.textContent = `${pod.pod.metadata.namespace} · ${pod.pod.spec.containers.map((one) => (one.image ?? '').replace('pack.stark/', '')).join(', ')}`;
  made.querySelector<HTMLElement>('.surface')!.hidden = true;
  at('list').append(made);
  return made;
}

function fill(made: HTMLElement, pod: RunningPod): void {
  const lives = [...pod.initial, ...pod.lives];
  const waiting = lives.find((life) => life.status.state.waiting)?.status.state.waiting;
  const word = pod.verdict?.reason ?? (pod.pod.metadata.deletionTimestamp ? 'Stopping' : (waiting?.reason ?? pod.phase));
  const badge = made.querySelector<HTMLElement>('.badge')!;
  badge.textContent = word;
  badge.dataset.phase = waiting ? (waiting.reason === 'ContainerCreating' ? 'Pending' : 'Failed') : pod.phase;
  const restarts = lives.reduce((sum, life) => sum + life.status.restartCount, 0);
  made.querySelector('.why')!.textContent = [waiting?.message, restarts ? `${restarts} restarts` : ''].filter(Boolean).join(' · ');
  const tail = made.querySelector('pre')!;
  const text = lives.flatMap((life) => life.log?.shown ?? []).slice(-TAIL).join('\n');
  if (tail.textContent === text) return;
  tail.textContent = text;
  tail.scrollTop = tail.scrollHeight;
}

at<HTMLFormElement>('join').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = new FormData(event.target as HTMLFormElement);
  try {
    const made = await join((name) => String(form.get(name) ?? '').trim());
    (event.target as HTMLFormElement).reset();
    be(made);
  } catch (error) {
    showForm(error instanceof Error ? error.message : String(error));
  }
});
at('cordon').addEventListener('click', () => void node?.cordon(!node.isCordoned).catch((error: ApiError) => show('away', error.message)));
at('leave').addEventListener('click', () => void node?.leave().catch((error: ApiError) => show('away', error.message)));

async function begin(): Promise<void> {
  const given = takeFragment();
  show('held', 'Another tab of this browser is the node; this one waits');
  // One tab is the node; the others wait for it to close, and then one of them goes on.
  await navigator.locks.request(LOCK, async () => {
    show('joining', 'Not joined yet');
    const known = await remembered();
    if (known) be(known);
    else if (given.has('token')) {
      try {
        be(await join((name) => given.get(name) ?? ''));
      } catch (error) {
        showForm(error instanceof Error ? error.message : String(error));
      }
    } else showForm();
    await new Promise(() => undefined);
  });
}

void begin();
