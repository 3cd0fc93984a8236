"""The picture of the report: bars of CPU time per request, as multiples of the floor's, as SVG."""
from html import escape

from .peers import NAMES

WIDTH, LEFT, RIGHT = 820, 236, 48
BAR, GAP, TOP = 13, 12, 88
COLOURS = {"rondel": "#c8452d", "haproxy": "#7d9cc0", "nginx": "#a9bfa4"}
INK, QUIET, LINE = "#1f2328", "#59636e", "#d8dde3"
# Longer bars are cut off here, their figures are not.
TIMES_MAX = 4.0


def draw(report):
    names = [name for name in COLOURS if name in report["peers"]]
    entries = [entry for entry in report["work"].values() if not entry["latency"]]
    longest = max(entry["rows"][name]["to_floor"] for entry in entries for name in names)
    scale = (WIDTH - LEFT - RIGHT) / min(TIMES_MAX, max(longest, 1.0))
    bottom = TOP + len(entries) * (BAR * len(names) + GAP)
    parts = [axis(scale, bottom), *(group(entry, names, scale, nth) for nth, entry in enumerate(entries))]
    parts += [legend(names), caption(report, entries, bottom + 26)]
    height = bottom + 26 + 17 * len(caption_lines(report, entries))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' font-family="system-ui, -apple-system, \'Segoe UI\', \'DejaVu Sans\', sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n'
        + "\n".join(part for part in parts if part) + "\n</svg>\n"
    )


def text(x, y, content, **attributes):
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(content)}</text>'


def rectangle(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="1.5" fill="{colour}"/>'


def axis(scale, bottom):
    """A line at each whole multiple; the floor's is the one that counts."""
    lines = []
    for times in range(1, int((WIDTH - LEFT - RIGHT) / scale + 1e-9) + 1):
        x, floor = LEFT + times * scale, times == 1
        lines.append(
            f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{bottom}" stroke="{INK if floor else LINE}"'
            f' stroke-width="{1.2 if floor else 1}"{" stroke-dasharray=" + chr(34) + "4 3" + chr(34) if floor else ""}/>'
        )
        lines.append(text(x, TOP - 15, "floor" if floor else f"{times} ×", text_anchor="middle", fill=QUIET, font_size=11))
    return "\n".join(lines)


def group(entry, names, scale, nth):
    """A workload: its name, and a bar for each proxy."""
    y = TOP + nth * (BAR * len(names) + GAP)
    mark = " *" if entry["noise"] else ""
    parts = [text(LEFT - 10, y + BAR * len(names) / 2 + 4, entry["what"] + mark, text_anchor="end")]
    for name in names:
        times = entry["rows"][name]["to_floor"]
        width = min(times, TIMES_MAX) * scale
        weight = {"font_weight": "bold"} if name == "rondel" else {"fill": QUIET}
        # A white edge, where a line of the axis passes behind.
        edge = {"stroke": "#ffffff", "stroke_width": 4, "paint_order": "stroke"}
        parts.append(rectangle(LEFT, y, width, BAR - 2, COLOURS[name]))
        parts.append(text(LEFT + width + 5, y + BAR - 3, f"{times:.2f}", font_size=11, **weight, **edge))
        y += BAR
    return "\n".join(parts)


def legend(names):
    title = "CPU time of the proxy per request, as a multiple of the floor’s: less is better"
    parts = [text(20, 26, title, font_size=15, font_weight="bold")]
    x = 20
    for name in names:
        parts += [rectangle(x, 40, 11, 11, COLOURS[name]), text(x + 17, 50, NAMES[name])]
        x += 92
    return "\n".join(parts)


def caption_lines(report, entries):
    lines = [
        "floor: a relay that makes the four system calls that a request takes, and hardly more (benches/floor.rs)",
        f"{', '.join(report['versions'])}; medians of interleaved rounds ({report['rounds']}), {report['date']}",
        report["machine"],
    ]
    if any(entry["noise"] for entry in entries):
        lines.append("* the machine was too noisy to conclude")
    return lines


def caption(report, entries, top):
    lines = caption_lines(report, entries)
    return "\n".join(text(20, top + 17 * nth, line, font_size=11, fill=QUIET) for nth, line in enumerate(lines))
