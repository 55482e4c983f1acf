"""Reads that lag behind writes."""

from service.sandbox.versioned_table import VersionedTable


def test_reader_sees_the_newest_write_up_to_its_moment() -> None:
    table: VersionedTable[str, int] = VersionedTable()
    table.put("a", 1, at=10.0)
    table.put("a", 2, at=20.0)
    assert [table.visible("a", at=t) for t in (9.9, 10.0, 19.9, 20.0)] == [None, 1, 1, 2]
    assert table.current("a") == 2
    assert table.current("b") is None


def test_listing_keeps_the_order_of_first_writes() -> None:
    table: VersionedTable[str, int] = VersionedTable()
    for key, value, at in (("b", 1, 1.0), ("a", 2, 2.0), ("b", 3, 3.0)):
        table.put(key, value, at=at)
    assert table.all_current() == [3, 2]
    assert table.all_visible(at=2.5) == [1, 2]
    assert table.all_visible(at=1.5) == [1]
