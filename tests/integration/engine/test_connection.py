"""What the engine's DuckDB may hold in memory, and where the rest goes."""

from genux_server.engine._connection import count_of, duckdb_connection, stored

LIMIT_MIB = 48
N_ROWS = 1_500_000


def test_tables_larger_than_the_memory_spill_and_give_the_same_answer():
    with duckdb_connection(memory_limit=f"{LIMIT_MIB}MiB") as connection:
        connection.raw_sql(f"CREATE TEMP VIEW numbers AS SELECT md5(range::VARCHAR) AS text FROM range({N_ROWS})")
        texts = stored(connection.table("numbers"))
        assert count_of(texts) == N_ROWS
        held, spilled = connection.raw_sql(
            "SELECT sum(memory_usage_bytes), sum(temporary_storage_bytes) FROM duckdb_memory()"
        ).fetchone()
    assert spilled > 0
    assert held <= LIMIT_MIB * 2**20


def test_half_of_the_memory_is_left_to_the_service():
    with duckdb_connection() as connection, duckdb_connection(memory_limit="100%") as whole:
        limit, of_all = (_bytes(each) for each in (connection, whole))
    assert 0.4 * of_all < limit < 0.6 * of_all


def _bytes(connection) -> float:
    (text,) = connection.raw_sql("SELECT current_setting('memory_limit')").fetchone()
    amount, unit = text.split()
    return float(amount) * 1024 ** ("KMGT".index(unit[0]) + 1)
