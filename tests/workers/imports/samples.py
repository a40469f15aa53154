"""Documents of formats that several tools write, made up after their schemas. They are no recordings."""

from __future__ import annotations

from typing import Any

OPENSSL = "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12&upstream=openssl"
CURL = "pkg:deb/debian/curl@7.88.0-1?arch=amd64&distro=debian-12"
DIGEST = "sha256:" + "d" * 64


def sbom(*purls: str, generator: str = "cdxgen", version: str = "10.1", **members: Any) -> dict[str, Any]:
    """CycloneDX 1.5 with a component for each package URL, which is its reference, too."""
    components = [
        {"type": "library", "bom-ref": purl, "name": purl.partition("@")[0].rpartition("/")[2], "purl": purl}
        for purl in purls
    ]
    tool = {"type": "application", "name": generator, "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": {"tools": {"components": [tool]}},
        "components": components,
        **members,
    }


# After grype/presenter/sarif: the rule is called after the flaw and the package, whose package URL it has.
GRYPE_SARIF: dict[str, Any] = {
    "version": "2.1.0",
    "$schema": "https://json.schemastore.org/sarif-2.1.0-rtm.5.json",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "grype",
                    "version": "0.87.0",
                    "rules": [
                        {
                            "id": "CVE-2024-0001-libssl3",
                            "name": "DpkgMatcherExactDirectMatch",
                            "shortDescription": {"text": "CVE-2024-0001 high vulnerability for libssl3 package"},
                            "help": {"text": "Vulnerability CVE-2024-0001\nSeverity: high\nPackage: libssl3\nVersion: 3.0.1-1\n"
                                             "Fix Version: 3.0.2-1\nType: deb\nLocation: /var/lib/dpkg/status"},
                            "properties": {"purls": [OPENSSL], "security-severity": "7.5"},
                        },
                        {"id": "CVE-2024-0002-left-pad", "properties": {"security-severity": "9.8"}},
                    ],
                }
            },
            "results": [
                {
                    "ruleId": "CVE-2024-0001-libssl3",
                    "level": "error",
                    "message": {"text": "A high vulnerability in deb package: libssl3, version 3.0.1-1 was found at: "
                                        "/var/lib/dpkg/status"},
                    "locations": [{"physicalLocation": {"artifactLocation": {"uri": "var/lib/dpkg/status"}}}],
                },
                {
                    "ruleId": "CVE-2024-0002-left-pad",
                    "message": {"text": "A critical vulnerability in npm package: left-pad, version 1.0.0 was found"},
                },
                {"ruleId": "CVE-2024-0003-x", "message": {"text": "A low flaw in odd package: x, version 1 was found"}},
                {"ruleId": "CVE-2024-0001-libssl3", "suppressions": [{"kind": "external"}], "message": {"text": "m"}},
                {"ruleId": "js/xss", "message": {"text": "Cross-site scripting"}},
            ],
        }
    ],
}  # fmt: skip

# After pkg/report/sarif.go: no package URL, and of a distribution's package no kind either.
TRIVY_SARIF: dict[str, Any] = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "Trivy",
                    "version": "0.58.1",
                    "rules": [
                        {"id": "CVE-2024-0004", "name": "LanguageSpecificPackageVulnerability",
                         "shortDescription": {"text": "a flaw"},
                         "properties": {"security-severity": "5.5", "tags": ["vulnerability", "security", "MEDIUM"]}},
                    ],
                }
            },
            "properties": {"repoDigests": [f"ghcr.io/acme/api@{DIGEST}"]},
            "results": [
                {
                    "ruleId": "CVE-2024-0004",
                    "ruleIndex": 0,
                    "message": {"text": "Package: @babel/core\nInstalled Version: 7.1.0\nVulnerability CVE-2024-0004\n"
                                        "Severity: MEDIUM\nFixed Version: 7.2.0, 8.0.0\nLink: [CVE-2024-0004](https://x.example)"},
                    "locations": [{"physicalLocation": {
                        "artifactLocation": {"uri": "srv/node_modules/@babel/core/package.json"}}}],
                },
            ],
        }
    ],
}  # fmt: skip
