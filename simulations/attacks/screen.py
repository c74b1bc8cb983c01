"""The attacks as a table, and below it what the sites logged, in full."""

from collections.abc import Iterable, Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from simulations.attacks.outcome import Observed, Said
from simulations.attacks.scene import SITES, VICTIM
from simulations.attacks.secagg import Attack, Attacks

WIDTH = 100


def attacks_screen(found: Attacks) -> Group:
    """Everything, readable at 100 columns."""
    logs = [part for attack in found.attacks for part in _log(attack)]
    head = Text("What each site wrote into its own log, word for word", style="bold")
    return Group(
        _table(found), _legend(found), Text(), head, *logs, Text(), _information(found), _end(found)
    )


def _table(found: Attacks) -> Table:
    table = Table(title="A coordinator that cheats", show_lines=True)
    table.add_column("attack", width=16)
    table.add_column("what the coordinator does")
    table.add_column(f"SecAgg+ of Flower {found.flower_version}")
    table.add_column("Tacit")
    for one in found.attacks:
        table.add_row(
            Text(one.title, style="bold"), one.does, _flower(one.flower), _tacit(one.tacit)
        )
    return table


def _flower(one: Observed) -> Text:
    if not one.found.recovered:
        return Text("Nothing recovered", style="green")
    return Text(f"{_recovered(one)}\n", style="red").append(one.how, style="default")


def _tacit(one: Observed) -> Text:
    if one.is_refused:
        stages = dict.fromkeys(said.stage.upper() for said in one.said)
        return Text(f"Refused at {', '.join(stages)}.\nNothing recovered", style="green")
    parts = [f"ANSWERED: {', '.join(one.answered)}"] if one.answered else []
    parts += [_recovered(one)] if one.found.recovered else []
    return Text("\n".join(parts or ["NOT REFUSED"]), style="bold red")


def _recovered(one: Observed) -> str:
    found = one.found
    return f"{found.recovered} of {found.values} values recovered, to ±{found.largest_error:.5f}."


def _legend(found: Attacks) -> Text:
    text = (
        f"{len(SITES)} sites; {VICTIM} is the one under attack. A value is one number of the "
        f"update that {VICTIM}'s recordings make, of up to {found.largest_value:.2f} in size; what "
        f"came out was compared with what {VICTIM} really computed. Both columns were played just "
        "now against the real code. The stages are those of docs/protocol.md."
    )
    return Text(text, style="dim")


def _log(attack: Attack) -> Iterator[Text]:
    yield Text(f"\n{attack.title}", style="bold")
    yield from _lines(attack.tacit.said, "")
    yield from _lines(attack.flower.said, "Flower: ")


def _lines(said: Iterable[Said], whose: str) -> Iterator[Text]:
    """One entry for each reason; sites that differ in nothing but their own name share it."""
    alike: dict[tuple[str, str], list[Said]] = {}
    for one in said:
        alike.setdefault((one.stage, one.reason.replace(one.site, "…")), []).append(one)
    for group in alike.values():
        first = next((one for one in group if one.site == VICTIM), group[0])
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        kind = f" ({first.error})" if first.error else ""
        text = Text(f"  {whose}{first.site}{more} at {first.stage.upper()}{kind}:\n", style="dim")
        yield text.append(f"    {first.reason}", style="default")


def _information(found: Attacks) -> Text:
    """What is neither an attack on the protocol nor to be kept quiet."""
    masks, near = found.flower_masks, found.near_model
    hours = masks.guess_s * 2**masks.bits / 3600
    return Text(
        "For information. A secure sum alone does not stop a coordinator that repeats a round "
        f"without {VICTIM} on a model changed in its last digits, and takes the difference: played "
        f"here without differential privacy, {near.recovered} of {near.values} values came out. "
        "Differential privacy stands against that; a site's policy decides whether studies "
        "without it may run.\n"
        f"The mask between two of Flower's sites is one of 2^{masks.bits} (seen in {masks.keys} "
        f"keys): to try them all with Flower's own function takes {hours:.0f} hours on one core "
        f"of this machine. The key of a mask of this project has {found.tacit_mask_bits} bits.",
        style="dim",
    )


def _end(found: Attacks) -> Text:
    if found.all_refused:
        return Text(
            "\nTacit: all six attacks were refused, and nothing was recovered by them. "
            "Against the seventh, above, stands differential privacy.",
            style="bold green",
        )
    failed = ", ".join(one.title for one in found.attacks if not one.tacit.is_refused)
    return Text(f"\nTacit did NOT withstand: {failed}", style="bold red")
