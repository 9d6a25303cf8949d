"""Facts in, mergeable summaries out.

`compute_facts` reads one state of the lake, `facts_from_file` a table that somebody already has. What is computed is
written as ibis expressions and knows no dialect of SQL; DuckDB runs them over Parquet files.
"""

from genux_server.engine._lake import compute_facts
from genux_server.engine.file import FileMetric, facts_from_file, parse_metric

__all__ = ["FileMetric", "compute_facts", "facts_from_file", "parse_metric"]
