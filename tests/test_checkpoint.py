"""Checkpoints: what was saved comes back, and no file can do more than fail with a DataError."""

import io
import json
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import minigrad as mg
from minigrad.dtypes import SUPPORTED
from minigrad.errors import ArgumentError, DataError, DtypeError
from minigrad.io import load_checkpoint, save_checkpoint

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\"), max_size=20).filter(
    lambda name: name != "__metadata__"  # the one name that is taken
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
ARRAYS = st.sampled_from(SUPPORTED).flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0)))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.npz"
    tensors = {"0.weight": mg.tensor([[1.0, 2.0], [3.0, 4.0]]), "steps": mg.tensor(7)}
    save_checkpoint(path, tensors, {"epoch": 3})
    return path


def rewritten(path, entries, compression=zipfile.ZIP_STORED):
    """The same archive with some entries replaced or added."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in (contents | entries).items():
            archive.writestr(name, data)
    return path


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), **options)
    return file.getvalue()


def header(shape, descr="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@given(tensors=st.dictionaries(NAMES, ARRAYS, max_size=3), metadata=st.dictionaries(st.text(), JSON, max_size=3))
@settings(deadline=None, max_examples=50)
def test_what_was_saved_comes_back(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("checkpoint") / "model.npz"
    save_checkpoint(path, tensors, metadata)
    found, described = load_checkpoint(path)
    assert described == metadata
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name].numpy(), array, strict=True)


def test_tensors_inside_a_graph_and_views_are_saved_by_value(tmp_path):
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    save_checkpoint(tmp_path / "c", {"double": x * 2, "turned": x.detach().numpy().T}, {})
    tensors, _ = load_checkpoint(tmp_path / "c")
    assert tensors["double"].tolist() == [[2, 4], [6, 8]]
    assert tensors["turned"].tolist() == [[1, 3], [2, 4]]
    assert not tensors["double"].requires_grad


def test_numpy_reads_the_file(saved):
    with np.load(saved, allow_pickle=False) as arrays:
        assert arrays["0.weight"].tolist() == [[1, 2], [3, 4]]
        assert json.loads(arrays["__metadata__"].item()) == {"epoch": 3}


def test_the_same_contents_give_the_same_bytes(saved, tmp_path):
    again = tmp_path / "again.npz"
    tensors, metadata = load_checkpoint(saved)
    save_checkpoint(again, tensors, metadata)
    assert again.read_bytes() == saved.read_bytes()


def test_a_failed_save_leaves_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(DtypeError, match="float16"):
        save_checkpoint(saved, {"fine": np.ones(2), "half": np.ones(2, np.float16)}, {})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("name", ["__metadata__", "a\0b", "a\\b", "line\n", "\ud800", "a" * 65532, 3])
def test_names_that_no_reader_would_find_are_refused(tmp_path, name):
    with pytest.raises(ArgumentError, match="cannot be called"):
        save_checkpoint(tmp_path / "c", {name: np.ones(1)}, {})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("value", [{1}, np.float32(1), b"", object()])
def test_metadata_that_is_not_json_is_refused(tmp_path, value):
    with pytest.raises(ArgumentError, match="JSON"):
        save_checkpoint(tmp_path / "c", {}, {"value": value})
    assert not os.listdir(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="folder does not exist"):
        save_checkpoint(tmp_path / "no" / "c", {}, {})
    with pytest.raises(DataError, match="no such file"):
        load_checkpoint(tmp_path / "no" / "c")
    with pytest.raises(DataError, match="cannot read"):
        load_checkpoint(tmp_path)


# ---- files that are not to be trusted --------------------------------------------------------------------------------


def refused(path, match="is no checkpoint"):
    with pytest.raises(DataError, match=match) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(saved):
    whole = saved.read_bytes()
    for length in range(0, len(whole), 7):
        saved.write_bytes(whole[:length])
        refused(saved)


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_a_changed_byte_is_noticed_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "c"
    save_checkpoint(path, {"x": np.arange(4.0)}, {"epoch": 3})
    contents = bytearray(path.read_bytes())
    contents[data.draw(st.integers(0, len(contents) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(contents)
    try:
        tensors, metadata = load_checkpoint(path)
    except DataError:
        return
    assert metadata == {"epoch": 3}
    assert [x.tolist() for x in tensors.values()] == [[0, 1, 2, 3]]  # it was the date of an entry


def test_an_entry_that_the_comment_of_another_hides(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": np.arange(4.0)}, {"epoch": 3})
    contents = bytearray((tmp_path / "c").read_bytes())
    first = contents.index(b"PK\x01\x02")  # in the table of contents
    second = contents.index(b"PK\x01\x02", first + 1)
    contents[first + 32 : first + 34] = (len(contents) - 22 - second).to_bytes(2, "little")
    (tmp_path / "c").write_bytes(contents)
    refused(tmp_path / "c", "has a comment")


@given(noise=st.binary(max_size=300))
@settings(deadline=None, max_examples=50)
def test_noise_is_refused(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "c"
    path.write_bytes(noise)
    refused(path)


class Bomb:
    """Unpickling it would leave a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_pickles_are_never_opened(saved, tmp_path):
    trace = tmp_path / "trace"
    bomb = np.array([Bomb(trace)], dtype=object)
    refused(rewritten(saved, {"0.weight.npy": npy(bomb, allow_pickle=True)}), "Python objects")
    refused(rewritten(saved, {"0.weight.npy": pickle.dumps(Bomb(trace))}))
    saved.write_bytes(pickle.dumps(Bomb(trace)))
    refused(saved)
    assert not trace.exists()


@pytest.mark.parametrize("shape", [(2**40,), (2**62, 4), (-1, -4), (5,), (3,), ()])
def test_a_shape_that_the_data_do_not_fill(saved, shape):
    refused(rewritten(saved, {"0.weight.npy": header(shape) + bytes(16)}), "has not the size")


def test_a_compressed_archive(saved):
    refused(rewritten(saved, {"zeros.npy": npy(np.zeros(10**6))}, zipfile.ZIP_DEFLATED), "it is compressed")


def test_entries_that_share_their_bytes(saved):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.filelist += [archive.getinfo("0.weight.npy")] * 50
        archive._didModify = True  # write the table of contents again
    refused(saved, "entries overlap")


@pytest.mark.parametrize(
    "entry",
    [
        {"__metadata__.npy": npy(np.array(b"[]"))},
        {"__metadata__.npy": npy(np.array(b"{"))},
        {"__metadata__.npy": npy(np.array(b"[" * 100_000))},
        {"__metadata__.npy": npy(np.array([b"{}", b"{}"]))},
        {"__metadata__.npy": npy(1)},
        {"text.npy": npy("words")},
        {"half.npy": npy(np.ones(1, np.float16))},
        {"mixed.npy": npy(np.zeros(1, "f4,i4"))},
        {"readme.txt": b"hello"},
        {"empty.npy": b""},
    ],
)
def test_entries_of_another_kind(saved, entry):
    refused(rewritten(saved, entry))


def test_an_archive_without_metadata(tmp_path):
    np.savez(tmp_path / "plain.npz", x=np.ones(2))
    refused(tmp_path / "plain.npz", "it has no __metadata__")


def test_metadata_of_more_than_a_mebibyte(saved):
    with pytest.raises(ArgumentError, match="more than 1 MiB"):
        save_checkpoint(saved, {}, {"a": "x" * 2**20})
    long = npy(np.array(b"[" + b"{}," * 2**19 + b"{}]"))
    refused(rewritten(saved, {"__metadata__.npy": long}), "its metadata has more than 1 MiB")


def test_tensors_take_no_more_memory_than_the_file(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": np.zeros(2**20), "y": np.zeros(2**20)}, {})
    tracemalloc.start()
    try:
        kept = load_checkpoint(tmp_path / "c")
        assert tracemalloc.get_traced_memory()[1] < 1.1 * (tmp_path / "c").stat().st_size
    finally:
        tracemalloc.stop()
    assert kept[0]["x"].shape == (2**20,)


def test_other_byte_orders_and_layouts_are_read(saved):
    values = np.arange(6.0).reshape(2, 3)
    rewritten(saved, {"big.npy": npy(values.astype(">f8")), "turned.npy": npy(np.asfortranarray(values))})
    tensors, _ = load_checkpoint(saved)
    for name in "big", "turned":
        assert tensors[name].tolist() == values.tolist()
        assert tensors[name].dtype == mg.float64
