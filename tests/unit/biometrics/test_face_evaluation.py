"""Evaluation: counts and rates on distances that are known, and embeddings equal to dlib's."""

import json
from pathlib import Path

import numpy as np
import pytest

from biometrics.face import FaceEngine, align
from biometrics.face import engine as engine_module
from biometrics.face.images import decode, load
from lab.face import evaluation, portraits, synthetic
from lab.face.evaluation import BadPairs, Compared, Pair, evaluate, read_pairs, report, upper

VECTORS = Path(__file__).parents[2] / "vectors" / "face" / "embeddings.json"


def test_rates_are_shares_of_what_was_compared():
    """Two of ten strangers and one of four genuine ones lie on the wrong side."""
    compared = Compared(
        np.array([0.1, 0.2, 0.3, 0.5]), np.array([0.25, 0.3, *[0.6 + n / 100 for n in range(8)]])
    )
    found = report(compared, 0.31)
    assert (found["genuine"], found["impostor"]) == (4, 10)
    assert (found["fmr_at_threshold"], found["fnmr_at_threshold"]) == (0.2, 0.25)
    assert found["tar_at_fmr_1e-2"] == 0.5
    assert 0.2 <= found["eer"] <= 0.25
    fmr, fnmr = evaluation.curve(compared)
    assert (fmr[-1], fnmr[-1]) == (1.0, 0.0)


def test_the_bound_is_that_of_clopper_and_pearson():
    """Nothing of 3,000 is bounded by a thousandth, one of ten by 0.394, five of five by one."""
    assert upper(0, 3000) == pytest.approx(1 - 0.05 ** (1 / 3000), rel=1e-6)
    assert upper(1, 10) == pytest.approx(0.3942, abs=1e-4)
    assert upper(5, 5) == 1.0
    assert upper(0, 0) is None
    assert report(Compared(np.array([]), np.array([])))["eer"] is None


def test_pairs_and_templates_are_compared_by_set():
    """Two people of one set and a third of another; a picture without a face is a miss."""
    vectors = {
        f"{group}/{who}/{n}.png": np.eye(4, dtype=np.float32)[axis]
        for group, who, axis in (("a", "x", 0), ("a", "y", 1), ("b", "z", 2))
        for n in range(3)
    }
    names = [*vectors, "a/y/none.png"]
    pairs = [
        Pair(one, other, Path(one).parent == Path(other).parent, one[0])
        for one in names
        for other in names
        if one < other and one[0] == other[0]
    ]
    found, _ = evaluate(pairs, read=vectors.get, enroll=0, probe=1)
    assert (found["genuine"], found["impostor"]) == (9, 9)
    assert (found["misses"], found["images"], found["by_set"]["b"]["images"]) == (1, 10, 3)
    enrolled, _ = evaluate(pairs, read=vectors.get, enroll=2, probe=1)
    assert (enrolled["genuine"], enrolled["impostor"]) == (3, 2)
    assert enrolled["fnmr_at_threshold"] == 0.0


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "path_a,path_b,same,set\nx,y,maybe,s\n", "path_a,path_b,same,set\n,y,1,s\n"],
)
def test_a_bad_list_names_its_line(tmp_path, text):
    """A wrong head, an unknown answer and a missing path are refused."""
    file = tmp_path / "pairs.csv"
    file.write_text(text)
    with pytest.raises(BadPairs, match=r"line"):
        read_pairs(file)


def test_embeddings_are_dlibs(engine):
    """A cut of the installed photograph and a seeded one give dlib's numbers to 1e-5."""
    photograph = align.chip(decode(portraits.collins()), np.array(synthetic._COLLINS))
    seeded = np.random.default_rng(2026).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    coarse = seeded.repeat(15, 0).repeat(15, 1)
    frozen = json.loads(VECTORS.read_text("utf-8"))
    for cut, name in ((photograph, "photograph"), (coarse, "synthetic")):
        assert np.abs(engine.raw([cut])[0] - np.array(frozen[name])).max() < 1e-5


def test_eight_bits_are_near_to_thirty_two(face_cache, engine):
    """The quick embedder moves the portraits by less than a third of the threshold."""
    quick = FaceEngine.open(face_cache, quick=True)
    for portrait in (portraits.collins(), portraits.hopper()):
        cut = engine.cut(portrait)
        assert np.linalg.norm(quick.embed(cut) - engine.embed(cut)) < 0.1


@pytest.mark.parametrize(
    ("machine", "flags", "bits"),
    [
        ("x86_64", "avx2", 7),
        ("x86_64", "avx2 avx512_vnni", 8),
        ("x86_64", None, 7),
        ("aarch64", None, 8),
    ],
)
def test_weights_fit_what_the_processor_adds(monkeypatch, machine, flags, bits):
    """Without VNNI, or where nothing tells of it, 7 bits of a weight are used; none overflows."""

    def read(*_):
        if flags is None:
            raise FileNotFoundError
        return flags

    monkeypatch.setattr(engine_module.platform, "machine", lambda: machine)
    monkeypatch.setattr(engine_module.Path, "read_text", read)
    build, number = engine_module._eight_bits()
    assert number // 100 == bits
    assert build.keywords == {"anywhere": bits == 7}


def test_seven_bits_are_near_to_thirty_two(monkeypatch, tmp_path, engine):
    """As eight are, and cached apart from them."""
    monkeypatch.setattr(engine_module, "_adds_widely", lambda: False)
    quick = FaceEngine.open(tmp_path, quick=True)
    cut = engine.cut(portraits.hopper())
    assert np.linalg.norm(quick.embed(cut) - engine.embed(cut)) < 0.1
    assert len(list(tmp_path.glob("embedder-*"))) == 1


def test_what_is_no_picture_loads_as_none(tmp_path):
    """An operator's file of any format is read, another is not."""
    file = tmp_path / "face.txt"
    file.write_bytes(b"text")
    assert load(file) is None
    file.with_suffix(".jpg").write_bytes(portraits.hopper())
    assert load(file.with_suffix(".jpg")).shape[2] == 3
