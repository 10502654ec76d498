#!/usr/bin/python3
"""The documents, checked against the sources: what the code has is documented,
and what is documented the code has.

usage: docs.py SOURCE_ROOT

Endpoints, error codes, metrics, outcomes, lines of the log and of the audit
log, and that every link inside the repository leads somewhere.
"""
import pathlib
import re
import sys

import yaml


def source(root, *patterns):
    """The text of all files that match, one after the other."""
    files = sorted(f for p in patterns for f in root.glob(p))
    assert files, patterns
    return "\n".join(f.read_text(encoding="utf-8") for f in files)


def documents(root):
    """{path: text} of README, CHANGELOG, docs/ and the chart's README."""
    files = [root / "README.md", root / "CHANGELOG.md",
             *sorted((root / "docs").glob("*.md")),
             *sorted((root / "charts").glob("*/README.md"))]
    return {f.relative_to(root).as_posix(): f.read_text(encoding="utf-8")
            for f in files}


def section(text, heading):
    """From this heading to the next of its level or above."""
    level = heading.index(" ")
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)",
                      text, re.M | re.S)
    assert found, f"no section {heading}"
    return found[1]


def rows(text):
    """The cells of every row of every table, without the heads."""
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"\|[-| ]+\|$", line):
            yield [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]


def ticked(cell):
    return re.findall(r"`([^`]+)`", cell)


def compare(what, has, says):
    """Complaints about what is in one set only."""
    return ([f"{what}: {x} is not documented" for x in sorted(has - says)] +
            [f"{what}: {x} is documented, but does not exist"
             for x in sorted(says - has)])


# ---- links ----

def without_code(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    """What headings can be linked by, as GitHub makes it."""
    made = set()
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        n, unique = 0, slug
        while unique in made:
            n += 1
            unique = f"{slug}-{n}"
        made.add(unique)
    return made


def check_links(root, docs):
    bad = []
    for path, text in docs.items():
        links = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
        # A link's text is often code, so it went; its target did not.
        for link in links:
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (root / path).parent / name if name else root / path
            if not target.exists():
                bad.append(f"{path}: {link} leads nowhere")
            elif anchor and anchor not in anchors(
                    target.read_text(encoding="utf-8")):
                bad.append(f"{path}: {link}: there is no such heading")
    if sum(len(re.findall(r"\]\(", t)) for t in docs.values()) < 20:
        bad.append("links: hardly any found, is this the right directory?")
    return bad


def check_index(docs):
    """README's table names every document."""
    return [f"README.md does not name {path}" for path in docs
            if path.startswith("docs/") and f"]({path})" not in
            docs["README.md"]]


def check_names(root, docs):
    """Files of the tree and words of ./dev that documents speak of."""
    words = set(re.findall(r"^  ([a-z-]+)", source(root, "dev"), re.M))
    bad = []
    for path, text in docs.items():
        bad += [f"{path}: there is no ./dev {word}" for word in sorted(set(
            re.findall(r"\./dev ([a-z-]+)", text)) - words)]
        for name in set(re.findall(r"`((?:test|packaging|proto|prober|mesh|"
                                   r"charts|docs)/[\w/.-]*)`", text)):
            if not (root / name).exists() and not any(
                    root.glob(name + s) for s in (".[ch]", "_*.[ch]")):
                bad.append(f"{path}: there is no {name}")
    return bad


# ---- HTTP ----

def routes(root):
    """Paths that the code answers, as OpenAPI writes them."""
    api = set(re.findall(r'\{"(/[^"]+)",', source(root, "prober/api.c")))
    if "api_cells(" in source(root, "prober/api.c"):
        api.add("/api/v1/cells/{from}/{to}")
    control = source(root, "prober/control.c")
    own = set(re.findall(r'\{"(/[^"]+)",|request->path, "(/[^"]+)"', control))
    own = {a or b for a, b in own} - {"/api/v1/", "/metrics"}
    return api | {p + "{id}" if p.endswith("/") else p for p in own}


def check_endpoints(root, docs):
    has = routes(root)
    api = docs["docs/api.md"]
    described = yaml.safe_load(
        (root / "docs/openapi.yaml").read_text(encoding="utf-8"))
    bad = compare("docs/openapi.yaml", has, set(described["paths"]))
    named = set(re.findall(r"(?:GET|POST|DELETE) (/[\w/{}.-]+[\w}y])", api))
    bad += compare("docs/api.md", has, {
        p for p in named | {q for q in ticked(api) if q in has}
        if p not in ("/probe", "/api/v1")})
    return bad


def check_grpc(root, docs):
    has = set()
    for proto in sorted(root.glob("proto/*.proto")):
        text = proto.read_text(encoding="utf-8")
        package = re.search(r"^package ([\w.]+);", text, re.M)[1]
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text,
                                        re.M | re.S):
            has |= {f"{package}.{service}/{m}"
                    for m in re.findall(r"rpc (\w+)\(", body)}
    says = section(docs["docs/api.md"], "### gRPC")
    return [f"docs/api.md: {m} is not documented" for m in sorted(has)
            if m not in says and m.rpartition("/")[0] not in says]


def codes_of(root):
    """{code: statuses}; no status where it is not beside the code."""
    text = source(root, "prober/api*.c", "prober/control*.c",
                  "prober/httpd*.c", "prober/metrics.c", "prober/inquiry.c")
    found = re.findall(r'(?:httpd_error|answer_badly)\([^;"]*?(\d{3}),'
                       r'\s*"(\w+)"', text)
    found += [(s, c) for c, s in re.findall(r'\{"(\w+)", ([45]\d\d),', text)]
    codes = {}
    for status, code in found:
        codes.setdefault(code, set()).add(status)
    for code in re.findall(r'\*code = "(\w+)"|"code", "(\w+)"', text):
        codes.setdefault(code[0] or code[1], set())
    return codes


def check_codes(root, docs):
    api, has, says = docs["docs/api.md"], codes_of(root), {}
    for row in rows(api):
        statuses = re.findall(r"\b[45]\d\d\b", row[0])
        if statuses and re.fullmatch(r"[\d, ]+", row[0]):
            for code in ticked(row[1]):
                says.setdefault(code, set()).update(statuses)
    # One stands in the text of its endpoint, not in a table.
    says.update({code: {status} for status, code in
                 re.findall(r"\b([45]\d\d) `(\w+)`", api) if code not in says})
    bad = compare("docs/api.md: code", set(has), set(says))
    return bad + [f"docs/api.md: {code} comes with {s} as well"
                  for code in sorted(set(has) & set(says))
                  for s in sorted(has[code] - says[code])]


# ---- what the program says ----

def check_outcomes(root, docs):
    text = source(root, "proto/outcome.c")
    table = re.search(r"outcomes\[\] = \{(.*?)\};", text, re.S)[1]
    has = set(re.findall(r'"(\w+)"', table))
    says = {o for row in rows(section(docs["docs/api.md"], "## Outcomes"))
            for o in ticked(row[0])}
    return compare("docs/api.md: outcome", has, says)


def metric_name(name, kind):
    return name + {"counter": "_total", "info": "_info"}.get(kind, "")


def check_metrics(root, docs):
    text = source(root, "prober/metrics*.c")
    found = re.findall(r'\b(GAUGE|COUNTER)S?\("(\w+)"', text)
    found += [(k, n) for n, k in
              re.findall(r'"(\w+)", METRICS_(\w+)', text)]
    has = {(metric_name(n, k.lower()), k.lower()) for k, n in found}
    page = docs["docs/metrics.md"]
    says = {(ticked(r[0])[0], r[1])
            for r in rows(section(page, "## All metrics")) if ticked(r[0])}
    bad = compare("docs/metrics.md", has, says)
    names = {n for n, _ in has}
    for path, text in docs.items():
        for name in set(re.findall(r"\bprober_[a-z_]+[a-z]\b", text)) - names:
            if re.sub(r"_(bucket|sum|count)$", "", name) not in names:
                bad.append(f"{path}: there is no metric {name}")
    return bad


def check_log(root, docs):
    """Every line that may be written is in the table, with its level."""
    has = {f"{level.lower()} {event}" for level, event in re.findall(
        r'LOG_(ERROR|WARN|INFO|DEBUG),\s*"(\w+)"',
        source(root, "prober/*.c", "mesh/*.c"))}
    says = set()
    for row in rows(section(docs["docs/operations.md"], "## Logs")):
        level = None
        for text in ticked(row[0]):
            level = text.split()[0] if " " in text else level
            says.add(f"{level} {text.split()[-1]}")
    return compare("docs/operations.md: log line", has, says)


def check_audit(root, docs):
    has = set(re.findall(r'(?:->audit|audit_write|audit_action)\('
                         r'\s*[^,"]+,\s*"(\w+)"',
                         source(root, "prober/*.c")))
    says = {e for row in
            rows(section(docs["docs/security.md"], "## The audit log"))
            for e in ticked(row[0])}
    return compare("docs/security.md: audit line", has, says)


def main():
    root = pathlib.Path(sys.argv[1])
    docs = documents(root)
    bad = check_links(root, docs) + check_index(docs)
    for check in (check_names, check_endpoints, check_grpc, check_codes,
                  check_outcomes, check_metrics, check_log, check_audit):
        bad += check(root, docs)
    for line in bad:
        print(line)
    print(f"{len(docs)} documents, {len(bad)} complaints")
    sys.exit(bool(bad))


main()
