from collections.abc import Sequence

from service.domain.outcome import ErrorClass, Failure
from service.vendors.tencent_ccc.listing import INCOMPLETE, Page, read_listing

TROUBLE = Failure(error_class=ErrorClass.THROTTLED, code="RequestLimitExceeded", message="slow down")


class Pages:
    def __init__(self, *pages: tuple[int, Sequence[str]] | Failure) -> None:
        self.pages = pages
        self.asked: list[int] = []

    async def __call__(self, number: int) -> Page[str] | Failure:
        self.asked.append(number)
        page = self.pages[number]
        return page if isinstance(page, Failure) else Page(page[0], [(row, row) for row in page[1]])


async def test_pages_are_read_until_the_total_is_in() -> None:
    pages = Pages((3, "ab"), (3, "c"))
    listing = await read_listing(pages, max_pages=10)
    assert (list(listing.rows), listing.trouble, pages.asked) == (["a", "b", "c"], None, [0, 1])


async def test_empty_listing_is_complete() -> None:
    listing = await read_listing(Pages((0, "")), max_pages=1)
    assert (listing.rows, listing.trouble) == ({}, None)


async def test_page_without_rows_before_the_total_leaves_it_incomplete() -> None:
    listing = await read_listing(Pages((3, "ab"), (3, "")), max_pages=10)
    assert listing.trouble == INCOMPLETE


async def test_total_that_changes_leaves_it_incomplete() -> None:
    listing = await read_listing(Pages((3, "ab"), (4, "cd")), max_pages=10)
    assert listing.trouble == INCOMPLETE


async def test_row_seen_twice_leaves_it_incomplete() -> None:
    listing = await read_listing(Pages((4, "ab"), (4, "bc"), (4, "d")), max_pages=10)
    assert listing.trouble == INCOMPLETE


async def test_more_rows_than_the_total_leave_it_incomplete() -> None:
    listing = await read_listing(Pages((1, "ab")), max_pages=10)
    assert listing.trouble == INCOMPLETE


async def test_bound_on_pages_leaves_it_incomplete() -> None:
    listing = await read_listing(Pages((9, "a"), (9, "b"), (9, "c")), max_pages=2)
    assert (listing.trouble, set(listing.rows)) == (INCOMPLETE, {"a", "b"})


async def test_failed_page_is_the_trouble_and_earlier_rows_stay() -> None:
    listing = await read_listing(Pages((3, "ab"), TROUBLE), max_pages=10)
    assert (listing.trouble, set(listing.rows)) == (TROUBLE, {"a", "b"})
