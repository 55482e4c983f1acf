"""The dashboards: `python -m tests.chart.dashboards` compares what stands in helm/dashboards, `--write` writes it anew.

They are made here and not in the chart, as a chart holds what is installed, and not in the service, which never needs
them; what makes and checks files of the repository stands under tests, as the locks' does.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from tests.chart.expressions import ROOT
from tests.chart.panels import (
    BAD_ABOVE_ZERO,
    WAITS_ABOVE_ZERO,
    WORKS,
    Dashboard,
    Panel,
    Row,
    asked_variable,
)

FOLDER: Final = ROOT / "helm" / "dashboards"
COMMANDS: Final = "account, operation, lane, state, cause"
OURS: Final = 'account=~"$account"'
ITS: Final = 'operation=~"$operation"'
BOTH: Final = f"{OURS}, {ITS}"


def _unfinished(matchers: str, by: str) -> str:
    """Unfinished commands: every process shows the ledger's number, so the largest of each, then their sum."""
    return f"sum by ({by}) (max by ({COMMANDS}) (cordboard_commands{{{matchers}}}))"


def _quantile(share: float, histogram: str, matchers: str = "", by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    series = f"cordboard_{histogram}_bucket{{{matchers}}}" if matchers else f"cordboard_{histogram}_bucket"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({series}[$__rate_interval])))"


def _per_second(counter: str, by: str, matchers: str = "") -> str:
    series = f"cordboard_{counter}{{{matchers}}}" if matchers else f"cordboard_{counter}"
    return f"sum by ({by}) (rate({series}[$__rate_interval]))" if by else f"sum(rate({series}[$__rate_interval]))"


def _counted(counter: str, by: str, matchers: str = "") -> str:
    """How many in the time that is looked at."""
    series = f"cordboard_{counter}{{{matchers}}}" if matchers else f"cordboard_{counter}"
    return f"sum by ({by}) (increase({series}[$__range])) > 0"


BACKLOG: Final = "sum by (account) (cordboard:backlog:commands)"
ENDED: Final = "sum by (account) (cordboard:commands_ended:rate5m)"
MISSED: Final = 'sum(rate(cordboard_hires_total{outcome=~"late|failed"}[3d]))'
HIRES: Final = '(sum(rate(cordboard_hires_total{outcome=~"in_time|late|failed"}[3d])) > 0)'
ALERTS_SINCE: Final = (
    'max by (alertname, severity, account, operation, topic) (ALERTS_FOR_STATE{alertname=~"Cordboard.+"})'
)
OLDEST_WAITING: Final = 'max by (account, state) (cordboard_oldest_command_seconds{state=~"waiting|in_doubt"})'
MEAN_STAGE: Final = f"{_per_second('stage_seconds_sum', 'stage')} / {_per_second('stage_seconds_count', 'stage')}"

WHOSE: Final = Row(
    title="Is it us, Kafka or a vendor's account, and since when?",
    panels=(
        Panel(
            title="Parts",
            about="Whether at least one process reaches Kafka and the ledger, and whether each makes progress.",
            asks=(
                ("{{part}}", 'max by (part) (cordboard_ready{part=~"kafka|ledger"})'),
                ("progress", "min(cordboard_watchdog_alive)"),
            ),
            draw="stat",
            mappings=WORKS,
            thresholds=((None, "red"), (1, "green")),
        ),
        Panel(
            title="Processes",
            about="Processes that answer, and those that share the ledger.",
            asks=(("answer", 'count(cordboard_ready{part="ledger"})'), ("share the ledger", "max(cordboard_fleet)")),
            draw="stat",
            width=4,
        ),
        Panel(
            title="Accounts in quarantine",
            about="Stopped by Cordboard: the vendor refuses a key or a right, or has not answered for long.",
            asks=(("{{account}}", "max by (account) (cordboard_quarantined)"),),
            draw="stat",
            width=6,
            thresholds=BAD_ABOVE_ZERO,
        ),
        Panel(
            title="Hires ready in time, three days",
            about="The objective is 99 %. Hires that were refused for good are left out.",
            asks=(("in time", f"1 - ({MISSED} or vector(0)) / {HIRES}"),),
            draw="stat",
            unit="percentunit",
            width=6,
            thresholds=((None, "red"), (0.99, "green")),
        ),
        Panel(
            title="What is wrong, since when",
            about="Alerts that fire or are about to, and when their condition began to hold.",
            asks=(("", f"{ALERTS_SINCE} * 1000"),),
            draw="table",
            unit="dateTimeAsIso",
            width=12,
            height=8,
        ),
        Panel(
            title="When was what away?",
            about="Parts as the best process sees them; accounts that were not in quarantine work.",
            asks=(
                ("{{part}}", "max by (part) (cordboard_ready)"),
                ("account {{account}}", "1 - max by (account) (cordboard_quarantined)"),
            ),
            draw="state-timeline",
            mappings=WORKS,
            width=12,
            height=8,
            thresholds=((None, "red"), (1, "green")),
        ),
        Panel(
            title="Requests without a clear answer",
            about="Share of an account's requests that were not answered, or not clearly. Refusals are answers.",
            asks=(("{{account}} {{operation}}", "cordboard:vendor_trouble:ratio_rate5m"),),
            unit="percentunit",
            width=12,
            least=0,
            most=1,
        ),
        Panel(
            title="Vendors' answers",
            about="Requests per second by how they came out.",
            asks=(("{{account}} {{outcome}}", _per_second("vendor_requests_total", "account, outcome")),),
            unit="reqps",
            width=12,
        ),
    ),
)

PERSONS: Final = Row(
    title="What waits on a person, who and how long?",
    panels=(
        Panel(
            title="The vendor's reviewer",
            about="Numbers whose application a person at the vendor has to approve.",
            asks=(("{{account}}", _unfinished('cause="approval"', "account")),),
            draw="stat",
            width=6,
            thresholds=WAITS_ABOVE_ZERO,
        ),
        Panel(
            title="An operator: in doubt",
            about="Sent, and the answer is unknown. What is not settled by reading back needs `cordboard settle`.",
            asks=(("{{account}}", _unfinished('state="in_doubt"', "account")),),
            draw="stat",
            width=6,
            thresholds=BAD_ABOVE_ZERO,
        ),
        Panel(
            title="An operator: held, or sick",
            about="Holds end by `cordboard release`; a quarantine by itself once key, right or vendor work again.",
            asks=(("{{kind}}", "max by (kind) (cordboard_holds)"),),
            draw="stat",
            width=6,
            thresholds=WAITS_ABOVE_ZERO,
        ),
        Panel(
            title="Who writes the topic",
            about="Topics that are paused for their bad records.",
            asks=(("{{topic}}", "max by (topic) (cordboard_topic_paused)"),),
            draw="stat",
            width=6,
            thresholds=BAD_ABOVE_ZERO,
        ),
        Panel(
            title="How long the oldest has waited",
            about="Age of the oldest command, from when it was wanted.",
            asks=(("{{account}} {{state}}", OLDEST_WAITING),),
            draw="bargauge",
            unit="dtdurations",
            width=8,
        ),
        Panel(
            title="Since when",
            about="When the oldest command that waits was made.",
            asks=(("{{account}} {{state}}", f"(time() - {OLDEST_WAITING}) * 1000"),),
            draw="stat",
            unit="dateTimeAsIso",
            width=8,
        ),
        Panel(
            title="Records that could not become an event",
            about="In the time looked at, by topic and reason: their sender mends them, or an operator does.",
            asks=(("", _counted("dead_letters_total", "topic, reason")),),
            draw="table",
            width=8,
        ),
    ),
)

DOUBT: Final = Row(
    title="In doubt and held",
    panels=(
        Panel(
            title="In doubt",
            about="Commands whose answer is unknown.",
            asks=(("{{account}} {{operation}}", _unfinished('state="in_doubt"', "account, operation")),),
        ),
        Panel(
            title="Held",
            about="Commands that could go on but for a hold or a quarantine.",
            asks=(("{{account}}", "max by (account) (cordboard_held_commands)"),),
        ),
        Panel(
            title="Holds and quarantines",
            about="How many stand.",
            asks=(("{{kind}}", "max by (kind) (cordboard_holds)"),),
        ),
    ),
)

FAILING: Final = Row(
    title="What is failing?",
    panels=(
        Panel(
            title="Commands that failed",
            about="In the time looked at, grouped as `cordboard failures` does.",
            asks=(("", _counted("commands_ended_total", "account, operation, error_class", 'state="failed"')),),
            draw="table",
            width=12,
            height=8,
        ),
        Panel(
            title="Plans that failed",
            about="In the time looked at; also those from which no work could be made.",
            asks=(("", _counted("plans_ended_total", "account, error_class", 'state="failed"')),),
            draw="table",
            width=6,
            height=8,
        ),
        Panel(
            title="Rounds that failed",
            about="Of our own loops, by the part that was away; `bug` is ours.",
            asks=(("", _counted("loop_failures_total", "loop, part")),),
            draw="table",
            width=6,
            height=8,
        ),
        Panel(
            title="Ends",
            about="Commands that ended per second, by how.",
            asks=(("{{state}}", _per_second("commands_ended_total", "state")),),
            unit="ops",
            width=12,
            stacked=True,
        ),
        Panel(
            title="Hires that missed their time",
            about="Share of late and failed hires; 1 % is forgiven.",
            asks=(
                ("{{account}} five minutes", "cordboard:hires_missed:ratio_rate5m"),
                ("{{account}} one hour", "cordboard:hires_missed:ratio_rate1h"),
                ("{{account}} six hours", "cordboard:hires_missed:ratio_rate6h"),
            ),
            unit="percentunit",
            width=12,
            least=0,
        ),
    ),
)

EMPTY: Final = Row(
    title="When is the backlog empty?",
    panels=(
        Panel(
            title="Empty in",
            about="Backlog divided by what ended per second lately; `cordboard forecast` knows quotas and holds, too.",
            asks=(("{{account}}", f"{BACKLOG} / ({ENDED} > 0)"),),
            draw="stat",
            unit="dtdurations",
            width=6,
        ),
        Panel(
            title="Empty at",
            about="The same as a time of day.",
            asks=(("{{account}}", f"(time() + {BACKLOG} / ({ENDED} > 0)) * 1000"),),
            draw="stat",
            unit="dateTimeAsIso",
            width=6,
        ),
        Panel(
            title="Oldest that waits for its turn",
            about="Age of the oldest command that nothing but the queue holds up.",
            asks=(
                (
                    "{{account}} {{lane}}",
                    'max by (account, lane) (cordboard_oldest_command_seconds{state="pending"})',
                ),
            ),
            unit="dtdurations",
            width=12,
        ),
        Panel(
            title="Backlog",
            about="Work that could be done now, or once what stands before it is done.",
            asks=(("{{account}} {{operation}}", "cordboard:backlog:commands"),),
            width=12,
            stacked=True,
        ),
        Panel(
            title="Done",
            about="Commands that ended per second.",
            asks=(("{{account}} {{operation}}", "cordboard:commands_ended:rate5m"),),
            unit="ops",
            width=12,
            stacked=True,
        ),
    ),
)

OVERVIEW: Final = Dashboard(
    uid="cordboard-overview",
    title="Cordboard: overview",
    about="Top to bottom: whose fault, whose turn, what is in doubt, what fails, when it is over.",
    rows=(WHOSE, PERSONS, DOUBT, FAILING, EMPTY),
)

ACCOUNT: Final = Dashboard(
    uid="cordboard-account",
    title="Cordboard: account",
    about="One account, or several, and the operations of its vendor.",
    variables=(
        asked_variable("account", "Account", "label_values(cordboard_quarantined, account)", several=True),
        asked_variable(
            "operation",
            "Operation",
            'label_values(cordboard_quota_configured{account=~"$account"}, operation)',
            several=True,
        ),
    ),
    rows=(
        Row(
            title="How is $account?",
            panels=(
                Panel(
                    title="Quarantine",
                    about="All of the account, or one operation of it.",
                    asks=(
                        (
                            "{{account}} {{operation}}",
                            f"1 - max by (account, operation) (cordboard_quarantined{{{OURS}}})",
                        ),
                    ),
                    draw="state-timeline",
                    mappings=WORKS,
                    thresholds=((None, "red"), (1, "green")),
                ),
                Panel(
                    title="Fell sick",
                    about="In the time looked at.",
                    asks=(
                        (
                            "",
                            f"sum by (account, operation) (increase(cordboard_quarantines_total{{{OURS}}}[$__range]))",
                        ),
                    ),
                    draw="table",
                ),
                Panel(
                    title="Held",
                    about="Commands that could go on but for a hold or a quarantine.",
                    asks=(("{{account}}", f"max by (account) (cordboard_held_commands{{{OURS}}})"),),
                ),
                Panel(
                    title="Hires",
                    about="Hires that are over, per minute.",
                    asks=(
                        (
                            "{{account}} {{outcome}}",
                            f"60 * sum by (account, outcome) (rate(cordboard_hires_total{{{OURS}}}[$__rate_interval]))",
                        ),
                    ),
                    unit="cpm",
                    stacked=True,
                ),
                Panel(
                    title="From hire to ready",
                    about="Half of the hires were quicker, and 99 of 100.",
                    asks=(
                        ("{{account}} half", _quantile(0.5, "hired_to_ready_seconds", OURS, "account")),
                        ("{{account}} 99 %", _quantile(0.99, "hired_to_ready_seconds", OURS, "account")),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Hires that missed their time",
                    about="Share of late and failed hires; 1 % is forgiven.",
                    asks=(
                        ("{{account}} one hour", f"cordboard:hires_missed:ratio_rate1h{{{OURS}}}"),
                        ("{{account}} six hours", f"cordboard:hires_missed:ratio_rate6h{{{OURS}}}"),
                        ("{{account}} three days", f"cordboard:hires_missed:ratio_rate3d{{{OURS}}}"),
                    ),
                    unit="percentunit",
                    least=0,
                ),
            ),
        ),
        Row(
            title="Work of $account",
            panels=(
                Panel(
                    title="Unfinished",
                    about="By state, and what is waited for.",
                    asks=(("{{state}} {{cause}}", _unfinished(OURS, "state, cause")),),
                    stacked=True,
                ),
                Panel(
                    title="By operation and lane",
                    about="Unfinished commands.",
                    asks=(("{{operation}} {{lane}}", _unfinished(OURS, "operation, lane")),),
                    stacked=True,
                ),
                Panel(
                    title="Oldest",
                    about="Age of the oldest command of each lane and state.",
                    asks=(
                        (
                            "{{account}} {{lane}} {{state}}",
                            f"max by (account, lane, state) (cordboard_oldest_command_seconds{{{OURS}}})",
                        ),
                    ),
                    unit="dtdurations",
                ),
                Panel(
                    title="Ended",
                    about="Commands per second, by how they ended.",
                    asks=(
                        (
                            "{{operation}} {{state}} {{result}}",
                            _per_second("commands_ended_total", "operation, state, result", OURS),
                        ),
                    ),
                    unit="ops",
                    width=12,
                    stacked=True,
                ),
                Panel(
                    title="Failed",
                    about="In the time looked at.",
                    asks=(("", _counted("commands_ended_total", "operation, error_class", f'state="failed", {OURS}')),),
                    draw="table",
                    width=12,
                ),
            ),
        ),
        Row(
            title="Operations of $account",
            panels=(
                Panel(
                    title="Requests",
                    about="Per second, by how they came out.",
                    asks=(
                        ("{{operation}} {{outcome}}", _per_second("vendor_requests_total", "operation, outcome", BOTH)),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Time to answer",
                    about="From sending a request to its verdict.",
                    asks=(
                        ("{{operation}} half", _quantile(0.5, "vendor_request_seconds", BOTH, "operation")),
                        ("{{operation}} 99 %", _quantile(0.99, "vendor_request_seconds", BOTH, "operation")),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Where a command's time goes",
                    about="Mean of what ended, by stage; all accounts together.",
                    asks=(("{{stage}}", MEAN_STAGE),),
                    unit="s",
                    stacked=True,
                ),
                Panel(
                    title="Quota",
                    about="What is configured, what throttling has left of it, and what was given out.",
                    asks=(
                        (
                            "{{operation}} configured",
                            f"max by (operation) (cordboard_quota_configured{{{BOTH}}})",
                        ),
                        ("{{operation}} goes at", f"min by (operation) (cordboard_quota_rate{{{BOTH}}})"),
                        ("{{operation}} given out", _per_second("slots_granted_total", "operation", BOTH)),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Wait for a slot",
                    about="99 of 100 waited less.",
                    asks=(("{{operation}} {{lane}}", _quantile(0.99, "quota_wait_seconds", BOTH, "operation, lane")),),
                    unit="s",
                ),
                Panel(
                    title="Throttled",
                    about="Replies that said the quota is overspent; `by others` while we kept below it.",
                    asks=(
                        ("{{operation}}", _per_second("throttled_total", "operation", BOTH)),
                        ("{{operation}} by others", _per_second("foreign_spending_total", "operation", BOTH)),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Slots by lane",
                    about="Given to calls, per second.",
                    asks=(("{{lane}}", _per_second("slots_granted_total", "lane", BOTH)),),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    title="Age at its end",
                    about="From a command's birth to its end: 99 of 100 were younger; all accounts together.",
                    asks=(("{{operation}}", _quantile(0.99, "command_age_seconds", ITS, "operation")),),
                    unit="s",
                ),
            ),
        ),
    ),
)

KAFKA_AND_LEDGER: Final = Dashboard(
    uid="cordboard-kafka-and-ledger",
    title="Cordboard: Kafka and ledger",
    about="What comes in, what goes out, what the ledger takes, and whether the processes keep up.",
    rows=(
        Row(
            title="What comes in",
            panels=(
                Panel(
                    title="Lag",
                    about="Records still to fetch.",
                    asks=(("{{topic}}", "cordboard:consumer_lag:records"),),
                ),
                Panel(
                    title="Lag by partition",
                    about="Records still to fetch; one that stays while others fall stands still.",
                    asks=(("{{topic}} {{partition}}", "sum by (topic, partition) (cordboard_consumer_lag_records)"),),
                ),
                Panel(
                    title="Taken",
                    about="Records per second.",
                    asks=(("{{topic}}", _per_second("records_total", "topic")),),
                    unit="cps",
                ),
                Panel(
                    title="Events",
                    about="By what became of them, per second.",
                    asks=(("{{type}} {{outcome}}", _per_second("events_total", "type, outcome")),),
                    unit="cps",
                    stacked=True,
                ),
                Panel(
                    title="None of our business",
                    about="Records that were ignored, per second.",
                    asks=(
                        ("{{topic}} {{reason}} {{type}}", _per_second("records_ignored_total", "topic, reason, type")),
                    ),
                    unit="cps",
                ),
                Panel(
                    title="Could not become an event",
                    about="Dead letters per second.",
                    asks=(("{{topic}} {{reason}}", _per_second("dead_letters_total", "topic, reason")),),
                    unit="cps",
                ),
                Panel(
                    title="Paused topics",
                    about="From the moment a topic is paused for its bad records until a probe reads well.",
                    asks=(("{{topic}}", "1 - max by (topic) (cordboard_topic_paused)"),),
                    draw="state-timeline",
                    mappings=WORKS,
                    thresholds=((None, "red"), (1, "green")),
                ),
                Panel(
                    title="The group",
                    about="Assignments and failed commits of offsets in the time looked at.",
                    asks=(
                        ("rebalances", "sum(increase(cordboard_rebalances_total[$__range]))"),
                        ("failed commits", "sum(increase(cordboard_offset_commit_failures_total[$__range]))"),
                        ("pauses", "sum(increase(cordboard_topic_pauses_total[$__range]))"),
                    ),
                    draw="stat",
                ),
                Panel(
                    title="Held back by the ledger",
                    about="Processes whose batch waits for the ledger while nothing is fetched.",
                    asks=(("processes", "sum(cordboard_intake_held_back)"),),
                ),
            ),
        ),
        Row(
            title="What goes out",
            panels=(
                Panel(
                    title="Oldest message that waits for Kafka",
                    about="By the relay's last look.",
                    asks=(("oldest", "max(cordboard_outbox_oldest_seconds)"),),
                    unit="dtdurations",
                ),
                Panel(
                    title="Messages that wait",
                    about="Seen by the relay's last round, at most one batch.",
                    asks=(("waiting", "max(cordboard_outbox_pending)"),),
                ),
                Panel(
                    title="Told",
                    about="Messages that Kafka acknowledged, per second.",
                    asks=(("{{topic}}", _per_second("messages_published_total", "topic")),),
                    unit="cps",
                ),
                Panel(
                    title="Producers thrown away",
                    about="After an error that says nothing of what was written.",
                    asks=(("rebuilt", "sum(increase(cordboard_producer_rebuilds_total[$__range]))"),),
                    draw="stat",
                ),
            ),
        ),
        Row(
            title="The ledger",
            panels=(
                Panel(
                    title="There",
                    about="Processes that reach it, and those that don't.",
                    asks=(
                        ("reach it", 'sum(cordboard_ready{part="ledger"})'),
                        ("don't", 'count(cordboard_ready{part="ledger"}) - sum(cordboard_ready{part="ledger"})'),
                    ),
                ),
                Panel(
                    title="Calls",
                    about="Per second.",
                    asks=(("{{statement}}", _per_second("ledger_seconds_count", "statement")),),
                    unit="ops",
                ),
                Panel(
                    title="Time of a call",
                    about="99 of 100 took less.",
                    asks=(("{{statement}}", _quantile(0.99, "ledger_seconds", by="statement")),),
                    unit="s",
                ),
                Panel(
                    title="A batch",
                    about="Time to decide and store it: half took less, and 99 of 100.",
                    asks=(
                        ("half", _quantile(0.5, "intake_batch_seconds")),
                        ("99 %", _quantile(0.99, "intake_batch_seconds")),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Sessions lost",
                    about="Times another process ended a session: its owner was away for too long.",
                    asks=(("lost", "sum(increase(cordboard_sessions_lost_total[$__range]))"),),
                    draw="stat",
                ),
                Panel(
                    title="Identities are kept",
                    about="1 while a topic may keep its records for longer than identities are kept.",
                    asks=(("kept", "max(cordboard_identities_kept)"),),
                    draw="stat",
                    thresholds=WAITS_ABOVE_ZERO,
                ),
            ),
        ),
        Row(
            title="The processes",
            panels=(
                Panel(
                    title="How late they wake up",
                    about="99 of 100 wake-ups were less late.",
                    asks=(("late", "cordboard:loop_lag:seconds_p99_5m"),),
                    unit="s",
                ),
                Panel(
                    title="Rounds that failed",
                    about="Per second, by the part that was away; `bug` is ours.",
                    asks=(("{{loop}} {{part}}", _per_second("loop_failures_total", "loop, part")),),
                    unit="cps",
                ),
                Panel(
                    title="Operators and replays",
                    about="Acts in the time looked at, and replays that are not over.",
                    asks=(
                        ("{{kind}}", "sum by (kind) (increase(cordboard_operator_acts_total[$__range]))"),
                        ("replays {{state}}", "max by (state) (cordboard_replays)"),
                    ),
                    draw="stat",
                ),
            ),
        ),
    ),
)

DASHBOARDS: Final = {"overview": OVERVIEW, "account": ACCOUNT, "kafka-and-ledger": KAFKA_AND_LEDGER}


def text(dashboard: Dashboard) -> str:
    """As it stands in its file."""
    return json.dumps(dashboard.as_json(), indent=2, ensure_ascii=False) + "\n"


def expressions(dashboard: Dashboard) -> list[str]:
    """Everything that its panels ask."""
    panels: list[dict[str, Any]] = dashboard.as_json()["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def drifted() -> list[str]:
    """Files that are not what is made here, or that nobody makes."""
    made = {f"{name}.json": text(dashboard) for name, dashboard in DASHBOARDS.items()}
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the files, or say which of them have drifted."""
    if arguments == ["--write"]:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, dashboard in DASHBOARDS.items():
            (FOLDER / f"{name}.json").write_text(text(dashboard))
        return 0
    if found := drifted():
        sys.stderr.write(f"helm/dashboards: {', '.join(found)} drifted: python -m tests.chart.dashboards --write\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
