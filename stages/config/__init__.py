"""The schema of params.yaml, claims.yaml and studies.yaml, and their messages."""
