"""The page's template. A Python string, so that it is found wherever the code is installed."""

STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --card: #f5f7fa; --bad: #b3261e;
  --good: #1f7a44; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 3rem; max-width: 56rem; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line);
  padding-bottom: .2rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); }
.lead { font-size: 1.05rem; border-left: 4px solid #2f7fd1; padding: .2rem 0 .2rem .9rem;
  margin: 1.1rem 0; }
.cards { display: grid; grid-template-columns: repeat(5, 1fr); gap: .6rem; margin: 1.1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .75rem; }
.card b { display: block; font-size: 1.45rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--soft); font-size: .82rem; line-height: 1.35; }
.side { display: grid; grid-template-columns: 24rem 1fr; gap: 1.2rem; align-items: center; }
figure { margin: .5rem 0; } figure svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; margin: .4rem 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: baseline; }
th { font-weight: 600; } thead th { color: var(--soft); }
th:first-child, td.text, th.text { text-align: left; }
li { margin: .2rem 0; } ul { padding-left: 1.2rem; }
code { font: .8rem/1.45 ui-monospace, "Cascadia Mono", Menlo, monospace; overflow-wrap: anywhere; }
.notice { border: 1px solid var(--bad); border-radius: .4rem; padding: .5rem .8rem; }
@media (max-width: 44rem) { .cards { grid-template-columns: 1fr 1fr; }
  .side { grid-template-columns: 1fr; } }
@page { size: A4; margin: 16mm; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; margin-top: 1.3rem; }
  figure, .card, tr, .lead, .side, section.whole { break-inside: avoid; }
  .card { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""

BODY = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Privacy account of {{ r.site }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>Privacy account of {{ r.site }}</h1>
<p class="soft">Read from the site's own ledger on {{ r.read_at | when }} ·
{% if r.founded %}{{ r.entries }} entries, every one verified{% else %}no ledger yet{% endif %} ·
budget kept by {{ a.unit }}</p>
</header>

<section class="cards" aria-label="Headline figures">
<div class="card"><span>ε spent</span><b>{{ a.epsilon_spent | eps }}</b>
<span>per {{ a.unit }}, at δ = {{ "%g" | format(a.delta) }}</span></div>
<div class="card"><span>cap</span><b>{{ a.epsilon_cap | eps("none") }}</b>
<span>set by the site</span></div>
<div class="card"><span>left</span><b>{{ a.epsilon_left | eps("–") }}</b>
<span>{% if a.rounds_affordable is not none %}{{ a.rounds_affordable }} more rounds like the last
{% else %}no noised round yet{% endif %}</span></div>
<div class="card"><span>of 100 guesses</span><b>{{ a.right_of_100_guesses }}</b>
<span>can be right, at most; 50 by a coin</span></div>
<div class="card"><span>last charge</span><b>{{ a.last_charge | day }}</b>
<span>{{ a.last_charge | year }}</span></div>
</section>

<p class="lead">{{ plain }}</p>
{% if r.warnings %}<div class="notice">
{% for warning in r.warnings %}<p class="bad">{{ warning }}</p>{% endfor %}
</div>{% endif %}

{% if accounts %}<section>
<h2>What was spent, by study</h2>
<table><thead><tr><th scope="col">study</th><th scope="col" class="text">unit</th>
<th scope="col">δ</th><th scope="col">ε spent</th><th scope="col">cap</th><th scope="col">left</th>
<th scope="col">rounds</th><th scope="col">more rounds</th><th scope="col">of 100 guesses</th>
<th scope="col" class="text">last charge</th></tr></thead><tbody>
{% for s in accounts %}<tr><th scope="row">{{ s.study or "all together" }}</th>
<td class="text">{{ s.unit }}</td><td>{{ "%g" | format(s.delta) }}</td>
<td>{{ s.epsilon_spent | eps }}{% if s.model_updates_exact %} and exact{% endif %}</td>
<td>{{ s.epsilon_cap | eps("none") }}</td><td>{{ s.epsilon_left | eps("–") }}</td>
<td>{{ s.rounds }}</td>
<td>{{ "–" if s.rounds_affordable is none else s.rounds_affordable }}</td>
<td>{{ s.right_of_100_guesses }}</td><td class="text">{{ s.last_charge | when }}</td></tr>
{% endfor %}</tbody></table>
{% if a.rounds_unfinished %}<p>Rounds that were charged and not finished, counted in full:
{{ a.rounds_unfinished }}.</p>{% endif %}
</section>{% endif %}

{% if curve_svg %}<section class="whole">
<h2>How it was spent over time</h2>
<figure>{{ curve_svg }}</figure>
</section>

<section class="whole">
<h2>Against whom</h2>
<table><thead><tr><th scope="col">who looks</th><th scope="col">ε per {{ a.unit }}</th></tr></thead>
<tbody><tr><th scope="row">the outside world: readers of the model and of released sums</th>
<td>{{ a.epsilon_by_onlooker.outside_world | eps }}</td></tr>
<tr><th scope="row">{{ coordinator }} (this figure is charged)</th>
<td>{{ a.epsilon_by_onlooker.coordinator_with_colluding_sites | eps }}</td></tr>
<tr><th scope="row">anybody, if secure aggregation were broken outright</th>
<td>{{ a.epsilon_by_onlooker.secure_aggregation_broken | eps }}</td></tr></tbody></table>
</section>

<section class="whole">
<h2>What it means for somebody who tests for one {{ a.unit }}</h2>
<div class="side"><figure>{{ trade_svg }}</figure>
<div><p>Whoever wants to tell whether one {{ a.unit }} is behind the released numbers makes two
kinds of error: to say “took part” of somebody who did not, and to miss somebody who did. No test,
however clever, comes below the curve.</p><p>{{ catch }}</p></div></div>
</section>{% endif %}

<section>
<h2>Released exactly: not differentially private</h2>
{% if r.exact %}<p>These numbers left without noise, only inside secure sums over several sites. No
ε speaks of them; a person can be recognised in them by somebody who knows all other
contributions.</p>
<table><thead><tr><th scope="col">what</th><th scope="col" class="text">study</th>
<th scope="col">sums</th><th scope="col">persons behind each, at least</th></tr></thead><tbody>
{% for e in r.exact %}<tr><th scope="row">{{ e.what }}</th><td class="text">{{ e.study }}</td>
<td>{{ e.times }}</td><td>{{ e.min_persons }}</td></tr>{% endfor %}</tbody></table>
{% else %}<p>None.</p>{% endif %}
</section>

{% if r.studies %}<section>
<h2>What was done</h2>
<table><thead><tr><th scope="col">study</th><th scope="col" class="text">released</th>
<th scope="col">clipping norm</th></tr></thead><tbody>
{% for s in r.studies %}{% for event in s.events %}<tr><th scope="row">{{ s.study }}</th>
<td class="text">{{ event | mechanism }}</td>
<td>{% if event.event == "exact_through_secure_sum" %}–{% else %}
{{ s.clipping_norms | join(", ") or "–" }}{% endif %}</td></tr>{% endfor %}{% endfor %}
</tbody></table>
</section>{% endif %}

<section>
<h2>What this rests on</h2>
<ul>{% for sentence in r.assumptions %}<li>{{ sentence }}</li>{% endfor %}</ul>
</section>

<section>
<h2>What is not covered</h2>
<ul>{% for sentence in r.not_covered %}<li>{{ sentence }}</li>{% endfor %}</ul>
</section>

<section class="whole">
<h2>How to check this report</h2>
<p>The same figures stand in a JSON file beside this page, signed with the site's Ed25519 key:
<code>tacit budget verify SITE_FOLDER --report FILE.json</code> checks that signature, and that the
ledger still holds the entry at which the report was written.</p>
<table><tbody>
<tr><th scope="row">ledger</th><td class="text"><code>{{ r.ledger or "–" }}</code></td></tr>
<tr><th scope="row">last entry</th><td class="text"><code>{{ r.head.seq }} ·
{{ r.head.digest or "–" }}</code></td></tr>
{% for name, value in (("SHA-256 of the JSON", signature.sha256),
("public key", signature.public_key), ("signature", signature.signature)) %}
<tr><th scope="row">{{ name }}</th><td class="text"><code>{{ value }}</code></td></tr>{% endfor %}
</tbody></table>
</section>
</body>
</html>
"""
