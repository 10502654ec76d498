#!/usr/bin/python3
"""What is in an image, as SPDX 2.3 JSON.

usage: sbom.py ROOT

Each file under ROOT that comes from a Debian package is told by that package,
its version and its source package; the program is ours. Only the standard
library and dpkg-query are needed.
"""
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent


def version():
    text = (HERE / "meson.build").read_text()
    return re.search(r"version: '([^']+)'", text)[1]


def owner(path):
    """The Debian package of a file of this system, or None."""
    # Merged /usr: packages know some files by their old place.
    for name in (path, os.path.realpath(path),
                 re.sub(r"^/usr", "", os.path.realpath(path))):
        found = subprocess.run(["dpkg-query", "-S", name], check=False,
                               capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.split(": ")[0].split(",")[0]
    return None


def describe(package):
    fields = subprocess.run(
        ["dpkg-query", "-W", "-f",
         "${binary:Package}\t${Version}\t${source:Package}\t"
         "${source:Version}\t${Architecture}", package],
        check=True, capture_output=True, text=True).stdout.split("\t")
    name = fields[0].split(":")[0]
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name),
        "name": name,
        "versionInfo": fields[1],
        "supplier": "Organization: Debian",
        "sourceInfo": f"built from {fields[2]} {fields[3]}",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator":
                f"pkg:deb/debian/{name}@{fields[1]}?arch={fields[4]}"}],
    }


def own():
    return {
        "SPDXID": "SPDXRef-prober",
        "name": "prober",
        "versionInfo": version(),
        "supplier": "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "Apache-2.0",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION",
    }


def main(root):
    files = sorted(str(p)[len(root):] for p in pathlib.Path(root).rglob("*")
                   if p.is_file() and "/usr/share/sbom/" not in str(p))
    packages, unknown = {}, []
    for path in files:
        if path == "/usr/bin/prober" or path.startswith(("/etc/passwd",
                                                         "/etc/group")):
            continue
        # A generated file, of the package that generates it.
        name = ("ca-certificates" if path.startswith("/etc/ssl/")
                else owner(path))
        if name:
            packages[name] = True
        else:
            unknown.append(path)
    if unknown:
        sys.exit(f"of no package: {unknown}")
    listed = [own()] + [describe(p) for p in sorted(packages)]
    made = datetime.datetime.fromtimestamp(
        int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    json.dump({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"prober-{version()}",
        "documentNamespace": f"https://spdx.org/spdxdocs/prober-{digest}",
        "creationInfo": {"created": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": ["Tool: packaging/sbom.py"]},
        "packages": listed,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT",
             "relationshipType": "DESCRIBES",
             "relatedSpdxElement": "SPDXRef-prober"}] + [
            {"spdxElementId": "SPDXRef-prober",
             "relationshipType": "DEPENDS_ON",
             "relatedSpdxElement": p["SPDXID"]} for p in listed[1:]],
    }, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
