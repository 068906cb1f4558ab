// The language of the pages: the one that was chosen, or the first that the browser asks for and that there is. The English
// texts are in the code, and are the keys of the other tables.

import { GERMAN } from './german.js';

/** The languages, in their own words. */
export const LANGUAGES = { en: 'English', de: 'Deutsch' };
const TABLES = { de: GERMAN };
const KEY = 'hallpass language';

let language = [chosen(), ...navigator.languages.map((name) => name.split('-')[0])].find((name) => Object.hasOwn(LANGUAGES, name)) ?? 'en';

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Returns the code of the language, such as `de`. */
export const current = () => language;

/** Chooses a language, for the next visits too. */
export function choose(name) {
  language = name;
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Without storage, the next visit has the browser's language again.
  }
}

/** Returns a text in the language, with the `values` of its `{names}`. */
export function t(text, values = {}) {
  return (TABLES[language]?.[text] ?? text).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/**
 * Returns a text of the server in the language, part by part; a part that the table does not have stays as it is. What
 * differs, which is numbers and what is quoted, has the names {1}, {2} and so on in the table.
 */
export function told(text) {
  if (!TABLES[language]) return text;
  return text
    .split(/([:;] |(?<=\.) )/)
    .map((part, at, parts) => {
      const values = [''];
      const key = part.replace(/\d+|"[^"]*"/g, (value) => `{${values.push(value) - 1}}`).replace(/\.$/, '');
      const found = TABLES[language][key] ?? TABLES[language][key.toLowerCase()];
      if (!found) return part;
      const said = t(key in TABLES[language] ? key : key.toLowerCase(), values);
      const isSentence = /^[A-Z]/.test(part) || parts[at - 1] === ' ';
      return (isSentence ? said[0].toUpperCase() + said.slice(1) : said) + (part.endsWith('.') ? '.' : '');
    })
    .join('');
}

/** Returns the name for `Intl`: the browser's own one of the language, since that knows the country. */
const locale = () => navigator.languages.find((name) => name.split('-')[0] === language) ?? language;

const formats = new Map();

/** Returns a format of `Intl`, made once. */
export function format(Kind, options = {}) {
  const key = `${Kind.name} ${locale()} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Kind(locale(), options));
  return formats.get(key);
}

/** Writes a number. */
export const number = (value) => format(Intl.NumberFormat).format(value);
