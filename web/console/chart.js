// A chart of one series: bars, drawn as SVG, with a table of the same numbers for screen readers.

import { h } from './dom.js';
import { number, t } from './language.js';

const NAMESPACE = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 120;
const GAP = 0.25;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Draws `points` of `{ at, count }`. `format` writes a time. */
export function chart(title, points, format) {
  const total = points.reduce((sum, { count }) => sum + count, 0);
  const most = Math.max(1, ...points.map(({ count }) => count));
  const step = WIDTH / points.length;
  const bars = points.map(({ at, count }, place) => {
    // Something that is little can still be seen.
    const height = count === 0 ? 0 : Math.max(2, (count / most) * HEIGHT);
    const tip = svg('title', {}, `${format(at)}: ${number(count)}`);
    return svg('g', { class: 'bar' }, svg('rect', { class: 'reach', x: place * step, y: 0, width: step, height: HEIGHT }), svg('rect', { class: 'value', x: (place + GAP / 2) * step, y: HEIGHT - height, width: step * (1 - GAP), height }), tip);
  });
  const label = total === 0 ? t('{title}: none', { title }) : t('{title}: {total}, at most {most} in one step', { title, total: number(total), most: number(most) });
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT + 1}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, svg('line', { class: 'base', x1: 0, x2: WIDTH, y1: HEIGHT + 0.5, y2: HEIGHT + 0.5 }), ...bars);
  const rows = points.filter(({ count }) => count > 0).map(({ at, count }) => h('tr', {}, h('th', { scope: 'row' }, format(at)), h('td', {}, number(count))));
  const numbers = h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('Time')), h('th', { scope: 'col' }, t('Number')))), h('tbody', {}, rows));
  return h(
    'figure',
    { class: 'chart' },
    h('figcaption', {}, h('span', {}, title), h('strong', {}, number(total))),
    total === 0 ? h('p', { class: 'empty hint' }, t('None in this period.')) : picture,
    h('p', { class: 'ends hint', 'aria-hidden': 'true' }, h('span', {}, format(points[0].at)), h('span', {}, format(points.at(-1).at))),
    total > 0 && h('details', {}, h('summary', {}, t('As a table')), h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('Table: {title}', { title }) }, numbers)),
  );
}
