import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { makeDist } from '../scripts/bundle.js';

async function dist(t, files) {
  const root = await mkdtemp(path.join(tmpdir(), 'zfrontend-'));
  t.after(() => rm(root, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(root, name), text);
  const written = await makeDist(root, path.join(root, 'dist'));
  const texts = await Promise.all(written.map(({ name }) => readFile(path.join(root, 'dist', name), 'utf8')));
  return new Map(written.map(({ name }, index) => [name, texts[index]]));
}

const page = '<link href="./a.css"><script src="./a.js"></script><a href="https://example.com/">x</a>';
const files = { 'index.html': page, 'a.css': 'p {}', 'a.js': "import { b } from './b.js';", 'b.js': 'export const b = 1;' };

test('the page refers to assets by their hashed names', async (t) => {
  const made = await dist(t, files);
  assert.equal(made.size, 4);
  const references = [...made.get('index.html').matchAll(/"\.\/(assets\/[^"]+)"/g)].map(([, name]) => name);
  assert.equal(references.length, 2);
  for (const name of references) {
    assert.match(name, /^assets\/a\.[0-9a-f]{8}\.(css|js)$/);
    assert.ok(made.has(name), name);
  }
  assert.match(made.get('index.html'), /https:\/\/example\.com\//);
});

test('a changed import renames the module that imports it', async (t) => {
  const before = await dist(t, files);
  const after = await dist(t, { ...files, 'b.js': 'export const b = 2;' });
  const named = (made, stem) => [...made.keys()].find((name) => new RegExp(`/${stem}\\.\\w+\\.js$`).test(name));
  assert.notEqual(named(before, 'b'), named(after, 'b'));
  assert.notEqual(named(before, 'a'), named(after, 'a'));
  assert.ok(after.get(named(after, 'a')).includes(path.basename(named(after, 'b'))));
});

test('the same sources give the same names', async (t) => {
  assert.deepEqual(await dist(t, files), await dist(t, files));
});

test('a missing file and a circle of imports are errors', async (t) => {
  await assert.rejects(dist(t, { 'index.html': page }), /ENOENT/);
  await assert.rejects(
    dist(t, { ...files, 'b.js': "import './a.js'; import { a } from './a.js';" }),
    /modules import each other: a\.js > b\.js > a\.js/,
  );
});
