"""The demonstration: a local OpenAI-compatible model server, and simulated visitors who say that they are."""
