import { arrange, greetingAddress } from './greeting.js';

const byId = (id) => document.getElementById(id);

let requests = 0;

async function show(name) {
  const request = ++requests;
  try {
    const answer = await fetch(greetingAddress(name));
    if (!answer.ok) throw new Error(`the backend answered ${answer.status}`);
    const { count, greetings, version } = await answer.json();
    // An answer may arrive after that of a later request.
    if (request !== requests) return;
    const { headline, others } = arrange(greetings, navigator.languages);
    byId('headline').textContent = headline.text;
    byId('headline').lang = headline.language;
    byId('version').textContent = version;
    byId('count').textContent = count ? `, greeted ${count} ${count === 1 ? 'time' : 'times'}` : '';
    byId('greetings').replaceChildren(...others.map(item));
  } catch (error) {
    if (request !== requests) return;
    byId('headline').textContent = `No greeting: ${error.message}`;
  }
}

function item({ language, text }) {
  const element = document.createElement('li');
  const label = document.createElement('span');
  label.textContent = language;
  const words = document.createElement('div');
  words.lang = language;
  words.textContent = text;
  element.append(label, words);
  return element;
}

byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  show(byId('name').value);
});
show('');
