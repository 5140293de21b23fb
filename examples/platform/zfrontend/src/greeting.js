/** Returns the address of the greetings for `name`; an empty one greets the world. */
export function greetingAddress(name) {
  const trimmed = name.trim();
  return trimmed ? `/api/greeting?${new URLSearchParams({ name: trimmed })}` : '/api/greeting';
}

/**
 * Sorts greetings into the one for the headline and the others, by the reader's languages
 * (such as `navigator.languages`), English where none of them is known.
 */
export function arrange(greetings, languages) {
  const wanted = [...languages.map((language) => language.toLowerCase().split('-')[0]), 'en'];
  const headline = wanted
    .map((language) => greetings.find((greeting) => greeting.language === language))
    .find(Boolean) ?? greetings[0];
  const others = greetings
    .filter((greeting) => greeting !== headline)
    .sort((a, b) => a.language.localeCompare(b.language));
  return { headline, others };
}
