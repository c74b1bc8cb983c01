"""No schedule yields t shares of both secrets of one site, whatever the coordinator shows whom."""

import itertools

import pytest

from common.errors import TacitError
from common.secagg import coordinator as co
from common.secagg.graph import majority
from common.secagg.messages import (
    Confirmation,
    ConfirmRequest,
    Reveal,
    UnmaskRequest,
    decode,
    encode,
)
from common.secagg.site import Given, advance


class Split:
    """A coordinator with its own sites that shows the others two or more lists of uploads.

    Colluders sign every list and hand over all they hold. What an honest site answers
    depends only on its list and on who confirmed that list, so it is asked once for each.
    """

    def __init__(self, at, lists):
        self.at, self.sites, self.lists = at, at.sites(), lists
        state, requests = co.open_round(at.policy, at.context, at.names)
        state, requests = co.advertised(state, self.sites("advertise", requests))
        keyed = co.shared(state, self.sites("share", requests))
        state, requests = co.masking(keyed)
        self.ctx = state.step.ctx
        state, _ = co.masked(state, self.sites("mask", requests))
        self.uploads = {one.uploaded.site: one.uploaded for one in state.uploads}
        self.colluders = at.names[: (len(at.names) - 1) // 3]
        self.honest = at.names[len(self.colluders) :]
        self.confirmed = {
            (site, i): self.ask(site, self.sites.states[site], "confirm", self.confirm_request(i))
            for site in at.names
            for i in range(len(lists))
        }
        self.revealed = {}

    def ask(self, site, state, stage, request):
        """Ask a site in a given state; None when it refuses. Its locks are not kept."""
        member = self.at.fork(self.sites).members[site]
        try:
            return advance(member, stage, state, request, Given(bytes))
        except TacitError:
            return None

    def confirm_request(self, i):
        return encode(ConfirmRequest(self.ctx, tuple(self.uploads[s] for s in self.lists[i])))

    def reveal(self, site, i, confirming):
        """What an honest site reveals when these sites confirmed the list that it confirmed."""
        key = (site, i, confirming)
        if key not in self.revealed:
            signed = [
                decode(Confirmation, self.confirmed[one, i][1], one) for one in sorted(confirming)
            ]
            request = encode(UnmaskRequest(self.ctx, tuple(signed)))
            answer = self.ask(site, self.confirmed[site, i][0], "unmask", request)
            reveal = decode(Reveal, answer[1], site) if answer else Reveal(site, (), (), b"")
            b, s = ({one.site for one in part} for part in (reveal.b_shares, reveal.s_shares))
            assert not b & s
            self.revealed[key] = (b, s)
        return self.revealed[key]

    def shares(self, shown):
        """Count {(site, kind)} that the coordinator gets when honest site j is shown shown[j].

        `shown` holds the number of a list, or None for a site that is told nothing.
        """
        count = {}
        for i in {one for one in shown if one is not None}:
            signing = {s for s, one in zip(self.honest, shown, strict=True) if one == i}
            confirming = frozenset(
                s for s in (*signing, *self.colluders) if self.confirmed[s, i] is not None
            )
            for site in signing & confirming:
                for kind, names in zip("bs", self.reveal(site, i, confirming), strict=True):
                    for name in names:
                        count[name, kind] = count.get((name, kind), 0) + 1
        return count

    def check_all(self):
        """Assert it for every way to show lists to the honest sites; return how many there are."""
        threshold, ways = majority(len(self.at.names)), 0
        options = [None, *range(len(self.lists))]
        best = 0
        for shown in itertools.product(options, repeat=len(self.honest)):
            count = self.shares(shown)
            for name in self.at.names:
                b = count.get((name, "b"), 0) + len(self.colluders)
                s = count.get((name, "s"), 0) + len(self.colluders)
                assert min(b, s) < threshold, (shown, name)
                best = max(best, b)
            ways += 1
        assert best >= threshold
        return ways


def all_lists(names):
    """Every list of uploads that a site could confirm."""
    least = majority(len(names))
    return [
        chosen for k in range(least, len(names) + 1) for chosen in itertools.combinations(names, k)
    ]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_every_list_to_every_site(table, n):
    at = table(n)
    lists = all_lists(at.names)
    ways = Split(at, lists).check_all()
    assert ways == (len(lists) + 1) ** (n - (n - 1) // 3)


@pytest.mark.slow
def test_every_list_to_every_site_of_six(table):
    at = table(6)
    assert Split(at, all_lists(at.names)).check_all() == 8**5


@pytest.mark.parametrize("n", [6, 7])
def test_with_and_without_one_site(table, n):
    """One target, an honest one, is in the list that some are shown and not in the others'."""
    at = table(n)
    without = at.names[:-1]
    assert Split(at, [at.names, without]).check_all() == 3 ** (n - (n - 1) // 3)
