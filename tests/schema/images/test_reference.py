"""The grammar of image references."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema.images.reference import ImageReference
from schema.kernel.errors import ErrorCode, HarborGuardError

SHA256 = "sha256:" + "a1" * 32
SHA512 = "sha512:" + "b2" * 64


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("acme/api", "docker.io/acme/api"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/nginx", "docker.io/library/nginx"),
        ("docker.io/library/nginx", "docker.io/library/nginx"),
        ("ghcr.io/acme/deep/path/api:1.4.7", "ghcr.io/acme/deep/path/api:1.4.7"),
        ("GHCR.io/acme/api", "ghcr.io/acme/api"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:dev", "localhost:5000/app:dev"),
        ("registry:5000/app", "registry:5000/app"),
        ("registry:05000/app", "registry:5000/app"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("[2001:DB8:0::1]/app", "[2001:db8::1]/app"),
        ("a.b/c__d.e--f_g:T_a.g-1", "a.b/c__d.e--f_g:T_a.g-1"),
        (f"nginx@{SHA256}", f"docker.io/library/nginx@{SHA256}"),
        (f"nginx:1.27@{SHA512}", f"docker.io/library/nginx:1.27@{SHA512}"),
        ("app:" + "t" * 128, "docker.io/library/app:" + "t" * 128),
        ("localhost", "docker.io/library/localhost"),  # without a slash there is no registry
        ("a.b", "docker.io/library/a.b"),
    ],
)
def test_references_have_one_canonical_spelling(text: str, canonical: str) -> None:
    reference = ImageReference.parse(text)
    assert str(reference) == canonical
    assert ImageReference.parse(canonical) == reference


def test_parts_are_told_apart() -> None:
    reference = ImageReference.parse(f"registry.example.com:5000/team/app:1@{SHA256}")
    assert (reference.registry, reference.repository) == ("registry.example.com:5000", "team/app")
    assert (reference.tag, reference.digest) == ("1", SHA256)
    assert reference.name == "registry.example.com:5000/team/app"


def test_the_default_tag_is_latest_only_where_nothing_says_more() -> None:
    assert ImageReference.parse("nginx").with_defaults().tag == "latest"
    assert ImageReference.parse("nginx:1").with_defaults().tag == "1"
    assert ImageReference.parse(f"nginx@{SHA256}").with_defaults().tag is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " nginx",
        "nginx ",
        "nginx\n",
        "nginx\x00",
        "ngïnx",
        "Nginx",
        "acme/API",
        "ACME/api",
        "nginx:",
        "nginx:-1",
        "nginx:.1",
        "nginx:" + "t" * 129,
        "nginx@",
        "nginx@sha256:" + "a" * 63,
        "nginx@sha256:" + "A" * 64,
        "nginx@md5:" + "a" * 32,
        f"nginx@{SHA256}@{SHA256}",
        "/nginx",
        "nginx/",
        "a//b",
        "a.b/",
        "../etc/passwd",
        "./nginx",
        "a/../b",
        "a___b",
        "a..b/c",
        "-/nginx",
        "nginx-",
        "_nginx",
        "-host.io/app",
        "host-.io/app",
        "host.io:0/app",
        "host.io:65536/app",
        "host.io:port/app",
        "host.io:/app",
        "user@host.io/app",
        "user:password@host.io/app",
        "[::1/app",
        "[::g]/app",
        "[1.2.3.4]/app",
        "[fe80::1%25eth0]/app",
        "f" * 64,
        "host.io/" + "a" * 248,
        "a" * 401,
        "nginx?x=1",
        "nginx#x",
        "nginx%20x",
    ],
)
def test_what_is_not_a_reference_is_refused(text: str) -> None:
    with pytest.raises(HarborGuardError) as caught:
        ImageReference.parse(text)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert [issue.path for issue in caught.value.issues] == ["image"]


@pytest.mark.parametrize(
    "text",
    [
        "alpine;curl x",
        "alpine;curl",
        "alpine|sh",
        "alpine&&id",
        "alpine$(id)",
        "alpine`id`",
        "$HOME",
        "--output=/etc/x",
        "-o/etc/x",
        "-",
        "--",
        "alpine:1;id",
        "dir:/etc",
        "docker-archive:/etc/shadow",
        "file:///etc/passwd",
        "~/image.tar",
    ],
)
def test_t51_shell_and_option_injection_is_refused(text: str) -> None:
    with pytest.raises(HarborGuardError) as caught:
        ImageReference.parse(text)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize("scheme", ["http://", "https://", "HTTPS://", "docker://", "oci://"])
def test_a_scheme_is_refused_with_advice(scheme: str) -> None:
    with pytest.raises(HarborGuardError, match="leave it out"):
        ImageReference.parse(f"{scheme}registry.example.com/app")


def test_the_message_never_repeats_the_input() -> None:
    with pytest.raises(HarborGuardError) as caught:
        ImageReference.parse("user:secret@host.io/app")
    assert "secret" not in caught.value.message


_WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
_COMPONENTS = st.lists(_WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([".", "_", "__", "-", "---"]).map(lambda mark: mark.join(words))
)
_HOSTS = st.one_of(
    st.just("localhost"),
    st.lists(_WORD, min_size=2, max_size=4).map(".".join),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
_PORTS = st.none() | st.integers(1, 65535)
_TAGS = st.none() | st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z")
_DIGESTS = st.none() | st.from_regex(r"\Asha256:[0-9a-f]{64}\Z")


@settings(deadline=None)
@given(
    host=st.none() | _HOSTS,
    port=_PORTS,
    path=st.lists(_COMPONENTS, min_size=1, max_size=4),
    tag=_TAGS,
    digest=_DIGESTS,
)
def test_every_valid_reference_round_trips(
    host: str | None, port: int | None, path: list[str], tag: str | None, digest: str | None
) -> None:
    registry = "" if host is None else f"{host}:{port}/" if port else f"{host}/"
    name = registry or "docker.io/"
    text = f"{name}{'/'.join(path)}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"
    reference = ImageReference.parse(text)
    assert (reference.tag, reference.digest) == (tag, digest)
    assert reference.repository.endswith("/".join(path))
    assert ImageReference.parse(str(reference)) == reference
    assert str(ImageReference.parse(str(reference))) == str(reference)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=300), max_size=60))
@example("a/b:c@sha256:" + "0" * 64)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        reference = ImageReference.parse(text)
    except HarborGuardError as refusal:
        assert refusal.code is ErrorCode.VALIDATION_ERROR  # noqa: PT017 -- either outcome is right, no other is
    else:
        assert ImageReference.parse(str(reference)) == reference
