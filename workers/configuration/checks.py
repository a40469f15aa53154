"""The catalogue of configuration checks.

Ids, levels and what is looked at are those of the CIS Docker Benchmark, section 4, and of Dockle
(github.com/goodwithtech/dockle, CHECKPOINT.md and `pkg/assessor`, 0.4.15); ids that start with HG are ours. Ids are
published, so they stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schema.scans.evidence import CheckLevel
from schema.vulnerabilities.records import Severity

# A failed check is a weakness of how the image was made, not a way in: nothing of it is critical.
SEVERITIES = {CheckLevel.FATAL: Severity.HIGH, CheckLevel.WARN: Severity.MEDIUM, CheckLevel.INFO: Severity.LOW}


class Needs(StrEnum):
    """What a check looks at. An image that lacks it leaves the check undecided."""

    CONFIG = "config"
    HISTORY = "history"
    FILES = "files"
    ACCOUNTS = "user database"
    TAG = "tag"
    NOTHING = "not decided from an image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `rule` says what fails it and where that differs from Dockle's; `remediation` what to do."""

    id: str
    title: str
    level: CheckLevel
    needs: tuple[Needs, ...]  # any of these decides it
    rule: str
    remediation: str

    @property
    def severity(self) -> Severity:
        return SEVERITIES[self.level]


_FATAL, _WARN, _INFO = CheckLevel.FATAL, CheckLevel.WARN, CheckLevel.INFO

USER = Check(
    id="CIS-DI-0001",
    title="The container runs as root",
    level=_WARN,
    needs=(Needs.CONFIG,),
    rule="The config names no user, or `root`, or user id 0, with or without a group. Dockle knows the first two.",
    remediation="Create a user in the Dockerfile and switch to it with USER at the end.",
)
BASE_IMAGE = Check(
    id="CIS-DI-0002",
    title="The base image is not a trusted one",
    level=_INFO,
    needs=(Needs.NOTHING,),
    rule="Which base images are trusted is a decision of yours; Dockle does not check it either.",
    remediation="Build on official or your own base images, and pin them by digest.",
)
PACKAGES = Check(
    id="CIS-DI-0003",
    title="Packages are installed that nobody needs",
    level=_INFO,
    needs=(Needs.NOTHING,),
    rule="What an image needs cannot be seen in it; Dockle does not check it either.",
    remediation="Install with --no-install-recommends, and build in a stage of its own.",
)
PATCHES = Check(
    id="CIS-DI-0004",
    title="The image lacks security patches",
    level=_INFO,
    needs=(Needs.NOTHING,),
    rule="That is what the vulnerability engines answer.",
    remediation="Scan for vulnerabilities, and rebuild on a current base image.",
)
CONTENT_TRUST = Check(
    id="CIS-DI-0005",
    title="Content trust is not switched on",
    level=_INFO,
    needs=(Needs.NOTHING,),
    rule="A setting of the client that pushes and pulls; an image does not show it.",
    remediation="Sign images, and verify signatures before they run.",
)
HEALTHCHECK = Check(
    id="CIS-DI-0006",
    title="There is no health check",
    level=_INFO,
    needs=(Needs.CONFIG,),
    rule="The config has no health check, or switches it off with `NONE`, which Dockle lets pass.",
    remediation="Add a HEALTHCHECK instruction, unless an orchestrator with probes of its own runs the image.",
)
UPDATE_ALONE = Check(
    id="CIS-DI-0007",
    title="Package lists are updated in a step of their own",
    level=_FATAL,
    needs=(Needs.HISTORY,),
    rule="A step runs `apt-get update`, `apt update` or `apk update`, and installs or upgrades nothing behind it. "
    "Dockle looks at apt only.",
    remediation="Update and install in the same RUN, so that a cached layer never leaves you with old lists.",
)
SETUID = Check(
    id="CIS-DI-0008",
    title="A program runs with the rights of its owner",
    level=_INFO,
    needs=(Needs.FILES,),
    rule="A regular file has the setuid or setgid bit. Dockle counts directories too, where setgid only hands on a group.",
    remediation="Remove the program or its bit (chmod u-s,g-s), unless users must change who they are.",
)
ADD = Check(
    id="CIS-DI-0009",
    title="ADD is used where COPY would do",
    level=_FATAL,
    needs=(Needs.HISTORY,),
    rule="A step other than the one that made the lowest layer, which is how a base image comes to its files, is an ADD. "
    "Dockle lets the first ADD of the history pass.",
    remediation="Use COPY. ADD also fetches addresses and unpacks archives, whatever is in them.",
)
SECRETS = Check(
    id="CIS-DI-0010",
    title="The image holds something named like a secret",
    level=_FATAL,
    needs=(Needs.CONFIG, Needs.HISTORY, Needs.FILES),
    rule="A variable that is named like a secret has a value, in the environment or in a step of the history; or a file has a "
    "name that such files have. Names are judged word by word, so BYPASS and KEYBOARD are none, and names of files "
    "(DB_PASSWORD_FILE) are none either; files of installed packages are left out. Dockle does neither.",
    remediation="Hand secrets over when the container starts, or with a secret mount during the build. Replace those found.",
)
VERIFIED_PACKAGES = Check(
    id="CIS-DI-0011",
    title="Packages are installed without their signatures being verified",
    level=_FATAL,
    needs=(Needs.HISTORY,),
    rule="A step switches the verification of a package manager or a download off. Dockle does not check this.",
    remediation="Install the key of the repository, or the certificate of the server, instead of not looking.",
)
SUDO = Check(
    id="DKL-DI-0001",
    title="sudo is used or installed",
    level=_FATAL,
    needs=(Needs.HISTORY, Needs.FILES),
    rule="A step of the history names `sudo`, or there is a file usr/bin/sudo with the setuid bit. Dockle reads the history.",
    remediation="Run what needs root before the USER instruction, and remove sudo.",
)
VOLUMES = Check(
    id="DKL-DI-0002",
    title="A volume covers a directory of the kernel",
    level=_FATAL,
    needs=(Needs.CONFIG,),
    rule="`/dev`, `/proc` or `/sys` is declared as a volume.",
    remediation="Remove the VOLUME instruction.",
)
DIST_UPGRADE = Check(
    id="DKL-DI-0003",
    title="The whole distribution is upgraded during the build",
    level=_FATAL,
    needs=(Needs.HISTORY,),
    rule="A step runs `dist-upgrade` or `full-upgrade`. A plain `upgrade`, which Dockle's page names and its program lets "
    "pass, passes.",
    remediation="Build on a newer base image.",
)
APK_CACHE = Check(
    id="DKL-DI-0004",
    title="apk leaves its cache in the layer",
    level=_FATAL,
    needs=(Needs.HISTORY,),
    rule="A step runs `apk add` without `--no-cache` and does not remove /var/cache/apk behind it. Dockle wants the option.",
    remediation="Use apk add --no-cache.",
)
APT_CACHE = Check(
    id="DKL-DI-0005",
    title="apt leaves its package lists in the layer",
    level=_FATAL,
    needs=(Needs.HISTORY,),
    rule="A step updates or installs with apt and does not remove /var/lib/apt/lists behind it. Where the layer is known and "
    "holds no lists, it passes: they may be on a mount. Dockle does not look.",
    remediation="End the RUN with rm -rf /var/lib/apt/lists/*.",
)
LATEST = Check(
    id="DKL-DI-0006",
    title="The image is called latest",
    level=_WARN,
    needs=(Needs.TAG,),
    rule="It was scanned by the tag `latest`. A scan by digest leaves the check undecided.",
    remediation="Use tags that say the version, and run images by digest.",
)
EMPTY_PASSWORD = Check(
    id="DKL-LI-0001",
    title="An account has no password",
    level=_FATAL,
    needs=(Needs.ACCOUNTS,),
    rule="The second field of an account in etc/shadow, etc/master.passwd or etc/passwd is empty. Dockle leaves the last out.",
    remediation="Lock the account with passwd -l.",
)
UNIQUE_IDS = Check(
    id="DKL-LI-0002",
    title="Two accounts or two groups have the same number",
    level=_FATAL,
    needs=(Needs.ACCOUNTS,),
    rule="A number occurs twice in etc/passwd, or twice in etc/group.",
    remediation="Give each account and group a number of its own.",
)
CLUTTER = Check(
    id="DKL-LI-0003",
    title="The image holds files that only the build needs",
    level=_INFO,
    needs=(Needs.FILES,),
    rule="There is a Dockerfile, docker-compose.yml or .vimrc, or a file in a directory called .cache, tmp, .git, .vscode, "
    ".idea or .npm. What is below node_modules or vendor is left out.",
    remediation="Name them in .dockerignore, or remove them in the RUN that makes them.",
)
PORTS = Check(
    id="HG-DI-0001",
    title="A privileged port is exposed",
    level=_INFO,
    needs=(Needs.CONFIG,),
    rule="The config exposes a port below 1024, which needs root or a capability on many systems.",
    remediation="Listen on a port from 1024 up; the runtime can publish it under any number.",
)
LABELS = Check(
    id="HG-DI-0002",
    title="A label is named like a secret",
    level=_FATAL,
    needs=(Needs.CONFIG,),
    rule="A label that is named like a secret has a value. Names are judged as in CIS-DI-0010.",
    remediation="Remove the label, and replace the secret: labels are shown to everybody who can pull.",
)
REMOTE_LOGIN = Check(
    id="HG-DI-0003",
    title="A remote login service is exposed",
    level=_WARN,
    needs=(Needs.CONFIG,),
    rule="The config exposes port 22 (SSH), 23 (Telnet) or 3389 (remote desktop).",
    remediation="Remove the service; the runtime can open a shell in a container.",
)
PIPED_DOWNLOAD = Check(
    id="HG-DI-0004",
    title="A download is run without being looked at",
    level=_WARN,
    needs=(Needs.HISTORY,),
    rule="A step pipes curl or wget into a shell or an interpreter.",
    remediation="Download a fixed version, compare its digest, then run it.",
)
PASSWORDLESS_SUDO = Check(
    id="HG-LI-0001",
    title="sudo asks for no password",
    level=_FATAL,
    needs=(Needs.FILES,),
    rule="A rule in etc/sudoers or etc/sudoers.d says NOPASSWD.",
    remediation="Remove the rule, or sudo.",
)
WRITABLE = Check(
    id="HG-LI-0002",
    title="Everybody may change a program or a system file",
    level=_WARN,
    needs=(Needs.FILES,),
    rule="A regular file below bin, sbin, lib, lib64, usr or etc may be written by others.",
    remediation="Take the right away: chmod o-w.",
)

CHECKS: tuple[Check, ...] = (
    *(USER, BASE_IMAGE, PACKAGES, PATCHES, CONTENT_TRUST, HEALTHCHECK, UPDATE_ALONE, SETUID, ADD, SECRETS),
    *(
        VERIFIED_PACKAGES,
        SUDO,
        VOLUMES,
        DIST_UPGRADE,
        APK_CACHE,
        APT_CACHE,
        LATEST,
        EMPTY_PASSWORD,
        UNIQUE_IDS,
        CLUTTER,
    ),
    *(PORTS, LABELS, REMOTE_LOGIN, PIPED_DOWNLOAD, PASSWORDLESS_SUDO, WRITABLE),
)
