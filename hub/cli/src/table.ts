/** Tables for people: aligned columns, cut to the width of the terminal, colour only besides words. */
import pico from "picocolors";
import type { Terminal } from "./terminal.ts";

export type Tone = "plain" | "bad" | "unsure" | "good" | "faint";
export type Cell = string | Readonly<{ text: string; tone: Tone }>;

const GAP = "  ";
const WIDTH_MIN = 20;

/** Lines of a table with a header; empty columns are left out. Numbers go to the right. */
export function tableText(
  terminal: Pick<Terminal, "hasColor" | "columns">,
  header: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const isKept = (index: number) =>
    rows.some((row) => !["", "-"].includes(textOf(row[index] ?? "")));
  const kept = header.map((_, i) => i).filter((i) => i === 0 || isKept(i));
  const widths = kept.map((i) =>
    Math.max(header[i]?.length ?? 0, ...rows.map((row) => textOf(row[i] ?? "").length)),
  );
  const isNumeric = kept.map((i) => rows.every((row) => /^(\d+|-)$/.test(textOf(row[i] ?? ""))));
  const line = (cells: readonly Cell[], paint: boolean) => {
    let used = 0;
    const parts = kept.map((i, column) => {
      const isLast = column === kept.length - 1;
      const width = widths[column] ?? 0;
      const cut = fit(textOf(cells[i] ?? ""), isLast ? room(terminal.columns, used) : undefined);
      const pad = " ".repeat(Math.max(0, width - cut.length));
      used += width + GAP.length;
      const text = paint ? painted(terminal.hasColor, cut, toneOf(cells[i] ?? "")) : cut;
      if (isNumeric[column]) return pad + text;
      return isLast ? text : text + pad;
    });
    return `${parts.join(GAP).trimEnd()}\n`;
  };
  const body = rows.map((row) => line(row, true)).join("");
  const head = line(header, false);
  return `${painted(terminal.hasColor, head.trimEnd(), "faint")}\n${body}`;
}

function room(columns: number | undefined, used: number): number | undefined {
  return columns === undefined ? undefined : Math.max(WIDTH_MIN, columns - used);
}

function fit(text: string, width: number | undefined): string {
  if (width === undefined || text.length <= width) return text;
  return `${text.slice(0, width - 1)}…`;
}

function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text;
}

function toneOf(cell: Cell): Tone {
  return typeof cell === "string" ? "plain" : cell.tone;
}

export function painted(hasColor: boolean, text: string, tone: Tone): string {
  const colors = pico.createColors(hasColor);
  switch (tone) {
    case "bad":
      return colors.red(text);
    case "unsure":
      return colors.yellow(text);
    case "good":
      return colors.green(text);
    case "faint":
      return colors.dim(text);
    default:
      return text;
  }
}
