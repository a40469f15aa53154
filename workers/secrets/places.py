"""Where secrets are not looked for, or not believed: by the path of the file."""

from __future__ import annotations

import re

# Self-signed at installation so that a mail or web server starts at all (Debian's ssl-cert); worthless to anybody.
_WORTHLESS = frozenset({"etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem"})
_DOCUMENTATION = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/zoneinfo/")
# What package managers put in place: other people's code, published, so a key in its tests is no secret.
_PACKAGES = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|node_modules|gems|vendor|bower_components|pkg/mod|lib/python\d\.\d+)/"
    r"|^usr/(?:local/)?(?:lib|lib64|share|libexec|include)/|^lib/|^opt/(?:conda|venv)/lib/"
)
_EXAMPLES = re.compile(
    r"(?:^|/)(?:tests?|testing|testdata|test[_-]data|test[_-]keys|test[_-]certs|fixtures?|examples?|samples?|demos?|docs?|"
    r"spec|specs|__tests__|conformance|selftest\w*)/|(?:^|/)(?:test[_-][^/]*|[^/]*[_-]test\.\w+|[^/]*\.md|[^/]*\.rst)$"
)


def is_package_code(path: str) -> bool:
    """Whether the file came with an installed package."""
    return _PACKAGES.search(path) is not None


def is_harmless(path: str) -> bool:
    """Documentation, tests and examples of installed packages, and keys that are known to protect nothing."""
    return (
        path in _WORTHLESS
        or path.startswith(_DOCUMENTATION)
        or (_PACKAGES.search(path) is not None and _EXAMPLES.search(path) is not None)
    )
