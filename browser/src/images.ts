/** Which Pack object an image means: the same as pack_object_name in crds/images.py. */
import { Unready } from './packs';
import { sha256 } from './trust';

const LENGTH_MAX = 253;
const HASH_LENGTH = 8;

/** Throws Unready for what is no pack with a version. */
export async function objectNameOf(image: string): Promise<string> {
  const found = /^pack\.stark\/([a-zA-Z0-9_-]+):(.+)$/.exec(image);
  if (!found) throw new Unready('ErrImagePull', `${image} is no pack with a version, and a browser runs nothing else`);
  const original = `${found[1]}.${found[2]}`;
  const labels = original.toLowerCase().replace(/[^a-z0-9.-]/g, '-').split('.');
  const changed = labels.map((label) => label.replace(/^-+|-+$/g, '') || '0').join('.');
  if (changed === original && original.length <= LENGTH_MAX) return original;
  const suffix = (await sha256(new TextEncoder().encode(original))).slice(0, HASH_LENGTH);
  return `${changed.slice(0, LENGTH_MAX - HASH_LENGTH - 1).replace(/[.-]+$/, '')}-${suffix}`;
}
