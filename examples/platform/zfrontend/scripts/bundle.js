import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

const moduleImport = /(\bfrom\s*|\bimport\s*\(?\s*)(['"])(\.\/[^'"]+)\2/g;
const pageReference = /\b(href|src)="\.\/([^"]+)"/g;

/**
 * Writes index.html and the files that it refers to, directly or through imports, to `dist`.
 * All files except the page are named by their content, so that browsers can cache them forever.
 */
export async function makeDist(src, dist) {
  await rm(dist, { recursive: true, force: true });
  await mkdir(path.join(dist, 'assets'), { recursive: true });
  const written = [];
  const assets = new Map();

  const write = async (name, text) => {
    await writeFile(path.join(dist, name), text);
    written.push({ name, size: Buffer.byteLength(text) });
  };

  // A module's hash covers the hashed names of its imports, so imports come first.
  const asset = (name, importers) => {
    if (importers.includes(name)) {
      throw new Error(`modules import each other: ${[...importers, name].join(' > ')}`);
    }
    if (!assets.has(name)) assets.set(name, makeAsset(name, [...importers, name]));
    return assets.get(name);
  };
  const makeAsset = async (name, importers) => {
    let text = await readFile(path.join(src, name), 'utf8');
    if (name.endsWith('.js')) {
      text = await replaceEach(text, moduleImport, async ([, before, quote, target]) => {
        const imported = path.posix.join(path.posix.dirname(name), target);
        return `${before}${quote}./${await asset(imported, importers)}${quote}`;
      });
    }
    const { name: stem, ext } = path.parse(name);
    const hashed = `${stem}.${contentHash(text)}${ext}`;
    await write(`assets/${hashed}`, text);
    return hashed;
  };

  const page = await readFile(path.join(src, 'index.html'), 'utf8');
  const rewritten = await replaceEach(page, pageReference, async ([, attribute, target]) =>
    `${attribute}="./assets/${await asset(target, [])}"`);
  await write('index.html', rewritten);
  return written.sort((a, b) => a.name.localeCompare(b.name));
}

function contentHash(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

async function replaceEach(text, pattern, replacement) {
  let result = '';
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    result += text.slice(end, match.index) + await replacement(match);
    end = match.index + match[0].length;
  }
  return result + text.slice(end);
}
