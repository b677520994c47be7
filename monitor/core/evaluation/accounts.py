"""
What is wrong with an account as a source of answers, and what with single targets of it.

A failure that says whom it concerns is taken at its word. One that doesn't (the API is down, an answer can't
be read) is the account's problem when most of its targets fail so, or when nobody has had an answer since;
else it is the problem of the one target that fails.
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

# What rules of a source look for; another open incident about a target is somebody else's.
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
# Refusals that asking again can't mend: whoever they concern rests, but for one that tries.
_REFUSALS = frozenset({RuleName.API_KEY_REJECTED, RuleName.ACCESS_DENIED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFailure:
    """
    Something that is asked with a key and whose newest answers were failures.

    Args:
        target: None for the list of managed users.
        consecutive_failures: in a row.
        failing_since: when the first of them was.
        failed_at: when the newest was.
        isolated_failures: of them, those before which others that are asked with the same key had an answer.
        suspect_changes: how many connections the newest answer would have changed at once, had it been believed.
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
    What is known of one account as a source of answers.

    Args:
        targets: how many are watched with its key.
        failing: those whose newest poll failed, in the order of their ids.
        workspace: how its list of managed users fails; None if it doesn't or isn't asked for.
        last_ok_at: when any target last answered well; None if none ever did.
        last_user_ok_at: when any managed user did.
        paused: what of its polling rests; None if nothing does.
        subjects: the targets that ``incidents`` are about, by their ids.
        incidents: the open ones about the account or its targets as sources.
        recent_opens: how often each problem was opened lately, by subject key and rule.
        unheard: the connections whose token status is a word that the monitor doesn't know: for each word how
            many there are, and the names of the first.
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
    Decide what is wrong with an account as a source, and with its targets where they fail for themselves.

    However something fails, it is one problem: a second kind of failure opens nothing beside the first unless
    it is worse, and then takes its place.
    """
    of_source = account_wide_failures(known)
    results = {rule.name: _account_result(rule, of_source) for rule in rules.account}
    unheard = _unheard(known, rules)
    answers = results.get(RuleName.BAD_ANSWER)
    if isinstance(answers, Problem) and answers.level:
        unheard = None  # whole answers that can't be used are worse than a word in them
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
    """Pick the failures that concern the account, not only who met them."""
    unclear = [each for each in known.failing if each.scope is FailureScope.UNCLEAR]
    most_fail = len(unclear) * 2 > known.targets
    several_fail = len(unclear) > 1

    def is_account_wide(each: TargetFailure) -> bool:
        match each.scope:
            case FailureScope.KEY:  # a key that has worked since is no longer refused
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
    """Return what of an account's polling is to rest, since asking is refused: all, its managed users, nothing."""
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
        # A failure of another kind hides this one: only an answer proves that it is over.
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
        return NoProblem.UNKNOWN  # the account's problem covers it, or did when it was last asked about
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
        is_new_key=not is_doubt,  # also beside a word that nobody knows, which is the same rule's
    )


def _unheard(known: AccountState, rules: Rules) -> Problem | None:
    """
    Find token statuses that the monitor doesn't know: nobody can say what such a token needs.

    Equal causes give equal text, and a word that comes along is news.
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
        remedy="check these connections in the dashboard; until a newer monitor knows the word, "
        "only their expiry dates count",
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
    Compare what is wrong with one subject with what is open about it: one problem at most.

    Args:
        beside: a problem that is open beside the one, since it hides nothing: answers come as ever.
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
    for name in open_ones.keys() - results.keys():  # its rule was switched off
        yield resolve(open_ones.pop(name), Resolution.SUPERSEDED, now, is_notified=False)
    for name, incident in list(open_ones.items()):
        if (
            not incident.is_notifiable and results[name] is NoProblem.UNKNOWN
        ):  # what hides a doubt must not stand behind it
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
