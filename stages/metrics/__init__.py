"""One file per question asked of what was learned."""
