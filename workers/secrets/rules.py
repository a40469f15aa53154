"""What a secret looks like: one rule for each kind, as data.

A rule is looked for only in files that hold one of its keywords, so keywords are rare and literal. Patterns are RE2
(github.com/google/re2), which takes time linear in the length of the text whatever the pattern; each has one group, the
secret itself. Formats are those their issuers publish; where one publishes none, those of tokens it has issued.
"""

from __future__ import annotations

from dataclasses import dataclass

from schema.vulnerabilities.records import Severity

_CRITICAL, _HIGH, _MEDIUM, _LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`entropy` is the least a secret must have, in bits for a character (Shannon).

    `paths` are endings of the paths the rule is for, () for all of them and for what the config says. `everyday` rules
    match what people also write as examples: they demand more and are not asked in the code of installed packages.
    """

    id: str  # published, so it stays
    title: str
    severity: Severity
    pattern: str
    keywords: tuple[str, ...]  # any of them, in this spelling; with `folded` in any case
    folded: bool = False
    entropy: float = 0.0
    paths: tuple[str, ...] = ()
    everyday: bool = False


# What assigns a value in environment files, shell, YAML, JSON, TOML, properties and the like.
_ASSIGNED = r"""["']?[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}["']?"""
_NAMED = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "access-key",
    "auth_token",
    "token",
    "credential",
)
_SETTINGS = (
    ".env",
    ".env.local",
    ".env.development",
    ".env.production",
    ".ini",
    ".conf",
    ".cnf",
    ".cfg",
    ".config",
    ".properties",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".xml",
    ".sh",
    ".bash",
    ".profile",
    ".bashrc",
    ".zshrc",
    ".envrc",
    ".my.cnf",
    "environment",
    "credentials",
    ".bash_history",
    ".zsh_history",
    ".sh_history",
    ".tfvars",
    ".tfstate",
)

# In the order in which they claim a place in a text: the particular before the general.
RULES: tuple[Rule, ...] = (
    Rule(
        id="gcp-service-account-key",
        title="Google Cloud service account key",
        severity=_CRITICAL,
        pattern=(
            r'"private_key"[ \t]{0,8}:[ \t]{0,8}"-----BEGIN (?:RSA )?PRIVATE KEY-----(?:\\n)?'
            r"([A-Za-z0-9+/=][A-Za-z0-9+/=\\]{39,})"
        ),
        keywords=('"private_key"',),
    ),
    Rule(
        id="private-key",
        title="Private key",
        severity=_CRITICAL,
        # Headers of an old PEM may stand in between; a key of an agent or in a JSON file has "\n" written out.
        pattern=(
            r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |SSH2 |ENCRYPTED |ANY )?PRIVATE KEY-----"
            r"(?:\\r|\\n|\s|[A-Za-z-]{1,40}: [^\r\n]{0,200}[\r\n])*([A-Za-z0-9+/=][A-Za-z0-9+/=\\\s]{39,})"
        ),
        keywords=("PRIVATE KEY-----",),
    ),
    Rule(
        id="pgp-private-key",
        title="PGP private key",
        severity=_CRITICAL,
        pattern=(
            r"-----BEGIN PGP PRIVATE KEY BLOCK-----"
            r"(?:\s|[A-Za-z-]{1,40}: [^\r\n]{0,200}[\r\n])*([A-Za-z0-9+/=][A-Za-z0-9+/=\s]{39,})"
        ),
        keywords=("PGP PRIVATE KEY BLOCK",),
    ),
    Rule(
        id="putty-private-key",
        title="PuTTY private key",
        severity=_CRITICAL,
        pattern=r"Private-Lines: \d{1,4}\s{1,4}([A-Za-z0-9+/=][A-Za-z0-9+/=\s]{39,})",
        keywords=("PuTTY-User-Key-File-",),
    ),
    Rule(
        id="age-secret-key",
        title="age secret key",
        severity=_CRITICAL,
        pattern=r"\b(AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})\b",
        keywords=("AGE-SECRET-KEY-1",),
    ),
    Rule(
        id="aws-access-key-id",
        title="AWS access key id",
        severity=_HIGH,
        pattern=r"\b((?:AKIA|ASIA)[A-Z2-7]{16})\b",
        keywords=("AKIA", "ASIA"),
        entropy=2.5,
    ),
    Rule(
        id="aws-secret-access-key",
        title="AWS secret access key",
        severity=_CRITICAL,
        pattern=(
            r"(?i:aws_?secret_?(?:access_?)?key|secret_?access_?key)"
            + _ASSIGNED
            + r"([A-Za-z0-9+/]{40})(?:[^A-Za-z0-9+/=]|$)"
        ),
        keywords=("aws_secret", "awssecret", "secret_access_key", "secretaccesskey"),
        folded=True,
        entropy=3.5,
    ),
    Rule(
        id="google-api-key",
        title="Google API key",
        severity=_MEDIUM,
        pattern=r"\b(AIza[0-9A-Za-z_-]{35})(?:[^0-9A-Za-z_-]|$)",
        keywords=("AIza",),
        entropy=3.5,
    ),
    Rule(
        id="google-oauth-client-secret",
        title="Google OAuth client secret",
        severity=_HIGH,
        pattern=r"\b(GOCSPX-[0-9A-Za-z_-]{28})(?:[^0-9A-Za-z_-]|$)",
        keywords=("GOCSPX-",),
    ),
    Rule(
        id="azure-storage-key",
        title="Azure storage account key",
        severity=_CRITICAL,
        pattern=r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{42,86}={1,2})",
        keywords=("AccountKey=", "SharedAccessKey="),
        entropy=4.0,
    ),
    Rule(
        id="azure-client-secret",
        title="Microsoft Entra client secret",
        severity=_HIGH,
        pattern=r"(?:^|[^0-9A-Za-z_~.-])([0-9A-Za-z_~.-]{3}\dQ~[0-9A-Za-z_~.-]{31,34})(?:[^0-9A-Za-z_~.-]|$)",
        keywords=("7Q~", "8Q~"),
        entropy=3.5,
    ),
    Rule(
        id="azure-sas-token",
        title="Azure shared access signature",
        severity=_HIGH,
        pattern=r"[?&]sig=([A-Za-z0-9/+%]{43,90}(?:%3D|=))",
        keywords=("?sig=", "&sig="),
        entropy=3.5,
    ),
    Rule(
        id="github-token",
        title="GitHub token",
        severity=_CRITICAL,
        pattern=r"\b(gh[pousr]_[A-Za-z0-9]{36,})\b",
        keywords=("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        entropy=3.0,
    ),
    Rule(
        id="github-fine-grained-token",
        title="GitHub fine-grained token",
        severity=_CRITICAL,
        pattern=r"\b(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b",
        keywords=("github_pat_",),
        entropy=3.0,
    ),
    Rule(
        id="gitlab-token",
        title="GitLab token",
        severity=_CRITICAL,
        pattern=r"\b(gl(?:pat|dt|rt|ptt|cbt|soat|imt|agent|ft)-[0-9A-Za-z_-]{20,64})(?:[^0-9A-Za-z_-]|$)",
        keywords=("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glimt-", "glagent-", "glft-"),
        entropy=3.0,
    ),
    Rule(
        id="slack-token",
        title="Slack token",
        severity=_HIGH,
        pattern=r"\b(xox[abeoprs]-[0-9A-Za-z-]{20,}|xapp-\d-[0-9A-Z]{8,16}-\d{8,16}-[0-9a-f]{32,80})\b",
        keywords=("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
        entropy=2.8,
    ),
    Rule(
        id="slack-webhook",
        title="Slack webhook address",
        severity=_MEDIUM,
        pattern=r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Z0-9]{8,14}/[A-Z0-9]{8,20}/[0-9A-Za-z]{20,32})\b",
        keywords=("hooks.slack.com/",),
        entropy=2.8,
    ),
    Rule(
        id="stripe-key",
        title="Stripe live key",
        severity=_CRITICAL,
        pattern=r"\b([rs]k_live_[0-9A-Za-z]{20,})\b",
        keywords=("sk_live_", "rk_live_"),
        entropy=3.0,
    ),
    Rule(
        id="npm-token",
        title="npm access token",
        severity=_CRITICAL,
        pattern=r"\b(npm_[A-Za-z0-9]{36})\b",
        keywords=("npm_",),
        entropy=3.5,
    ),
    Rule(
        id="pypi-token",
        title="PyPI API token",
        severity=_CRITICAL,
        pattern=r"\b(pypi-AgE[0-9A-Za-z_-]{50,})",
        keywords=("pypi-AgE",),
        entropy=3.0,
    ),
    Rule(
        id="docker-hub-token",
        title="Docker Hub access token",
        severity=_CRITICAL,
        pattern=r"\b(dckr_(?:pat|oat)_[0-9A-Za-z_-]{27,40})(?:[^0-9A-Za-z_-]|$)",
        keywords=("dckr_pat_", "dckr_oat_"),
        entropy=3.0,
    ),
    Rule(
        id="vault-token",
        title="HashiCorp Vault token",
        severity=_HIGH,
        pattern=r"\b(hv[sbr]\.[0-9A-Za-z_-]{24,})",
        keywords=("hvs.", "hvb.", "hvr."),
        entropy=3.5,
    ),
    Rule(
        id="terraform-token",
        title="HCP Terraform token",
        severity=_HIGH,
        pattern=r"\b([0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_=-]{60,70})",
        keywords=(".atlasv1.",),
        entropy=3.5,
    ),
    Rule(
        id="digitalocean-token",
        title="DigitalOcean token",
        severity=_CRITICAL,
        pattern=r"\b(do[opr]_v1_[0-9a-f]{64})\b",
        keywords=("dop_v1_", "doo_v1_", "dor_v1_"),
        entropy=2.5,
    ),
    Rule(
        id="shopify-token",
        title="Shopify token",
        severity=_HIGH,
        pattern=r"\b(shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32})\b",
        keywords=("shpat_", "shpca_", "shppa_", "shpss_"),
        entropy=2.5,
    ),
    Rule(
        id="sendgrid-key",
        title="SendGrid API key",
        severity=_HIGH,
        pattern=r"\b(SG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43})(?:[^0-9A-Za-z_-]|$)",
        keywords=("SG.",),
        entropy=3.5,
    ),
    Rule(
        id="openai-key",
        title="OpenAI API key",
        severity=_HIGH,
        pattern=r"\b(sk-[0-9A-Za-z_-]{20,200}T3BlbkFJ[0-9A-Za-z_-]{20,200})",
        keywords=("T3BlbkFJ",),
        entropy=3.5,
    ),
    Rule(
        id="anthropic-key",
        title="Anthropic API key",
        severity=_HIGH,
        pattern=r"\b(sk-ant-[0-9a-z]{3,10}-[0-9A-Za-z_-]{80,120})(?:[^0-9A-Za-z_-]|$)",
        keywords=("sk-ant-",),
        entropy=3.5,
    ),
    Rule(
        id="hugging-face-token",
        title="Hugging Face token",
        severity=_HIGH,
        pattern=r"\b(hf_[A-Za-z]{34})\b",
        keywords=("hf_",),
        entropy=3.5,
    ),
    Rule(
        id="jwt",
        title="JSON web token",
        severity=_MEDIUM,
        pattern=r"\b(eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{20,})",
        keywords=(".eyJ",),
        entropy=3.5,
        everyday=True,
    ),
    Rule(
        id="netrc-password",
        title="Password in a .netrc file",
        severity=_HIGH,
        pattern=r"(?:^|\s)password\s{1,8}(\S{3,200})",
        keywords=("password",),
        paths=(".netrc", "_netrc", "etc/apt/auth.conf", ".auth.conf"),
    ),
    Rule(
        id="npmrc-credential",
        title="Credential in an .npmrc file",
        severity=_HIGH,
        pattern=r"""(?:_authToken|_auth|_password)[ \t]{0,8}=[ \t]{0,8}["']?([^\s"']{8,})""",
        keywords=("_auth", "_password"),
        paths=(".npmrc", "etc/npmrc", ".yarnrc"),
    ),
    Rule(
        id="pypirc-password",
        title="Password in a .pypirc file",
        severity=_HIGH,
        pattern=r"(?m)^[ \t]{0,8}password[ \t]{0,8}[:=][ \t]{0,8}([^\s]{3,})",
        keywords=("password",),
        paths=(".pypirc",),
    ),
    Rule(
        id="registry-credential",
        title="Credential for a container registry",
        severity=_CRITICAL,
        pattern=r'"(?:auth|identitytoken|registrytoken)"[ \t]{0,8}:[ \t]{0,8}"([A-Za-z0-9+/=_.-]{8,})"',
        keywords=('"auth"', '"identitytoken"', '"registrytoken"'),
        paths=(".docker/config.json", ".dockercfg", ".dockerconfigjson", "containers/auth.json", "kaniko/config.json"),
    ),
    Rule(
        id="kubeconfig-credential",
        title="Credential in a Kubernetes client configuration",
        severity=_CRITICAL,
        pattern=r"""(?:client-key-data|token|id-token|refresh-token)["']?[ \t]{0,8}:[ \t]{0,8}["']?([A-Za-z0-9+/=_.-]{20,})""",
        keywords=("client-key-data", "token"),
        paths=(".kube/config", "kubeconfig", ".kubeconfig", "kubeconfig.yaml", "etc/kubernetes/admin.conf"),
    ),
    Rule(
        id="password-hash",
        title="Hash of a password in the user database",
        severity=_MEDIUM,
        pattern=r"(?m)^[^:\s]{1,64}:(\$(?:1|2[abxy]?|5|6|7|y|gy)\$[^:\s]{10,})(?::|$)",
        keywords=(":$",),
        paths=("etc/shadow", "etc/shadow-", "etc/master.passwd", "etc/passwd", "etc/passwd-"),
    ),
    Rule(
        id="pgpass-password",
        title="Password in a .pgpass file",
        severity=_HIGH,
        pattern=r"(?m)^[^:#\s]{1,200}:[^:\s]{1,20}:[^:\s]{1,100}:[^:\s]{1,100}:([^\s]{3,200})$",
        keywords=(":",),
        paths=(".pgpass",),
    ),
    Rule(
        id="url-credential",
        title="Password in an address",
        severity=_MEDIUM,
        pattern=r"""\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:/?#@"'<>{}()\[\]]{0,100}:([^\s:/?#@"'<>{}()\[\]$]{3,200})@[0-9A-Za-z]""",
        keywords=("://",),
        everyday=True,
        entropy=2.0,
    ),
    Rule(
        id="assigned-secret",
        title="A value that is assigned to something named like a secret",
        severity=_LOW,
        pattern=(
            r"(?i:[0-9a-z_.-]{0,40}(?:"
            + "|".join(_NAMED)
            + r")[0-9a-z_-]{0,20})"
            + _ASSIGNED
            + r"""([^\s"'<>{}()\[\],;$&|%`\\]{10,200})(?:[\s"',;]|$)"""
        ),
        keywords=_NAMED,
        folded=True,
        entropy=3.3,
        paths=_SETTINGS,
        everyday=True,
    ),
)
