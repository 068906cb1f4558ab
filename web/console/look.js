// What the operator has set: the product's name, logo and colour, and where people may be sent after a sign-in.

/** Defaults until the server has told. */
export const look = { name: 'Hallpass', accent: null, logo: false, continue_origins: [], mail: false, link: false };

/** Returns 1 for white and 0 for black (WCAG 2, relative luminance). */
function luminance(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const contrast = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);

/** Mixes a colour with another until text in it is readable on `page` and on what is a little darker (WCAG 2 asks for 4.5:1). */
function readable(colour, other, page) {
  const parts = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  for (let share = 0; share <= 1; share += 0.05) {
    const mixed = parts(colour).map((part, at) => Math.round(part + (parts(other)[at] - part) * share));
    const text = `#${mixed.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
    if (contrast(luminance(text), luminance(page)) >= 6) return text;
  }
  return other;
}

/** Asks the server, and applies the answer to the page. Where it does not answer, the defaults stay. */
export async function wear() {
  try {
    Object.assign(look, await (await fetch('/console/look.json')).json());
  } catch {
    // The page says itself that the server cannot be reached.
  }
  if (look.logo) for (const image of document.querySelectorAll('#bar img, link[rel=icon]')) image[image.tagName === 'LINK' ? 'href' : 'src'] = '/console/logo';
  document.querySelector('#bar .brand').lastChild.textContent = look.name;
  if (!look.accent) return;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const paint = () => {
    const accent = dark.matches ? readable(look.accent, '#ffffff', '#181b24') : readable(look.accent, '#000000', '#ffffff');
    const root = document.documentElement.style;
    root.setProperty('--accent', accent);
    root.setProperty('--accent-text', contrast(luminance(accent), 1) >= 4.5 ? '#ffffff' : '#14172b');
    root.setProperty('--accent-soft', `color-mix(in srgb, ${accent} 14%, var(--card))`);
  };
  dark.addEventListener('change', paint);
  paint();
}

/** Returns the address of `continue` in the query, if people may be sent there: to this origin and to those set. */
export function onward(query) {
  const asked = query.get('continue');
  if (!asked || !URL.canParse(asked, location.origin)) return null;
  const { origin, href } = new URL(asked, location.origin);
  return [location.origin, ...look.continue_origins].includes(origin) ? href : null;
}
