// Draws every dashboard into a picture: builds the page, opens it in Chromium without a window, once per dashboard.
// Called as `node draw.mjs ANSWERS OUT`: the folder with the answers of Prometheus (`make dashboards-preview` says where they
// come from) and the folder for the pictures. Must never: reach for a network.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { build } from 'esbuild';

const WIDTH = 1600;
const here = fileURLToPath(new URL('.', import.meta.url));
const [answers, out] = process.argv.slice(2).map((folder) => resolve(folder));
const read = (path) => JSON.parse(readFileSync(path, 'utf8'));

// Text of a JSON value that may stand in a script element.
const script = (value) => JSON.stringify(value).replaceAll('<', '\\u003c');

// The height of the page: header, and the grid with what a repeated panel adds below itself.
function heightOf(dashboard, input) {
  const ends = dashboard.panels.map(({ id, gridPos: { y, h }, repeat, maxPerRow }) => {
    const values = new Set(input.answers.filter(({ place }) => place.panel === id).map(({ place }) => place.value)).size;
    return y + h * (repeat ? Math.ceil(values / maxPerRow) : 1);
  });
  return Math.max(...ends) * 38 + 74 + 24;
}

function chromium(page, height, ...more) {
  const profile = join(out, 'profile');
  const flags = [
    '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-quic', '--virtual-time-budget=15000', `--user-data-dir=${profile}`,
    `--window-size=${WIDTH},${height}`, ...more, pathToFileURL(page).href,
  ];
  try {
    return execFileSync('chromium', flags, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 });
  } finally {
    rmSync(profile, { recursive: true, force: true });
  }
}

mkdirSync(out, { recursive: true });
await build({
  entryPoints: [join(here, 'page.jsx')], outfile: join(out, 'page.js'), bundle: true, minify: true, format: 'esm', jsx: 'automatic',
  define: { global: 'window', 'process.env.NODE_ENV': '"production"' }, logLevel: 'error',
  loader: { '.svg': 'dataurl', '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
});
const code = readFileSync(join(out, 'page.js'), 'utf8').replaceAll('</script', '<\\/script');
const style = readFileSync(join(out, 'page.css'), 'utf8');
for (const name of readdirSync(answers).filter((name) => name.endsWith('.json'))) {
  const dashboard = read(join(here, '../dashboards', name));
  const input = read(join(answers, name));
  const page = join(out, name.replace('.json', '.html'));
  const picture = join(out, name.replace('.json', '.png'));
  writeFileSync(page, `<!doctype html><meta charset="utf-8"><title>begun</title><style>${style}</style><style>body{margin:0}</style>
<div id="page"></div><script>window.dashboard = ${script(dashboard)}; window.input = ${script(input)};</script>
<script type="module">${code}</script>`);
  const dom = chromium(page, heightOf(dashboard, input), '--dump-dom', `--screenshot=${picture}`);
  if (!dom.includes('<title>drawn</title>')) {
    throw new Error(`${name}: ${dom.replace(/<script[\s\S]*?<\/script>|<style[\s\S]*?<\/style>/g, '').slice(0, 3000)}`);
  }
  console.log(`${picture}: ${Math.round(statSync(picture).size / 1024)} kB`);
}
