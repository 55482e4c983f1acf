"""Reading a paged TCCC listing whole, or saying that it was not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.domain.outcome import ErrorClass, Failure

Row = TypeVar("Row")

INCOMPLETE = Failure(
    error_class=ErrorClass.AMBIGUOUS,
    code="IncompleteListing",
    message="the vendor's listing could not be read whole, so what it lacks is unknown",
)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page: how many rows the whole listing has, as the vendor says, and this page's rows with their ids."""

    total: int
    rows: Sequence[tuple[str, Row]]


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """What was read. With `trouble`, what is in `rows` is there, but what is not in `rows` is unknown."""

    rows: Mapping[str, Row]
    trouble: Failure | None


async def read_listing(fetch: Callable[[int], Awaitable[Page[Row] | Failure]], *, max_pages: int) -> Listing[Row]:
    """Read pages from 0 until as many distinct rows are in as every page said there are.

    A count that changes, a row seen twice, a page without rows or a need for more than `max_pages` leave the listing
    incomplete: rows moved between pages, or the pages are not what was asked for.
    """
    rows: dict[str, Row] = {}
    totals: set[int] = set()
    for number in range(max_pages):
        page = await fetch(number)
        if isinstance(page, Failure):
            return Listing(rows, page)
        expected = len(rows) + len(page.rows)
        rows.update(page.rows)
        totals.add(page.total)
        if len(totals) > 1 or len(rows) != expected or len(rows) > page.total:
            return Listing(rows, INCOMPLETE)
        if len(rows) == page.total:
            return Listing(rows, None)
        if not page.rows:
            return Listing(rows, INCOMPLETE)
    return Listing(rows, INCOMPLETE)
