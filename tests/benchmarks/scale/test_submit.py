# SPDX-License-Identifier: Apache-2.0
"""Submission against a stand-in for Slurm's commands: arrays, options, and clusters that are not there."""

import sys

import pytest

from robust3d.cli.app import main

SBATCH = """#!/bin/sh
number=$(($(ls "$SUBMITTED" | wc -l) + 1))
cp "$1" "$SUBMITTED/$number"
echo "Submitted batch job $number"
"""


@pytest.fixture
def call(tiny_zoo, tmp_path, monkeypatch, capsys):
    (tmp_path / "bin").mkdir()
    (tmp_path / "submitted").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("SUBMITTED", str(tmp_path / "submitted"))

    def run(*extra: str, shards: int = 8, **commands: str) -> tuple[int, str]:
        for name, text in commands.items():
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)
        arguments = ["submit", "tiny-bench", "--out", tmp_path / "out", "--cluster", "slurm", "--shards", shards]
        arguments = [*arguments, "--collection", tiny_zoo, *extra]
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(stop.value.code or 0), out + err

    return run


def fake(limit: int) -> dict[str, str]:
    return {
        "srun": "#!/bin/sh\n",
        "scontrol": f"#!/bin/sh\necho 'MaxArraySize            = {limit}'\n",
        "sbatch": SBATCH,
    }


def test_shards_are_chunked_under_the_array_limit(call, tmp_path) -> None:
    options = ["--workers", "3", "--patience", "60", "--track", "mlflow"]
    code, out = call("--cpus", "3", "--minutes", "7", "--slurm", "qos=long", *options, **fake(3))
    assert (code, "shards 1/8 to 8/8 are queued as jobs 1_0 to 3_1" in out) == (0, True)
    scripts = [(tmp_path / "submitted" / str(number)).read_text() for number in (1, 2, 3)]
    arrays = [line for text in scripts for line in text.splitlines() if "--array" in line]
    assert arrays == ["#SBATCH --array=0-2%3", "#SBATCH --array=0-2%3", "#SBATCH --array=0-1%2"]
    for wanted in ("--requeue", "--time=7", "--qos=long", "--cpus-per-task=3"):
        assert all(f"#SBATCH {wanted}\n" in text for text in scripts)


@pytest.mark.parametrize(
    ("extra", "shards", "message"),
    [
        (("--shard", "1/2"), 2, "gives every job its own --shard"),
        (("--attack", "fgms"), 2, "did you mean 'fgsm'?"),
        (("--modell", "tiny"), 2, "--modell"),
        ((), 9, "9 shards are more than the 8 cells"),
        ((), 0, "must be 1 or more"),
        (("--slurm", "qos"), 2, "is not NAME=VALUE"),
        (("--dry-run",), 2, "call robust3d run with --dry-run"),
        (("--workers", "0"), 2, "number of workers must be 1 or more"),
        (("--patience", "-3"), 2, "must be 10 seconds or more, not -3"),
    ],
)
def test_what_jobs_would_refuse_is_refused_before(call, tmp_path, extra, shards, message) -> None:
    code, out = call(*extra, shards=shards, **fake(3))
    assert (code, message in out) == (2, True)
    assert not list((tmp_path / "submitted").iterdir())


def test_a_cluster_that_is_not_there(call, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    code, out = call()
    assert (code, "no Slurm on this machine" in out) == (2, True)
    code, out = call(scontrol="#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    assert (code, "Slurm does not answer: Unable to contact slurm controller" in out) == (2, True)


def test_a_cluster_that_refuses(call) -> None:
    refusing = fake(3) | {"sbatch": "#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n"}
    code, out = call(**refusing)
    assert (code, "invalid partition" in out) == (2, True)


def test_without_submitit(call, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    code, out = call()
    assert (code, "pip install 'robust3d[cluster]'" in out) == (2, True)
