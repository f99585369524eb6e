"""Write what `make faults` found into docs/reliability.md: `outcomes.py FILE.json PAGE.md`."""

import json
import sys
from itertools import groupby
from pathlib import Path

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HEAD = "| fault | published | fused | passed | dropped | lost |\n|---|---|---|---|---|---|"


def by_cause(ends, kind):
    """Return `3 overrun, 2 ir_stale` for the ends of a kind; nothing where there are none."""
    found = {end[len(kind) + 2 :]: n for end, n in sorted(ends.items()) if end.startswith(kind)}
    return ", ".join(f"{n} {cause}" for cause, n in found.items())


def tables(outcomes):
    """Return a table for each group."""
    parts = []
    for group, faults in groupby(outcomes, lambda outcome: outcome["group"]):
        rows = [HEAD]
        for each in faults:
            ends = each["ends"]
            cells = [each["fault"], str(each["published"]), str(ends.get("fused", 0))]
            cells += [by_cause(ends, kind) for kind in ("passed", "dropped", "lost")]
            rows.append("| " + " | ".join(cells) + " |")
        parts.append(f"### {group[0].upper()}{group[1:]}\n\n" + "\n".join(rows))
    published = sum(each["published"] for each in outcomes)
    total = f"{len(outcomes)} faults, {published} visible frames, every one accounted for."
    return "\n\n".join([total, *parts])


def written(page, text):
    """Return the page with the text between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    found = tables(json.loads(source.read_text(encoding="utf-8")))
    target.write_text(written(target.read_text(encoding="utf-8"), found), encoding="utf-8")
