"""Prometheus text 0.0.4, read strictly: what a scrape may not do, it is told."""
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
TYPES = ("counter", "gauge", "histogram")


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = {}  # (suffix, labels as a sorted tuple) -> value

    def label_names(self):
        return sorted({key for _, labels in self.samples for key, _ in labels} - {"le"})


def labels_of(text):
    labels, at = [], 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"not labels: {text[at:]!r}"
        labels.append((found.group(1), found.group(2)))
        at = found.end()
        assert not found.group(3) or at < len(text), f"a comma at the end: {text!r}"
    assert len({key for key, _ in labels}) == len(labels), f"a label twice: {text!r}"
    return tuple(sorted(labels))


def suffix_of(family, name):
    suffix = name[len(family.name):] if name.startswith(family.name) else None
    allowed = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
    assert suffix in allowed, f"{name} stands in the family {family.name}"
    return suffix


def check_histograms(family):
    """For each set of labels: bounds rise, counts do not fall, +Inf is there and is the count, and there is a sum."""
    series = {}
    for (suffix, labels), value in family.samples.items():
        bare = tuple(pair for pair in labels if pair[0] != "le")
        series.setdefault(bare, {}).setdefault(suffix, []).append((dict(labels).get("le"), value))
    for labels, parts in series.items():
        assert sorted(parts) == ["_bucket", "_count", "_sum"], f"{family.name}{labels} has {sorted(parts)}"
        bounds = [float(le) for le, _ in parts["_bucket"]]
        counts = [value for _, value in parts["_bucket"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{family.name}{labels}: {bounds}"
        assert counts == sorted(counts), f"{family.name}{labels} is not cumulative: {counts}"
        assert counts[-1] == parts["_count"][0][1], f"{family.name}{labels}: +Inf is not the count"
        assert parts["_sum"][0][1] >= 0


def parse(text):
    """{name: Family}, or an AssertionError that says what is wrong."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if found := re.fullmatch(rf"# HELP ({NAME}) (.+)", line):
            assert found.group(1) not in families, f"{found.group(1)} is begun twice"
            current = families[found.group(1)] = Family(*found.groups())
            continue
        if found := re.fullmatch(rf"# TYPE ({NAME}) (\w+)", line):
            assert current and current.name == found.group(1) and current.type is None and not current.samples, line
            assert found.group(2) in TYPES, line
            current.type = found.group(2)
            continue
        found = SAMPLE.fullmatch(line)
        assert found, f"not a line of the format: {line!r}"
        assert current and current.type, f"a sample without its family's head: {line!r}"
        key = (suffix_of(current, found.group(1)), labels_of(found.group(2) or ""))
        assert key not in current.samples, f"a series twice: {line!r}"
        current.samples[key] = float(found.group(3))
    for family in families.values():
        check_family(family)
    return families


def check_family(family):
    assert family.type, f"{family.name} has no TYPE"
    assert (family.type == "counter") == family.name.endswith("_total"), f"{family.name} is a {family.type}"
    assert not re.search(r"_(ns|us|ms|msec|kb|mb|kib|mib)(_|$)", family.name), f"{family.name}: seconds and bytes are the units"
    if family.type == "histogram":
        check_histograms(family)


def table(families):
    """The list of deploy/prometheus/README.md."""
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in families.values():
        labels = ", ".join(family.label_names()) or "-"
        rows.append(f"| `{family.name}` | {family.type} | {labels} | {family.help} |")
    return "\n".join(rows) + "\n"


def names_in(text):
    """Metrics that a rule, a query or a dashboard names, as families: without what a histogram adds."""
    names = set(re.findall(r"\b(?:netmesh|process)_[a-z0-9_]+", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
