"""From what the rounds have measured to figures: medians, ratios, and whether anything can be concluded from them."""
import statistics
import sys

from .peers import NAMES

BASES = ("floor", "haproxy", "nginx")
# Other work on the proxy's core above this share, or time that the hypervisor took, makes a round worth nothing.
FOREIGN_MAX = 0.10
# Ratios of one workload that differ by more than this between rounds leave its figure open.
SPREAD_MAX = 0.30


def summary(work, results):
    """The figures of a workload, by the proxy's name."""
    figure = "p50_us" if work.latency else "cpu_us"
    rows = {}
    for name, runs in results.items():
        row = {key: middle(runs, key) for key in ("cpu_us", "per_second", "p50_us", "p99_us", "core_share", "foreign")}
        row["failed"] = sum(run["failed"] for run in runs)
        if work.payload:
            row["mb_per_cpu_second"] = work.payload / row["cpu_us"]
        for base in BASES:
            if base in results:
                row[f"to_{base}"], row[f"spread_{base}"] = ratio(runs, results[base], figure)
        rows[name] = {key: value and round(value, 3) for key, value in row.items()}
    return rows


def middle(runs, key):
    values = [run[key] for run in runs]
    return None if None in values else statistics.median(values)


def ratio(ours, theirs, figure):
    """The median of the ratios round by round, and how far they lie apart: of five and more, without the outermost two."""
    ratios = sorted(our[figure] / their[figure] for our, their in zip(ours, theirs))
    median = statistics.median(ratios)
    inner = ratios[1:-1] if len(ratios) > 4 else ratios
    return median, (inner[-1] - inner[0]) / median


def noise(rows):
    """Why nothing can be concluded from a workload; empty when something can."""
    why = []
    foreign = max(row["foreign"] for row in rows.values())
    if foreign > FOREIGN_MAX:
        why.append(f"other work had {foreign:.0%} of the proxy's core")
    spread = max(rows["rondel"].get(f"spread_{base}", 0) for base in BASES)
    if spread > SPREAD_MAX:
        why.append(f"rounds differ by {spread:.0%}")
    why += [f"{row['failed']} requests to {NAMES[name]} failed" for name, row in rows.items() if row["failed"]]
    return "; ".join(why)


def show(name, work, rows, noisy):
    """Prints the table of a workload."""
    figure = "p50" if work.latency else "CPU"
    bases = [base for base in BASES if base in rows]
    print(f"\n{name}: {work.what}, {work.connections:,} connections; ratios of {figure}")
    times = "".join(f"{'× ' + NAMES[base]:>11}" for base in bases)
    print(f"  {'':8}{'CPU µs/req':>11}{times}{'req/s':>8}{'p50 µs':>9}{'p99 µs':>9}{'core':>6}{'MB/CPU s':>10}{'failed':>8}")
    for peer, row in sorted(rows.items(), key=lambda item: item[1]["cpu_us"]):
        times = "".join(f"{row[f'to_{base}']:11.2f}" for base in bases)
        p50, p99, bulk = (
            "-" if row.get(key) is None else f"{row[key]:.0f}" for key in ("p50_us", "p99_us", "mb_per_cpu_second")
        )
        print(
            f"  {NAMES[peer]:8}{row['cpu_us']:11.1f}{times}{row['per_second']:8.0f}{p50:>9}{p99:>9}"
            f"{row['core_share']:6.2f}{bulk:>10}{row['failed']:8}"
        )
    if noisy:
        print(f"  too noisy to conclude: {noisy}")
    sys.stdout.flush()
