// The three kinds of panels that are plugins of Grafana's server and in no package: state timeline, heatmap, bar chart.
// Plain drawings of the same numbers, in the same colours. Must never: look better than the plugin would.

import { dateTimeFormat, getFieldDisplayName, getFieldSeriesColor, getValueFormat, formattedValueToString } from '@grafana/data';
import { VizLayout, VizLegend } from '@grafana/ui';

import { theme, timeZone } from './frames.js';

const TEXT = { fill: theme.colors.text.primary, fontSize: 12, fontFamily: theme.typography.fontFamily };
const LINES = theme.colors.border.weak;

const pen = document.createElement('canvas').getContext('2d');
function widthOf(text) {
  pen.font = `12px ${theme.typography.fontFamily}`;
  return pen.measureText(text).width;
}

const legend = (items, options) => (items.length && options?.showLegend !== false) && (
  <VizLayout.Legend placement="bottom">
    <VizLegend placement="bottom" displayMode="list" items={items.map((item) => ({ ...item, yAxis: 1 }))} />
  </VizLayout.Legend>
);

// A time axis: lines and labels at whole minutes, as many as there is room for.
function TimeAxis({ input, left, right, top, bottom }) {
  const x = (at) => left + ((at - input.from) / (input.to - input.from)) * (right - left);
  const room = ((right - left) / (input.to - input.from)) * 60;
  const step = 60 * Math.ceil(60 / room);
  const ticks = [];
  for (let at = Math.ceil(input.from / step) * step; at <= input.to; at += step) {
    ticks.push(at);
  }
  return ticks.map((at) => (
    <g key={at}>
      <line x1={x(at)} x2={x(at)} y1={top} y2={bottom} stroke={LINES} />
      <text x={x(at)} y={bottom + 16} textAnchor="middle" {...TEXT}>{dateTimeFormat(at * 1000, { format: 'HH:mm', timeZone })}</text>
    </g>
  ));
}

// Runs of the same state of one series: [from, to, display value].
function runs(field, times, step) {
  const all = [];
  field.values.forEach((value, index) => {
    const at = times[index] / 1000;
    const shown = field.display(value);
    const last = all.at(-1);
    if (last && last.shown.text === shown.text && at - last.to <= step) {
      last.to = at + step;
    } else if (value !== null) {
      all.push({ from: at, to: at + step, shown });
    }
  });
  return all;
}

export function StateTimeline({ frames, panel, input, width, height }) {
  const rows = frames.map((frame) => ({
    name: getFieldDisplayName(frame.fields[1], frame, frames),
    runs: runs(frame.fields[1], frame.fields[0].values, input.step),
  }));
  const states = new Map(rows.flatMap((row) => row.runs).map(({ shown }) => [shown.text, shown.color]));
  const items = [...states].map(([label, color]) => ({ label, color }));
  const left = 12 + Math.max(...rows.map((row) => widthOf(row.name)));
  return (
    <VizLayout width={width} height={height} legend={legend(items, panel.options.legend)}>
      {(inner, tall) => {
        const right = inner - 8;
        const bottom = tall - 24;
        const slot = bottom / rows.length;
        const bar = slot * panel.options.rowHeight;
        const x = (at) => left + ((Math.min(at, input.to) - input.from) / (input.to - input.from)) * (right - left);
        return (
          <svg width={inner} height={tall}>
            <TimeAxis input={input} left={left} right={right} top={0} bottom={bottom} />
            {rows.map((row, index) => (
              <g key={row.name}>
                <text x={left - 8} y={slot * (index + 0.5) + 4} textAnchor="end" {...TEXT}>{row.name}</text>
                {row.runs.map(({ from, to, shown }) => (
                  <rect key={from} x={x(from)} width={Math.max(x(to) - x(from), 0.5)} y={slot * index + (slot - bar) / 2} height={bar}
                    fill={shown.color} fillOpacity={(panel.fieldConfig.defaults.custom.fillOpacity ?? 70) / 100} />
                ))}
              </g>
            ))}
          </svg>
        );
      }}
    </VizLayout>
  );
}

// Dark to bright orange for 0 to 1.
const ORANGES = [[43, 20, 6], [166, 54, 3], [253, 141, 60], [255, 245, 235]];
function orange(share) {
  const place = Math.min(share, 1) * (ORANGES.length - 1);
  const [a, b] = [ORANGES[Math.floor(place)], ORANGES[Math.ceil(place)]];
  return `rgb(${a.map((from, index) => Math.round(from + (b[index] - from) * (place % 1))).join(',')})`;
}

// Counts per bucket and moment, from the cumulative buckets that Prometheus keeps.
function bucketsOf(frames) {
  const bounds = frames
    .map((frame) => ({ frame, bound: Number(frame.fields[1].labels.le.replace('+Inf', 'Infinity')) }))
    .sort((a, b) => a.bound - b.bound);
  const counts = bounds.map(({ frame }) => new Map(frame.fields[0].values.map((at, index) => [at / 1000, frame.fields[1].values[index]])));
  return bounds.map(({ bound }, index) => ({
    bound,
    cells: [...counts[index]].map(([at, count]) => ({ at, count: count - (index ? counts[index - 1].get(at) ?? 0 : 0) })),
  }));
}

export function Heatmap({ frames, panel, input, width, height }) {
  const all = bucketsOf(frames);
  const seen = (bucket) => bucket.cells.some(({ count }) => count > 1e-9);
  // Empty buckets above and below all that was counted are left out.
  const buckets = all.slice(Math.max(all.findIndex(seen) - 1, 0), all.findLastIndex(seen) + 2);
  const most = Math.max(...buckets.flatMap(({ cells }) => cells.map(({ count }) => count)), 1e-9);
  const format = getValueFormat(panel.options.yAxis.unit);
  const label = ({ bound }) => (Number.isFinite(bound) ? formattedValueToString(format(bound)) : '+Inf');
  const left = 12 + Math.max(...buckets.map((bucket) => widthOf(label(bucket))));
  const right = width - 8;
  const bottom = height - 44;
  const tall = bottom / buckets.length;
  const wide = ((right - left) * input.step) / (input.to - input.from);
  const x = (at) => left + ((at - input.from) / (input.to - input.from)) * (right - left);
  const scale = Array.from({ length: 64 }, (_, index) => index / 63);
  return (
    <svg width={width} height={height}>
      {buckets.map((bucket, index) => {
        const y = bottom - tall * (index + 1);
        return (
          <g key={bucket.bound}>
            <text x={left - 6} y={y + 4 + (index === buckets.length - 1 ? 6 : 0)} textAnchor="end" {...TEXT}>{label(bucket)}</text>
            {bucket.cells.filter(({ count }) => count > 1e-9).map(({ at, count }) => (
              <rect key={at} x={x(at) - wide} y={y} width={Math.max(wide - 1, 1)} height={tall - 1} fill={orange((count / most) ** 0.5)} />
            ))}
          </g>
        );
      })}
      <TimeAxis input={input} left={left} right={right} top={0} bottom={bottom} />
      {scale.map((share) => (
        <rect key={share} x={left + share * 192} y={height - 14} width={3.2} height={8} fill={orange(share ** 0.5)} />
      ))}
      <text x={left - 6} y={height - 6} textAnchor="end" {...TEXT}>0</text>
      <text x={left + 202} y={height - 6} {...TEXT}>{Math.round(most)}</text>
    </svg>
  );
}

export function BarChart({ frames, panel, width, height }) {
  const [frame] = frames;
  const category = frame.fields.find((field) => field.name === panel.options.xField || field.config.displayName === panel.options.xField);
  const bars = frame.fields.filter((field) => field !== category && field.type === 'number');
  const colors = bars.map((field) => getFieldSeriesColor(field, theme).color);
  const items = bars.map((field, index) => ({ label: getFieldDisplayName(field, frame, frames), color: colors[index] }));
  const most = Math.max(...bars.flatMap((field) => field.values.map((value) => value ?? 0)), 1e-9);
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1].find((found) => most / found <= 6) ?? 1;
  const top = Math.ceil(most / step) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
  const text = (value) => formattedValueToString(bars[0].display(value, 0));
  const left = 12 + Math.max(...ticks.map((tick) => widthOf(text(tick))));
  return (
    <VizLayout width={width} height={height} legend={legend(items, panel.options.legend)}>
      {(inner, tall) => {
        const bottom = tall - 24;
        const y = (value) => bottom - (value / top) * (bottom - 6);
        const slot = (inner - left - 8) / frame.length;
        const bar = (slot * panel.options.groupWidth) / bars.length;
        return (
          <svg width={inner} height={tall}>
            {ticks.map((tick) => (
              <g key={tick}>
                <line x1={left} x2={inner - 8} y1={y(tick)} y2={y(tick)} stroke={LINES} />
                <text x={left - 6} y={y(tick) + 4} textAnchor="end" {...TEXT}>{text(tick)}</text>
              </g>
            ))}
            {Array.from({ length: frame.length }, (_, row) => (
              <g key={row}>
                <text x={left + slot * (row + 0.5)} y={bottom + 16} textAnchor="middle" {...TEXT}>{category.values[row]}</text>
                {bars.map((field, index) => (
                  <rect key={index} x={left + slot * row + (slot - bar * bars.length) / 2 + bar * index + bar * 0.05} width={bar * panel.options.barWidth}
                    y={y(field.values[row] ?? 0)} height={bottom - y(field.values[row] ?? 0)} fill={colors[index]} stroke={colors[index]}
                    fillOpacity={panel.fieldConfig.defaults.custom.fillOpacity / 100} />
                ))}
              </g>
            ))}
          </svg>
        );
      }}
    </VizLayout>
  );
}
