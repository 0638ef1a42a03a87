"""The framework of a stage: the runner, artifact paths, file formats, seeding, code dependencies."""
