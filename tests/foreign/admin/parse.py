"""Parses the metrics on standard input, "openmetrics" or "text", and prints their families as JSON."""
import json
import sys

if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
else:
    from prometheus_client.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.name not in families, family.name
    families[family.name] = {
        "type": family.type,
        "unit": family.unit,
        "sum": sum(s.value for s in family.samples if s.name.endswith(("_total", "_count"))),
    }
print(json.dumps(families))
