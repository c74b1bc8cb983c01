"""What is told about a finished run: frozen, so that the page and the screen say the same."""

from dataclasses import dataclass, field

from common.affect import Evaluation, Metrics


@dataclass(frozen=True)
class RoundPoint:
    """One evaluated round.

    Args:
        round: number of the exchange, from 1.
        found: what the model reached after it.
    """

    round: int
    found: Evaluation

    @property
    def metrics(self) -> Metrics | None:
        """The figures of the study's classes; None where it has none."""
        return self.found.classes


@dataclass(frozen=True)
class SiteAccount:
    """What one site gave and what it cost there.

    Args:
        name: the site.
        persons: training persons at the site; None where the site does not tell.
        clips: training clips at the site; None where the site does not tell.
        modalities: what the site has.
        rounds: rounds that the site took part in.
        unit: what one ε speaks about: "person" or "record".
        epsilon_by_round: (round, ε spent so far); empty without privacy.
        epsilon_spent: ε after the run, from the site's own ledger; None without privacy.
        epsilon_limit: the most the site's policy allows; None without a limit.
        delta: δ that belongs to every ε here; None without privacy.
        ledger_verified: whether the site's ledger was read back and every link held.
    """

    name: str
    persons: int | None
    clips: int | None
    modalities: tuple[str, ...]
    rounds: int
    unit: str
    epsilon_by_round: tuple[tuple[int, float], ...] = ()
    epsilon_spent: float | None = None
    epsilon_limit: float | None = None
    delta: float | None = None
    ledger_verified: bool = False

    @property
    def epsilon_left(self) -> float | None:
        """What the policy still allows, or None without a limit."""
        if self.epsilon_spent is None or self.epsilon_limit is None:
            return None
        return max(0.0, self.epsilon_limit - self.epsilon_spent)


@dataclass(frozen=True)
class Ceiling:
    """The best that could be reached, where the corpus' maker knows it.

    Args:
        uar: expected UAR of an observer who knows how the corpus was made.
        of: one sentence: whose figure this is.
    """

    uar: float
    of: str


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Args:
        study: the study's name.
        engine: "flwr run", "in-process" or "supernodes".
        mode: privacy.mode of the study: "none", "local" or "distributed".
        rounds: every evaluated round; the last one is the result.
        rounds_without_privacy: the same model trained without privacy; empty if it was not.
        sites: one account per site, in order of name.
        views: view of modalities -> UAR, None where no clip shows it (common.affect.views).
        ceiling: what could be reached at best, where it is known.
        released_exactly: what leaves the sites without noise, one sentence each.
        settings: name -> value, as it shall be printed.
        limits: what this run does not show or protect, one sentence each.
        parameters: trained parameters of the model.
        seconds: wall time of the run.
    """

    study: str
    engine: str
    mode: str
    rounds: tuple[RoundPoint, ...]
    sites: tuple[SiteAccount, ...]
    rounds_without_privacy: tuple[RoundPoint, ...] = ()
    views: dict[str, float | None] = field(default_factory=dict)
    ceiling: Ceiling | None = None
    released_exactly: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    parameters: int = 0
    seconds: float = 0.0

    @property
    def found(self) -> Evaluation:
        """What the run's last evaluation found."""
        return self.rounds[-1].found

    @property
    def metrics(self) -> Metrics | None:
        """The figures of the study's classes; None where it has none."""
        return self.found.classes

    @property
    def metrics_without_privacy(self) -> Metrics | None:
        """The figures of the study's classes without privacy."""
        found = self.found_without_privacy
        return found.classes if found else None

    @property
    def found_without_privacy(self) -> Evaluation | None:
        """What the same model reached without privacy."""
        return self.rounds_without_privacy[-1].found if self.rounds_without_privacy else None

    @property
    def ledgers_verified(self) -> bool:
        """Whether every site's ledger was verified."""
        return all(site.ledger_verified for site in self.sites)
