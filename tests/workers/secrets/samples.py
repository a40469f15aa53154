"""One secret of each kind, made up: put together here, so that none stands in the repository as a whole."""

from __future__ import annotations

import base64
import json
import random
import string

ALNUM = string.ascii_letters + string.digits
_CHANCE = random.Random(20260101)  # noqa: S311 -- made up, and the same each time


def made_up(alphabet: str, length: int) -> str:
    return "".join(_CHANCE.choice(alphabet) for _ in range(length))


def pem(kind: str = "", lines: int = 5) -> str:
    body = "\n".join(made_up(ALNUM + "+/", 64) for _ in range(lines))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----\n"


def _pgp() -> str:
    kind = "PGP PRIVATE KEY BLOCK"
    return f"-----BEGIN {kind}-----\nVersion: GnuPG v2\n\n{made_up(ALNUM, 64)}\n=abcd\n-----END {kind}-----\n"


def _jwt() -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": made_up(ALNUM, 12), "role": "operator"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, made_up(ALNUM, 43)])


def _base64(length: int) -> str:
    return base64.b64encode(bytes(_CHANCE.randrange(256) for _ in range(length))).decode()


HEX, BASE32, UPPER = "0123456789abcdef", string.ascii_uppercase + "234567", string.ascii_uppercase + string.digits

# Rule: (path, text in front of the secret, the secret, text behind it).
SAMPLES: dict[str, tuple[str, str, str, str]] = {
    "gcp-service-account-key": (
        "srv/account.json",
        '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\n',
        made_up(ALNUM + "+/", 64) + "\\n" + made_up(ALNUM + "+/", 64),
        '\\n-----END PRIVATE KEY-----\\n"}',
    ),
    "private-key": ("root/.ssh/id_ed25519", "# mine\n", pem("OPENSSH "), ""),
    "pgp-private-key": ("root/key.asc", "", _pgp(), ""),
    "putty-private-key": (
        "root/key.ppk",
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n",
        made_up(ALNUM, 48),
        "\n",
    ),
    "age-secret-key": ("root/keys.txt", "", "AGE-SECRET-KEY-1" + made_up("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58), "\n"),
    "aws-access-key-id": ("app/run.py", 'key = "', "AKIA" + made_up(BASE32, 16), '"'),
    "aws-secret-access-key": ("root/.aws/credentials", "aws_secret_access_key = ", made_up(ALNUM + "+/", 40), "\n"),
    "google-api-key": ("app/main.js", "'", "AIza" + made_up(ALNUM + "_-", 35), "'"),
    "google-oauth-client-secret": ("app/a.txt", '"', "GOCSPX-" + made_up(ALNUM, 28), '"'),
    "azure-storage-key": ("app/a.config", "AccountName=shop;AccountKey=", _base64(64), ";"),
    "azure-client-secret": ("app/a.py", "'", made_up(ALNUM, 3) + "8Q~" + made_up(ALNUM + "_.-", 34), "'"),
    "azure-sas-token": ("app/a.py", "https://shop.example.net/c?sv=2024&sig=", made_up(ALNUM, 43) + "%3D", "&se=1"),
    "github-token": ("app/.env", "T=", "ghp_" + made_up(ALNUM, 36), "\n"),
    "github-fine-grained-token": ("a", "", f"github_pat_{made_up(ALNUM, 22)}_{made_up(ALNUM, 59)}", "\n"),
    "gitlab-token": ("a", "x ", "glpat-" + made_up(ALNUM, 20), "\n"),
    "slack-token": ("a", "", f"xoxb-{made_up(string.digits, 12)}-{made_up(ALNUM, 24)}", "\n"),
    "slack-webhook": (
        "a",
        "https://hooks.slack.com/services/",
        f"T{made_up(UPPER, 8)}/B{made_up(UPPER, 10)}/{made_up(ALNUM, 24)}",
        "\n",
    ),
    "stripe-key": ("a", "", "sk_" + "live_" + made_up(ALNUM, 24), "\n"),
    "npm-token": ("a", "", "npm_" + made_up(ALNUM, 36), "\n"),
    "pypi-token": ("a", "", "pypi-AgE" + made_up(ALNUM + "_-", 150), "\n"),
    "docker-hub-token": ("a", "", "dckr_pat_" + made_up(ALNUM, 27), "\n"),
    "vault-token": ("a", "", "hvs." + made_up(ALNUM, 90), "\n"),
    "terraform-token": ("a", "", f"{made_up(ALNUM, 14)}.atlasv1.{made_up(ALNUM, 67)}", "\n"),
    "digitalocean-token": ("a", "", "dop_v1_" + made_up(HEX, 64), "\n"),
    "shopify-token": ("a", "", "shpat_" + made_up(HEX, 32), "\n"),
    "sendgrid-key": ("a", "", f"SG.{made_up(ALNUM, 22)}.{made_up(ALNUM, 43)}", "\n"),
    "openai-key": ("a", "", f"sk-proj-{made_up(ALNUM, 60)}T3BlbkFJ{made_up(ALNUM, 60)}", "\n"),
    "anthropic-key": ("a", "", f"sk-ant-api03-{made_up(ALNUM, 93)}AA", "\n"),
    "hugging-face-token": ("a", "", "hf_" + made_up(string.ascii_letters, 34), "\n"),
    "jwt": ("app/session.txt", "", _jwt(), "\n"),
    "netrc-password": ("root/.netrc", "machine git.example.com login bob password ", "hunter2x", "\n"),
    "npmrc-credential": ("root/.npmrc", "//registry.npmjs.org/:_authToken=", made_up(HEX, 36), "\n"),
    "pypirc-password": ("root/.pypirc", "[pypi]\nusername = bob\npassword = ", "hunter2x", "\n"),
    "registry-credential": ("root/.docker/config.json", '{"auths": {"ghcr.io": {"auth": "', _base64(24), '"}}}'),
    "kubeconfig-credential": ("root/.kube/config", "    client-key-data: ", _base64(300), "\n"),
    "password-hash": ("etc/shadow", "root:*:1::::::\nbob:", "$6$" + made_up(ALNUM, 90), ":19000:0:99999:7:::\n"),
    "pgpass-password": ("root/.pgpass", "db.internal:5432:shop:bob:", "hunter2x", "\n"),
    "url-credential": ("app/settings.toml", 'url = "postgresql://shop:', "k9Zt4mQx", '@db.internal/shop"\n'),
    "assigned-secret": ("app/.env", "SESSION_SECRET=", made_up(ALNUM, 28), "\n"),
}


def text(rule: str) -> bytes:
    _, before, secret, behind = SAMPLES[rule]
    return f"{before}{secret}{behind}".encode()


def secret_lines(rule: str) -> list[str]:
    """What must not be seen of it anywhere: any line of it that is long enough to be worth something."""
    secret = SAMPLES[rule][2]
    return [
        line
        for line in secret.replace("\\n", "\n").splitlines()
        if len(line) >= 8 and "-----" not in line and ":" not in line
    ]
