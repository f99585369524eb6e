"""How the report looks: one style sheet, light and dark, on paper too. Nothing is loaded."""

STYLE = """
:root {
  --paper: #ffffff; --ground: #f4f5f7; --ink: #1b2230; --soft: #5b6575; --line: #dfe3e9;
  --grid: #e8ebf0; --good: #17794a; --bad: #b3392b; --warn: #8a5a00; --warn-paper: #fff4d9;
  --s0: #2563c9; --s1: #d9660a; --s2: #1f8a5b; --s3: #a43fb0; --s4: #8a6d1d; --ref: #8b95a5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171b22; --ground: #0f1217; --ink: #e6e9ee; --soft: #9aa5b5; --line: #2b323d;
    --grid: #252b35; --good: #5cc795; --bad: #f08a7c; --warn: #f0c36a; --warn-paper: #33290f;
    --s0: #6ea3f7; --s1: #f2995a; --s2: #5cc795; --s3: #d58be0; --s4: #d8bd68; --ref: #7d8797;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 28px 24px 64px; }
header h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--soft); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 22px; margin-top: 18px; }
h2 { font-size: 18px; margin: 0 0 4px; }
h3 { font-size: 14px; margin: 14px 0 4px; }
p.note, .note { color: var(--soft); font-size: 13px; margin: 2px 0 12px; max-width: 92ch; }
.banner { border: 1px solid var(--warn); background: var(--warn-paper); color: var(--warn);
  border-radius: 10px; padding: 12px 16px; margin-top: 18px; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px;
  margin-top: 14px; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; }
.card b { display: block; font-size: 25px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 13px; }
.card i { font-style: normal; color: var(--soft); font-size: 12px; display: block; }
ul.verdict { margin: 6px 0 14px; padding-left: 20px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums;
  width: 100%; }
th, td { padding: 5px 8px; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; }
thead tr.group th { text-align: center; font-weight: 500; border-bottom: 0; font-size: 12px; }
th.sep, td.sep { border-left: 1px solid var(--line); }
td.best { font-weight: 700; }
td small { display: block; font-size: 11px; line-height: 1.2; color: var(--soft); }
small.up { color: var(--good); } small.down { color: var(--bad); }
td small.up { color: var(--good); } td small.down { color: var(--bad); }
tr.own td:first-child { font-weight: 650; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft);
  margin: 4px 0 8px; }
.plots { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 14px 22px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 13px; font-weight: 600; margin-bottom: 2px; }
figcaption em { font-style: normal; font-weight: 400; color: var(--soft); }
svg.plot { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .grid { stroke: var(--grid); fill: none; }
svg .tick.y { text-anchor: end; } svg .tick.x, svg .label { text-anchor: middle; }
svg .name { text-anchor: end; fill: var(--ink); } svg .value { fill: var(--ink); }
svg .line { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; }
svg .area { fill: currentColor; opacity: .16; stroke: none; }
svg .k0, svg .k1, svg .k2 { shape-rendering: crispEdges; }
svg .dot, svg .bar { fill: currentColor; }
svg .ref .line { stroke-dasharray: 5 3; stroke-width: 1.3; } svg .ref .area { opacity: .08; }
svg .ref .dot { display: none; }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); }
.s3 { color: var(--s3); } .s4 { color: var(--s4); } .ref { color: var(--ref); }
.k0 { color: var(--s2); fill: var(--s2); } .k1 { color: var(--s4); fill: var(--s4); }
.k2 { color: var(--bad); fill: var(--bad); }
.key.s0, .key.s1, .key.s2, .key.s3, .key.s4, .key.ref, .key.k0, .key.k1, .key.k2 {
  background: currentColor; }
.frame { margin: 12px 0 20px; }
.frame p { margin: 0 0 5px; font-size: 13px; color: var(--soft); }
.frame p b { color: var(--ink); }
.trio { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 8px; }
.trio figcaption { font-weight: 400; color: var(--soft); font-size: 12px; }
img { max-width: 100%; display: block; border-radius: 5px; }
.trio img { width: 100%; }
.narrow { max-width: 640px; margin-top: 10px; }
.wide { max-width: 860px; margin: 10px 0; }
img.film { margin-top: 8px; border-radius: 4px; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); font-size: 13.5px; }
dl { display: grid; grid-template-columns: minmax(150px, max-content) 1fr; gap: 2px 18px;
  margin: 8px 0; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: 12.5px; margin-top: 22px; }
@media (max-width: 560px) { .plots { grid-template-columns: 1fr; } main { padding: 16px 12px; } }
@media print { section, .card { break-inside: avoid; } body { background: #fff; } }
"""
