"""A checked manifest as one HTML file that needs no other."""

import math
from pathlib import Path

import jinja2
from markupsafe import Markup

from client.budget.template import STYLE
from client.data import check_figures as figures
from client.data.check import CheckReport

MOST_SHOWN = 200
OWN_STYLE = """
.cards { grid-template-columns: repeat(4, 1fr); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem; align-items: start; }
h3 { font-size: .95rem; margin: .8rem 0 .2rem; }
ol { padding-left: 2rem; } ol li { overflow-wrap: anywhere; font-size: .88rem; }
.half { max-width: 32rem; }
.verdict { font-weight: 600; } .good { color: var(--good); }
@media (max-width: 44rem) { .pair { grid-template-columns: 1fr; } }
"""

BODY = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Check of {{ name }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>Check of {{ name }}</h1>
<p class="soft">Every recording was decoded once. Persons are counted, not named; problems name
files as the manifest does.</p>
</header>

{% if r.problems %}<p class="verdict bad">{{ r.problems | length }}
problem{{ "s" if r.problems | length > 1 }}: the manifest cannot be used yet.</p>
{% else %}<p class="verdict good">No problem: the manifest can be used.</p>{% endif %}

<section class="cards" aria-label="Headline figures">
<div class="card"><span>persons</span><b>{{ r.persons }}</b></div>
<div class="card"><span>clips</span><b>{{ r.clips }}</b></div>
<div class="card"><span>left out</span><b>{{ r.left_out.values() | sum }}</b>
<span>by consent</span></div>
<div class="card"><span>to look at</span><b>{{ (r.notes | length) + (r.warnings | length) }}</b>
<span>notes and warnings</span></div>
</section>

{% macro list(title, lines) %}{% if lines %}<section>
<h2>{{ title }}</h2><ol>
{% for line in lines[:most] %}<li>{{ line }}</li>
{% endfor %}</ol>
{% if lines | length > most %}<p class="soft">… and {{ lines | length - most }} more.</p>{% endif %}
</section>{% endif %}{% endmacro %}
{{ list("Problems", r.problems) }}
{{ list("Warnings", r.warnings) }}
{{ list("To look at", r.notes) }}

<section class="whole">
<h2>What it holds</h2>
<div class="pair">
{% for title, svg in plots %}<div><h3>{{ title }}</h3><figure>{{ svg }}</figure></div>
{% endfor %}</div>
<table><thead><tr><th scope="col">split</th><th scope="col">persons</th><th scope="col">clips</th>
</tr></thead><tbody>
{% for split, count in r.splits.items() %}<tr><th scope="row">{{ split or "none given" }}</th>
<td>{{ r.split_persons[split] }}</td><td>{{ count }}</td></tr>
{% endfor %}{% for reason, count in r.left_out.items() %}<tr>
<th scope="row">left out: {{ reason }}</th><td>–</td><td>{{ count }}</td></tr>
{% endfor %}</tbody></table>
{% if r.ratings %}<h3>Dimensions and labels that the study asks for</h3>
<table><thead><tr><th scope="col">name</th><th scope="col">persons</th><th scope="col">clips</th>
<th scope="col">mean, or share in which it holds</th><th scope="col">spread</th></tr></thead>
<tbody>{% for name, one in r.ratings.items() %}<tr><th scope="row">{{ name }}</th>
<td>{{ one.persons }}</td><td>{{ one.clips }}</td><td>{{ one.mean | told }}</td>
<td>{{ one.spread | told }}</td></tr>{% endfor %}</tbody></table>{% endif %}
{% if r.rates %}<h3>Rates as recorded</h3>
<table><thead><tr><th scope="col">signal</th><th scope="col" class="text">Hz: clips</th></tr>
</thead><tbody>{% for name, found in r.rates.items() %}<tr><th scope="row">{{ name }}</th>
<td class="text">{% for hz, n in found.items() %}{{ "%g" | format(hz) }}: {{ n }}
{{- ", " if not loop.last }}{% endfor %}</td></tr>{% endfor %}</tbody></table>{% endif %}
</section>

{% if r.labels %}<section class="whole">
<h2>What can be guessed without looking at a recording</h2>
<p>Recall over classes (UAR) on persons not seen. Chance is
{{ "%.0f" | format(100 * r.chance) }}; much more says that a model could learn the protocol.</p>
<figure class="half">{{ guess_svg }}</figure>
{% if untold %}<p class="soft">Nothing can be said of {{ untold | join(", ") }}: it is the same for
all clips, or there are too few persons.</p>{% endif %}
</section>{% endif %}

{% if r.feasible %}<section class="whole">
<h2>What privacy would ask for</h2>
<p>Per person, for a run of the defaults over {{ sites }} sites as large as this one, noise shared
between them, a model of 10,000 trained values. What other studies kept is measured, and no
promise.</p>
<table><thead><tr><th scope="col">ε</th><th scope="col">δ</th><th scope="col">noise σ</th>
<th scope="col">noise to signal</th><th scope="col" class="text">studies nearby</th></tr></thead>
<tbody>{% for f in r.feasible %}<tr><th scope="row">{{ "%g" | format(f.target_epsilon) }}</th>
<td>{{ "%.2g" | format(f.delta) }}</td><td>{{ f.noise_multiplier | told }}</td>
<td>{{ f.noise_to_signal | told }}</td><td class="text">{{ f.said }}</td></tr>
{% endfor %}</tbody></table>
</section>{% endif %}
</body>
</html>
"""


def write_page(report: CheckReport, manifest: Path, sites: int, out: Path) -> None:
    """Write the page.

    Args:
        report: what was found.
        manifest: whose; only its name is on the page.
        sites: for how many sites feasibility was asked.
        out: the file.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(report, manifest.name, sites), encoding="utf-8")


def render(report: CheckReport, name: str, sites: int) -> str:
    """Return the page; equal reports give equal pages. Names from the manifest are escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["told"] = lambda value: "–" if math.isnan(value) else f"{value:.3g}"
    told = {n: round(100 * uar, 1) for n, uar in report.guessed.items() if not math.isnan(uar)}
    chance = 100 * report.chance
    guess_svg = figures.bars("guess", told, "UAR, %", chance) if told else ""
    return environment.from_string(BODY).render(
        r=report,
        name=name,
        sites=sites,
        most=MOST_SHOWN,
        untold=sorted(set(report.guessed) - set(told)),
        # the constants and matplotlib's SVG, in which names are escaped
        style=Markup(STYLE + OWN_STYLE),  # noqa: S704
        guess_svg=Markup(guess_svg),  # noqa: S704
        plots=[(title, Markup(svg)) for title, svg in _plots(report)],  # noqa: S704
    )


def _plots(report: CheckReport) -> list[tuple[str, str]]:
    shares = {name: round(100 * share, 1) for name, share in report.coverage.items()}
    found = [("Modalities", figures.bars("coverage", shares, "% of clips"))] if shares else []
    if report.labels:
        found.append(("Labels", figures.bars("labels", report.labels, "clips")))
        found.append(
            ("Persons with each label", figures.bars("who", report.label_persons, "persons"))
        )
    if report.clips_per_person:
        spread = figures.spread("persons", report.clips_per_person, "clips of a person", "persons")
        found.append(("Clips per person", spread))
    if report.length_s:
        found.append(
            ("Length of clips", figures.spread("length", report.length_s, "seconds", "clips"))
        )
    return found
