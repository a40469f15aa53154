from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.notes import Notes
from workers.inventory.ruby import locked_gems, ruby_packages, wants

GEMS = "usr/local/lib/ruby/gems/3.2.0"
PATH = f"{GEMS}/specifications/rack-2.2.6.4.gemspec"
# The form in which RubyGems 3.4 writes a specification, in short.
RACK = """\
# -*- encoding: utf-8 -*-
# stub: rack 2.2.6.4 ruby lib

Gem::Specification.new do |s|
  s.name = "rack".freeze
  s.version = "2.2.6.4"

  s.required_rubygems_version = Gem::Requirement.new(">= 0".freeze) if s.respond_to? :required_rubygems_version=
  s.require_paths = ["lib".freeze]
  s.licenses = ["MIT".freeze, "Ruby".freeze]
  s.add_runtime_dependency(%q<other>.freeze, ["~> 5.0"])
end
"""
LOCK = """\
GIT
  remote: https://github.com/example/patched.git
  revision: 0123456789abcdef
  specs:
    patched (1.2.0)

PATH
  remote: .
  specs:
    shop (0.1.0)
      rack (>= 2)

GEM
  remote: https://rubygems.org/
  specs:
    nokogiri (1.15.4-x86_64-linux)
      racc (~> 1.4)
    nokogiri (1.15.4)
    racc (1.7.1-java)
    rack (2.2.6.4)
    rails (7.1.0.rc1)

PLATFORMS
  ruby
  x86_64-linux

DEPENDENCIES
  rack (~> 2.2)

BUNDLED WITH
   2.4.10
"""


def read(content: str | bytes, path: str = PATH) -> list[PackageRecord]:
    return list(ruby_packages(files({path: content}, 5), Notes()))


def test_an_installed_gem() -> None:
    assert read(RACK) == [
        PackageRecord(
            name="rack",
            version="2.2.6.4",
            type=PackageType.GEM,
            ecosystem="RubyGems",
            source_name="rack",
            source_version="2.2.6.4",
            purl="pkg:gem/rack@2.2.6.4",
            licenses=("MIT", "Ruby"),
            path=PATH,
            layer_digest=f"sha256:{5:064x}",
            layer_index=5,
        )
    ]


def test_a_specification_without_a_stub() -> None:
    """As RubyGems before 2.2, and some distributions, write it."""
    text = "Gem::Specification.new do |s|\n  s.name = %q{rack}\n  s.name = 'rack'\n  s.version = '1.6.0'\n  s.license = 'MIT'\n"
    [package] = read(text.replace("  s.name = %q{rack}\n", ""))
    assert (package.name, package.version, package.licenses) == ("rack", "1.6.0", ("MIT",))
    versioned = read("Gem::Specification.new do |s|\n s.name = 'a'\n s.version = Gem::Version.new(\"2.0\")\n")
    assert versioned[0].version == "2.0"


def test_it_is_never_run() -> None:
    assert read('Gem::Specification.new do |s|\n  s.name = `id`\n  s.version = "#{1 + 1}"\n') == []


def test_places_in_which_gems_are_installed() -> None:
    assert wants(PATH)
    assert wants(f"{GEMS}/specifications/default/json-2.6.3.gemspec")
    assert wants("usr/share/rubygems-integration/all/specifications/rack-2.2.4.gemspec")
    assert not wants(f"{GEMS}/gems/rack-2.2.6.4/rack.gemspec")


def test_a_lock_file() -> None:
    found = locked_gems(files({"srv/Gemfile.lock": LOCK}), Notes())
    assert [(each.name, each.version) for each in found] == [
        ("patched", "1.2.0"),
        ("nokogiri", "1.15.4"),
        ("nokogiri", "1.15.4"),
        ("racc", "1.7.1"),
        ("rack", "2.2.6.4"),
        ("rails", "7.1.0.rc1"),
    ]


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    read(content)
    read(b"# stub: rack 2.2 ruby lib\n s.licenses = " + content)
    list(locked_gems(files({"Gemfile.lock": b"GEM\n  specs:\n    " + content}), Notes()))
