"""Runs the study translation-real, and prints a line for each trace: what it touches, how often no TLB has a
translation, how much of its cycles that takes, and by how much these change with other mechanisms."""

import tiersim

result = tiersim.run("translation-real.yaml", quiet=True)
runs = {(row.factors["trace.use"], row.factors["what_if"]): row.metrics for row in result.rows if row.metrics}
others = [name for name in dict.fromkeys(name for _, name in runs) if name != "base"]
print(f"{'':23}{'pages':>6}{'mpki':>8}{'share':>8}", *(f"{name:>10}" for name in others))
for trace in dict.fromkeys(trace for trace, _ in runs):
    base = runs[trace, "base"]
    changes = [runs[trace, name]["cycles"] / base["cycles"] - 1 for name in others]
    print(
        f"{trace.split('/')[1]:23}{base['pages.touched']:6,}{base['translation.mpki']:8.3f}",
        f"{base['translation.share']:7.2%}",
        *(f"{change:>+10.2%}" for change in changes),
    )
for item in result.skipped:
    print(f"skipped: {item['why']}")
