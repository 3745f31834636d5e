/** Of a terminal, in characters and pixels. */
const columns = 120;
const [cellWidth, lineHeight, margin] = [8, 18, 16];

/**
 * An SVG picture of a terminal with this text in it: lines that are too long go on in the next row, as a
 * terminal does it. The same text gives the same picture.
 */
export function terminalPicture(title: string, text: string): string {
  const rows = text.trimEnd().split('\n').flatMap(wrapped);
  const width = columns * cellWidth + 2 * margin;
  const height = rows.length * lineHeight + 2 * margin;
  const lines = rows.map((row, index) => {
    const y = margin + (index + 1) * lineHeight - 5;
    const kind = row.startsWith('$ ') ? ' class="prompt"' : '';
    // The length is said, because no font is as wide as the next one.
    return row === ''
      ? ''
      : `  <text${kind} x="${margin}" y="${y}" textLength="${row.length * cellWidth}" xml:space="preserve">${escaped(row)}</text>\n`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace" font-size="13">
  <title id="title">${escaped(title)}</title>
  <style>
    rect { fill: #0d1117; }
    text { fill: #e6edf3; }
    .prompt { fill: #7ee787; }
  </style>
  <rect width="${width}" height="${height}" rx="8"/>
${lines.join('')}</svg>
`;
}

function wrapped(line: string): readonly string[] {
  const rows = Math.max(1, Math.ceil(line.length / columns));
  return Array.from({ length: rows }, (_, i) => line.slice(i * columns, (i + 1) * columns));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
