"""A model's card as one HTML page: no scripts, nothing from elsewhere, fit to print."""

from typing import Any

import jinja2

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Model card: {{ card.model_details.name }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; }
h2 { border-bottom: 1px solid #bbb; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eee; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
p.text { white-space: pre-line; }
code { overflow-wrap: anywhere; }
tr { break-inside: avoid; }
@media print { body { margin: 0; font-size: 11pt; max-width: none; } }
</style>
</head>
<body>
{% set details, analysis = card.model_details, card.quantitative_analysis -%}
<h1>{{ details.name }}</h1>
<p>{{ details.overview }} Owner: {{ details.owner }}.</p>

<h2>Intended use</h2>
<p class="text">{{ card.considerations.intended_use }}</p>
<p>Not meant for:</p>
<ul>{% for text in card.considerations.out_of_scope %}<li>{{ text }}</li>{% endfor %}</ul>

<h2>Limits</h2>
<ul>{% for text in card.considerations.limits %}<li>{{ text }}</li>{% endfor %}</ul>

<h2>How well it does</h2>
<p>On the {{ analysis.split }} split, at the pictures' own size, void left out; the intervals are of 95 %.</p>
<table>
<tr><th>measure</th><th class="n">this model</th>{% if analysis.baseline %}<th class="n">the baseline</th>{% endif %}</tr>
{% for name, value in analysis.overall.items() -%}
<tr><td>{{ name | words }}</td><td class="n">{{ value | number }}</td>
{%- if analysis.baseline %}<td class="n">{{ analysis.baseline[name] | number }}</td>{% endif %}</tr>
{% endfor -%}
{% if analysis.change_interval -%}
<tr><td>change of mean IoU, interval</td><td class="n">{{ analysis.change_interval | number }}</td><td></td></tr>
{% endif -%}
</table>
<p>The gate: {{ "blessed" if analysis.blessed else "not blessed" }}.</p>
<ul>{% for text in analysis.reasons %}<li>{{ text }}</li>{% endfor %}</ul>
<table>
<tr><th>class</th>{% for key in analysis.classes[0] if key != "name" %}<th class="n">{{ key | words }}</th>{% endfor %}</tr>
{% for one in analysis.classes -%}
<tr><td>{{ one.name }}</td>
{%- for key, value in one.items() if key != "name" %}<td class="n">{{ value | number }}</td>{% endfor %}</tr>
{% endfor -%}
</table>
{% if analysis.worst_slices -%}
<p>It does worst on:</p>
<table>
<tr><th>pictures by</th><th>which</th><th class="n">mean IoU</th><th class="n">pictures</th></tr>
{% for one in analysis.worst_slices -%}
<tr><td>{{ one.group }}</td><td>{{ one.value }}</td><td class="n">{{ one.mean_iou | number }}</td>
<td class="n">{{ one.pictures | number }}</td></tr>
{% endfor -%}
</table>
{% endif %}

<h2>Data</h2>
<p>{{ card.data.name }}; licence: {{ card.data.licence }}. {{ card.data.quarantined }} listed pair(s) could not be used.</p>
<table>
<tr><th></th>{% for name in card.data.splits %}<th class="n">{{ name }}</th>{% endfor %}</tr>
<tr><td>pictures</td>{% for split in card.data.splits.values() %}<td class="n">{{ split.pictures }}</td>{% endfor %}</tr>
<tr><td>void</td>
{%- for split in card.data.splits.values() %}<td class="n">{{ split.void_fraction | share }}</td>{% endfor %}</tr>
{% for one in analysis.classes -%}
<tr><td>{{ one.name }}</td>
{%- for split in card.data.splits.values() %}
<td class="n">{{ split.class_shares.get(one.name, 0) | share }}</td>{% endfor %}</tr>
{% endfor -%}
</table>

<h2>Licences</h2>
<table>{% for one in details.licences %}<tr><td>{{ one.of }}</td><td>{{ one.licence }}</td></tr>{% endfor %}</table>

<h2>How it was made</h2>
<table>
<tr><td>preset</td><td>{{ card.provenance.preset }}</td></tr>
<tr><td>digest of the data</td><td><code>{{ card.provenance.data_digest }}</code></td></tr>
<tr><td>digest of the training code</td><td><code>{{ card.provenance.code_digest }}</code></td></tr>
{% for name, version in card.provenance.libraries.items() -%}
<tr><td>{{ name }}</td><td>{{ version }}</td></tr>
{% endfor -%}
</table>
<table>
{% for stage, fields in card.model_parameters.items() %}{% for name, value in fields.items() -%}
<tr><td>{{ stage }}.{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}{% endfor -%}
</table>
</body>
</html>
"""


def to_html(card: dict[str, Any]) -> str:
    """Returns the page of a card that `components.model_card.make_card` made; whatever stands in it is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "number": number,
        "share": share,
        "words": lambda name: name.replace("_", " ").replace("iou", "IoU"),
    }
    return environment.from_string(_PAGE).render(card=card) + "\n"


def number(value: Any) -> str:
    """Returns a measure: fractions with four decimals, counts whole, an interval as from and to, `-` where there is none."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(map(number, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def share(value: float) -> str:
    """Returns a share in per cent."""
    return f"{100 * value:.2f} %"
