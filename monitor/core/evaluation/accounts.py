"""
Evaluate the failures of an account and of its targets.

Some failures say what they concern. Others don't: the API is down, or an answer can't be read. Those are the
account's problem if most of its targets fail or no target had an answer since. Otherwise they are the problem of
the one target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitor.core.evaluation.incidents import IncidentChange, reconcile, resolve
from monitor.core.model import FailureScope, Incident, Resolution, RuleName, Subject, Target
from monitor.core.rules.account import AccountFailure
from monitor.core.rules.base import NoProblem, Problem, RuleResult
from monitor.core.rules.registry import NEEDS_TWO_RECOVERIES, Rules
from monitor.core.text import sanitize

# The rules that this module evaluates. Other incidents about a target belong to other modules.
ACCOUNT_RULES = frozenset(
    {
        RuleName.API_KEY_REJECTED,
        RuleName.ACCESS_DENIED,
        RuleName.USER_NOT_MANAGED,
        RuleName.API_UNREACHABLE,
        RuleName.BAD_ANSWER,
    }
)
UNHEARD_NAMED = 5
MARK_LENGTH = 200
# Refusals that a retry can't fix. All but one of the targets they concern are paused.
_REFUSALS = frozenset({RuleName.API_KEY_REJECTED, RuleName.ACCESS_DENIED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFailure:
    """
    A target or user list whose newest requests failed.

    Args:
        target: None for the list of managed users.
        consecutive_failures: failures in a row.
        failing_since: the time of the first of them.
        failed_at: the time of the newest.
        isolated_failures: those of them before which other requests with the same key succeeded.
        suspect_changes: how many connections the newest, unconfirmed answer would have changed at once.
    """

    target: Target | None
    consecutive_failures: int
    failing_since: datetime
    failed_at: datetime
    rule: RuleName
    error: str
    remedy: str
    scope: FailureScope = FailureScope.UNCLEAR
    isolated_failures: int = 0
    suspect_changes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """
    The stored state of one account.

    Args:
        targets: number of polled targets.
        failing: those whose newest poll failed, in the order of their ids.
        workspace: the failure of its user list; None if it doesn't fail or isn't requested.
        last_ok_at: the newest successful poll of any target; None if there was none.
        last_user_ok_at: the same for its managed users.
        paused: what of its polling is paused; None if nothing is.
        subjects: the targets that ``incidents`` are about, by their ids.
        incidents: open incidents of these rules about the account or its targets.
        recent_opens: how often each problem opened lately, by subject key and rule.
        unheard: connections with an unknown token status: for each status the number of connections, and the
            names of the first.
    """

    account: str
    targets: int = 1
    failing: tuple[TargetFailure, ...] = ()
    workspace: TargetFailure | None = None
    last_ok_at: datetime | None = None
    last_user_ok_at: datetime | None = None
    paused: FailureScope | None = None
    subjects: Mapping[int, Target] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    recent_opens: Mapping[tuple[str, RuleName], int] = field(default_factory=dict)
    unheard: Mapping[str, tuple[int, Sequence[str]]] = field(default_factory=dict)

    def target_of(self, subject: Subject) -> Target | None:
        """Return the target that an incident is about; None if that is the account."""
        failing = {each.target.id: each.target for each in self.failing if each.target}
        return {**failing, **self.subjects}.get(subject.target_id or 0)


def evaluate_account(known: AccountState, now: datetime, *, rules: Rules) -> tuple[IncidentChange, ...]:
    """
    Evaluate an account and its failing targets.

    One subject has one problem at a time. A second kind of failure opens nothing unless it is worse, and then
    replaces the first.
    """
    of_source = account_wide_failures(known)
    results = {rule.name: _account_result(rule, of_source) for rule in rules.account}
    unheard = _unheard(known, rules)
    answers = results.get(RuleName.BAD_ANSWER)
    if isinstance(answers, Problem) and answers.level:
        unheard = None  # unusable answers are worse than an unknown status in them
    changes = [*_reconcile_one(Subject(account=known.account), results, known, now, rules, beside=unheard)]
    failing = {each.target.id: each for each in known.failing if each.target}
    about = {each.subject.target_id for each in known.incidents if each.subject.target_id is not None}
    for target_id in sorted(about | failing.keys()):
        subject = Subject(account=known.account, target_id=target_id)
        own = {
            rule.name: _target_result(rule, failing.get(target_id), is_covered=bool(of_source))
            for rule in rules.account
        }
        changes.extend(_reconcile_one(subject, own, known, now, rules))
    return tuple(changes)


def account_wide_failures(known: AccountState) -> list[TargetFailure]:
    """Return the failures that concern the whole account."""
    unclear = [each for each in known.failing if each.scope is FailureScope.UNCLEAR]
    most_fail = len(unclear) * 2 > known.targets
    several_fail = len(unclear) > 1

    def is_account_wide(each: TargetFailure) -> bool:
        match each.scope:
            case FailureScope.KEY:  # a key that worked since is no longer rejected
                return known.last_ok_at is None or each.failed_at >= known.last_ok_at
            case FailureScope.USERS:
                return known.last_user_ok_at is None or each.failed_at >= known.last_user_ok_at
            case FailureScope.UNCLEAR:
                others_answered = known.last_ok_at is not None and known.last_ok_at >= each.failing_since
                return most_fail or (several_fail and not others_answered)
            case FailureScope.USER:
                return False

    chosen = [each for each in known.failing if is_account_wide(each)]
    if known.workspace and (
        known.workspace.scope is not FailureScope.KEY or is_account_wide(known.workspace)
    ):
        chosen.append(known.workspace)
    return chosen


def pause_scope(known: AccountState) -> FailureScope | None:
    """Return what of an account's polling to pause because of refusals: all, its managed users, nothing."""
    refused = {
        each.scope
        for each in account_wide_failures(known)
        if each.rule in _REFUSALS and each is not known.workspace
    }
    return next((scope for scope in (FailureScope.KEY, FailureScope.USERS) if scope in refused), None)


def _account_result(rule: AccountFailure, of_source: Sequence[TargetFailure]) -> RuleResult:
    failing = [each for each in of_source if each.rule is rule.name]
    lasting = max(failing, key=lambda each: each.consecutive_failures, default=None)
    if lasting is None:
        # A failure of another kind hides this one. Only a successful answer shows that it ended.
        return NoProblem.UNKNOWN if of_source else NoProblem.OK
    return _problem(rule, lasting)


def _target_result(rule: AccountFailure, failing: TargetFailure | None, *, is_covered: bool) -> RuleResult:
    if failing is None:
        return NoProblem.OK
    if failing.rule is not rule.name or failing.scope in {FailureScope.KEY, FailureScope.USERS}:
        return NoProblem.UNKNOWN
    if failing.scope is FailureScope.UNCLEAR and (
        is_covered or not (failing.isolated_failures or failing.suspect_changes)
    ):
        return NoProblem.UNKNOWN  # the account's problem covers it, or did at its last poll
    return _problem(rule, failing)


def _problem(rule: AccountFailure, failing: TargetFailure) -> RuleResult:
    is_doubt = failing.consecutive_failures < rule.after
    if is_doubt and not failing.suspect_changes:
        return NoProblem.UNKNOWN
    return Problem(
        rule=rule.name,
        severity=rule.severity,
        summary=sanitize(failing.error),
        remedy=failing.remedy,
        level=0 if is_doubt else 1,
        dedup_key=rule.name.value,
        is_new_key=not is_doubt,  # also beside an unknown status, which has the same rule
    )


def _unheard(known: AccountState, rules: Rules) -> Problem | None:
    """
    Find token statuses that the monitor doesn't know.

    Equal causes give equal text, and a new status is notified.
    """
    severity = next((rule.severity for rule in rules.account if rule.name is RuleName.BAD_ANSWER), None)
    if not known.unheard or severity is None:
        return None
    words = sorted(known.unheard)
    named = []
    for word in words[:UNHEARD_NAMED]:
        count, names = known.unheard[word]
        shown = [sanitize(name, 60) for name in names[:UNHEARD_NAMED]]
        more = f" and {count - len(shown)} more" if count > len(shown) else ""
        named.append(f'"{sanitize(word, 60)}" ({", ".join(shown)}{more})')
    more = f" and {len(words) - len(named)} more" if len(words) > len(named) else ""
    is_one = len(words) == 1
    return Problem(
        rule=RuleName.BAD_ANSWER,
        severity=severity,
        summary=(
            f"the API reports {'a token status' if is_one else 'token statuses'} that the monitor doesn't know: "
            f"{', '.join(named)}{more}"
        ),
        remedy="check these connections in the dashboard, because only their expiry dates count here",
        dedup_key=f"words {' '.join(words)}"[:MARK_LENGTH],
        is_new_key=True,
    )


def _reconcile_one(
    subject: Subject,
    results: Mapping[RuleName, RuleResult],
    known: AccountState,
    now: datetime,
    rules: Rules,
    *,
    beside: Problem | None = None,
) -> Iterator[IncidentChange]:
    """
    Compare the problems of one subject with its open incidents: at most one problem.

    Args:
        beside: a problem that may be open at the same time, because answers still arrive.
    """
    open_ones = {each.rule: each for each in known.incidents if each.subject.key == subject.key}
    if beside:
        results = {name: result for name, result in results.items() if name is not beside.rule}
        recent = known.recent_opens.get((subject.key, beside.rule), 0)
        if change := reconcile(
            open_ones.pop(beside.rule, None),
            beside,
            subject=subject,
            now=now,
            recent_opens=recent,
            flapping=rules.flapping,
        ):
            yield change
    for name in open_ones.keys() - results.keys():  # its rule was disabled
        yield resolve(open_ones.pop(name), Resolution.SUPERSEDED, now, is_notified=False)
    for name, incident in list(open_ones.items()):
        if (
            not incident.is_notifiable and results[name] is NoProblem.UNKNOWN
        ):  # a failure must not wait behind an unconfirmed anomaly
            yield resolve(open_ones.pop(name), Resolution.SUPERSEDED, now, is_notified=False)
    problems = [result for result in results.values() if isinstance(result, Problem)]
    worst = max(problems, key=lambda problem: problem.severity.rank, default=None)
    observed_at = list(open_ones)
    worst_open = max((incident.severity.rank for incident in open_ones.values()), default=-1)
    if worst and worst.rule not in open_ones and worst.severity.rank > worst_open:
        for incident in open_ones.values():
            yield resolve(incident, Resolution.SUPERSEDED, now, is_notified=False)
        observed_at = [worst.rule]
    for name in observed_at:
        change = reconcile(
            open_ones.get(name),
            results[name],
            subject=subject,
            now=now,
            recent_opens=known.recent_opens.get((subject.key, name), 0),
            flapping=rules.flapping,
            needs_two_recoveries=name in NEEDS_TWO_RECOVERIES and subject.target_id is None,
            observed_at=known.last_ok_at,
        )
        if change:
            yield change
