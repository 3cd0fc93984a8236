"""The part of the README that tells the figures: written between two marks, from the report alone."""
from . import footprint
from .peers import NAMES

BEGIN, END = "<!-- Costs: written by benches/compare --store -->", "<!-- /Costs -->"


def write(path, report):
    text = path.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n\n{draw(report)}\n\n{END}{after}")


def draw(report):
    parts = [
        "![CPU time of the proxy per request, as a multiple of the floor's](benches/compare.svg)",
        costs(report), not_ahead(report), bulk(report), latency(report), memory(report), measured(report),
    ]
    return "\n\n".join(part for part in parts if part)


def table(head, rows):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def costs(report):
    """CPU time per request: of each proxy, and rondel's as a multiple of the others'."""
    names = report["peers"]
    others = ordered(names)
    head = ["CPU µs per request", *(NAMES[name] for name in names), *(f"rondel × {NAMES[name]}" for name in others)]
    rows = []
    for entry in report["work"].values():
        if not entry["latency"]:
            times = [f"{entry['rows']['rondel'][f'to_{name}']:.2f}" for name in others]
            rows.append([title(entry), *(microseconds(entry["rows"][name]["cpu_us"]) for name in names), *times])
    return table(head, rows)


def ordered(names):
    """The others, the floor first."""
    return [name for name in ("floor", "haproxy", "nginx") if name in names]


def title(entry):
    return f"{entry['what']} \\*" if entry["noise"] else entry["what"]


def microseconds(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def not_ahead(report):
    """Where rondel costs as much as a peer, or more, or answers later, by the ratio."""
    told = []
    for name in ordered(report["peers"]):
        behind = [
            f"{what} ({times:.2f})"
            for entry in report["work"].values()
            for what, times in compared(entry, name)
            if name != "floor" and times >= 0.995
        ]
        if behind:
            told.append(f"Not ahead of {NAMES[name]}: {', '.join(behind)}.")
    if any(entry["noise"] for entry in report["work"].values()):
        told.append("\\* The machine was too noisy to conclude: other work ran, or the rounds differ too much.")
    return "\n\n".join(told)


def compared(entry, name):
    """What of rondel is compared with a peer in a workload, and its ratio to the peer's."""
    ours, theirs = entry["rows"]["rondel"], entry["rows"][name]
    if entry["latency"]:
        yield f"p50 of {entry['what']}", ours[f"to_{name}"]
        yield f"p99 of {entry['what']}", ours["p99_us"] / theirs["p99_us"]
    else:
        yield entry["what"], ours[f"to_{name}"]


def bulk(report):
    rows = [
        [title(entry), *(f"{entry['rows'][name]['mb_per_cpu_second']:,.0f}" for name in report["peers"])]
        for entry in report["work"].values()
        if "mb_per_cpu_second" in entry["rows"]["rondel"]
    ]
    return rows and table(["MB per second of CPU", *(NAMES[name] for name in report["peers"])], rows)


def latency(report):
    rows = [
        [title(entry), *(f"{row['p50_us']:,.0f} / {row['p99_us']:,.0f}" for row in in_order(report, entry["rows"]))]
        for entry in report["work"].values()
        if entry["latency"]
    ]
    return rows and table(["µs to the answer, p50 / p99", *(NAMES[name] for name in report["peers"])], rows)


def in_order(report, rows):
    return [rows[name] for name in report["peers"]]


def memory(report):
    rows = [
        [what, *(values[name] for name in report["peers"])] for what, values in footprint.rows(report["footprint"])
    ]
    return table(["memory, start, size", *(NAMES[name] for name in report["peers"])], rows)


def measured(report):
    priority = ", at real-time priority" if report["real_time"] else ""
    command = "benches/compare --rt --store" if report["real_time"] else "benches/compare --store"
    return (
        f"Measured {report['date']} by `{command}` (rounds: {report['rounds']}{priority}): {report['machine']};"
        f" {', '.join(report['versions'])}."
    )
