// Answers of Prometheus as Grafana's data frames, as its Prometheus data source and its panels make them: legends,
// transformations, field defaults and overrides. Must never: change a number.

import {
  applyFieldOverrides, cacheFieldDisplayNames, createDataFrame, createTheme, FieldType, standardFieldConfigEditorRegistry,
  standardTransformers, standardTransformersRegistry, transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

export const theme = createTheme({ colors: { mode: 'dark' } });
export const timeZone = 'utc';

// What a server registers when it starts: the settings that fields may have, and the transformations.
const settings = ['custom', 'unit', 'decimals', 'min', 'max', 'color', 'thresholds', 'mappings', 'noValue', 'custom.lineStyle',
  'custom.cellOptions', 'custom.axisPlacement', 'custom.width', 'custom.align', 'custom.fillOpacity', 'custom.stacking', 'custom.lineWidth'];
const setting = (id) => ({
  id,
  path: id.replace('custom.', ''),
  isCustom: id.startsWith('custom.'),
  process: (value) => structuredClone(value),
  shouldApply: () => true,
});
standardFieldConfigEditorRegistry.setInit(() => settings.map(setting));
const { mergeTransformer, organizeFieldsTransformer, sortByTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer, sortByTransformer].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    transformation: () => Promise.resolve(transformer),
  })),
);

const number = (text) => (text === 'NaN' ? null : Number(text));

// The name of a series: its legend with labels filled in.
const named = (legend, labels) => legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');

// One frame per series, as for charts.
function series(target, result, step) {
  return result.map(({ metric, values, value }) => {
    const points = values ?? [value];
    return createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: points.map(([at]) => at * 1000), config: { interval: step * 1000 } },
        {
          name: 'Value', type: FieldType.number, values: points.map(([, text]) => number(text)), labels: metric,
          config: { displayNameFromDS: named(target.legendFormat, metric) },
        },
      ],
    });
  });
}

// One frame with a row per series, as for tables.
function table(target, result) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map(({ value }) => value[0] * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: result.map(({ metric }) => metric[label] ?? '') })),
      { name: `Value #${target.refId}`, type: FieldType.number, values: result.map(({ value }) => number(value[1])) },
    ],
  });
}

// The frames of a panel, ready to draw. `value`: the value of the variable that the panel is repeated for.
export async function framesOf(panel, input, value) {
  const raw = panel.targets.flatMap((target) => {
    const answer = input.answers.find(
      ({ place }) => place.panel === panel.id && place.value === value && place.refId === target.refId,
    );
    if (!answer) {
      throw new Error(`${panel.title}, ${target.refId}: no answer on file`);
    }
    return target.format === 'table' ? [table(target, answer.result)] : series(target, answer.result, input.step);
  });
  const data = await lastValueFrom(
    transformDataFrame(panel.transformations ?? [], raw.filter((frame) => frame.length), { interpolate: (text) => text }),
  );
  const frames = applyFieldOverrides({ data, fieldConfig: panel.fieldConfig, replaceVariables: (text) => text, theme, timeZone });
  cacheFieldDisplayNames(frames);
  return frames;
}
