"""Which version of the registered encoder gets the alias; test_services.py tests registration on a server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stages.tools import registry
from stages.tools.registry import ALIAS, KEY, model_name

MODEL = model_name("mnist")


class Client:
    """A model registry in memory.

    Args:
        holder: the version that has the alias, if any.
        accuracies: the accuracy of each version, by v1, v2 and so on.
    """

    def __init__(self, holder: str | None, **accuracies: str) -> None:
        self.aliases = {ALIAS: holder} if holder else {}
        self.accuracies = accuracies

    def get_registered_model(self, name: str) -> SimpleNamespace:
        assert name == MODEL
        return SimpleNamespace(aliases=self.aliases)

    def get_model_version(self, name: str, version: str) -> SimpleNamespace:
        return SimpleNamespace(version=int(version), tags={KEY: self.accuracies[f"v{version}"]})

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version


@pytest.mark.parametrize(
    ("holder", "accuracy", "new_holder", "message"),
    [
        (None, 0.99, "2", "version 2 is best now, with 0.99"),
        ("1", 0.9921, "2", "version 2 is best now, with 0.9921"),
        ("1", 0.9920, "1", "version 1 stays best, with 0.992 against 0.992"),
        ("1", 0.9919, "1", "version 1 stays best, with 0.992 against 0.9919"),
        ("2", 0.9, "2", "version 2 is best already"),
    ],
)
def test_the_alias_moves_only_to_a_version_with_higher_accuracy(
    holder: str | None, accuracy: float, new_holder: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(holder, v1="0.992", v2="0.9")
    registry._update_alias(client, MODEL, "2", accuracy)
    assert client.aliases[ALIAS] == new_holder
    assert capsys.readouterr().out == f"registry: {message}\n"
