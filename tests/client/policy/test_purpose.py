"""Emotion inference at work and in education, in four languages; and what only sounds like it."""

import pytest

from client.policy.gate import gate_study
from client.policy.purpose import gate_purpose, is_prohibited, plain
from common.config import SitePolicy, Study
from common.errors import PolicyRefused

PROHIBITED = {
    "English": (
        "work, workplace, Workplace, WORKPLACE monitoring, employee-wellbeing, employment, hiring, "
        "recruitment, job_interviews, education, school, student engagement, university, exams, "
        "staff mood, co-workers, HR analytics, call centre stress, e-learning, teachers, lectures, "
        "EmployeeMonitoring, atWork, work2026, university hospital staff, stress_at_work"
    ),
    "German": (
        "Arbeit, am Arbeitsplatz, Arbeitsplätze, Arbeitnehmer, Mitarbeiterbefragung, Beschäftigte, "
        "Beschaeftigte, Angestellte, Beruf, Personalauswahl, Personalführung, Personalfuehrung, "
        "Bewerbungsgespräch, Vorstellungsgespräche, Schule, Hochschulen, Grundschule, Schüler, "
        "Schuelerinnen, Berufsschüler, Schulklassen, Online-Unterricht, Studierende, Lehrkräfte, "
        "Weiterbildung, Bildungsforschung, Klausuren, Schu\u0308lerinnen"
    ),
    "French": (
        "travail, au travail, télétravail, travailleurs, emploi, employés, salariés, embauche, "
        "recrutement, ressources humaines, en entreprise, école, écoliers, scolaire, enseignement, "
        "étudiants, éducation, salle de classe, lycéens, université, apprentis"
    ),
    "Spanish": (
        "trabajo, en el trabajo, trabajadores, empleo, empleados, laboral, contratación, "
        "reclutamiento, recursos humanos, escuela, escolares, colegio, alumnos, estudiantes, "
        "educación, enseñanza, docentes, aula, profesores, universidad"
    ),
}
INNOCENT = (
    "research, example, network medicine, care, staffa, workload of a GPU, framework, workshop, "
    "diagnostic work-up, working memory, university hospital research, University Medical Center, "
    "Universitätsklinikum, Universitätsmedizin, centre hospitalier universitaire, "
    "hospital universitario, CHU, Schulter, Schuld, Schulung, Zusammenarbeit, Bearbeitung, "
    "Arbeitsgedächtnis, Arbeitsgruppe, Berufung, personalised medicine, Personalisierung, "
    "klinische Prüfung, klinische Studie, Narbenbildung, Bildgebung, mémoire de travail, "
    "groupe de travail, examen clinique, étude, apprentissage fédéré, niveau élevé, écologie, "
    "laboratorio, memoria de trabajo, estudio clínico, examen médico, studio, pupil dilation, "
    "depression, PTSD, physiology, psychiatric inpatients, epilepsy, déploiement"
)


def words(text):
    return [word.strip() for word in text.split(",")]


@pytest.mark.parametrize(
    "purpose", [purpose for said in PROHIBITED.values() for purpose in words(said)]
)
def test_work_and_education_are_refused_whatever_the_policy_says(purpose):
    policy = SitePolicy(site="hill", purposes=(purpose,))
    with pytest.raises(PolicyRefused, match=r"Article 5\(1\)\(f\)"):
        gate_purpose(policy, Study(purpose=purpose))


@pytest.mark.parametrize("purpose", words(INNOCENT))
def test_a_purpose_that_only_looks_like_it_is_not_refused(purpose):
    policy = SitePolicy(site="hill", purposes=(purpose,))
    gate_purpose(policy, Study(purpose=purpose))
    with pytest.raises(PolicyRefused, match=r"Article 5\(1\)\(f\)"):
        gate_purpose(policy, Study(purpose=f"{purpose} at school"))


def test_the_purpose_is_looked_at_before_anything_else():
    with pytest.raises(PolicyRefused, match="Article 5"):
        gate_study(SitePolicy(site="hill"), Study(purpose="school"), None)


@pytest.mark.parametrize(
    "hidden", ["wor\u200bkplace", "SCHOOL\u00ad", "ｗｏｒｋplace", "scho\u0301ol"]
)
def test_signs_that_nobody_sees_hide_nothing(hidden):
    assert is_prohibited(hidden)


def test_a_text_is_searched_without_case_accents_and_signs():
    assert plain("Ärzte_im-Team  2026Heute") == "arzte im team heute"


def test_a_very_long_purpose_is_searched_in_a_moment():
    assert not is_prohibited("a" * 100_000 + " calm")
