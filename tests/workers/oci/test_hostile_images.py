"""Images made to hurt whoever reads them: each ends in a scan failure with its code, and nothing is written elsewhere.

What single parts refuse is tested with those parts; here whole images go all the way from an archive to merged files.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import (
    Compression,
    Directory,
    Files,
    Hardlink,
    Image,
    Layer,
    Opaque,
    Symlink,
    Whiteout,
    docker_files,
    hybrid_files,
    image,
    index,
    layer,
    layout_files,
    tar,
    write_archive,
)
from workers.oci.archives import open_source
from workers.oci.files import MergedImage
from workers.oci.layers import merge_layers
from workers.oci.limits import MIB, ImageLimits

LIMITS = ImageLimits()
UNSAFE, INVALID, LIMIT = FailureCode.UNSAFE_ARCHIVE, FailureCode.IMAGE_INVALID, FailureCode.LIMIT_EXCEEDED

Scan = Callable[..., MergedImage]


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    def scanned(built: Image, limits: ImageLimits = LIMITS) -> MergedImage:
        source = write_archive(tmp_path / "image.tar", layout_files(built))
        try:
            opened = open_source(source, tmp_path / "work" / "layout", platform=None, limits=limits)
            return merge_layers(opened, wanted=lambda _path: True, limits=limits)
        finally:
            assert {path.name for path in tmp_path.iterdir()} == {"image.tar", "work"}
            assert {path.name for path in (tmp_path / "work").iterdir()} == {"layout"}

    return scanned


def failure(scan: Scan, built: Image, limits: ImageLimits = LIMITS) -> FailureCode:
    with pytest.raises(ScanFailure) as caught:
        scan(built, limits)
    return caught.value.code


def packed(tar_bytes: bytes, blob: bytes, compression: Compression) -> Layer:
    return Layer(tar=tar_bytes, blob=blob, compression=compression, created_by="")


@pytest.mark.parametrize("target", ["/etc", "/", "../../etc", "..", "a/../../etc", "/proc/self/root"])
def test_t50_symlink_then_write_is_refused(scan: Scan, target: str) -> None:
    assert failure(scan, image(layer([("d", Symlink(target)), ("d/passwd", b"root::0")]))) is UNSAFE
    assert failure(scan, image(layer([("d", Symlink(target)), ("d/e/", Directory())]))) is UNSAFE
    chained: Files = [("d", Symlink(target)), ("e", Symlink("d")), ("e/passwd", b"root::0")]
    assert failure(scan, image(layer(chained))) is UNSAFE
    hidden: Files = [("d", Symlink(target)), ("d", Directory()), ("d/passwd", b"1")]
    assert scan(image(layer(hidden))).files.keys() == {"d/passwd"}


def test_t50_symlinks_going_round_then_write(scan: Scan) -> None:
    assert failure(scan, image(layer([("a", Symlink("b")), ("b", Symlink("a")), ("a/x", b"1")]))) is UNSAFE


@pytest.mark.parametrize(
    "files",
    [
        [("../outside", b"x")],
        [("a/b/../../../outside", b"x")],
        [("..", Directory())],
        [("link", Hardlink("../../etc/shadow"))],
        [("link", Hardlink(""))],
        [("link", Symlink(""))],
        [("", Symlink("/etc"))],
        [(".", Symlink("/etc"))],
        [("", b"content")],
        [("a/.wh.", b"")],
        [(".wh..", b"")],
        [("a/.wh...", b"")],
        [("../a", Whiteout())],
        [("../a", Opaque())],
    ],
)
def test_t50_names_and_links_that_lead_out_of_a_layer(scan: Scan, files: Files) -> None:
    assert failure(scan, image(layer(files))) is UNSAFE
    assert failure(scan, image(layer({"fine": b"1"}), layer(files), layer({"fine": b"2"}))) is UNSAFE


def test_t50_absolute_names_stay_inside(scan: Scan) -> None:
    assert scan(image(layer({"/etc/passwd": b"x"}))).files["etc/passwd"].content == b"x"
    assert not scan(image(layer({"link": Symlink("/etc/passwd")}))).files


def test_t50_gzip_of_zeros_at_a_high_ratio(scan: Scan) -> None:
    """A file of 200 MB of zeros, which packs 1000:1."""
    member = tarfile.TarInfo("zeros")
    member.size = 200 * MIB
    compressor, zeros = zlib.compressobj(9, wbits=31), bytes(MIB)
    blob = compressor.compress(member.tobuf())
    blob += b"".join(compressor.compress(zeros) for _ in range(200)) + compressor.flush()
    built = image(packed(b"", blob, "gzip"))
    assert failure(scan, built) is LIMIT


def test_t50_zstd_window_bomb(scan: Scan) -> None:
    raw = tar({"a": b"1"})
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = compressor.compress(raw) + compressor.flush()
    assert failure(scan, image(packed(raw, blob, "zstd"))) is LIMIT


def test_t50_total_size_over_all_layers(scan: Scan) -> None:
    built = image(*(layer({str(number): bytes(100_000)}) for number in range(5)))
    assert failure(scan, built, ImageLimits(total_bytes=300_000)) is LIMIT
    assert scan(built, ImageLimits(total_bytes=600_000)).files.keys() == set("01234")


def test_t50_very_many_entries(scan: Scan) -> None:
    built = image(*(layer({f"{number}-{each}": b"" for each in range(400)}) for number in range(3)))
    assert failure(scan, built, ImageLimits(entries=1000)) is LIMIT
    assert len(scan(built, ImageLimits(entries=1300)).files) == 1200


def test_t50_contents_kept_in_memory(scan: Scan) -> None:
    built = image(*(layer({str(number): bytes(100_000)}) for number in range(5)))
    assert failure(scan, built, ImageLimits(memory_bytes=300_000)) is LIMIT


def test_t50_names_kept_in_memory(scan: Scan) -> None:
    """Each entry implies two hundred new directories."""
    deep = layer({f"{number}/{'d/' * 200}f": b"" for number in range(20)})
    assert failure(scan, image(deep), ImageLimits(memory_bytes=500_000)) is LIMIT
    whiteouts = layer({f"{number}/{'w' * 200}": Whiteout() for number in range(1000)})
    assert failure(scan, image(whiteouts), ImageLimits(memory_bytes=100_000)) is LIMIT


def test_t50_links_that_are_long_and_many(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.oci.limits.LINK_STEPS", 5000)
    links: Files = {f"l{number}": Symlink("./" * 500 + f"l{number + 1}") for number in range(35)}
    assert failure(scan, image(layer(links), layer({"l0/x": b"1"}))) is LIMIT


def test_t50_pax_header_flood(scan: Scan) -> None:
    content = b"20 comment=xxxxxxxx\n" * 1000
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(content)
    flood = (header.tobuf() + content + bytes(-len(content) % 512)) * 50
    built = image(layer(flood + tar({"a": b"1"})))
    assert failure(scan, built, ImageLimits(header_bytes=500_000)) is LIMIT
    assert failure(scan, built, ImageLimits(entries=40)) is LIMIT
    assert scan(built).files["a"].content == b"1"


def test_t50_sparse_file_of_a_terabyte(scan: Scan) -> None:
    member = tarfile.TarInfo("sparse")
    member.pax_headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1", "GNU.sparse.name": "sparse"}
    member.size = 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(b"x"))
    assert failure(scan, image(layer(buffer.getvalue()))) is LIMIT


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_t50_truncated_layers(scan: Scan, compression: Compression) -> None:
    """Cut off before they were published: their digests are right, and their content still is not."""
    whole = layer({"a": b"1" * 5000, "b": bytes(range(256)) * 20}, compression=compression)
    for cut in (whole.blob[: len(whole.blob) // 2], whole.blob[:100], whole.blob[:3]):
        assert failure(scan, image(packed(whole.tar, cut, compression))) in {INVALID, FailureCode.DIGEST_MISMATCH}


def test_t50_wrong_diff_id(scan: Scan) -> None:
    honest, other = layer({"a": b"1"}), layer({"a": b"2"})
    assert failure(scan, image(packed(other.tar, honest.blob, "gzip"))) is FailureCode.DIGEST_MISMATCH


def test_t50_a_layer_that_is_no_tar(scan: Scan) -> None:
    assert failure(scan, image(layer(b"PK\x03\x04" * 1000))) is INVALID
    assert failure(scan, image(layer(b"BZh9" * 1000, compression="none"))) is INVALID


def test_t50_duplicate_names_last_wins(scan: Scan) -> None:
    merged = scan(image(layer([("etc/os-release", b"ID=a"), ("etc/os-release", b"ID=b")])))
    assert merged.files["etc/os-release"].content == b"ID=b"


def test_one_failing_layer_ends_the_others(scan: Scan) -> None:
    """The first layer in order is the one that is told of, and the threads end."""
    layers = [layer({"a": b"1"}), *(layer([("../x", bytes(50_000))]) for _ in range(8))]
    assert failure(scan, image(*layers)) is UNSAFE


def test_messages_hold_no_place_of_this_machine(tmp_path: Path) -> None:
    source = write_archive(tmp_path / "image.tar", layout_files(image(layer({"../x": b"1"}))))
    opened = open_source(source, tmp_path / "layout", platform=None, limits=LIMITS)
    with pytest.raises(ScanFailure) as caught:
        merge_layers(opened, wanted=lambda _path: True, limits=LIMITS)
    assert str(tmp_path) not in caught.value.message


_BUILT = image(
    layer([("a", b"1"), ("d/", Directory()), ("l", Symlink("d")), ("h", Hardlink("a")), ("n" * 120, b"2")]),
    layer({"a": Whiteout(), "d": Opaque(), "l/b": b"3"}, compression="none"),
)
_ARCHIVES = [
    tar(layout_files(index(_BUILT))),
    tar(docker_files({"acme/api:1": _BUILT})),
    tar(hybrid_files({"acme/api:1": _BUILT})),
]
_CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from([b"\0", b"\xff", b"9", b"/", b"..", b'"', b"", b"\x80"])
    ),
    min_size=1,
    max_size=5,
)


def _scan_anything(raw: bytes, root: Path) -> None:
    source = root / "image"
    source.write_bytes(raw)
    try:
        opened = open_source(source, root / "layout", platform=None, limits=LIMITS)
        merge_layers(opened, wanted=lambda _path: True, limits=LIMITS)
    except ScanFailure as expected:
        assert expected.message  # noqa: PT017 -- any other exception fails the test
    assert {path.name for path in root.iterdir()} <= {"image", "layout"}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw=st.sampled_from(_ARCHIVES), changes=_CHANGES, cut=st.floats(0.1, 5))
def test_t50_mutated_archives_end_in_a_scan_failure(
    raw: bytes, changes: list[tuple[float, bytes]], cut: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mutated = bytearray(raw)
    for place, value in changes:
        at = int(place * len(mutated))
        mutated[at : at + max(1, len(value))] = value
    _scan_anything(bytes(mutated[: int(len(mutated) * cut)]), tmp_path_factory.mktemp("fuzz"))


@settings(deadline=None)
@given(changes=_CHANGES)
def test_t50_mutated_layers_end_in_a_scan_failure(
    changes: list[tuple[float, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With digests made right again, so that what is read is what was changed."""
    mutated = bytearray(_BUILT.layers[0].tar)
    for place, value in changes:
        at = int(place * 6 * 512)  # most of it is zeros
        mutated[at : at + max(1, len(value))] = value
    raw = bytearray(mutated)
    for at in range(0, len(raw) - 511, 512):
        if raw[at + 257 : at + 262] == b"ustar":
            raw[at + 148 : at + 156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])
    root = tmp_path_factory.mktemp("fuzz")
    _scan_anything(tar(layout_files(image(layer(bytes(raw)), _BUILT.layers[1]))), root)
