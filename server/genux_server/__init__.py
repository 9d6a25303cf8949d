"""The genux service: ingest, lake, statistics, pages and rollout. The SDK it serves is `genux`."""
