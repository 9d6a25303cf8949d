import time
import uuid

from genux._ids import uuid7


def test_ids_are_version_7_of_now_differ_and_sort_by_time():
    before = time.time_ns() // 1_000_000
    ids = []
    for _ in range(200):
        ids.append(uuid7())
        time.sleep(2e-6)
    after = time.time_ns() // 1_000_000
    parsed = [uuid.UUID(text) for text in ids]
    assert {(one.version, one.variant) for one in parsed} == {(7, uuid.RFC_4122)}
    assert ids == sorted(ids)
    assert len({text[19:] for text in ids}) == len(ids)
    assert all(before <= one.int >> 80 <= after for one in parsed)
    assert all(str(one) == text for one, text in zip(parsed, ids, strict=True))
