"""Facts in, mergeable summaries out.

`compute_facts` reads one state of the lake, `facts_from_file` a table that somebody already has. What is computed is
written as ibis expressions and knows no dialect of SQL; DuckDB runs them over Parquet files.
"""

from genux_server.engine._lake import compute_facts

__all__ = ["compute_facts"]
