"""Which purposes are refused: what a site does not list, and what the law prohibits.

The EU AI Act (Regulation 2024/1689), Article 5(1)(f), prohibits systems that infer emotions at
work and in education, except for medical or safety reasons. A purpose that reads like it is
refused even where the policy lists it, unless the policy claims that exception and names who
signed for it. The words below are a net, not a proof: what a purpose does not say, no word finds.
"""

import re
import unicodedata

from client.policy.refusing import refused
from common.config import SitePolicy, Study
from common.rules import EXCEPTIONS

# As they are searched: lower case, without accents, one space between words.
TERMS = {
    "English": (
        r"work(?! ?ups?\b)|(co ?)?workers?|workforce|workplace\w*|homework|coursework|employ\w*"
        r"|jobs?|hr|human resources|hiring|recruit\w*|staff|call cent(er|re)s?"
        r"|educat\w*|school\w*|classrooms?|students?|teach(ing|ers?)|lectur(e|es|er|ers|ing)"
        r"|universit\w*|campus\w*|kindergartens?|exams?|e ?learning|vocational"
    ),
    "German": (
        r"arbeit|arbeiter\w*|arbeits(plae?tz|welt|leben|stelle|markt|umfeld|zeit|krae?ft"
        r"|leistung|belastung|stress|zufriedenheit)\w*|arbeit(nehm|geb)er\w*"
        r"|mitarbeite\w*|beschae?ftigt\w*|angestellte\w*|beruf(?!ung)\w*"
        r"|personal(abteilung|auswahl|wesen|entwicklung|fue?hrung|management|planung)\w*"
        r"|bewerb(er|ung)\w*|vorstellungsgesprae?ch\w*"
        r"|\w*schulen?|schulisch\w*|schul(alltag|klasse|kind|leistung|unterricht|hof)\w*"
        r"|\w*schue?ler\w*|\w*unterricht\w*|\w*studierende\w*|studenten\w*|studium\w*"
        r"|lehr(e|er|kraft|krafte|kraefte|ling|veranstaltung)\w*"
        r"|(aus|fort|weiter|hochschul)?bildung(s\w*)?|klassenzimmer\w*|klausur\w*|abitur\w*|kitas?"
    ),
    "French": (
        r"(tele)?travail\w*|emplois?|salari\w*|embauch\w*|recrut\w*|ressources humaines"
        r"|entreprises?|ecoles?|ecolier\w*|\w*scolair\w*|scolarite|enseign\w*|etudiant\w*"
        r"|salles? de classe|lyce(e|es|en|ens|enne|ennes)|collegien\w*|apprentis?"
        r"|apprentice\w*|pedagog\w*"
    ),
    "Spanish": (
        r"trabaj\w*|teletrabaj\w*|emple(o|os|ad\w*)|laboral(es)?|contratacion\w*|reclut\w*"
        r"|recursos humanos|escuelas?|escolar\w*|colegios?|alumn(o|os|a|as|ado)|estudiant\w*"
        r"|educa(cion|tiv)\w*|ensenanza\w*|docent\w*|aulas?|profesor\w*|universidad\w*"
    ),
}
# What a hospital or a laboratory says of itself and of its tests; taken out before the search.
INNOCENT = (
    r"universit\w* (hospitals?|clinics?|medical cent(er|re)s?)"
    r"|universitae?ts(klinik|spital|medizin|krankenhaus)\w*"
    r"|hospital\w* universit\w*|hospitalo universit\w*|(centre )?hospitalier universitaire"
    r"|hospital \w+ universitario|working memory|memoire de travail|memoria de trabajo"
    r"|groupe de travail|grupo de trabajo"
)
_PROHIBITED = re.compile(rf"\b({'|'.join(TERMS.values())})\b")
_INNOCENT = re.compile(rf"\b({INNOCENT})\b")


def gate_purpose(policy: SitePolicy, study: Study) -> None:
    """Let a study's purpose pass, or refuse it.

    Raises:
        PolicyRefused: it is emotion inference at work or in education and the policy claims no
            exception, or it is not one that the policy lists.
    """
    if is_prohibited(study.purpose) and not is_excepted(policy):
        raise refused(
            f"The purpose {study.purpose!r} is emotion inference at work or in education, which "
            "the EU AI Act, Article 5(1)(f), prohibits except for medical or safety reasons.",
            "exception",
            "name kind (medical or safety), reference and signed_by, if one truly applies; a "
            "purpose that only sounds like it needs other words.",
        )
    if study.purpose not in policy.purposes:
        allowed = ", ".join(policy.purposes) or "none"
        raise refused(
            f"The purpose {study.purpose!r} is not one that {policy.site} allows ({allowed}).",
            "purposes",
            "list it there if the persons' consent and the approval cover it.",
        )


def is_prohibited(purpose: str) -> bool:
    """Whether a purpose reads like emotion inference at work or in education."""
    return bool(_PROHIBITED.search(_INNOCENT.sub(" ", plain(purpose))))


def plain(text: str) -> str:
    """A text in lower case without accents and invisible signs, words one space apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    letters = unicodedata.normalize("NFKD", apart.casefold())
    seen = "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cf"))
    return re.sub(r"[\W\d_]+", " ", seen).strip()


def is_excepted(policy: SitePolicy) -> bool:
    """Whether a policy claims an exception of the law, and says who signed for it."""
    claimed = policy.exception
    signed = claimed.reference.strip() and claimed.signed_by.strip()
    return claimed.kind in EXCEPTIONS and bool(signed)
