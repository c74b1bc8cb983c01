"""The page's template. A Python string, so that it is found wherever the code is installed."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5;
  --page: #ffffff; --card: #f5f7fa; --accent: #2f7fd1; --good: #1f7a44; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a3adba; --line: #39424f;
  --page: #14181e; --card: #1d232c; --accent: #6bb0f5; --good: #6fcf97; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; color: var(--ink);
  background: var(--page); font: 16px/1.55 system-ui, "Segoe UI", "Helvetica Neue", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0; max-width: 46rem; } header p { max-width: none; } .soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; }
.card b { display: block; font-size: 1.7rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--soft); font-size: .88rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
figure { margin: 0; max-width: 46rem; } figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .35rem; }
th, td { padding: .32rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: baseline; white-space: nowrap; }
td.text, thead th { white-space: normal; }
th { font-weight: 600; } th:first-child, td.text, th.text { text-align: left; }
table.confusion td { min-width: 4.6rem; text-align: center; border: 1px solid var(--page); }
table.confusion thead th { text-align: center; }
table.confusion small { display: block; line-height: 1.2; opacity: .8; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--accent); font-size: .9rem; }
details table { margin: .5rem 0; } li { margin: .25rem 0; max-width: 46rem; }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff; --card: #fff;
  --accent: #000; --good: #000; --bad: #000; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  table { font-size: 8.5pt; } th, td { padding: .2rem .4rem; } .scroll { overflow: visible; }
  h2, figure, .card, table { break-inside: avoid; } h2 { break-after: avoid; }
  details:not([open]) { display: none; }
  table.confusion td { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""

BODY = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ run.study }}: report of a federated run</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<header>
<h1>{{ run.study }}</h1>
<p class="soft">{{ run.sites | length }} sites · {{ run.rounds[-1].round }} rounds ·
{{ "{:,}".format(run.parameters) }} parameters · engine {{ run.engine }} ·
{{ privacy }} · {{ "%.0f" | format(run.seconds) }} s</p>
</header>

<section class="cards" aria-label="Headline figures">
{% for card in cards %}<div class="card"><span>{{ card.title }}</span>
<b{% if card.tone %} class="{{ card.tone }}"{% endif %}>{{ card.value }}</b>
<span>{{ card.note }}</span></div>
{% endfor %}</section>
<p>All figures are on {{ persons }} persons{{ clips }} who took no part
in training. Intervals are {{ "%.0f" | format(100 * confidence) }} % and count persons, not clips.
{% if m and m.absent_classes %}Not in the evaluation, and left out of UAR:
{{ m.absent_classes | join(", ") }}.{% endif %}
{% if m and m.abstained %}{{ m.abstained }} clips had no modality at all and count as wrong.
{% endif %}</p>

<section>
<h2>Accuracy over rounds</h2>
<figure role="group" aria-labelledby="cap-accuracy">{{ accuracy_svg }}
<figcaption id="cap-accuracy">{{ first.name }} after each evaluated round; bands are the intervals
by person.
</figcaption></figure>
<details><summary>As a table</summary><div class="scroll"><table>
<thead><tr><th scope="col">round</th><th scope="col">{{ first.name }}</th>
<th scope="col">interval</th>{% if m %}<th scope="col">weighted F1</th>{% endif %}
{% if open_rounds %}<th scope="col">{{ first.name }} without privacy</th>
{% endif %}</tr></thead><tbody>{% for round, shown, metrics in rounds %}
<tr><th scope="row">{{ round }}</th><td>{{ shown.text }}</td><td>{{ shown.interval }}</td>
{% if m %}<td>{{ metrics.weighted_f1.value | pct if metrics else "–" }}</td>{% endif %}
{% if open_rounds %}<td>{{ open_rounds.get(round, "–") }}</td>{% endif %}</tr>{% endfor %}
</tbody></table></div></details>
</section>

{% if epsilon_svg %}<section>
<h2>Privacy spent over rounds</h2>
<figure role="group" aria-labelledby="cap-epsilon">{{ epsilon_svg }}
<figcaption id="cap-epsilon">ε per {{ unit }}, as each site's own ledger accounts for it.
</figcaption></figure>
<details><summary>As a table</summary><div class="scroll"><table>
<thead><tr><th scope="col">site</th>{% for r in epsilon_rounds %}<th scope="col">round {{ r }}</th>
{% endfor %}</tr></thead><tbody>{% for site in run.sites %}<tr><th scope="row">{{ site.name }}</th>
{% set spent = dict(site.epsilon_by_round) %}{% for r in epsilon_rounds %}
<td>{{ spent.get(r) | two("–") }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div></details>
</section>{% endif %}

{% if m %}<section>
<h2>What was taken for what</h2>
<div class="scroll"><table class="confusion"><caption>Rows: the label. Columns: the model's answer.
Shares of the row, and clips below.</caption>
<thead><tr><th></th>{% for c in m.classes %}<th scope="col">{{ c }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in confusion %}<tr><th scope="row">{{ row.name }}</th>{% for cell in row.cells %}
<td style="background: rgba(47, 127, 209, {{ "%.2f" | format(0.75 * cell.share) }})">
{{ cell.share | pct0 }}<small>{{ cell.clips }}</small></td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
</section>{% endif %}

{% if views_svg %}<section>
<h2>What each modality contributes</h2>
<figure role="group" aria-labelledby="cap-views">{{ views_svg }}
<figcaption id="cap-views">The finished model, shown one modality alone or all but one; each over
the clips that have something to show.</figcaption></figure>
<details><summary>As a table</summary><table>
<thead><tr><th scope="col">shown</th><th scope="col">UAR</th></tr></thead>
<tbody><tr><th scope="row">everything</th><td>{{ m.uar.value | pct }}</td></tr>
{% for view, uar in run.views.items() %}<tr><th scope="row">{{ view }}</th>
<td>{{ uar | pct if uar is not none else "no clip" }}</td></tr>{% endfor %}</tbody></table>
</details></section>{% endif %}

{% if beside_views.rows %}<section>
<h2>What each modality tells beside the class</h2>
<div class="scroll"><table><thead><tr><th scope="col">shown</th>
{% for name in beside_views.columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for view, values in beside_views.rows %}<tr><th scope="row">{{ view }}</th>
{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
</section>{% endif %}

<section>
<h2>Sites</h2>
<div class="scroll"><table><thead><tr><th scope="col">site</th><th scope="col">training persons</th>
<th scope="col">clips</th><th scope="col" class="text">modalities</th><th scope="col">rounds</th>
{% if private %}<th scope="col">ε spent</th><th scope="col">ε left</th><th scope="col">δ</th>
<th scope="col" class="text">unit</th><th scope="col" class="text">ledger</th>{% endif %}</tr>
</thead><tbody>{% for site in run.sites %}<tr><th scope="row">{{ site.name }}</th>
<td>{{ site.persons if site.persons is not none else "not told" }}</td>
<td>{{ site.clips if site.clips is not none else "not told" }}</td>
<td class="text">{{ site.modalities | join(", ") }}</td><td>{{ site.rounds }}</td>
{% if private %}<td>{{ site.epsilon_spent | two("–") }}</td>
<td>{{ site.epsilon_left | two("no limit") }}</td>
<td>{{ "%.0e" | format(site.delta) if site.delta is not none else "–" }}</td>
<td class="text">{{ site.unit }}</td>
<td class="text {{ "good" if site.ledger_verified else "bad" }}">
{{ "verified" if site.ledger_verified else "not verified" }}</td>{% endif %}</tr>{% endfor %}
</tbody></table></div>
</section>

<section>
<h2>More figures</h2>
<div class="scroll"><table><thead><tr><th scope="col">figure</th><th scope="col">value</th>
<th scope="col">interval</th>{% if open %}<th scope="col">without privacy</th>{% endif %}</tr>
</thead><tbody>{% for row in figures %}
<tr><th scope="row">{{ row.name }}</th><td>{{ row.value }}</td>
<td>{{ row.interval }}</td>{% if open %}<td>{{ row.open }}</td>{% endif %}</tr>{% endfor %}
</tbody></table></div>
</section>

{% for title, sentences in lists %}{% if sentences %}<section>
<h2>{{ title }}</h2>
<ul>{% for sentence in sentences %}<li>{{ sentence }}</li>{% endfor %}</ul>
</section>{% endif %}{% endfor %}

{% if run.settings %}<section>
<h2>Settings</h2>
<div class="scroll"><table><thead><tr><th scope="col">setting</th><th scope="col" class="text">value
</th></tr></thead><tbody>{% for name, value in run.settings.items() %}<tr>
<th scope="row">{{ name }}</th><td class="text">{{ value }}</td></tr>{% endfor %}</tbody></table>
</div></section>{% endif %}
</main>
</body>
</html>
"""
