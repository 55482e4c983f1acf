"""What the journal's checks find."""

from typing import Any

from service.sandbox.journal import CONSOLE, Entry, Journal, duplicate_effects, utilisation, windows_over_quota

QUOTAS = {"tencent_ccc": {"default": 20, "CreateExtension": 2}}


def entry(arrival: float = 0.0, **facts: Any) -> Entry:
    usual = {"vendor": "tencent_ccc", "account": "a", "action": "CreateExtension", "status": 200, "result": "ok"}
    return Entry(arrival=arrival, wall=0.0, **{**usual, **facts})


def effect(kind: str, key: str = "extension:1/1001", **facts: Any) -> Entry:
    return entry(natural_key=key, effect=kind, effect_applied=True, **facts)


def test_window_over_quota_is_found_whatever_became_of_its_requests() -> None:
    entries = [entry(0.0), entry(0.4, quota="refused"), entry(0.999, signature="AuthFailure.SignatureFailure")]
    (found,) = windows_over_quota(entries, QUOTAS)
    assert (found.start, found.arrivals, found.quota) == (0.0, 3, 2)


def test_window_is_half_open_and_kept_per_account_and_operation() -> None:
    entries = [entry(0.0), entry(0.5), entry(1.0), entry(0.1, account="b"), entry(0.2, action="ModifyExtension")]
    assert windows_over_quota(entries, QUOTAS) == []


def test_entries_are_judged_by_arrival_not_by_order() -> None:
    entries = [entry(5.0), entry(0.2), entry(0.1), entry(0.0)]
    assert len(windows_over_quota(entries, QUOTAS)) == 1


def test_other_vendors_operations_without_quota_and_unattributed_requests_are_left_out() -> None:
    entries = [entry(0.0, vendor="console"), *[entry(0.0, account=None)] * 9, *[entry(0.0, action=None)] * 9]
    assert windows_over_quota(entries, QUOTAS) == []
    assert windows_over_quota([entry()] * 9, {"tencent_ccc": {"ModifyExtension": 1}}) == []


def test_two_creates_of_one_key_are_a_duplicate() -> None:
    twice = [effect("created"), effect("created")]
    assert duplicate_effects([*twice, effect("modified"), effect("created", "extension:1/1002")]) == [
        ("tencent_ccc", "extension:1/1001", twice)
    ]


def test_unapplied_create_is_no_duplicate() -> None:
    assert duplicate_effects([effect("created"), entry(natural_key="extension:1/1001")]) == []


def test_number_may_be_applied_for_again_after_a_refusal() -> None:
    key = "number:1/008602012345678"
    refused = effect("refused", key, vendor=CONSOLE, action="refuse")
    approved = effect("approved", key, vendor=CONSOLE, action="approve")
    assert duplicate_effects([effect("applied", key), refused, effect("applied", key)]) == []
    assert len(duplicate_effects([effect("applied", key), approved, effect("applied", key)])) == 1
    assert len(duplicate_effects([effect("applied", key), effect("applied", key), refused])) == 1


def test_utilisation_is_gaps_over_what_the_quota_allows() -> None:
    assert utilisation([entry(i / 2) for i in range(11)], "CreateExtension", 2) == 1.0
    assert utilisation([entry(float(i)) for i in range(11)], "CreateExtension", 2, account="a") == 0.5
    assert utilisation([entry(1.0)], "CreateExtension", 2) == 0.0
    assert utilisation([entry(1.0), entry(2.0)], "CreateExtension", 2, account="b") == 0.0


def test_journal_numbers_without_gaps_and_gives_what_is_newer() -> None:
    journal = Journal()
    for arrival in (1.0, 2.0, 3.0):
        journal.append(entry(arrival))
    assert [e.seq for e in journal.entries] == [1, 2, 3]
    assert [e.arrival for e in journal.after(1)] == [2.0, 3.0]
    assert journal.after(3) == []


def test_entry_survives_being_written_and_read() -> None:
    made = effect("created", wanted={"ExtensionId": "1001"}, fault="latency")
    assert Entry.from_dict(made.as_dict()) == made


def test_window_counts_only_what_came_in_it_for_sure() -> None:
    entries = [entry(10.022, unseen=0.022), entry(10.5), entry(11.01)]
    assert windows_over_quota(entries, QUOTAS) == []
    assert len(windows_over_quota([entry(10.022, unseen=0.011), *entries[1:]], QUOTAS)) == 1
