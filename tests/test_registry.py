"""The registry of trained models: a real MLflow, over a file of one's own and over a server."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.errors import ModelError
from components.model_files import DESCRIPTION, NUMBERS
from components.promotion import CHALLENGER, CHAMPION
from components.registry import Registry, Training
from tests.mlflow_server import mlflow_server
from tests.proxies import free_port
from tests.test_training import LOCAL, panel_of, recipe, trained

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def panel():
    return panel_of(n_instruments=2, n_bars=250)


@pytest.fixture(scope="module")
def models(panel):
    """Three models that differ."""
    return [
        trained(recipe("kmeans"), panel),
        trained(recipe("gmm"), panel),
        trained(recipe("kmeans"), panel, 200),
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of MLflow, for all tests that ask it."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(params=["own", "server"])
def registry(request, tmp_path):
    """An empty registry: in a file of one's own, and on a server."""
    if request.param == "own":
        return Registry("", tmp_path / "mlflow", "1d")
    # Each test has an interval of its own there, and so a registered model.
    interval = f"{1 + abs(hash(request.node.name)) % 10**6}m"
    return Registry(request.getfixturevalue("server"), tmp_path / "mlflow", interval)


@pytest.fixture
def own(tmp_path):
    """A registry in a file of one's own."""
    return Registry("", tmp_path / "mlflow", "1d")


def training(model, panel, **more):
    """A training as `train` hands it over."""
    example = pd.DataFrame(panel.x[0, 20:25], columns=list(LOCAL))
    values = {
        "params": {"detector": model.detector, "seed": 0},
        "figures": {"recall_planted": 0.7, "stability": float("nan")},
        "pictures": {"map.png": b"\x89PNG\r\n\x1a\n"},
        "tables": {"grid.json": "[]\n"},
        "tags": {"held_out_since": "2019-01-01T00:00:00+00:00"},
    }
    return Training(trained=model, example=example, **{**values, **more})


def keep(registry, panel, *models):
    """Record models, each the challenger of its time; their numbers."""
    return [registry.record(training(model, panel)) for model in models]


def test_where_nothing_was_trained_there_is_nothing(tmp_path):
    """No database is made by asking; a run does not pay for what nobody uses."""
    empty = Registry("", tmp_path / "mlflow", "1d")
    assert not empty.is_there
    assert empty.load(CHAMPION) is None
    assert empty.versions() == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ModelError, match="no challenger"):
        empty.version("challenger")


def test_a_model_comes_back_as_it_was_kept(registry, models, panel):
    """By alias and by number, to the bit, with its version's name."""
    assert keep(registry, panel, *models) == ["1", "2", "3"]
    assert registry.load(CHAMPION) is None
    newest, first = registry.load(CHALLENGER), registry.load("1")
    assert (newest.name, first.name) == ("kmeans@3", "kmeans@1")
    for kept, model in ((newest, models[2]), (first, models[0])):
        np.testing.assert_array_equal(
            kept.score_any(panel.x, panel.symbols), model.score_any(panel.x, panel.symbols)
        )
    assert [v.number for v in registry.versions()] == ["3", "2", "1"]
    assert registry.version(CHALLENGER).aliases == (CHALLENGER,)
    assert registry.version("2").tags["detector"] == "gmm"
    assert registry.load("77") is None


def test_nothing_is_printed_beside_what_the_command_prints(registry, models, panel, capfd):
    """A program that reads the command's JSON finds nothing else there."""
    keep(registry, panel, models[0])
    registry.load(CHALLENGER)
    assert capfd.readouterr().out == ""


def test_a_run_holds_parameters_figures_pictures_and_tables(registry, models, panel):
    """What was learned from what, and how well it did, beside the model."""
    keep(registry, panel, models[0])
    version = registry.version("1")
    assert registry.figures(version) == {"recall_planted": 0.7}
    with registry._tracking() as mlflow:
        run = mlflow.get_run(version.run)
        names = {
            item.path
            for folder in ("", "pictures")
            for item in mlflow.MlflowClient().list_artifacts(version.run, folder)
        }
    assert run.info.status == "FINISHED"
    assert run.data.params["detector"] == "kmeans"
    assert {"pictures/map.png", "grid.json"} <= names


def test_the_model_states_what_goes_in_and_out(registry, models, panel):
    """A signature by the features' names, and rows as an example, as MLflow itself reads them."""
    keep(registry, panel, models[1])
    with registry._tracking() as mlflow:
        info = mlflow.models.get_model_info(f"models:/{registry.name}/1")
        place = mlflow.artifacts.download_artifacts(f"models:/{registry.name}/1")
        example = mlflow.models.Model.load(place).load_input_example(place)
    assert info.signature.inputs.input_names() == list(LOCAL)
    assert info.signature.outputs.input_names() == ["score"]
    np.testing.assert_allclose(example.to_numpy(), panel.x[0, 20:25])
    assert list(example.columns) == list(LOCAL)


def test_nothing_that_can_run_is_stored(own, models, panel):
    """Numbers, JSON, YAML and pictures: no pickle, no code."""
    keep(own, panel, *models)
    stored = [path for path in (own.folder / "artifacts").rglob("*") if path.is_file()]
    assert {path.suffix for path in stored} == {".json", ".npz", "", ".png"}
    assert {path.name for path in stored if not path.suffix} == {"MLmodel"}


def test_champions_follow_each_other_and_come_back(registry, models, panel):
    """Promotion takes the challenger's name; going back twice reaches the first."""
    for model in models:
        number = registry.record(training(model, panel))
        registry.promote(registry.version(number))
    assert registry.load(CHALLENGER) is None
    assert registry.load(CHAMPION).name == "kmeans@3"
    assert registry.roll_back() == "2"
    assert registry.load(CHAMPION).name == "gmm@2"
    assert registry.roll_back() == "1"
    assert registry.version("1").aliases == (CHAMPION,)
    with pytest.raises(ModelError, match="no champion before"):
        registry.roll_back()
    assert registry.load(CHAMPION).name == "kmeans@1"


def test_an_older_model_is_promoted_without_touching_the_challenger(registry, models, panel):
    """Any version can be promoted; who waits goes on waiting."""
    keep(registry, panel, *models)
    registry.promote(registry.version("1"))
    assert registry.version("1").aliases == (CHAMPION,)
    assert registry.version("3").aliases == (CHALLENGER,)


def test_intervals_have_registries_of_their_own(own, models, panel):
    """A model of days is never among those of minutes."""
    keep(own, panel, models[0])
    minutes = replace(own, interval="1m")
    assert minutes.versions() == []
    assert minutes.load(CHALLENGER) is None


def test_files_that_are_not_those_registered_are_refused(own, models, panel):
    """Whoever can write to the folder of artifacts cannot slip in a model of his own."""
    keep(own, panel, models[0])
    keep(own, panel, models[1])
    folders = sorted(
        (path.parent for path in (own.folder / "artifacts").rglob(DESCRIPTION)),
        key=lambda folder: json.loads((folder / DESCRIPTION).read_text())["detector"],
    )
    gmm, kmeans = folders
    for name in (DESCRIPTION, NUMBERS):
        (kmeans / name).write_bytes((gmm / name).read_bytes())
    with pytest.raises(ModelError, match="not those that were registered"):
        own.load("1")
    assert own.load("2") is not None
    (gmm / NUMBERS).unlink()
    with pytest.raises(ModelError, match="not those that were registered"):
        own.load("2")


def test_a_database_that_is_none_is_said_in_one_line(own):
    """A torn file, a file of something else."""
    own.folder.mkdir(parents=True)
    (own.folder / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(ModelError, match=r"the registry at .* failed") as refused:
        own.load(CHAMPION)
    assert len(str(refused.value).splitlines()) == 1


def test_a_server_that_is_away_is_said_soon(tmp_path):
    """A nightly run does not wait for minutes, and the address is the setting's name."""
    away = Registry(f"http://127.0.0.1:{free_port()}", tmp_path, "1d")
    with pytest.raises(ModelError, match="the registry at TREMOR_MLFLOW_URL failed") as refused:
        away.load(CHAMPION)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ModelError):
        away.is_ready()


def test_two_trainings_at_once_both_stay(own, models, panel, tmp_path):
    """Two processes record into one registry: each gets a number of its own."""
    keep(own, panel, models[0])
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from components.registry import Registry\n"
        "from tests.test_registry import training\n"
        "from tests.test_training import panel_of, recipe, trained\n"
        "panel = panel_of(n_instruments=2, n_bars=250)\n"
        "kept = Registry('', Path(sys.argv[1]), '1d')\n"
        "print(kept.record(training(trained(recipe('kmeans'), panel), panel)))\n"
    )
    at_work = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(own.folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    numbers = {process.communicate(timeout=300)[0].strip() for process in at_work}
    assert numbers == {"2", "3"}
    assert [version.number for version in own.versions()] == ["3", "2", "1"]
    assert all(own.load(number) is not None for number in "123")


def test_without_mlflow_the_remedy_is_named(tmp_path):
    """Whoever did not install it reads how."""
    program = (
        "import sys; sys.modules['mlflow'] = None\n"
        "from pathlib import Path\n"
        "from components.registry import Registry\n"
        "Registry('http://127.0.0.1:1', Path('x'), '1d').load('champion')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Run `make models`." in done.stderr


def test_without_all_of_mlflow_a_registry_of_ones_own_names_the_remedy(own, models, panel):
    """The image has the small package, which reads servers alone."""
    keep(own, panel, models[0])
    program = (
        "import sys; sys.modules['alembic'] = None\n"
        "from pathlib import Path\n"
        "from components.registry import Registry\n"
        "Registry('', Path(sys.argv[1]), '1d').load('challenger')\n"
    )
    command = [sys.executable, "-c", program, str(own.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "needs all of MLflow (alembic" in done.stderr
