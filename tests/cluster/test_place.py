"""What `--cluster` takes, and one line for what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from optbench.core.trial import RequestError
from optbench.execution.cluster.place import Address, Local, SchedulerFile, place_of


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tcp://10.0.0.1:8786", Address("tcp://10.0.0.1:8786")),
        ("node1:8786", Address("tcp://node1:8786")),
        ("tls://[::1]:8786", Address("tls://[::1]:8786")),
        ("local:3", Local(3)),
        ("local", Local(None)),
        ("/shared/scheduler.json", SchedulerFile(Path("/shared/scheduler.json"))),
    ],
)
def test_an_address_a_file_and_local_workers_are_told_apart(text: str, place: object) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("local:0", "local:2 has two"),
        ("loca:2", "did you mean 'local:2'"),
        ("local:x", "local:N"),
        ("", "no address"),
        ("tcp://", "no address"),
        ("node1:99999", "no port is 99999"),
    ],
)
def test_what_is_no_cluster_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as error:
        place_of(text)
    assert "\n" not in str(error.value)


def test_a_folder_and_a_file_that_is_no_schedulers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        place_of(str(tmp_path))
    file = tmp_path / "scheduler.json"
    with pytest.raises(TimeoutError, match="there is no file"):
        SchedulerFile(file).address(0)
    for text in ("{", "[]", '{"address": 3}', "{}"):
        file.write_text(text)
        with pytest.raises(TimeoutError, match="not the file of a scheduler"):
            SchedulerFile(file).address(0)
    file.write_text('{"address": "tcp://127.0.0.1:1"}')
    assert SchedulerFile(file).address(0) == "tcp://127.0.0.1:1"
