from __future__ import annotations

from workers.inventory.notes import Notes


def test_each_problem_is_said_once_in_order() -> None:
    notes = Notes()
    for path in ("b", "a", "b"):
        notes.add(path, "is not JSON")
    assert notes.lines() == ("b: is not JSON", "a: is not JSON")


def test_a_million_problems_are_not_listed() -> None:
    notes = Notes()
    for number in range(1000):
        notes.add(f"node_modules/{number}/package.json", "is not JSON")
    assert len(notes.lines()) == 51
    assert notes.lines()[-1] == "950 more problems of this kind"


def test_a_hostile_name_stays_on_its_line() -> None:
    notes = Notes()
    notes.add("a\nERROR \x1b[31mb" + "x" * 5000, "is not JSON")
    [line] = notes.lines()
    assert line.isprintable()
    assert len(line) < 400
