"""The record that every tool leaves behind, and the pages, figures and tables made from it.

``evaluation.json`` holds scores, claims, cost and provenance under one schema for all tools;
`write_report` turns a run into one page that needs nothing but itself, `write_index` many runs into another.
"""

from isopleth.report.cost import Cost, Meter, measure_cost
from isopleth.report.figures import (
    compare_bars,
    figure,
    label_quantity,
    line_with_interval,
    save_figure,
    score_by_lead,
)
from isopleth.report.index import find_runs, write_index
from isopleth.report.maps import map_axes, plot_map, plot_tracks
from isopleth.report.markdown import markdown_table
from isopleth.report.page import write_report
from isopleth.report.provenance import Provenance, fingerprint
from isopleth.report.publication import publish
from isopleth.report.record import (
    Claim,
    DataCard,
    Evaluation,
    Score,
    find_evidence,
    read_evaluation,
    write_evaluation,
)
from isopleth.report.schema import SCHEMA_ID, load_schema, validate

__all__ = [
    "SCHEMA_ID",
    "Claim",
    "Cost",
    "DataCard",
    "Evaluation",
    "Meter",
    "Provenance",
    "Score",
    "compare_bars",
    "figure",
    "find_evidence",
    "find_runs",
    "fingerprint",
    "label_quantity",
    "line_with_interval",
    "load_schema",
    "map_axes",
    "markdown_table",
    "measure_cost",
    "plot_map",
    "plot_tracks",
    "publish",
    "read_evaluation",
    "save_figure",
    "score_by_lead",
    "validate",
    "write_evaluation",
    "write_index",
    "write_report",
]
