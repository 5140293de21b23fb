import assert from 'node:assert/strict';
import test from 'node:test';
import { arrange, greetingAddress } from '../src/greeting.js';

const greetings = [
  { language: 'fr', text: 'Bonjour' },
  { language: 'en', text: 'Hello' },
  { language: 'de', text: 'Hallo' },
];

test('the headline is in the first language that is known', () => {
  assert.equal(arrange(greetings, ['pt', 'de-CH', 'fr']).headline.text, 'Hallo');
});

test('English is the headline of a reader without a known language', () => {
  assert.equal(arrange(greetings, ['pt-BR']).headline.text, 'Hello');
  assert.equal(arrange(greetings, []).headline.text, 'Hello');
});

test('the others follow by language', () => {
  const { others } = arrange(greetings, ['en']);
  assert.deepEqual(others.map(({ language }) => language), ['de', 'fr']);
});

test('the only greeting is the headline, in whatever language', () => {
  const only = { language: 'ja', text: 'こんにちは' };
  assert.deepEqual(arrange([only], ['en']), { headline: only, others: [] });
});

test('a name is trimmed and escaped in the address', () => {
  assert.equal(greetingAddress('  '), '/api/greeting');
  assert.equal(greetingAddress(' Ada & co '), '/api/greeting?name=Ada+%26+co');
});
