"""Under whose approval a site's recordings are used: parts of its policy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ethics:
    """The approval under which recordings are used; without one, every study is refused.

    Args:
        reference: the approval's number and who gave it.
        until: the last day on which it holds, as 2027-12-31.
    """

    reference: str = ""
    until: str = ""


@dataclass(frozen=True)
class PurposeException:
    """The exception of the EU AI Act, Article 5(1)(f), that a site claims, and who signed for it.

    Args:
        kind: "medical" or "safety"; empty claims none.
        reference: the document that says why it applies.
        signed_by: who answers for it at this site.
    """

    kind: str = ""
    reference: str = ""
    signed_by: str = ""
