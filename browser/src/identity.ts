/** Who this browser is, kept in IndexedDB so that a reload is the same node. Packs run in origins of their own and cannot read it. */
export interface Offer { cpu: string; memory: string; pods: string; storage: string }

export interface Identity {
  name: string;
  installation: string;
  token: string;
  expiresAt: string;
  /** Whether the token ends with the Node: the first one does not, and is short. */
  bound: boolean;
  offer: Offer;
}

const STORE = 'identity';

function open(): Promise<IDBDatabase> {
  return new Promise((done, fail) => {
    const asked = indexedDB.open('stark-agent', 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
}

async function within<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((done, fail) => {
      const transaction = database.transaction(STORE, mode, { durability: 'strict' });
      const asked = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => done(asked.result);
      transaction.onabort = transaction.onerror = () => fail(transaction.error);
    });
  } finally {
    database.close();
  }
}

export const remembered = (): Promise<Identity | undefined> => within('readonly', (store) => store.get('node'));
export const remember = (identity: Identity): Promise<IDBValidKey> => within('readwrite', (store) => store.put(identity, 'node'));
export const forget = (): Promise<undefined> => within('readwrite', (store) => store.delete('node'));

export function randomHex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
