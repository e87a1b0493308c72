"""Trained models as files: the same bytes for the same model, the same model back, no code run."""

import hashlib
import io
import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.detectors import DETECTORS
from components.detectors.base import TrainableDetector
from components.errors import ModelError
from components.model_files import DESCRIPTION, NUMBERS, digest_of, from_files, to_files
from tests.test_training import panel_of, recipe, trained

TRAINABLE = ("gmm", "isolation_forest", "kmeans", "mahalanobis", "pca")


@pytest.fixture(scope="module")
def panel():
    return panel_of(n_instruments=3, n_bars=300)


@pytest.fixture(scope="module")
def files(panel):
    return to_files(trained(recipe("gmm"), panel))


def edited(files, **said):
    """The files with other words in the description."""
    description = {**json.loads(files[DESCRIPTION]), **said}
    return {**files, DESCRIPTION: json.dumps(description).encode()}


def packed(arrays, **said):
    """Files around other numbers, whose checksum is right."""
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    body = sink.getvalue()
    return lambda files: {
        **edited(files, sha256=hashlib.sha256(body).hexdigest(), **said),
        NUMBERS: body,
    }


@pytest.mark.parametrize("is_pooled", [True, False], ids=["pooled", "one each"])
@pytest.mark.parametrize("name", TRAINABLE)
def test_a_model_comes_back_from_its_files(panel, name, is_pooled):
    """The same scores, contributions, reference for drift, and bytes when written again."""
    model = trained(recipe(name, is_pooled=is_pooled), panel)
    files = to_files(model)
    again = from_files(files, "7")
    np.testing.assert_array_equal(
        again.score_any(panel.x, panel.symbols), model.score_any(panel.x, panel.symbols)
    )
    windows = panel.x[:, -1:, :]
    one, other = (m.contributions(windows, panel.symbols) for m in (model, again))
    np.testing.assert_array_equal(one.by_feature, other.by_feature)
    np.testing.assert_array_equal(again.usual.edges, model.usual.edges)
    assert (again.until, again.features, again.version) == (model.until, model.features, "7")
    assert to_files(again) == files


def test_the_same_training_gives_the_same_bytes(panel, files):
    """So that a registered model can be made again and held against what was registered."""
    assert to_files(trained(recipe("gmm"), panel)) == files


def test_a_changed_byte_of_the_numbers_is_noticed(files):
    """By the checksum in the description, which the registry keeps apart in turn."""
    numbers = bytearray(files[NUMBERS])
    numbers[len(numbers) // 2] ^= 1
    with pytest.raises(ModelError, match="checksum"):
        from_files({**files, NUMBERS: bytes(numbers)})
    assert digest_of(edited(files, interval="1m")) != digest_of(files)


@given(
    at=st.integers(0, 10**6), byte=st.integers(0, 255), part=st.sampled_from([DESCRIPTION, NUMBERS])
)
def test_files_that_were_changed_anywhere_are_refused_or_the_same(files, at, byte, part):
    """No damage ends in a traceback: one sentence, or a model that can be used."""
    body = bytearray(files[part])
    body[at % len(body)] = byte
    try:
        from_files({**files, part: bytes(body)})
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - one of two outcomes


@given(cut=st.integers(0, 10**6), part=st.sampled_from([DESCRIPTION, NUMBERS]))
def test_files_cut_short_are_refused(files, cut, part):
    """A half-written file is no model."""
    body = files[part][: cut % len(files[part])]
    # Without its last line break a description still says all.
    if part == DESCRIPTION and body == files[part].rstrip():
        return
    with pytest.raises(ModelError):
        from_files({**files, part: body})


class Bomb:
    """What would run when it is unpickled."""

    def __reduce__(self):
        return (print, ("a pickle was run",))


def test_nothing_pickled_is_ever_run(files, capsys):
    """Neither as an array of objects, nor as the file itself."""
    as_array = packed({"scaler.center": np.array([Bomb()], dtype=object)})
    for hostile in (as_array(files), {**files, NUMBERS: pickle.dumps(Bomb())}):
        with pytest.raises(ModelError):
            from_files(hostile)
    assert capsys.readouterr().out == ""


HOSTILE = {
    "another format": {"format": 99},
    "a detector that nobody knows": {"detector": "os.system"},
    "a detector that is not trained": {"detector": "market"},
    "a detector of no text": {"detector": None},
    "a strange hyper-parameter": {"hyper": {"__class__": "x"}},
    "a hyper-parameter of another kind": {"hyper": {"n_components": "3"}},
    "a truth for a number": {"hyper": {"n_components": True}},
    "hyper-parameters as a list": {"hyper": [1]},
    "no instruments": {"symbols": []},
    "more instruments than models": {"symbols": ["", "A", "B"]},
    "instruments as a number": {"symbols": 3},
    "features as a number": {"features": 5},
    "no time": {"until": "soon"},
    "an absent time": {"until": None},
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_hostile_descriptions_are_refused_in_a_sentence(files, said):
    """What is read comes from a server: it is checked before it is believed."""
    with pytest.raises(ModelError) as refused:
        from_files(edited(files, **said))
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("missing", [DESCRIPTION, NUMBERS])
def test_a_missing_file_is_named_trouble(files, missing):
    """Not a traceback."""
    with pytest.raises(ModelError):
        from_files({name: body for name, body in files.items() if name != missing})


def test_numbers_of_another_shape_are_refused(files, panel):
    """A model whose arrays do not fit each other would end in a traceback of a nightly run."""
    with np.load(io.BytesIO(files[NUMBERS])) as held:
        arrays = {name: held[name] for name in held.files}
    for name in ("scaler.center", "model.0.means", "usual.edges"):
        wrong = packed({**arrays, name: arrays[name][..., :-1]})(files)
        with pytest.raises(ModelError):
            from_files(wrong)
    for name in ("scaler.spread", "model.0.factors"):
        wrong = packed({**arrays, name: np.full_like(arrays[name], np.nan)})(files)
        with pytest.raises(ModelError):
            from_files(wrong)


def looped(arrays):
    """A forest whose first node leads back to itself."""
    arrays["model.0.links"][0, 0, 1:] = 0


def blind(arrays):
    """A forest that asks for a hundredth feature."""
    arrays["model.0.links"][0, 0, 0] = 99


def beyond(arrays):
    """A forest whose nodes lead out of its arrays."""
    arrays["model.0.links"][0, 0, 1] = 10**9


@pytest.mark.parametrize("harm", [looped, blind, beyond])
def test_a_forest_that_never_ends_is_refused(panel, harm):
    """Compiled code checks no bounds: what it is given is checked before."""
    files = to_files(trained(recipe("isolation_forest"), panel))
    with np.load(io.BytesIO(files[NUMBERS])) as held:
        arrays = {name: held[name].copy() for name in held.files}
    harm(arrays)
    with pytest.raises(ModelError, match="forest"):
        from_files(packed(arrays)(files))


@pytest.mark.parametrize("name", ["encoder_kernel", "decoder_recurrent", "out_bias"])
def test_weights_that_do_not_fit_each_other_are_refused(panel, name):
    """The same for a network."""
    detector = replace(DETECTORS["lstm_autoencoder"], epochs=0)
    files = to_files(trained(recipe("lstm_autoencoder", detector=detector), panel))
    with np.load(io.BytesIO(files[NUMBERS])) as held:
        arrays = {name: held[name] for name in held.files}
    from_files(packed(arrays)(files))
    arrays[f"model.0.{name}"] = arrays[f"model.0.{name}"][..., :-1]
    with pytest.raises(ModelError, match="fit"):
        from_files(packed(arrays)(files))


def test_a_packed_bomb_is_not_unpacked(files):
    """An archive of a few kilobytes that would fill the memory."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
        shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2000000000,), }"
        archive.writestr("scaler.center.npy", header + shape.ljust(117) + b"\n" + bytes(10**8))
    body = sink.getvalue()
    with pytest.raises(ModelError):
        from_files({**edited(files, sha256=hashlib.sha256(body).hexdigest()), NUMBERS: body})


def test_every_detector_that_trains_is_tried_here():
    """The LSTM among them."""
    known = {n for n, d in DETECTORS.items() if isinstance(d, TrainableDetector)}
    assert known == {*TRAINABLE, "lstm_autoencoder"}
