// One dashboard as a page: its panels in Grafana's grid, drawn with Grafana's components from the answers on file.
// Reads `window.input` (answers) and `window.dashboard` (JSON); sets the page's title to `drawn` when all is there, or writes
// what went wrong. Must never: ask a server for anything.

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';

import { dateTime, dateTimeFormat, getFieldDisplayValues, ThemeContext, VizOrientation } from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';

import { framesOf, theme, timeZone } from './frames.js';
import { BarChart, Heatmap, StateTimeline } from './svg.jsx';

const MARGIN = 16;
const GAP = 8;
const { dashboard, input } = window;
const column = (window.innerWidth - 2 * MARGIN - 23 * GAP) / 24;
const across = (columns) => columns * (column + GAP) - GAP;
const down = (rows) => rows * (30 + GAP) - GAP;
const same = (text) => text;
const range = { from: dateTime(input.from * 1000), to: dateTime(input.to * 1000) };
const timeRange = { ...range, raw: range };

function Stat({ frames, panel, width, height }) {
  const { options } = panel;
  const values = () => getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: same, theme, data: frames,
    sparkline: options.graphMode !== 'none', timeZone,
  });
  return (
    <VizRepeater
      getValues={values} source={frames} width={width} height={height} orientation={VizOrientation.Auto} itemSpacing={3} autoGrid
      renderValue={({ value, width, height, count }) => (
        <BigValue value={value.display} sparkline={value.sparkline} count={count} width={width} height={height} theme={theme}
          colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode} textMode={options.textMode}
          wideLayout={options.wideLayout} />
      )}
    />
  );
}

const Lines = ({ frames, panel, width, height }) => (
  <TimeSeries frames={frames} width={width} height={height} timeRange={timeRange} timeZone={timeZone} structureRev={1}
    legend={panel.options.legend} options={panel.options} />
);

const Table = ({ frames, panel, width, height }) => (
  <TableNG data={frames[0]} width={width} height={height} initialSortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight}
    structureRev={1} />
);

const KINDS = { stat: Stat, timeseries: Lines, table: Table, 'state-timeline': StateTimeline, heatmap: Heatmap, barchart: BarChart };
const PADDED = { stat: 'none', table: 'none' };

// The panels with their frames; one that is repeated comes once per value, in rows of at most `maxPerRow`.
async function laidOut() {
  const parts = dashboard.panels.map(async (panel) => {
    if (panel.type === 'row') {
      return [{ panel, grid: panel.gridPos, title: panel.title }];
    }
    if (!panel.repeat) {
      return [{ panel, grid: panel.gridPos, title: panel.title, frames: await framesOf(panel, input, '') }];
    }
    const values = [...new Set(input.answers.filter(({ place }) => place.panel === panel.id).map(({ place }) => place.value))];
    const perRow = Math.min(panel.maxPerRow, values.length);
    const { h, y } = panel.gridPos;
    return Promise.all(values.map(async (value, index) => ({
      panel, title: value, frames: await framesOf(panel, input, value),
      grid: { h, w: 24 / perRow, x: (index % perRow) * (24 / perRow), y: y + Math.floor(index / perRow) * h },
    })));
  });
  return (await Promise.all(parts)).flat();
}

function Panel({ panel, title, frames, grid }) {
  const place = { position: 'absolute', left: grid.x * (column + GAP), top: grid.y * (30 + GAP), width: across(grid.w), height: down(grid.h) };
  if (panel.type === 'row') {
    return <div style={{ ...place, fontSize: 16, fontWeight: 500, lineHeight: '30px' }}>⌄ {title}</div>;
  }
  const Kind = KINDS[panel.type];
  return (
    <div style={place}>
      <PanelChrome title={title} width={across(grid.w)} height={down(grid.h)} padding={PADDED[panel.type] ?? 'md'}>
        {(width, height) => (frames.length || panel.type === 'stat'
          ? <Kind frames={frames} panel={panel} input={input} width={width} height={height} />
          : <div style={{ height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue}</div>)}
      </PanelChrome>
    </div>
  );
}

function Chip({ label, value }) {
  return (
    <span style={{ border: `1px solid ${theme.colors.border.medium}`, borderRadius: 4, padding: '4px 8px', marginRight: 8 }}>
      <span style={{ color: theme.colors.text.secondary }}>{label}</span>&ensp;{value}
    </span>
  );
}

function Page({ panels }) {
  const clock = (at) => dateTimeFormat(at * 1000, { format: 'HH:mm:ss', timeZone });
  const chips = dashboard.templating.list.map(({ name, label, current }) => (
    <Chip key={name} label={label} value={name === 'window' ? input.window : String(current.text)} />
  ));
  const rows = Math.max(...panels.map(({ grid }) => grid.y + grid.h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={{ eventsScope: 'preview', eventBus: { publish() {}, getStream: () => ({ subscribe: () => ({}), pipe: () => ({ subscribe: () => ({}) }) }) } }}>
        <main style={{ padding: MARGIN, fontFamily: theme.typography.fontFamily, color: theme.colors.text.primary, background: theme.colors.background.canvas }}>
          <header style={{ height: 74 }}>
            <div style={{ display: 'flex', justifyContent: 'space-between', fontSize: 18, fontWeight: 500, marginBottom: 12 }}>
              <span>claimrisk / {dashboard.title}</span>
              <span style={{ fontSize: 12, fontWeight: 400, color: theme.colors.text.secondary }}>
                {clock(input.from)} to {clock(input.to)} UTC; drawn with Grafana's UI library, not by a Grafana server
              </span>
            </div>
            <div style={{ fontSize: 12 }}>{chips}</div>
          </header>
          <div style={{ position: 'relative', height: down(rows) }}>
            {panels.map((each) => <Panel key={each.panel.id + each.title} {...each} />)}
          </div>
        </main>
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
}

const failed = (error) => {
  document.title = 'failed';
  document.body.textContent = String(error?.stack ?? error);
};
window.addEventListener('error', (event) => failed(event.error ?? event.message));
window.addEventListener('unhandledrejection', (event) => failed(event.reason));
const panels = await laidOut();
// Widths of texts are measured before any text is on the page.
await Promise.all(['400 12px Inter', '500 12px Inter'].map((font) => document.fonts.load(font)));
flushSync(() => createRoot(document.getElementById('page'), { onUncaughtError: failed }).render(<Page panels={panels} />));
if (document.title !== 'failed') {
  document.title = 'drawn';
}
