"""Tables, figures and curves as the pages have them. Used by performance.py."""

COLOURS = {"rebuild": "#b3541e", "spill": "#4a6fa5", "planner": "#2e7d32"}
WAYS = {"rebuild": "rebuild only", "spill": "spill only", "planner": "planner"}


def table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(out + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def digits(x, n=3):
    """To n figures, without an exponent where it would be short."""
    if x == 0:
        return "0"
    text = f"{x:.{n}g}"
    return f"{float(text):,.0f}" if "e+" in text or abs(x) >= 10**n else text


def gb(x):
    return f"{x / 1e9:.2f}"


def per_day(seconds):
    """ns/day with a step of 1 fs."""
    return digits(86400e-6 / seconds)


def unlimited(profile):
    """Seconds of a step with all the memory it wants: the median of every such measurement of the run."""
    found = sorted([profile["unlimited_s"]] + [r["measured_s"] for r in profile["rows"] if r["budget"] == "100%"])
    return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2


def svg(w, h, title):
    """The first lines of a picture."""
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" font-size="12">',
            f'<rect width="{w}" height="{h}" fill="white"/>', title]


def spill_curve(structure, p, rows):
    """Predicted (lines) beside measured (dots) in the rows of a profile: time over the share of fast memory."""
    w, h, left, low, top = 640, 360, 62, 44, 40
    most = 1.1 * max(max(r["measured_s"], r["predicted_s"]) for r in rows)
    # Steps of a GPU take milliseconds.
    scale, unit = (1, "seconds") if most > 2 else (1e3, "milliseconds")
    x = lambda b: left + (w - left - 20) * min(1.0, b / p["unlimited_bytes"])
    y = lambda s: h - low - (h - low - top) * s / most
    text = lambda at, to, s, more="": f'<text x="{at:.1f}" y="{to:.1f}" {more}>{s}</text>'
    out = svg(w, h, text(left, 20, f"A step of {structure.split('.')[0]} with less fast memory: predicted (lines), measured (dots)", 'font-size="13"'))
    step = next(k * 10**e for e in range(6) for k in (5, 10) if scale * most / (k * 10**e) <= (5 if k == 5 else 10))
    for s in range(0, int(scale * most) + 1, step):
        out.append(f'<path d="M{left} {y(s / scale):.1f}H{w - 20}" stroke="#ddd"/>' + text(left - 6, y(s / scale) + 4, s, 'text-anchor="end"'))
    for share in (0, 25, 50, 75, 100):
        out.append(text(x(share / 100 * p["unlimited_bytes"]), h - low + 16, f"{share} %", 'text-anchor="middle"'))
    out.append(text(w / 2, h - 8, "fast memory, share of what an unlimited step takes", 'text-anchor="middle"'))
    out.append(text(14, h / 2, unit, f'text-anchor="middle" transform="rotate(-90 14 {h / 2})"'))
    for k, (way, colour) in enumerate(COLOURS.items()):
        mine = sorted((r for r in rows if r["way"] == way), key=lambda r: r["hbm_bytes"])
        points = [(x(r["hbm_bytes"]), y(r["predicted_s"])) for r in mine] + [(x(p["unlimited_bytes"]), y(unlimited(p)))]
        out.append(f'<path d="M{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out += [f'<circle cx="{x(r["hbm_bytes"]):.1f}" cy="{y(r["measured_s"]):.1f}" r="4" fill="{colour}"/>' for r in mine]
        out.append(f'<path d="M{w - 170} {top + 12 + 18 * k}h24" stroke="{colour}" stroke-width="2"/>' + text(w - 140, top + 16 + 18 * k, WAYS[way]))
    return "\n".join(out + ["</svg>"]) + "\n"
