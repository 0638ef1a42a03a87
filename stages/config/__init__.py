"""Reading and validation of params.yaml, mixtures.yaml and claims.yaml, and the error messages."""
