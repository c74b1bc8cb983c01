"""Where ledgers lie: a site's folder, or the sites of a run, or of a folder of runs."""

from dataclasses import dataclass
from pathlib import Path

from client.folder import SiteFolder, open_site
from common.errors import ConfigError, LedgerError
from common.privacy.ledger import LedgerView, read_ledger

_TRACES = ("locks.log", "ledger.sqlite-wal")


@dataclass(frozen=True)
class Place:
    """A site's folder, and how a table names it.

    Args:
        label: the site's name; with the way to its folder where there are many.
        folder: the site's.
    """

    label: str
    folder: SiteFolder


def find_places(path: Path) -> tuple[Place, ...]:
    """Return the site in a folder, or every site below it (RUN/federation/sites/NAME).

    Raises:
        ConfigError: the folder is not there, or neither is nor holds a site's.
    """
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; expected a site's, a run's, or one of runs.")
    if (path / "policy.yaml").is_file():
        site = open_site(path)
        return (Place(site.name, site),)
    roots = sorted(p.parent for p in path.rglob("policy.yaml") if p.parent.parent.name == "sites")
    if not roots:
        raise ConfigError(
            f"{path} is not a site's folder (it holds no policy.yaml), and no site's lies below it "
            "(…/sites/NAME/policy.yaml)."
        )
    return tuple(Place(_label(root, path), open_site(root)) for root in roots)


def one_place(path: Path) -> Place:
    """Return the one site in a folder.

    Raises:
        ConfigError: there is none, or more than one.
    """
    places = find_places(path)
    if len(places) > 1:
        raise ConfigError(
            f"{path} holds {len(places)} sites; name one of them, such as {places[0].folder.root}"
        )
    return places[0]


def look(site: SiteFolder) -> LedgerView | None:
    """Read a site's ledger; None where the site never took part in anything.

    Raises:
        LedgerError: it is another site's, is gone, or cannot be trusted.
    """
    if not site.ledger.exists() and not _took_part(site):
        return None
    if not site.ledger.exists():
        raise LedgerError(
            f"{site.ledger}: the ledger is gone, though {site.name} took part in rounds; restore "
            "the newest copy before anything else is charged"
        )
    view = read_ledger(site.ledger)
    if view.site and view.site != site.name:
        raise LedgerError(
            f"{site.ledger}: this ledger belongs to site {view.site!r}, not {site.name!r}; every "
            "site keeps a ledger of its own"
        )
    return view


def _took_part(site: SiteFolder) -> bool:
    return any((site.root / name).exists() for name in _TRACES)


def _label(root: Path, top: Path) -> str:
    run = root.parent.parent.relative_to(top)
    where = run.parent if run.name == "federation" else run
    return root.name if where == Path() else f"{where}/{root.name}"
