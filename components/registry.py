"""Trained models kept in MLflow: runs, versions, aliases. The only home of MLflow."""

import contextlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from components.errors import ModelError
from components.model_files import DESCRIPTION, NUMBERS, digest_of, from_files, to_files
from components.promotion import CHALLENGER, CHAMPION
from components.trained import Trained, unfit

DATABASE = "mlflow.db"

# Of MLflow's messages so many characters are told.
MOST_SAID = 160

# MLflow asks a server seven times, with growing pauses: minutes, while a daily run waits.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}

# The tags of a model's version.
DIGEST, DETECTOR, UNTIL, SINCE = "sha256", "detector", "until", "held_out_since"
# Of a registered model: the versions that were champion before, newest last.
PAST_CHAMPIONS = "past_champions"


@dataclass(frozen=True)
class Training:
    """All that is kept of one training.

    ``figures`` and ``params`` are shown beside those of other trainings; ``pictures`` are PNG
    by file name, ``tables`` texts by file name; ``example`` some rows of the features.
    """

    trained: Trained
    params: Mapping[str, Any]
    figures: Mapping[str, float]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    example: pd.DataFrame = field(default_factory=pd.DataFrame)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One registered model, as it is listed."""

    number: str
    aliases: tuple[str, ...]
    made_at: pd.Timestamp
    run: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Registry:
    """A model registry for the models of one interval.

    Parameters
    ----------
    url : str
        Of an MLflow server; "" for a database and a folder of one's own.
    folder : Path
        Where these lie.
    interval : str
        Length of a bar; each has a registered model of its own.
    """

    url: str
    folder: Path
    interval: str

    @property
    def name(self) -> str:
        """Of the registered model and the experiment."""
        return f"tremor-{self.interval}"

    @property
    def is_there(self) -> bool:
        """False where no model was ever trained, and no server is named."""
        return bool(self.url) or (self.folder / DATABASE).is_file()

    def is_ready(self) -> None:
        """Ask whether a model could be kept, before hours are spent on one.

        Raises
        ------
        ModelError
            The registry does not answer.
        """
        with self._told(self.name):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._experiment()

    def load(self, alias: str) -> Trained | None:
        """The model with an alias or a version number; None when nothing has that alias.

        Raises
        ------
        ModelError
            The registry does not answer, or what it holds is no model of this program.
        """
        if not self.is_there:
            return None
        with self._told(f"the {alias} of {self.name}"):
            found = self._find(alias)
            return None if found is None else self._read(found)

    def versions(self) -> list[Version]:
        """All registered models of the interval, newest first.

        Raises
        ------
        ModelError
            The registry does not answer.
        """
        if not self.is_there:
            return []
        with self._told(self.name):
            found = self._client.search_model_versions(f"name = '{self.name}'")
            return sorted(
                (self._listed(self._client.get_model_version(self.name, v.version)) for v in found),
                key=lambda version: -int(version.number),
            )

    def version(self, which: str) -> Version:
        """One of them, by alias or number.

        Raises
        ------
        ModelError
            There is no such model, or the registry does not answer.
        """
        with self._told(f"model {which}"):
            found = self._find(which) if self.is_there else None
            if found is None:
                raise ModelError(
                    f"{self.name} has no {which}. `python main.py models list` shows what there is"
                )
            return self._listed(found)

    def usable(self, version: Version) -> Trained:
        """The model of a version, when it is of this interval and of today's features.

        Raises
        ------
        ModelError
            It is gone, or does not fit; or the registry does not answer.
        """
        trained = self.load(version.number)
        if trained is None:
            raise ModelError(f"version {version.number} is gone")
        if reason := unfit(trained, self.interval):
            raise ModelError(f"version {version.number} {reason}")
        return trained

    def figures(self, version: Version) -> dict[str, float]:
        """The figures and parameters of a version's training.

        Raises
        ------
        ModelError
            The registry does not answer.
        """
        with self._told(f"version {version.number}"):
            return dict(self._client.get_run(version.run).data.metrics)

    def record(self, training: Training) -> str:
        """Keep a training as a run and register its model as challenger; its version's number.

        Raises
        ------
        ModelError
            The registry does not answer.
        """
        with self._told(self.name), self._tracking() as mlflow:
            self.folder.mkdir(parents=True, exist_ok=True)
            with mlflow.start_run(experiment_id=self._experiment()) as run:
                mlflow.set_tags({**training.tags, DETECTOR: training.trained.detector})
                mlflow.log_params(dict(training.params))
                mlflow.log_metrics({k: v for k, v in training.figures.items() if isfinite(v)})
                for name, text in training.tables.items():
                    mlflow.log_text(text, name)
                number = str(self._register(mlflow, training))
                with tempfile.TemporaryDirectory() as folder:
                    for name, body in training.pictures.items():
                        (Path(folder) / name).write_bytes(body)
                    self._client.log_artifacts(run.info.run_id, folder, "pictures")
            for key, value in training.tags.items():
                self._client.set_model_version_tag(self.name, number, key, value)
            self._client.set_registered_model_alias(self.name, CHALLENGER, number)
            return number

    def promote(self, version: Version) -> None:
        """Make a version champion. Who was champion can come back by ``roll_back``.

        Raises
        ------
        ModelError
            The registry does not answer.
        """
        with self._told(f"version {version.number}"):
            past = self._past()
            if (now := self._find(CHAMPION)) is not None:
                past.append(str(now.version))
            self._crown(version.number, past)
            challenger = self._find(CHALLENGER)
            if challenger is not None and str(challenger.version) == version.number:
                self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def roll_back(self) -> str:
        """Make the champion before this one champion again; give its number.

        Raises
        ------
        ModelError
            There was none, or the registry does not answer.
        """
        with self._told(self.name):
            past = self._past() if self.is_there else []
            if not past:
                raise ModelError(f"{self.name} has no champion before this one to go back to")
            self._crown(past[-1], past[:-1])
            return past[-1]

    def _crown(self, number: str, past: Sequence[str]) -> None:
        self._client.set_registered_model_alias(self.name, CHAMPION, number)
        self._client.set_registered_model_tag(self.name, PAST_CHAMPIONS, json.dumps(list(past)))

    def _past(self) -> list[str]:
        if not self._client.search_registered_models(f"name = '{self.name}'"):
            return []
        tags = self._client.get_registered_model(self.name).tags
        return [str(number) for number in json.loads(tags.get(PAST_CHAMPIONS, "[]"))]

    @property
    def _uri(self) -> str:
        return self.url or f"sqlite:///{(self.folder / DATABASE).resolve()}"

    @cached_property
    def _client(self) -> Any:
        return _mlflow().MlflowClient(self._uri, self._uri)

    @contextlib.contextmanager
    def _tracking(self) -> Iterator[Any]:
        """MLflow with its global addresses set to this registry, and back."""
        mlflow = _mlflow()
        before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        try:
            yield mlflow
        finally:
            mlflow.set_tracking_uri(before[0])
            mlflow.set_registry_uri(before[1])

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.name)
        if found is not None:
            return str(found.experiment_id)
        # A server decides itself where it keeps artifacts.
        place = None if self.url else (self.folder / "artifacts").resolve().as_uri()
        return str(self._client.create_experiment(self.name, artifact_location=place))

    def _register(self, mlflow: Any, training: Training) -> int:
        files = to_files(training.trained)
        # MLflow tells of its success on stderr, past every logger.
        with contextlib.redirect_stderr(io.StringIO()):
            logged = mlflow.models.Model.log(
                artifact_path=None,
                name="model",
                flavor=_Flavour,
                registered_model_name=self.name,
                files=files,
                trained=training.trained,
                example=training.example,
            )
        number = logged.registered_model_version
        tags = {
            DIGEST: digest_of(files),
            DETECTOR: training.trained.detector,
            UNTIL: training.trained.until.isoformat(),
        }
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, str(number), key, value)
        return int(number)

    def _find(self, which: str) -> Any:
        """A version by alias or number; None when there is none."""
        exceptions = _mlflow().exceptions
        try:
            if which.isdigit():
                return self._client.get_model_version(self.name, which)
            return self._client.get_model_version_by_alias(self.name, which)
        except exceptions.MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def _read(self, found: Any) -> Trained:
        with tempfile.TemporaryDirectory() as folder, self._tracking() as mlflow:
            place = mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{self.name}/{found.version}", dst_path=folder
            )
            held = {
                name: (Path(place) / name).read_bytes()
                for name in (DESCRIPTION, NUMBERS)
                if (Path(place) / name).is_file()
            }
        stated = found.tags.get(DIGEST, "")
        if len(held) < 2 or digest_of(held) != stated:
            raise ModelError("its files are not those that were registered")
        return from_files(held, str(found.version))

    @staticmethod
    def _listed(found: Any) -> Version:
        return Version(
            number=str(found.version),
            aliases=tuple(sorted(found.aliases)),
            made_at=pd.Timestamp(found.creation_timestamp, unit="ms", tz="UTC"),
            run=str(found.run_id),
            tags=dict(found.tags),
        )

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """One sentence for whatever a registry does wrong."""
        from sqlalchemy.exc import SQLAlchemyError

        exceptions = _mlflow().exceptions
        try:
            yield
        except ModelError as error:
            raise ModelError(f"{what}: {error}") from None
        except ImportError as error:
            # The image holds what reads a server, and no more.
            raise ModelError(
                f"{what}: the registry in {self.folder} needs all of MLflow ({error.name} is not "
                "installed). Run `make models`"
            ) from None
        except (exceptions.MlflowException, SQLAlchemyError, OSError) as error:
            # Its messages hold the address, and may go on for pages.
            said = " ".join(str(error).replace(self._uri, "the registry").split())
            said = said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]}..."
            where = "TREMOR_MLFLOW_URL" if self.url else str(self.folder)
            raise ModelError(f"{what}: the registry at {where} failed ({said})") from None


class _Flavour:
    """What MLflow asks of a kind of model: to write its files. Nothing is pickled."""

    @staticmethod
    def save_model(
        path: str,
        mlflow_model: Any,
        files: Mapping[str, bytes],
        trained: Trained,
        example: pd.DataFrame,
        **_others: Any,
    ) -> None:
        """Write a model's folder: our two files, an example of the input, MLflow's own file."""
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)
        given = {"columns": list(example.columns), "data": example.to_numpy().tolist()}
        (folder / "input_example.json").write_text(json.dumps(given), encoding="utf-8")
        mlflow_model.signature = ModelSignature(
            inputs=Schema([ColSpec("double", name) for name in trained.features]),
            outputs=Schema([ColSpec("double", "score")]),
        )
        mlflow_model.saved_input_example_info = {
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        }
        mlflow_model.add_flavor("tremor", description=DESCRIPTION, numbers=NUMBERS)
        mlflow_model.save(str(folder / "MLmodel"))


def _mlflow() -> Any:
    """MLflow, quiet and without calls home.

    Raises
    ------
    ModelError
        When it is not installed.
    """
    os.environ.update(ENVIRONMENT)
    try:
        import mlflow
        import mlflow.exceptions
    except ImportError as error:
        raise ModelError(
            f"the model registry needs MLflow, which is not installed ({error.name}). "
            "Run `make models`."
        ) from None
    for noisy in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return mlflow
